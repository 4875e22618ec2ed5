//! `notBefore` and `expiresAt`.

use jiff::{SignedDuration, Timestamp};

use crate::support::jobs::{counted_job, exempt_job};
use crate::support::world::World;

#[tokio::test(flavor = "multi_thread")]
pub async fn nothing_is_sent_before_its_time_or_after_it() {
    let mut world = World::new().await;
    world.start_worker().await;
    let now = Timestamp::now();
    let later = now + SignedDuration::from_secs(4);
    let past = now - SignedDuration::from_secs(1);
    let mut jobs = Vec::new();
    for (id, job) in [("e", exempt_job("e-later")), ("c", counted_job("c-later", "low"))] {
        let mut waits = job.clone();
        waits["notBefore"] = later.to_string().into();
        let mut expired = job.clone();
        expired["transactionId"] = format!("{id}-expired").into();
        expired["expiresAt"] = past.to_string().into();
        let mut hopeless = job;
        hopeless["transactionId"] = format!("{id}-hopeless").into();
        hopeless["notBefore"] = (now + SignedDuration::from_secs(3_600)).to_string().into();
        hopeless["expiresAt"] = (now + SignedDuration::from_secs(2)).to_string().into();
        jobs.extend([waits, expired, hopeless]);
    }
    world.publish(&jobs).await;
    world.settle().await;
    for id in ["e-expired", "c-expired", "e-hopeless", "c-hopeless"] {
        assert_eq!(world.receipts_of(id)[0]["status"], "expired", "{id}");
    }
    for id in ["e-later", "c-later"] {
        let receipt = world.receipts_of(id)[0];
        assert_eq!(receipt["status"], "delivered");
        let settled: Timestamp = receipt["settledAt"].as_str().unwrap().parse().unwrap();
        let late = settled.duration_since(later).as_secs_f64();
        assert!((0.0..5.0).contains(&late), "{id} came {late} s after its time");
    }
    assert_eq!(world.provider.summary().counts.accepted, 2);
    world.finish().await;
}
