use std::time::Duration;

use serde_json::json;

use super::*;
use crate::providers::Gateway;
use crate::providers::pushwoosh::tests::{gateway, job};

/// Deliveries to as many users, of the account's own application unless one is named.
fn deliveries(n: usize, application: Option<&str>) -> Vec<Delivery> {
    let one = |i: usize| json!({"send_date": "now", "content": "The secret text", "devices": [format!("device-{i}"), "device-common"]});
    let mut payload = json!({"notifications": (0..n).map(one).collect::<Vec<_>>()});
    if let Some(application) = application {
        payload["application"] = application.into();
    }
    gateway().plan(&job(payload)).unwrap().into_iter().map(Result::unwrap).collect()
}

fn judge(n: usize, answer: &WireAnswer) -> Verdict {
    judge_for(&deliveries(n, None), answer, false)
}

fn judge_for(deliveries: &[Delivery], answer: &WireAnswer, after_unknown: bool) -> Verdict {
    gateway().verdict(&deliveries.iter().collect::<Vec<_>>(), answer, after_unknown)
}

fn http(status: u16, headers: &[(&str, &str)], body: impl Into<String>) -> WireAnswer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    WireAnswer::Response { status, headers, body: body.into().into() }
}

fn ok(body: Value) -> WireAnswer {
    http(200, &[], body.to_string())
}

fn reply(code: u64, message: &str, codes: &[&str]) -> WireAnswer {
    ok(json!({"status_code": code, "status_message": message, "response": {"Messages": codes}}))
}

fn codes(acceptances: &[Acceptance]) -> Vec<Option<&str>> {
    acceptances.iter().map(|one| one.message_code.as_deref()).collect()
}

#[test]
fn what_never_got_an_answer() {
    assert_eq!(
        judge(1, &WireAnswer::NotSent("connection refused".into())),
        Verdict::NotSent { cause: "connection refused".into() }
    );
    assert_eq!(
        judge(1, &WireAnswer::Lost("timed out".into())),
        Verdict::Unknown { cause: "timed out".into(), fault: false }
    );
}

#[test]
fn statuses_of_http() {
    let wait = [("retry-after", "7")];
    let seven = Some(Duration::from_secs(7));
    let cases = [
        (429, Verdict::Throttled { retry_after: seven }),
        (503, Verdict::Failed { cause: "HTTP 503".into(), retry_after: seven }),
        (500, Verdict::Unknown { cause: "HTTP 500".into(), fault: true }),
        (502, Verdict::Unknown { cause: "HTTP 502".into(), fault: true }),
        (504, Verdict::Unknown { cause: "HTTP 504".into(), fault: true }),
        (400, Verdict::Refused { reason: "HTTP 400".into() }),
        (413, Verdict::Refused { reason: "HTTP 413".into() }),
        (401, Verdict::Misconfigured { cause: "HTTP 401".into() }),
        (403, Verdict::Misconfigured { cause: "HTTP 403".into() }),
        (404, Verdict::Misconfigured { cause: "HTTP 404".into() }),
        (302, Verdict::Misconfigured { cause: "HTTP 302".into() }),
        (405, Verdict::Misconfigured { cause: "HTTP 405".into() }),
    ];
    for (status, expected) in cases {
        for body in ["", "<html>The secret text</html>", "[]"] {
            assert_eq!(judge(2, &http(status, &wait, body)), expected, "{status} {body}");
        }
    }
    let explained =
        http(500, &[], json!({"status_code": 500, "status_message": "Internal error"}).to_string());
    assert_eq!(
        judge(1, &explained),
        Verdict::Unknown { cause: "HTTP 500: Internal error".into(), fault: true }
    );
}

#[test]
fn success_that_can_not_be_read_is_unknown() {
    for body in ["", "<html>", "[]", "{}", "null", r#"{"status_code":"#, r#"{"status_code": "200"}"#] {
        let Verdict::Unknown { fault: false, .. } = judge(1, &http(200, &[], body)) else { panic!("{body}") };
    }
}

#[test]
fn accepted_with_codes_in_order() {
    let Verdict::Accepted(list) = judge(2, &reply(200, "OK", &["C-1", "C-2"])) else { panic!() };
    assert_eq!(codes(&list), [Some("C-1"), Some("C-2")]);
    assert_eq!(
        list[1].response,
        Some(Json::of(
            &json!({"status_code": 200, "status_message": "OK", "response": {"Messages": ["C-2"]}})
        ))
    );
    let Verdict::Accepted(list) = judge(1, &reply(200, "OK", &["CODE_NOT_AVAILABLE"])) else { panic!() };
    assert_eq!(codes(&list), [Some("CODE_NOT_AVAILABLE")]);
}

#[test]
fn accepted_without_as_many_codes_gives_none_away_wrongly() {
    for (n, answer) in [
        (1, reply(200, "OK", &[])),
        (2, reply(200, "OK", &["C-1"])),
        (2, reply(200, "OK", &["C-1", "C-2", "C-3"])),
        (1, ok(json!({"status_code": 200, "status_message": "OK"}))),
        (1, ok(json!({"status_code": 200, "response": null}))),
        (1, ok(json!({"status_code": 200, "response": []}))),
        (1, ok(json!({"status_code": 200, "response": {"Messages": [null]}}))),
    ] {
        let Verdict::Accepted(list) = judge(n, &answer) else { panic!("{answer:?}") };
        assert_eq!(codes(&list), vec![None; n], "{answer:?}");
    }
}

#[test]
fn unknown_devices_find_their_delivery() {
    let answer = |codes: &[&str], unknown: Value| {
        ok(
            json!({"status_code": 200, "status_message": "OK", "response": {"Messages": codes, "UnknownDevices": unknown}}),
        )
    };
    let none: [&str; 0] = [];
    let cases: [(usize, WireAnswer, Vec<Vec<&str>>); 6] = [
        (1, answer(&["A"], json!({"A": ["device-0"]})), vec![vec!["device-0"]]),
        (1, answer(&["A"], json!({"B": ["device-0"]})), vec![vec!["device-0"]]),
        (1, answer(&["A"], json!([])), vec![vec![]]),
        (2, answer(&["A", "B"], json!({"B": ["device-common"]})), vec![none.to_vec(), vec!["device-common"]]),
        (2, answer(&["A", "B"], json!({"C": ["device-0"]})), vec![vec![], vec![]]),
        (
            2,
            answer(
                &["CODE_NOT_AVAILABLE", "CODE_NOT_AVAILABLE"],
                json!({"CODE_NOT_AVAILABLE": ["device-1", "device-common"]}),
            ),
            vec![vec!["device-common"], vec!["device-1", "device-common"]],
        ),
    ];
    for (n, answer, expected) in cases {
        let Verdict::Accepted(list) = judge(n, &answer) else { panic!("{answer:?}") };
        let found: Vec<_> = list.iter().map(|one| one.unknown_devices.clone()).collect();
        assert_eq!(found, expected, "{answer:?}");
    }
}

#[test]
fn argument_errors() {
    let refused = |reason: &str| Verdict::Refused { reason: reason.into() };
    let invalid = "Invalid devices list. \"devices\" must be an array.";
    let hidden = "Invalid [hidden] list";
    assert_eq!(judge(1, &reply(210, invalid, &[])), refused(invalid));
    assert_eq!(judge(3, &reply(210, invalid, &[])), refused(invalid));
    assert_eq!(
        judge(1, &ok(json!({"status_code": 210, "status_message": invalid, "response": null}))),
        refused(invalid)
    );
    assert_eq!(judge(1, &reply(210, "Invalid device-common list", &[])), refused(hidden));

    let Verdict::Partial { accepted, rest } = judge(3, &reply(210, invalid, &["A"])) else { panic!() };
    assert_eq!((codes(&accepted), rest), (vec![Some("A")], Rest::Faulty(invalid.into())));
    let Verdict::Partial { accepted, .. } = judge(3, &reply(210, invalid, &["A", "B"])) else { panic!() };
    assert_eq!(codes(&accepted), [Some("A"), Some("B")]);

    let Verdict::Accepted(list) = judge(2, &reply(210, invalid, &["A", "B"])) else { panic!() };
    assert_eq!(codes(&list), [Some("A"), Some("B")]);
    let Verdict::Accepted(list) = judge(1, &reply(210, invalid, &["A", "B"])) else { panic!() };
    assert_eq!(codes(&list), [None]);
}

#[test]
fn argument_errors_that_speak_of_the_limit_throttle() {
    let text = "Requests limit exceeded";
    assert_eq!(judge(2, &reply(210, text, &[])), Verdict::Throttled { retry_after: None });
    let body = json!({"status_code": 210, "status_message": text}).to_string();
    let waiting = http(200, &[("retry-after", "5")], body);
    assert_eq!(judge(1, &waiting), Verdict::Throttled { retry_after: Some(Duration::from_secs(5)) });
    let Verdict::Partial { accepted, rest } = judge(2, &reply(210, text, &["A"])) else { panic!() };
    assert_eq!((codes(&accepted), rest), (vec![Some("A")], Rest::Throttled(None)));
    let Verdict::Refused { .. } = judge(1, &reply(210, "Too many devices", &[])) else { panic!() };
}

#[test]
fn denied_access_blames_the_account_only_for_its_own_application() {
    let denied = reply(210, "Access denied or application not found", &[]);
    for (application, expected) in
        [(None, "misconfigured"), (Some("OWN00-00001"), "misconfigured"), (Some("OTHER"), "refused")]
    {
        assert_eq!(
            judge_for(&deliveries(1, application), &denied, false).label(),
            expected,
            "{application:?}"
        );
    }
}

#[test]
fn a_transaction_that_the_provider_knows_was_accepted_before() {
    let cases = [
        (1, false, "Duplicate transactionId", "accepted_before"),
        (1, true, "Duplicate transactionId", "accepted_before"),
        (1, true, "Message already created", "accepted_before"),
        (1, false, "Message already created", "refused"),
        (1, true, "Invalid content", "refused"),
        (2, false, "Duplicate transactionId", "refused"),
    ];
    for (n, after_unknown, text, expected) in cases {
        let verdict = judge_for(&deliveries(n, None), &reply(210, text, &[]), after_unknown);
        assert_eq!(verdict.label(), expected, "{n} {after_unknown} {text}");
    }
    let Verdict::Partial { rest: Rest::Unblamed(_), .. } =
        judge(3, &reply(210, "Duplicate transactionId", &["A"]))
    else {
        panic!()
    };
}

#[test]
fn other_status_codes_under_http_200() {
    for (code, expected) in [
        (500, "unknown"),
        (503, "unknown"),
        (401, "misconfigured"),
        (403, "misconfigured"),
        (429, "throttled"),
        (299, "unknown"),
        (0, "unknown"),
    ] {
        let verdict = judge(1, &reply(code, "text", &[]));
        assert_eq!(verdict.label(), expected, "{code}");
        if let Verdict::Unknown { fault, .. } = verdict {
            assert_eq!(fault, code >= 500, "{code}");
        }
    }
}

#[test]
fn no_secret_and_no_customer_data_comes_back_in_a_text() {
    let text = "bad token-of-the-shop for device-0: The secret text\n\u{1b}[31m";
    for answer in [
        reply(210, text, &[]),
        reply(200, text, &[text]),
        reply(299, text, &[]),
        http(400, &[], json!({"status_code": 1, "status_message": text}).to_string()),
        WireAnswer::NotSent(text.into()),
        WireAnswer::Lost(text.into()),
    ] {
        let shown = format!("{:?}", judge(1, &answer));
        for secret in ["token-of-the-shop", "device-0", "The secret text", "\\u{1b}", "\\n"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

/// One delivery of a notification with these members.
fn delivery_of(members: &Value) -> Vec<Delivery> {
    let mut notification = json!({"send_date": "now", "content": "x", "users": ["u"]});
    notification.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    let payload = json!({"application": "OWN00-00001", "notifications": [notification]});
    gateway().plan(&job(payload)).unwrap().into_iter().map(Result::unwrap).collect()
}

#[test]
fn a_producer_s_words_decide_nothing() {
    let booked = "Your transaction was already booked";
    let denied = "Access denied to your card";
    let cases = [
        (
            json!({"conditions": [["Clicks per minute", "EQ", 1]]}),
            "Tag \"Clicks per minute\" not found",
            "refused",
        ),
        (json!({"campaign": "no-limit-2026"}), "Campaign \"no-limit-2026\" not found", "refused"),
        (json!({"campaign": "No-Limit-2026"}), "Campaign \"no-limit-2026\" not found", "refused"),
        (json!({"preset": "Rate limit"}), "Preset Rate limit is unknown", "refused"),
        (json!({"transactionId": "rate-limit-test"}), "Invalid id rate-limit-test", "refused"),
        (json!({"my_rate_limit": 1}), "Unknown member my_rate_limit", "refused"),
        (json!({"note": {"deep": ["too many requests"]}}), "Unknown \"too many requests\"", "refused"),
        (json!({ "content": booked }), "Liquid error in \"Your transaction was already booked\"", "refused"),
        (json!({ "content": denied }), "Liquid error in \"Access denied to your card\"", "refused"),
        (json!({"content": "denied"}), "Access denied or application not found", "misconfigured"),
        (
            json!({"content": "Access denied or application not found"}),
            "Access denied or application not found",
            "misconfigured",
        ),
        (json!({"content": "Limit"}), "Requests limit exceeded", "throttled"),
        (json!({"data": {"type": "transaction"}}), "Duplicate transactionId", "accepted_before"),
    ];
    for (members, text, expected) in cases {
        for after_unknown in [false, true] {
            let verdict = judge_for(&delivery_of(&members), &reply(210, text, &[]), after_unknown);
            assert_eq!(verdict.label(), expected, "{members} {text} {after_unknown}");
        }
    }
}

#[test]
fn codes_are_given_back_whole() {
    for code in ["97B0-C7473871-1029AE20", "CODE_NOT_AVAILABLE"] {
        let members = json!({"content": "1029", "title": "CODE"});
        let Verdict::Accepted(list) = judge_for(&delivery_of(&members), &reply(200, "OK", &[code]), false)
        else {
            panic!()
        };
        assert_eq!(codes(&list), [Some(code)]);
        let told = json!({"status_code": 200, "status_message": "OK", "response": {"Messages": [code]}});
        assert_eq!(list[0].response, Some(Json::of(&told)));
    }
}

#[test]
fn entries_that_are_no_codes_do_not_count_as_taken() {
    let answer = |code: u64, messages: Value| {
        ok(json!({"status_code": code, "status_message": "Invalid", "response": {"Messages": messages}}))
    };
    for messages in [json!([null]), json!([false]), json!([""]), json!([" "]), json!([null, "B"])] {
        assert_eq!(judge(1, &answer(210, messages.clone())).label(), "refused", "{messages}");
        assert_eq!(judge(3, &answer(210, messages.clone())).label(), "refused", "{messages}");
    }
    for messages in [json!(["A", null]), json!(["A", "", "C"])] {
        let Verdict::Partial { accepted, rest: Rest::Faulty(_) } = judge(3, &answer(210, messages)) else {
            panic!()
        };
        assert_eq!(codes(&accepted), [Some("A")]);
    }
    let Verdict::Accepted(list) = judge(2, &answer(200, json!(["", "B"]))) else { panic!() };
    assert_eq!(codes(&list), [None, Some("B")]);
}

/// Each text was once hidden once more for each delivery: hours for a large shared request.
#[test]
fn a_large_shared_request_is_judged_at_once() {
    let one = |i: usize| {
        let devices: Vec<_> = (0..40).map(|k| format!("device-{i}-{k}")).collect();
        json!({"send_date": "now", "content": "x", "devices": devices})
    };
    let payload = json!({"notifications": (0..1000).map(one).collect::<Vec<_>>()});
    let planned: Vec<Delivery> =
        gateway().plan(&job(payload)).unwrap().into_iter().map(Result::unwrap).collect();
    let started = std::time::Instant::now();
    let Verdict::Accepted(list) = judge_for(&planned, &reply(200, &"OK ".repeat(100), &[]), false) else {
        panic!()
    };
    assert_eq!(list.len(), 1000);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}
