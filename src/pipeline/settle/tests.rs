use serde_json::json;

use super::*;
use crate::job::Class;
use crate::pipeline::testing::{delivery, envelope};
use crate::pipeline::trace::Parent;
use crate::ports::Properties;

const POLICY: RetryConfig = RetryConfig {
    attempts: 3,
    max_age: Duration::from_secs(3_600),
    base: Duration::from_secs(2),
    cap: Duration::from_secs(600),
};

fn situation(before: History, repeat: Repeat) -> Situation<'static> {
    Situation {
        before,
        claimed_ms: 1_000,
        repeat,
        probe: false,
        age: Duration::ZERO,
        policy: &POLICY,
        unit: 0.999_999,
    }
}

fn fresh() -> History {
    History::default()
}

fn unresolved() -> History {
    History { requests: 1, first_attempt_ms: Some(400), unresolved_ms: Some(400), ..History::default() }
}

/// What a table expects: an end, or a wait with its delay in seconds, retries, requests, alone, counted.
#[derive(Debug, PartialEq)]
enum Expect {
    Ends(Status, Option<DeadReason>, u32),
    Waits { seconds: u64, retries: u32, requests: u32, alone: bool, counted: bool, unresolved: Option<i64> },
}

fn seen(settlement: Settlement) -> Expect {
    match settlement {
        Settlement::End(ending) => Expect::Ends(ending.status, ending.reason, ending.attempts),
        Settlement::Later { delay, history, alone, counted, cause: _ } => Expect::Waits {
            seconds: delay.as_secs_f64().round() as u64,
            retries: history.retries,
            requests: history.requests,
            alone,
            counted,
            unresolved: history.unresolved_ms,
        },
    }
}

#[test]
fn every_fate_of_a_delivery() {
    use Expect::{Ends, Waits};
    let window = Repeat::Within(Duration::from_secs(300));
    let cause = || "why".to_owned();
    let waits = |seconds, retries, requests, alone, counted, unresolved| Waits {
        seconds,
        retries,
        requests,
        alone,
        counted,
        unresolved,
    };
    let dead = |reason, attempts| Ends(Status::Dead, Some(reason), attempts);
    let accepted = Acceptance::default;
    let spent = History { retries: 3, requests: 3, ..fresh() };
    let old = History { unresolved_ms: Some(1_000 - 290_000), requests: 1, ..fresh() };
    let table: Vec<(Fate, History, Repeat, Expect)> = vec![
        (Fate::Accepted(accepted()), fresh(), window, Ends(Status::Delivered, None, 1)),
        (Fate::AcceptedBefore(accepted()), unresolved(), window, Ends(Status::Delivered, None, 2)),
        (Fate::Refused { reason: cause() }, fresh(), window, dead(DeadReason::Rejected, 1)),
        (Fate::Refused { reason: cause() }, unresolved(), window, dead(DeadReason::Uncertain, 2)),
        (Fate::NotReached, fresh(), window, waits(0, 0, 0, false, false, None)),
        (Fate::NotReached, spent, window, waits(0, 3, 3, false, false, None)),
        (Fate::Unblamed, fresh(), window, waits(0, 0, 1, true, false, None)),
        (Fate::Throttled { retry_after: None }, spent, window, waits(0, 3, 4, false, true, None)),
        (Fate::Misconfigured { cause: cause() }, spent, window, waits(0, 3, 4, true, false, None)),
        (Fate::NotSent { cause: cause() }, fresh(), Repeat::Never, waits(2, 1, 0, false, false, None)),
        (Fate::NotSent { cause: cause() }, spent, Repeat::Never, dead(DeadReason::Exhausted, 3)),
        (
            Fate::Failed { cause: cause(), retry_after: None },
            fresh(),
            Repeat::Never,
            waits(2, 1, 1, false, false, None),
        ),
        (
            Fate::Failed { cause: cause(), retry_after: Some(Duration::from_secs(37)) },
            fresh(),
            Repeat::Never,
            waits(37, 1, 1, false, false, None),
        ),
        (
            Fate::Failed { cause: cause(), retry_after: None },
            History { retries: 3, ..unresolved() },
            window,
            dead(DeadReason::Uncertain, 2),
        ),
        (Fate::Unknown { cause: cause() }, fresh(), Repeat::Never, dead(DeadReason::Uncertain, 1)),
        (Fate::Unknown { cause: cause() }, fresh(), window, waits(2, 1, 1, true, false, Some(1_000))),
        (Fate::Unknown { cause: cause() }, unresolved(), window, waits(2, 1, 2, true, false, Some(400))),
        (Fate::Unknown { cause: cause() }, old, window, dead(DeadReason::Uncertain, 2)),
        (Fate::Unknown { cause: cause() }, fresh(), Repeat::Always, waits(2, 1, 1, true, false, Some(1_000))),
        (Fate::Unknown { cause: cause() }, spent, Repeat::Always, dead(DeadReason::Uncertain, 4)),
        (
            Fate::Unknown { cause: cause() },
            fresh(),
            Repeat::Harmless,
            waits(2, 1, 1, true, false, Some(1_000)),
        ),
        (Fate::Unknown { cause: cause() }, spent, Repeat::Harmless, dead(DeadReason::Exhausted, 4)),
        (Fate::Refused { reason: cause() }, unresolved(), Repeat::Harmless, dead(DeadReason::Rejected, 2)),
    ];
    for (fate, before, repeat, expected) in table {
        let shown = format!("{fate:?} after {before:?}, {repeat:?}");
        assert_eq!(seen(decide(fate, &situation(before, repeat))), expected, "{shown}");
    }
}

#[test]
fn a_probe_that_fails_uses_up_no_retry() {
    let spent = History { retries: 3, requests: 3, ..fresh() };
    for fate in
        [Fate::NotSent { cause: "why".into() }, Fate::Failed { cause: "why".into(), retry_after: None }]
    {
        let probe = Situation { probe: true, ..situation(spent, Repeat::Never) };
        let Settlement::Later { history, .. } = decide(fate, &probe) else { panic!("it ended") };
        assert_eq!(history.retries, 3);
    }
}

#[test]
fn a_delivery_too_old_is_not_tried_again() {
    let late = Situation { age: Duration::from_secs(3_599), ..situation(fresh(), Repeat::Never) };
    let settlement = decide(Fate::Failed { cause: "why".into(), retry_after: None }, &late);
    assert_eq!(seen(settlement), Expect::Ends(Status::Dead, Some(DeadReason::Exhausted), 1));
}

#[test]
fn a_wait_takes_the_longest_rung_that_fits_and_ends_exactly() {
    let second = Duration::from_secs;
    for (remaining, expected) in [
        (Duration::ZERO, None),
        (Duration::from_millis(19), None),
        (Duration::from_millis(500), Some(0)),
        (second(1), Some(0)),
        (second(4), Some(1)),
        (second(59), Some(4)),
        (second(60), Some(5)),
        (second(1_000_000), Some(LADDER_SECONDS.len() - 1)),
    ] {
        assert_eq!(rung(remaining), expected, "{remaining:?}");
    }
    // Going down the ladder for any whole number of seconds takes exactly that long.
    for seconds in [37, 61, 3_599, 86_399] {
        let mut remaining = second(seconds);
        let mut waited = Duration::ZERO;
        let mut hops = 0;
        while let Some(rung) = rung(remaining) {
            waited += second(LADDER_SECONDS[rung]);
            remaining = remaining.saturating_sub(second(LADDER_SECONDS[rung]));
            hops += 1;
        }
        assert_eq!(waited, second(seconds));
        assert!(hops <= 24, "{seconds} s took {hops} hops");
    }
}

fn outcome(reason: Option<DeadReason>) -> Outcome {
    Ending {
        status: if reason.is_some() { Status::Dead } else { Status::Delivered },
        reason,
        detail: reason.map(|_| "why".to_owned()),
        attempts: 2,
        acceptance: Acceptance { message_code: Some("C-1".into()), ..Acceptance::default() },
    }
    .at(Timestamp::from_second(200).unwrap())
}

#[test]
fn receipts_carry_every_field_of_the_contract() {
    let delivery = delivery("t-1", Class::Exempt);
    let mut envelope = envelope("m-1");
    envelope.reply =
        Some(crate::pipeline::envelope::Reply { queue: "mine".into(), correlation_id: Some("c".into()) });
    let subject = Subject {
        account: &delivery.job.account,
        operation: Some("createMessage"),
        id: Some(&delivery.id),
        job_id: Some(&delivery.job.transaction_id),
        envelope: &envelope,
        meta: None,
    };
    let sent = receipts(&subject, &outcome(None));
    assert_eq!(
        sent[0].destination,
        Destination::Receipts { routing_key: "shop.createMessage.delivered".into() }
    );
    assert_eq!(sent[1].destination, Destination::Reply { queue: "mine".into() });
    assert_eq!(sent[1].properties.correlation_id.as_deref(), Some("c"));
    let body: serde_json::Value = serde_json::from_slice(&sent[0].body).unwrap();
    let expected = json!({
        "transactionId": "t-1", "jobId": "t-1", "account": "shop", "operation": "createMessage",
        "status": "delivered", "reason": null, "detail": null, "attempts": 2, "messageCode": "C-1",
        "unknownDevices": [], "response": null, "publishedAt": "1970-01-01T00:01:40Z",
        "settledAt": "1970-01-01T00:03:20Z", "meta": null,
    });
    assert_eq!(body, expected);
    assert_eq!(receipts(&subject, &outcome(None)), sent, "done again after a crash it is the same");
}

#[test]
fn receipts_go_on_from_the_last_attempt_and_letters_from_the_producer() {
    let delivery = delivery("t-1", Class::Exempt);
    let producers = Parent { trace: 1, span: 2, flags: 1 };
    let attempt = Parent { span: 3, ..producers };
    for attempted in [None, Some(attempt)] {
        let mut envelope = envelope("m-1");
        envelope.trace =
            vec![("traceparent".into(), producers.to_string()), ("tracestate".into(), "a=1".into())];
        envelope.attempted = attempted;
        let subject = Subject {
            account: &delivery.job.account,
            operation: None,
            id: Some(&delivery.id),
            job_id: None,
            envelope: &envelope,
            meta: None,
        };
        let dead = outcome(Some(DeadReason::Rejected));
        let receipt = receipts(&subject, &dead).remove(0).properties;
        let parent = |properties: &Properties| properties.header("traceparent").and_then(Parent::read);
        assert_eq!(parent(&receipt), Some(attempted.unwrap_or(producers)));
        assert_eq!(receipt.header("tracestate"), Some("a=1"));
        let letter = dead_letter(&subject, &dead, Bytes::new()).properties;
        assert_eq!(parent(&letter), Some(producers));
    }
}

#[test]
fn dead_letters_carry_every_header_of_the_contract() {
    let delivery = delivery("t-1", Class::Exempt);
    let envelope = envelope("m-1");
    let subject = Subject {
        account: &delivery.job.account,
        operation: None,
        id: None,
        job_id: None,
        envelope: &envelope,
        meta: None,
    };
    let letter = dead_letter(&subject, &outcome(Some(DeadReason::Invalid)), Bytes::from_static(b"\xff raw"));
    assert_eq!(&letter.body[..], b"\xff raw");
    let header = |name: &str| letter.properties.header(name).map(str::to_owned);
    assert_eq!(header("paceline-reason").as_deref(), Some("invalid"));
    assert_eq!(header("paceline-detail").as_deref(), Some("why"));
    assert_eq!(header("paceline-attempts").as_deref(), Some("2"));
    assert_eq!(header("paceline-account").as_deref(), Some("shop"));
    assert_eq!(header("paceline-dead-at").as_deref(), Some("1970-01-01T00:03:20Z"));
    assert_eq!(header("paceline-dead-id").map(|id| id.len()), Some(32));
    let kept = Properties { headers: Vec::new(), ..letter.properties.clone() };
    assert_eq!(kept.message_id.as_deref(), letter.properties.header("paceline-dead-id"));
    assert!(letter.properties.header("paceline-instance").is_none(), "published again it starts afresh");
    assert_eq!((header("paceline-history"), header("paceline-first-attempt-at")), (None, None));
}

#[test]
fn a_dead_letter_tells_the_attempts_behind_it() {
    let delivery = delivery("t-1", Class::Exempt);
    let mut envelope = envelope("m-1");
    envelope.remembered.first_attempt_ms = Some(5_000);
    envelope.trail = envelope.trail.with(5_000, "failed").with(7_000, "throttled");
    let subject = Subject {
        account: &delivery.job.account,
        operation: None,
        id: None,
        job_id: None,
        envelope: &envelope,
        meta: None,
    };
    let letter = dead_letter(&subject, &outcome(Some(DeadReason::Exhausted)), Bytes::new());
    assert_eq!(letter.properties.header("paceline-history"), Some("5000:failed,7000:throttled"));
    assert_eq!(letter.properties.header("paceline-first-attempt-at"), Some("1970-01-01T00:00:05Z"));
}
