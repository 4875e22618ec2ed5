//! A producer's trace where paceline itself exports none.

use paceline::ports::Properties;

use crate::listener::{Listener, Manner};
use crate::support::jobs::{exempt_job, properties};
use crate::support::world::{Options, World};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The trace headers of the requests for these jobs, each published with a `traceparent`.
async fn sent(world: &mut World, provider: &Listener, parents: &[&str]) -> Vec<[Option<String>; 2]> {
    for (n, parent) in parents.iter().enumerate() {
        let headers = [("traceparent", *parent), ("tracestate", "a=1")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let properties = Properties { headers: headers.into(), ..properties() };
        let job = exempt_job(&format!("j-{n}")).to_string();
        world.publish_raw("shop", job.as_bytes(), properties, 1).await.unwrap();
        world.settle().await;
    }
    let header = |seen: &crate::listener::Seen, name: &str| seen.header(name).map(str::to_owned);
    provider.seen().iter().map(|seen| [header(seen, "traceparent"), header(seen, "tracestate")]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_s_trace_reaches_the_request_as_it_came_and_nonsense_does_not() {
    let mut world = World::with(Options::default()).await;
    let provider = Listener::start(Manner::PassesOn(world.provider.url())).await;
    world.set_environment(vec![("PACELINE__ACCOUNTS__SHOP__BASE_URL", provider.url().leak())]);
    world.start_worker().await;
    let found = sent(&mut world, &provider, &[PARENT, "00-1-2-01"]).await;
    assert_eq!(found, [[Some(PARENT.to_owned()), Some("a=1".to_owned())], [None, None]]);
    assert!(!world.whole_logs().contains("traces"), "nobody asked for traces");
    world.finish().await;
}

#[cfg(not(feature = "otlp"))]
#[tokio::test(flavor = "multi_thread")]
async fn a_binary_that_can_not_export_traces_says_so_once_and_works() {
    let mut world = World::with(Options::default()).await;
    world.set_environment(vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@127.0.0.1:9")]);
    world.start_worker().await;
    world.publish(&[exempt_job("e")]).await;
    world.settle().await;
    let logs = world.whole_logs();
    assert_eq!(logs.matches("built without the feature \"otlp\"").count(), 1, "{logs}");
    assert!(!logs.contains("secret"));
    world.finish().await;
}
