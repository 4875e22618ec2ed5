use serde_json::json;

use super::*;
use crate::cli::demo::jobs::Writer;
use crate::cli::demo::setting::SHOP;
use crate::simulator::DeliveryRecord;

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn receipt(id: &str, status: &str, reason: Option<&str>) -> Receipt {
    let value =
        json!({"transactionId": id, "account": SHOP, "status": status, "reason": reason, "detail": "why"});
    serde_json::from_value(value).unwrap()
}

fn entry(fault: Option<&str>, outcomes: &[DeliveryOutcome]) -> Entry {
    let record =
        |outcome: &DeliveryOutcome| DeliveryRecord { id: None, key: None, outcome: *outcome, code: None };
    Entry {
        seq: 0,
        at_us: 0,
        provider: Some("pushwoosh".to_owned()),
        operation: "createMessage".to_owned(),
        account: None,
        counted: true,
        throttled: false,
        status: Some(200),
        fault: fault.map(str::to_owned),
        deliveries: outcomes.iter().map(record).collect(),
    }
}

fn told(story: &Story) -> Vec<&str> {
    let texts: Vec<&str> = story.events().iter().map(|event| event.text.as_str()).collect();
    // What a terminal of 80 columns has room for.
    assert!(texts.iter().all(|text| text.chars().count() <= 71), "{texts:#?}");
    texts
}

#[test]
fn every_end_counts_once_and_what_is_worth_telling_is_told() {
    let mut story = Story::default();
    let mut writer = Writer::new(1);
    for (at, sample) in [
        (1.0, writer.code()),
        (2.0, writer.message(Kind::Alarm, SHOP)),
        (2.0, writer.message(Kind::Letter, SHOP)),
    ] {
        story.handed(seconds(at), &sample);
        story.confirmed(sample.account, sample.deliveries);
    }
    assert_eq!((story.waiting(SHOP, Kind::Letter), story.waiting_at_all()), (1, 3));
    for _ in 0..2 {
        story.ended(seconds(1.05), "a", &receipt("code-1", "delivered", None));
    }
    story.ended(seconds(2.4), "b", &receipt("alarm-1", "delivered", None));
    assert_eq!((story.waiting_at_all(), story.totals().open(), story.totals().delivered), (1, 1, 2));
    story.ended(seconds(3.0), "c", &receipt("letter-1", "dead", Some("rejected")));
    let expected = [
        "code-1 delivered 50 ms after it was published",
        "1 urgent messages sent within 400 ms, 1 letters still wait",
        "letter-1 is dead, rejected: why",
    ];
    assert_eq!(told(&story), expected);
    assert_eq!(story.totals().dead, [("rejected".to_owned(), 1)].into());
    assert_eq!(story.usual_code_time(), Some(seconds(0.05)));
}

#[test]
fn samples_with_another_end_are_explained() {
    let mut story = Story::default();
    let cases = [
        ("payment-1", "duplicate", None, "payment-1 came a second time: duplicate, not sent"),
        ("reminder-1", "delivered", None, "reminder-1 is delivered"),
        ("taxi-1", "expired", None, "taxi-1 is expired: its time was over, not sent"),
        ("mistake-1", "dead", Some("invalid"), "mistake-1 is dead, invalid: why"),
    ];
    for (id, status, reason, expected) in cases {
        story.ended(seconds(1.0), id, &receipt(id, status, reason));
        assert_eq!(told(&story).last(), Some(&expected));
    }
}

#[test]
fn an_outage_is_told_from_its_first_fault_to_its_end() {
    let mut story = Story::default();
    let fault = entry(Some("503"), &[DeliveryOutcome::NotReached]);
    for at in [10.0, 10.1] {
        story.arrived(seconds(at), SHOP, &fault);
    }
    story.health(seconds(10.2), SHOP, Health::Open(seconds(1.0)));
    // Under way when the circuit opened.
    story.arrived(seconds(10.3), SHOP, &fault);
    story.health(seconds(11.2), SHOP, Health::Probing);
    story.arrived(seconds(11.3), SHOP, &fault);
    story.health(seconds(11.4), SHOP, Health::Open(seconds(2.0)));
    story.health(seconds(13.2), SHOP, Health::Well);
    let expected = [
        "pushwoosh answers 503",
        "too many faults in a row: the circuit of shop is open, shop waits",
        "probe 1 of shop: 503, so the next one waits longer",
        "a probe was answered: the circuit of shop is closed after 3s",
    ];
    assert_eq!(told(&story), expected);
    assert_eq!(story.health_of(SHOP), Health::Well);
}

#[test]
fn an_outage_that_begins_between_two_looks_is_told_in_order() {
    let mut story = Story::default();
    let fault = || (SHOP, entry(Some("503"), &[DeliveryOutcome::NotReached]));
    story.looked(seconds(10.0), &[fault(), fault(), fault()], [(SHOP, Health::Open(seconds(1.0)))]);
    let expected =
        ["pushwoosh answers 503", "too many faults in a row: the circuit of shop is open, shop waits"];
    assert_eq!(told(&story), expected);
}

#[test]
fn a_lost_answer_is_told_with_its_repeats() {
    let mut story = Story::default();
    let (taken, known) = (DeliveryOutcome::Accepted, DeliveryOutcome::Suppressed);
    story.arrived(seconds(1.0), SHOP, &entry(Some("reset-after"), &[taken, taken]));
    story.arrived(seconds(2.0), SHOP, &entry(None, &[known]));
    assert_eq!(story.events().len(), 1);
    story.arrived(seconds(3.0), SHOP, &entry(None, &[known]));
    let expected = [
        "pushwoosh took a request of 2, its answer was lost: were they pushed?",
        "sent again, 2 of them were recognised: none pushed twice",
    ];
    assert_eq!(told(&story), expected);
}

#[test]
fn a_faulty_notification_and_a_pause_are_told() {
    let mut story = Story::default();
    let outcomes = [DeliveryOutcome::Accepted, DeliveryOutcome::Refused, DeliveryOutcome::NotReached];
    story.arrived(seconds(1.0), SHOP, &entry(None, &outcomes));
    story.arrived(seconds(2.0), SHOP, &entry(Some("429=2s"), &[DeliveryOutcome::NotReached]));
    story.health(seconds(2.1), SHOP, Health::Throttled(seconds(1.9)));
    story.health(seconds(4.1), SHOP, Health::Well);
    let expected = [
        "status 210: notification 2 of a request is faulty, 1 behind it go back",
        "pushwoosh answers 429, Retry-After 2s: shop waits that long",
        "shop goes on; nothing used up a retry",
    ];
    assert_eq!(told(&story), expected);
}
