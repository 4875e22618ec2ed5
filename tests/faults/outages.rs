//! The provider is away.

use std::time::Duration;

use serde_json::Value;

use crate::support::jobs::{counted_job, exempt_job};
use crate::support::world::{Options, World, eventually};

#[tokio::test(flavor = "multi_thread")]
pub async fn an_outage_of_the_provider_opens_the_circuit_and_uses_up_nobody() {
    let more = "[circuit]\nfailures = 5\npause = \"1s\"\npause_max = \"2s\"\n[retry]\nbase = \"1s\"\ncap = \"1s\"\nattempts = 4";
    let mut world = World::with(Options { more, ..Options::default() }).await;
    world.provider.refuse_connections(Duration::from_secs(12));
    let worker = world.start_worker().await;
    let jobs: Vec<Value> = (0..60)
        .map(|n| {
            if n % 2 == 0 { exempt_job(&format!("o-{n}")) } else { counted_job(&format!("o-{n}"), "normal") }
        })
        .collect();
    world.publish(&jobs).await;
    eventually("the circuit opens", || async {
        let text = world.admin(worker, "/metrics").await.1;
        text.contains("paceline_circuit_state{account=\"shop\"} 2")
    })
    .await;
    world.settle().await;
    // Sixty deliveries with four retries each would have burnt out within seconds without it.
    assert!(world.count("delivered") >= 55, "{} delivered\n{}", world.count("delivered"), world.logs());
    world.finish().await;
}
