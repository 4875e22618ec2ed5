//! A private Prometheus: started on a free port in a folder of its own, killed when dropped.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::files::{path, text};
use super::support::world::get;

/// How long it may take to start, and anything in it to be evaluated, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running server.
pub struct Prometheus {
    url: String,
    folder: TempDir,
    // Killed on drop.
    _process: Child,
}

impl Prometheus {
    /// Starts one with the sample configuration, except that it scrapes this address, every second.
    pub async fn scraping(target: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("prometheus.yml"), configuration(target)).expect("a configuration");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = fs::File::create(folder.path().join("log")).expect("a log file");
        let process = Command::new("prometheus")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("prometheus is needed (Debian: apt install prometheus)");
        let started = Self { url: format!("http://127.0.0.1:{port}"), folder, _process: process };
        let ready = format!("{}/-/ready", started.url);
        started
            .until("it is ready", || async { get(&ready).await.is_some_and(|(status, _)| status == 200) })
            .await;
        started
    }

    /// What its API answers to a path, if it answers well.
    pub async fn data(&self, path: &str) -> Result<Value, String> {
        let Some((status, text)) = get(&format!("{}/api/v1/{path}", self.url)).await else {
            return Err("no answer".to_owned());
        };
        let answer: Value = serde_json::from_str(&text).map_err(|_| text.clone())?;
        if status == 200 && answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(text) }
    }

    /// The series that an expression selects now.
    pub async fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let encoded: String = url::form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let data = self.data(&format!("query?query={encoded}")).await?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// Waits for a condition.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, condition: impl Fn() -> F) {
        let end = Instant::now() + PATIENCE;
        while !condition().await {
            assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}\n{}", self.log());
            sleep(Duration::from_millis(200)).await;
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// The sample, with what a test has to change in it.
fn configuration(target: &str) -> String {
    let mut sample = text("deploy/prometheus/prometheus.yml");
    let rules = path("deploy/prometheus/rules.yml");
    for (from, to) in [
        ("127.0.0.1:9464", target.to_owned()),
        ("_interval: 15s", "_interval: 1s".to_owned()),
        ("scrape_timeout: 10s", "scrape_timeout: 1s".to_owned()),
        ("[rules.yml]", format!("[\"{}\"]", rules.display())),
    ] {
        assert!(sample.contains(from), "the sample has no {from}");
        sample = sample.replace(from, &to);
    }
    sample
}
