use super::*;
use crate::job::{AccountName, DeliveryId, Instance, Line, TransactionId};
use crate::verdict::{Acceptance, DeadReason, Json, Status};

const LEASE: i64 = 60_000;
const OPEN: Admission = Admission::Open { probe: false };

fn at(ms: i64) -> Now {
    Now { wall: ms, steady: ms, lease: LEASE }
}

fn wish(instance: &str, token: &str) -> ClaimRequest {
    ClaimRequest {
        account: AccountName::new("shop").unwrap(),
        line: Line::MAIN,
        id: DeliveryId::from(&TransactionId::new("a").unwrap()),
        instance: Instance::from_header(instance),
        purpose: Purpose::Send,
        remembered: History::default(),
        replay: None,
        token: token.into(),
    }
}

fn to_end(instance: &str, token: &str) -> ClaimRequest {
    ClaimRequest { purpose: Purpose::End, ..wish(instance, token) }
}

fn replayed(instance: &str, token: &str, replay: &str) -> ClaimRequest {
    ClaimRequest { replay: Some(replay.into()), ..wish(instance, token) }
}

fn outcome(status: Status, reason: Option<DeadReason>) -> Outcome {
    let response = Some(Json::of(&serde_json::json!({"status_code": 200})));
    let acceptance = Acceptance { response, ..Acceptance::default() };
    Outcome { status, reason, detail: None, attempts: 1, acceptance, settled_at_ms: 9 }
}

fn delivered() -> Outcome {
    outcome(Status::Delivered, None)
}

fn rejected() -> Outcome {
    outcome(Status::Dead, Some(DeadReason::Rejected))
}

/// One delivery's record, as the file keeps it.
#[derive(Default)]
struct File(Option<Record>);

impl File {
    fn ask(&mut self, wish: &ClaimRequest, now: Now) -> Decision {
        let (decision, written) = claim(self.0.clone(), wish, now, || OPEN);
        self.write(written);
        decision
    }

    fn acquire(&mut self, wish: &ClaimRequest, now: Now) -> History {
        match self.ask(wish, now) {
            Decision::Acquired { history, probe: false } => history,
            other => panic!("not acquired: {other:?}"),
        }
    }

    fn settle(&mut self, token: &str, left: Left) -> bool {
        let (Fenced(fenced), written) = settle(self.0.clone(), token, left);
        self.write(written);
        fenced
    }

    fn end(&mut self, instance: &str, token: &str, outcome: Outcome) -> bool {
        self.settle(token, Left::End { instance: instance.into(), outcome })
    }

    /// What is written must come back from its text as it was.
    fn write(&mut self, written: Option<Record>) {
        if let Some(record) = written {
            let text = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
            self.0 = Some(record);
        }
    }

    fn state(&self) -> &'static str {
        self.0.as_ref().map_or("none", Record::state)
    }
}

#[test]
fn a_delivery_is_claimed_sent_and_ended_once() {
    let mut file = File::default();
    assert_eq!(file.acquire(&wish("m", "t"), at(5)), History::default());
    assert_eq!((file.ask(&wish("m", "u"), at(15)), file.state()), (Decision::Held(LEASE - 10), "sending"));
    assert!(!file.end("m", "t", delivered()));
    assert!(!file.end("m", "t", delivered()), "the same once more");
    assert!(file.end("m", "u", rejected()), "nobody else");
    assert!(file.settle("t", Left::Release(History::default())), "not after the end");
    assert_eq!(file.state(), "ended");
    for (instance, same) in [("m", true), ("other", false)] {
        let ended = Decision::Ended { outcome: delivered(), same };
        assert_eq!(file.ask(&wish(instance, "v"), at(20)), ended);
        assert_eq!(file.ask(&to_end(instance, "v"), at(20)), ended);
    }
}

#[test]
fn only_some_ends_block_others_and_all_are_told_again_to_their_own() {
    let ends = [
        (delivered(), true),
        (outcome(Status::Dead, Some(DeadReason::Uncertain)), true),
        (rejected(), false),
        (outcome(Status::Expired, None), false),
    ];
    for (end, blocks) in ends {
        let mut file = File::default();
        file.acquire(&wish("m1", "t1"), at(0));
        file.end("m1", "t1", end.clone());
        match file.ask(&wish("m2", "t2"), at(1)) {
            Decision::Ended { same: false, .. } => assert!(blocks, "{end:?}"),
            Decision::Acquired { history, .. } => {
                assert!(!blocks && history == History::default(), "{end:?}")
            }
            other => panic!("{other:?}"),
        }
        let own = Decision::Ended { outcome: end, same: true };
        assert_eq!(file.ask(&wish("m1", "t3"), at(2)), own);
    }
    // The last few of them.
    let mut file = File::default();
    for n in 0..10 {
        let (instance, token) = (format!("n{n}"), format!("t{n}"));
        file.acquire(&wish(&instance, &token), at(n));
        assert!(!file.end(&instance, &token, rejected()));
    }
    assert!(matches!(file.ask(&wish("n1", "x"), at(20)), Decision::Ended { same: true, .. }));
    assert!(matches!(file.ask(&wish("n0", "x"), at(20)), Decision::Acquired { .. }));
}

#[test]
fn a_holder_that_dies_while_sending_leaves_an_unresolved_attempt_and_is_fenced() {
    let mut file = File::default();
    file.acquire(&wish("m", "dead"), at(100));
    let expected = History { requests: 1, retries: 0, first_attempt_ms: Some(100), unresolved_ms: Some(100) };
    assert_eq!(file.acquire(&wish("m", "next"), at(100 + LEASE)), expected);
    assert!(file.end("m", "dead", rejected()));
    assert!(file.settle("dead", Left::Release(History::default())));
    // One that dies again does not make the attempt look later.
    let again = file.acquire(&wish("m", "third"), at(100 + 2 * LEASE));
    assert_eq!((again.requests, again.unresolved_ms), (2, Some(100)));
    assert!(!file.end("m", "third", delivered()));

    let mut file = File::default();
    file.acquire(&to_end("m", "dead"), at(0));
    assert_eq!((file.acquire(&wish("m", "next"), at(LEASE)), file.state()), (History::default(), "sending"));
}

#[test]
fn what_is_released_is_kept_and_merged_with_what_the_message_remembers() {
    let mut file = File::default();
    file.acquire(&wish("m", "t"), at(5));
    let kept = History { requests: 2, retries: 2, first_attempt_ms: Some(50), unresolved_ms: Some(60) };
    assert!(!file.settle("t", Left::Release(kept)));
    assert!(!file.settle("t", Left::Release(kept)), "the same once more");
    assert_eq!(file.state(), "idle");
    let remembered = History { requests: 9, retries: 1, first_attempt_ms: Some(70), unresolved_ms: Some(40) };
    let merged = file.acquire(&ClaimRequest { remembered, ..wish("m", "u") }, at(90));
    let expected = History { requests: 9, retries: 2, first_attempt_ms: Some(50), unresolved_ms: Some(40) };
    assert_eq!(merged, expected);
    assert!(!file.settle("u", Left::Release(History { unresolved_ms: None, ..expected })));
    assert_eq!(file.acquire(&to_end("m", "v"), at(95)).unresolved_ms, None);
}

#[test]
fn a_wish_that_is_repeated_finds_its_own_claim_and_counts_once() {
    let mut file = File::default();
    assert_eq!(file.acquire(&wish("m", "t"), at(5)), History::default());
    assert_eq!(file.acquire(&wish("m", "t"), at(7)), History::default());
    assert!(!file.settle("t", Left::Release(History { requests: 1, ..History::default() })));
    // It runs once more after it was granted and given back: it must not take it up again.
    assert_eq!(file.ask(&wish("m", "t"), at(9)), Decision::Held(PROBE_WAIT));
    assert_eq!(file.acquire(&wish("m", "u"), at(9)).requests, 1);
    // Repeated while the account is paused, it leaves nobody's claim behind.
    let mut file = File::default();
    file.acquire(&wish("m", "t"), at(5));
    let pause = Pause { wait: from_millis(7), cause: crate::ports::PauseCause::Circuit };
    let (decision, written) = claim(file.0.clone(), &wish("m", "t"), at(6), || Admission::Closed(pause));
    assert_eq!(decision, Decision::Paused(pause));
    file.write(written);
    assert_eq!((file.state(), file.acquire(&wish("m", "u"), at(7))), ("idle", History::default()));
}

#[test]
fn a_lease_does_not_last_longer_because_the_clock_went_back() {
    let mut file = File::default();
    file.acquire(&wish("m", "dead"), at(10_000_000));
    assert_eq!(file.ask(&wish("m", "t"), at(50)), Decision::Held(LEASE));
    assert_eq!(file.ask(&wish("m", "t"), at(60)), Decision::Held(LEASE - 10));
    assert!(matches!(file.ask(&wish("m", "t"), at(50 + LEASE)), Decision::Acquired { .. }));
}

#[test]
fn a_replay_overrides_an_end_once() {
    let mut file = File::default();
    file.acquire(&wish("m", "t"), at(0));
    file.end("m", "t", delivered());
    assert_eq!(file.acquire(&replayed("r1", "t1", "dead-1"), at(1)), History::default());
    file.end("r1", "t1", rejected());
    let told = |outcome| Decision::Ended { outcome, same: true };
    assert_eq!(file.ask(&replayed("r1", "x", "dead-1"), at(2)), told(rejected()));
    file.acquire(&replayed("r2", "t2", "dead-2"), at(3));
    file.end("r2", "t2", delivered());
    assert_eq!(file.ask(&replayed("r1", "x", "dead-1"), at(4)), told(rejected()));
    assert_eq!(file.ask(&replayed("r2", "x", "dead-2"), at(4)), told(delivered()));
    assert_eq!(file.ask(&wish("m", "x"), at(4)), told(delivered()));
    // A replay of what is forgotten counts as seen.
    let mut file = File::default();
    file.acquire(&replayed("r", "t", "dead-1"), at(0));
    file.end("r", "t", delivered());
    assert_eq!(file.ask(&replayed("r", "x", "dead-1"), at(1)), told(delivered()));
}

#[test]
fn what_is_lost_can_still_be_ended_by_who_held_it() {
    let mut file = File::default();
    assert!(!file.end("m", "t", delivered()));
    assert_eq!(file.state(), "ended");
    let mut file = File::default();
    assert!(!file.settle("t", Left::Release(History { retries: 3, ..History::default() })));
    assert_eq!(file.acquire(&wish("m", "u"), at(0)).retries, 3);
}
