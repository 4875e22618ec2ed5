use serde_json::Value;

use super::super::rules::Throttling;
use super::super::{Named, Over, Pool};
use super::*;

/// A provider that takes whatever it is sent: the body is `credential/id`, or `free` for a request
/// that is not counted.
struct Plain;

impl Simulated for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn rules(&self) -> Rules {
        Rules {
            requests: Some(3),
            window: Duration::from_secs(1),
            pools: Default::default(),
            throttling: Throttling::Status,
            duplicate_window: None,
            targeted_duplicate_window: None,
            exempt_devices: 0,
            credentials: None,
            campaign_credentials: None,
        }
    }

    fn operations(&self) -> &'static [&'static str] {
        &["plain"]
    }

    fn operation(&self, _: &Method, path: &str) -> Option<&'static str> {
        (path == "/plain").then_some("plain")
    }

    fn read(&self, operation: &'static str, request: &Request, _: &Rules) -> Result<Call, Answer> {
        let text = std::str::from_utf8(&request.body).map_err(|_| Answer::empty(400))?;
        let (credential, id) = text.split_once('/').ok_or_else(|| Answer::empty(400))?;
        Ok(Call {
            operation,
            credential: credential.to_owned(),
            secret: String::new(),
            subject: String::new(),
            pool: (id != "free").then_some(Pool::Main),
            deliveries: vec![Named { id: Some(id.into()), key: Some(id.into()) }],
            content: Value::Null,
        })
    }

    fn denied(&self, call: &Call, rules: &Rules) -> Option<Answer> {
        let accepted = rules.credentials.as_ref()?;
        (!accepted.contains(&call.credential)).then(|| Answer::empty(403))
    }

    fn throttled(&self, _: &Call, _: &Rules, over: Over, _: Moment) -> Answer {
        Answer::empty(429).with_header("retry-after", over.wait.as_millis())
    }

    fn failure(&self, _: &'static str, status: u16) -> Answer {
        Answer::empty(status)
    }

    fn perform(&self, _: &Call, account: &mut Account, _: &Rules, _: Moment) -> Performed {
        let code = account.new_code();
        let answer = Answer { body: Bytes::from(code.clone()), ..Answer::empty(200) };
        Performed { answer, fates: vec![Fate::Accepted(code)] }
    }
}

fn engine(faults: &[&str]) -> Engine {
    let mut engine = Engine::new(vec![Arc::new(Plain)], 1, 1000, Timestamp::UNIX_EPOCH);
    engine.set_faults(FaultPlan::parse(faults).unwrap());
    engine
}

fn send(engine: &mut Engine, method: Method, path: &str, body: &str, ms: u64) -> Reply {
    let request = Request {
        method,
        path: path.into(),
        headers: Default::default(),
        body: Bytes::from(body.to_owned()),
    };
    engine.handle(&request, Duration::from_millis(ms))
}

fn post(engine: &mut Engine, body: &str, ms: u64) -> Reply {
    send(engine, Method::POST, "/plain", body, ms)
}

fn last(engine: &Engine) -> Entry {
    engine.ledger().page(0, usize::MAX).entries.pop().unwrap()
}

#[test]
fn each_fault_accepts_or_not_and_behaves_as_it_says() {
    let cases = [
        ("none", Some(200), Conduct::Answer, DeliveryOutcome::Accepted),
        ("latency=5s", Some(200), Conduct::Answer, DeliveryOutcome::Accepted),
        ("429", Some(429), Conduct::Answer, DeliveryOutcome::NotReached),
        ("401", Some(401), Conduct::Answer, DeliveryOutcome::NotReached),
        ("500", Some(500), Conduct::Answer, DeliveryOutcome::NotReached),
        ("500-after", Some(500), Conduct::Answer, DeliveryOutcome::Accepted),
        ("reset-before", None, Conduct::Reset, DeliveryOutcome::NotReached),
        ("reset-after", None, Conduct::Reset, DeliveryOutcome::Accepted),
        ("hang-before", None, Conduct::Hang, DeliveryOutcome::NotReached),
        ("hang-after", None, Conduct::Hang, DeliveryOutcome::Accepted),
        ("garbage", Some(200), Conduct::Answer, DeliveryOutcome::Accepted),
        ("cut", Some(200), Conduct::Cut, DeliveryOutcome::Accepted),
    ];
    for (fault, status, conduct, outcome) in cases {
        let mut engine = engine(&[fault]);
        let reply = post(&mut engine, "me/1", 0);
        let entry = last(&engine);
        assert_eq!((reply.conduct, entry.status), (conduct, status), "{fault}");
        assert_eq!(entry.deliveries[0].outcome, outcome, "{fault}");
        assert_eq!(entry.fault.is_some(), fault != "none", "{fault}");
        assert!(entry.counted, "{fault}: it arrived, so it counts");
        let slow = if fault == "latency=5s" { Duration::from_secs(5) } else { Duration::ZERO };
        assert_eq!(reply.latency, slow, "{fault}");
    }
}

#[test]
fn a_throttling_fault_says_for_how_long() {
    let reply = post(&mut engine(&["429=1500ms"]), "me/1", 0);
    assert_eq!(reply.answer.headers, [("retry-after", "2".to_owned())]);
}

#[test]
fn the_limit_holds_in_every_window_and_for_each_account_alone() {
    let mut engine = engine(&[]);
    let statuses: Vec<u16> = [
        ("a/1", 0),
        ("a/2", 400),
        ("a/3", 400),
        ("a/4", 999),
        ("b/1", 999),
        ("a/free", 999),
        ("a/5", 1000),
        ("a/6", 1399),
        ("a/7", 1400),
    ]
    .map(|(body, at)| post(&mut engine, body, at).answer.status)
    .into();
    assert_eq!(statuses, [200, 200, 200, 429, 200, 200, 200, 429, 200]);
    let summary = engine.summary();
    let account = |credential: &str| {
        let name = fingerprint("plain", credential);
        summary.accounts.iter().find(|account| account.account == name).unwrap()
    };
    // 400, 400, 999, 1000 and 1399 lie within one second, the throttled ones among them.
    assert_eq!((account("a").most_in_window, account("a").counts.throttled), (5, 2));
    assert_eq!((account("b").most_in_window, account("b").counts.requests), (1, 1));
    assert_eq!((account("a").limit, account("a").window_seconds), (Some(3), 1.0));
}

#[test]
fn the_wait_is_until_there_is_room() {
    let mut engine = engine(&[]);
    for at in [0, 100, 200] {
        post(&mut engine, "a/1", at);
    }
    let reply = post(&mut engine, "a/1", 250);
    assert_eq!(reply.answer.headers, [("retry-after", "750".to_owned())]);
}

#[test]
fn rules_can_change_while_it_runs() {
    let mut engine = engine(&[]);
    let rules = Rules { requests: None, ..Plain.rules() };
    engine.set_rules("plain", rules).unwrap();
    assert!((0..50).all(|_| post(&mut engine, "a/1", 0).answer.status == 200));
    engine.set_rules("plain", Rules { requests: Some(0), ..Plain.rules() }).unwrap();
    assert_eq!(post(&mut engine, "a/1", 5000).answer.status, 429);
    engine.set_rules("plain", Rules { credentials: Some(vec!["b".into()]), ..Plain.rules() }).unwrap();
    assert_eq!(post(&mut engine, "a/1", 9000).answer.status, 403);
    assert_eq!(last(&engine).deliveries[0].outcome, DeliveryOutcome::Refused);
    assert!(engine.set_rules("nobody", Plain.rules()).is_err());
}

#[test]
fn unreadable_requests_and_unknown_paths_are_noted_and_warm_ups_are_not() {
    let mut engine = engine(&[]);
    assert_eq!(post(&mut engine, "no account", 0).answer.status, 400);
    assert_eq!((last(&engine).account, last(&engine).status), (None, Some(400)));
    for (method, path, noted) in [
        (Method::GET, "/", false),
        (Method::HEAD, "/", false),
        (Method::POST, "/", true),
        (Method::POST, "/v9/elsewhere", true),
    ] {
        let before = engine.summary().unknown_paths;
        let reply = send(&mut engine, method.clone(), path, "", 0);
        assert_eq!(reply.answer.status, 404);
        assert_eq!(engine.summary().unknown_paths > before, noted, "{method} {path}");
    }
    assert_eq!(last(&engine).operation, "POST /v9/elsewhere");
}

#[test]
fn unknown_paths_use_up_no_scripted_fault() {
    let mut engine = engine(&["503"]);
    send(&mut engine, Method::GET, "/", "", 0);
    send(&mut engine, Method::POST, "/elsewhere", "", 0);
    assert_eq!(post(&mut engine, "a/1", 0).answer.status, 503);
}

#[test]
fn clearing_forgets_arrivals_and_keeps_the_limit() {
    let mut engine = engine(&[]);
    for _ in 0..3 {
        post(&mut engine, "a/1", 0);
    }
    engine.clear_ledger();
    assert_eq!(engine.summary(), Summary::default());
    assert_eq!(post(&mut engine, "a/1", 500).answer.status, 429);
    assert_eq!(engine.ledger().page(0, 10).entries[0].seq, 0);
}

#[test]
fn the_ledger_holds_no_credential() {
    let mut engine = engine(&[]);
    post(&mut engine, "hunter2/1", 0);
    let text = serde_json::to_string(&(engine.ledger().page(0, 10), engine.summary())).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains(&fingerprint("plain", "hunter2")));
}

#[test]
fn arrivals_that_get_here_in_another_order_keep_the_windows_in_order() {
    let mut engine = engine(&[]);
    post(&mut engine, "a/1", 100);
    post(&mut engine, "a/2", 90);
    assert_eq!(last(&engine).at_us, 100_000);
}

#[test]
fn the_time_of_day_goes_on_from_the_start() {
    let mut engine = Engine::new(Vec::new(), 1, 10, "2030-01-31T10:00:00Z".parse().unwrap());
    let moment = engine.advance(Duration::from_secs(90));
    assert_eq!(moment.wall, "2030-01-31T10:01:30Z".parse().unwrap());
}

#[test]
fn an_account_forgets_what_is_expired_and_then_the_older_half() {
    let mut account = Account::new("a".into());
    let (early, late) = (Duration::from_secs(1), Duration::from_secs(9));
    for (key, until) in [("a", Some(early)), ("b", None), ("c", Some(late)), ("d", None), ("e", None)] {
        account.remember(key.to_owned(), key.to_owned(), until, Duration::ZERO);
    }
    let known = |account: &Account| -> String {
        ["a", "b", "c", "d", "e"].iter().filter_map(|key| account.recall(key, early)).collect()
    };
    account.forget(early, 4);
    assert_eq!(known(&account), "bcde");
    account.forget(early, 3);
    assert_eq!(known(&account), "de");
}

#[test]
fn an_account_keeps_its_providers_state() {
    let mut account = Account::new("a".into());
    account.state::<Vec<u8>>().push(7);
    assert_eq!(*account.state::<Vec<u8>>(), [7]);
}
