//! Workers replaced one by one under load, as Kubernetes does it.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::support::jobs::{counted_job, exempt_job, properties};
use crate::support::world::{Options, Producer, World};

/// "A few seconds", on a machine with much else to do.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Jobs that go on and on.
struct Load {
    stop: watch::Sender<bool>,
    task: JoinHandle<usize>,
}

impl Load {
    /// Publishes a job of each kind every 50 ms.
    fn begin(producer: Producer) -> Self {
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut published = 0;
            while !*stopped.borrow() {
                let id = format!("l-{published}");
                for job in [exempt_job(&format!("{id}-e")), counted_job(&format!("{id}-c"), "normal")] {
                    let body = job.to_string().into_bytes();
                    producer.offer("shop".into(), body, properties()).await.expect("it is published");
                    published += 1;
                }
                sleep(Duration::from_millis(50)).await;
            }
            published
        });
        Self { stop, task }
    }

    /// How many were published.
    async fn end(self) -> usize {
        self.stop.send_replace(true);
        self.task.await.expect("the producer")
    }
}

fn longest_pause(world: &World, counted: bool) -> Duration {
    let entries = world.provider.ledger();
    let at: Vec<u64> =
        entries.iter().filter(|entry| entry.counted == counted).map(|entry| entry.at_us).collect();
    Duration::from_micros(at.windows(2).map(|pair| pair[1] - pair[0]).max().expect("some requests"))
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_replaced_one_by_one_under_load_neither_pause_nor_double() {
    let shop = "requests_per_minute = 3000\nnotifications_per_request = 1";
    let mut options = Options { shop, ..Options::default() };
    options.simulator.faults.latency = "20ms..200ms".parse().expect("a span");
    let mut world = World::with(options).await;
    for _ in 0..3 {
        world.start_worker().await;
    }
    // A backlog in hand, so that each that ends has much to give back.
    let backlog: Vec<Value> = (0..600).map(|n| counted_job(&format!("b-{n}"), "low")).collect();
    world.publish(&backlog).await;
    let load = Load::begin(world.producer());
    world.wait_for_ends(50).await;
    for _ in 0..3 {
        world.start_worker().await;
        let (status, took) = world.drain_worker(0).await;
        assert_eq!(status.code(), Some(0), "{}", world.logs());
        assert!(took < Duration::from_secs(15), "a drain took {took:?}");
    }
    sleep(Duration::from_secs(1)).await;
    let published = load.end().await;
    world.expect_more(published);
    world.settle().await;
    for counted in [true, false] {
        let pause = longest_pause(&world, counted);
        assert!(pause < LONGEST_PAUSE, "no request (counted: {counted}) for {pause:?}");
    }
    let counts = world.provider.summary().counts;
    assert_eq!(world.count("delivered"), 600 + published);
    assert_eq!((counts.accepted, counts.suppressed), (600 + published as u64, 0), "nothing is sent twice");
    world.finish().await;
}
