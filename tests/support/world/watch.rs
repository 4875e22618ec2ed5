//! Looking at processes from outside, and waiting for what they do.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Sends a signal to a process of this test.
pub fn signal(pid: u32, name: &str) {
    let status =
        std::process::Command::new("kill").args([name, &pid.to_string()]).status().expect("kill runs");
    assert!(status.success(), "no process {pid}");
}

/// What an address serves; `None` while nobody listens.
pub async fn get(url: &str) -> Option<(u16, String)> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let response = reqwest::Client::new().get(url).timeout(Duration::from_secs(5)).send().await.ok()?;
    let status = response.status().as_u16();
    Some((status, response.text().await.ok()?))
}

/// Waits for a condition, a minute at most.
pub async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
