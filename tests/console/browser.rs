//! A headless Chromium with a profile of its own.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::support::world::get;

/// How long a page may take to show what it should; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Browser {
    client: reqwest::Client,
    session: String,
    /// Ends with it, and the browser with that.
    _driver: Child,
    _profile: TempDir,
}

impl Browser {
    pub async fn start() -> Self {
        let profile = tempfile::tempdir().expect("a temporary folder");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver, of Debian's package chromium-driver (deploy/local/packages.sh)");
        let base = format!("http://127.0.0.1:{port}");
        let status = format!("{base}/status");
        let deadline = Instant::now() + PATIENCE;
        while get(&status).await.is_none_or(|(code, _)| code != 200) {
            assert!(Instant::now() < deadline, "chromedriver does not answer");
            sleep(Duration::from_millis(50)).await;
        }
        let data = format!("--user-data-dir={}", profile.path().display());
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
            &data,
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let client = reqwest::Client::new();
        let made = call(&client, Method::POST, &format!("{base}/session"), Some(wanted)).await;
        let id = made["sessionId"].as_str().expect("a session");
        Self { client, session: format!("{base}/session/{id}"), _driver: driver, _profile: profile }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        call(&self.client, Method::POST, &format!("{}/{path}", self.session), Some(body)).await
    }

    pub async fn open(&self, url: &str) {
        self.post("url", json!({ "url": url })).await;
    }

    /// What a script returns.
    pub async fn run(&self, script: &str) -> Value {
        self.post("execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Waits until an expression is true.
    pub async fn until(&self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.run(&format!("return Boolean({expression})")).await != true {
            if Instant::now() > deadline {
                let text = self.run("return document.body.innerText").await;
                panic!("not within {PATIENCE:?}: {expression}\n{text}\n{:?}", self.complaints().await);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn element(&self, selector: &str) -> String {
        self.until(&format!("document.querySelector({selector:?})")).await;
        let found = self.post("element", json!({ "using": "css selector", "value": selector })).await;
        let id = found.as_object().and_then(|members| members.values().next()).expect("an element");
        id.as_str().expect("its id").to_owned()
    }

    /// Clicks where a person would.
    pub async fn click(&self, selector: &str) {
        let id = self.element(selector).await;
        self.post(&format!("element/{id}/click"), json!({})).await;
    }

    pub async fn write(&self, selector: &str, text: &str) {
        let id = self.element(selector).await;
        self.post(&format!("element/{id}/clear"), json!({})).await;
        self.post(&format!("element/{id}/value"), json!({ "text": text })).await;
    }

    /// A command of Chromium's own protocol.
    async fn command(&self, name: &str, parameters: Value) {
        self.post("goog/cdp/execute", json!({ "cmd": name, "params": parameters })).await;
    }

    pub async fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    pub async fn resize(&self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.command("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Writes what is seen into `target/console/`.
    pub async fn picture(&self, name: &str) {
        let url = format!("{}/screenshot", self.session);
        let taken = call(&self.client, Method::GET, &url, None).await;
        let bytes = base64::engine::general_purpose::STANDARD.decode(taken.as_str().expect("a picture"));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/console");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{name}.png")), bytes.expect("base64")).expect("a file");
    }

    /// What the browser's console says since it was asked last: errors of scripts, and what the policy
    /// forbids.
    pub async fn complaints(&self) -> Vec<String> {
        let lines = self.post("se/log", json!({ "type": "browser" })).await;
        let lines = lines.as_array().cloned().unwrap_or_default();
        lines.iter().map(|line| line["message"].to_string()).collect()
    }

    pub async fn end(self) {
        call(&self.client, Method::DELETE, &self.session, None).await;
    }
}

async fn call(client: &reqwest::Client, method: Method, url: &str, body: Option<Value>) -> Value {
    let mut request = client.request(method, url).timeout(PATIENCE);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.expect("chromedriver answers");
    let mut value: Value = answer.json().await.expect("JSON");
    let value = value["value"].take();
    assert!(value.get("error").is_none(), "{url}: {value}");
    value
}
