//! The jobs of the measurement, how they get into the queue, and when they have left it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::jobs::notification;
use crate::support::world::World;

/// Bytes of bodies published at once while preloading.
const CHUNK_BYTES: usize = 2_000_000;

/// What a job is like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// How many devices it is for.
    pub devices: usize,
    /// How many bytes are added to its data.
    pub padding: usize,
}

/// One notification for three devices, of about 600 bytes.
pub const USUAL: Shape = Shape { devices: 3, padding: 0 };

/// A job that is sent at once.
pub fn job(id: &str, shape: Shape) -> Value {
    let devices: Vec<String> = (0..shape.devices).map(|n| format!("{n:04}{id:0>60}")).collect();
    let more = json!({
        "devices": devices, "title": "Your order",
        "data": {"order": "A-1047", "screen": "order/status", "more": "x".repeat(shape.padding)},
    });
    json!({
        "transactionId": id, "account": "shop", "operation": "createMessage", "priority": "high",
        "payload": {"notifications": [notification("Your parcel is on its way and comes today.", more)]},
    })
}

/// Publishes so many jobs named `NAME-0` and so on, with confirms.
pub async fn preload(world: &mut World, name: &str, jobs: usize, shape: Shape) {
    let bytes = job(name, shape).to_string().len();
    let all: Vec<usize> = (0..jobs).collect();
    for chunk in all.chunks((CHUNK_BYTES / bytes).clamp(1, 2_000)) {
        let jobs: Vec<Value> = chunk.iter().map(|n| job(&format!("{name}-{n}"), shape)).collect();
        world.publish(&jobs).await;
    }
}

/// The longest time for the broker to hear of the ends of what has arrived.
const PATIENCE: Duration = Duration::from_secs(300);

/// Waits until the broker has heard of every end.
pub async fn until_settled(world: &World) {
    let deadline = Instant::now() + PATIENCE;
    let queue = format!("{}.jobs.shop\t0", world.prefix());
    let listed = || world.broker().ctl(&["-q", "list_queues", "name", "messages"]);
    while !listed().lines().any(|line| line == queue) {
        assert!(Instant::now() < deadline, "jobs stay unsettled: {}", listed());
    }
}
