//! What a world works on while something fails.

use serde_json::{Value, json};

use crate::support::jobs::{counted_job, exempt_job, notification, user_job};
use crate::support::world::{Options, World};

/// Jobs of many kinds, told apart by their numbers: of ten there are seven pushes that the provider
/// recognises when they come again, a reading, and two for which it has no means to.
pub fn mixed(from: usize, to: usize) -> Vec<Value> {
    (from..to).map(one).collect()
}

fn one(n: usize) -> Value {
    let id = format!("f-{n}");
    match n % 10 {
        0..=2 => exempt_job(&id),
        3 => counted_job(&id, "high"),
        4 => counted_job(&id, "normal"),
        5 => counted_job(&id, "low"),
        6 => targeted_job(&id),
        7 => json!({
            "transactionId": id, "account": "shop", "operation": "getMessageDetails",
            "payload": {"message": "1234-5678ABCD-90EF1234"},
        }),
        _ => user_job(&id),
    }
}

/// A job whose repeat the provider recognises for a day.
pub fn targeted_job(id: &str) -> Value {
    let filter = "A(\"XXXXX-XXXXX\", [\"iOS\", \"Android\"]) * T(\"Age\", GTE, 18)";
    json!({
        "transactionId": id, "account": "shop", "operation": "createTargetedMessage",
        "payload": notification(&format!("targeted {id}"), json!({"devices_filter": filter})),
    })
}

/// What lets a round of work last for some seconds: a provider that takes its time, and limits of ten
/// requests a second.
pub fn slow() -> Options {
    let shop = "requests_per_minute = 600\nnotifications_per_request = 2";
    let mut options = Options { shop, news: "requests_per_minute = 600", ..Options::default() };
    options.simulator.faults.latency = "20ms..120ms".parse().expect("a span");
    options
}

/// Work in rounds: each is published when the one before may have ended, and has only begun when this
/// returns.
pub async fn next_round(world: &mut World, jobs: usize) {
    let (from, ended) = (world.published(), world.receipts().len());
    world.publish(&mixed(from, from + jobs)).await;
    world.wait_for_ends(ended + 5).await;
    let left = world.published() - world.receipts().len();
    assert!(left > jobs / 4, "the fault would come too late to prove anything: {left} of {jobs} are left");
}

/// Asserts how everything ended: `mixed` work of which no more than the pushes without any means to
/// recognise a second one may be dead, and these only because nobody knows what became of them.
pub fn assert_ends(world: &World) {
    for receipt in world.receipts() {
        let (status, reason) = (text(receipt, "status"), text(receipt, "reason"));
        // There is no such message: the provider refuses to tell of it.
        let fine = match text(receipt, "operation") {
            "getMessageDetails" => reason == "rejected",
            "sendPush" => status == "delivered" || reason == "uncertain",
            _ => status == "delivered",
        };
        assert!(fine, "{receipt}\n{}", world.logs());
    }
}

fn text<'a>(receipt: &'a Value, member: &str) -> &'a str {
    receipt[member].as_str().unwrap_or_default()
}
