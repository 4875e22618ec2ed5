use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;

use super::*;
use crate::config::show;
use crate::job::{Delivery, Finding, Job, Pool};
use crate::ports::{WireAnswer, WireRequest};
use crate::providers::{Gateway, Planned, Repeat};
use crate::simulator::Simulated;
use crate::verdict::Verdict;

/// A provider with one credential and one limit: enough for everything that loading does.
struct Fake;

struct FakeGateway {
    token: Secret,
    limit: Option<u32>,
}

impl Provider for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }
    fn operations(&self) -> &'static [&'static str] {
        &["send"]
    }
    fn keys(&self) -> &'static [crate::config::keys::Key] {
        &[]
    }
    fn configure(&self, settings: &mut Settings<'_>) -> Result<Arc<dyn Gateway>, ConfigError> {
        let token =
            settings.secret("api_token")?.ok_or_else(|| settings.error("api_token", "is required"))?;
        let _ = settings.text("data_center")?;
        let limit = settings.limit("requests_per_minute")?.unwrap_or(Some(600));
        Ok(Arc::new(FakeGateway { token, limit }))
    }
    fn payload_schema(&self, _: &str) -> Json {
        Json::Bool(true)
    }
    fn simulated(&self) -> Arc<dyn Simulated> {
        unreachable!("not part of loading")
    }
    fn samples(&self) -> &'static [&'static str] {
        &[]
    }
}

fn checksum(text: &str) -> u64 {
    text.bytes().fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
}

impl Gateway for FakeGateway {
    fn plan(&self, _: &Job) -> Result<Planned, Vec<Finding>> {
        Ok(Vec::new())
    }
    fn warnings(&self, _: &Job) -> Vec<Finding> {
        Vec::new()
    }
    fn request(&self, _: &[&Delivery]) -> WireRequest {
        unreachable!("not part of loading")
    }
    fn verdict(&self, _: &[&Delivery], _: &WireAnswer, _: bool) -> Verdict {
        unreachable!("not part of loading")
    }
    fn repeat(&self, _: &Delivery) -> Repeat {
        Repeat::Never
    }
    fn reads(&self, _: &Delivery) -> bool {
        false
    }
    fn pools(&self) -> Vec<(Pool, PoolKey, Vec<Window>)> {
        let window = |requests| Window { requests, length: Duration::from_secs(60) };
        let key = PoolKey(format!("fake:{}", checksum(self.token.expose())));
        vec![(Pool::main("push"), key, self.limit.map(window).into_iter().collect())]
    }
    fn fallback_pool(&self, _: &Delivery) -> Option<Pool> {
        None
    }
    fn deliveries_per_request(&self) -> usize {
        1
    }
    fn warm_up_url(&self, _: &Delivery) -> &reqwest::Url {
        unreachable!("not part of loading")
    }
}

const FAKES: &[&dyn Provider] = &[&Fake];
const FILE: &str = "conf/paceline.toml";
const SHOP: &str = "[accounts.shop]\nprovider = \"fake\"\napi_token = { env = \"TOKEN\" }\n";

fn environment() -> Environment {
    Environment::of([("TOKEN", "hunter2")])
}

fn loaded(text: &str, environment: &Environment) -> Result<Loaded, ConfigErrors> {
    load_text(text, Some(Path::new(FILE)), environment, FAKES)
}

fn problems(text: &str, environment: &Environment) -> Vec<String> {
    loaded(text, environment).err().map(|e| e.0.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

#[test]
fn without_file_and_environment_the_defaults_hold() {
    let loaded = load_text("", None, &Environment::default(), FAKES).unwrap_or_else(|e| panic!("{e}"));
    let config = &loaded.config;
    assert_eq!(config.queue.urls, [Secret::new("amqp://guest:guest@127.0.0.1:5672/%2f")]);
    assert_eq!((config.queue.prefix.as_str(), config.store.prefix.as_str()), ("paceline", "paceline"));
    assert_eq!(config.store.dedupe_ttl, Duration::from_secs(7 * 24 * 3600));
    assert_eq!(config.admin.map(|a| a.to_string()).as_deref(), Some("127.0.0.1:9464"));
    assert_eq!((config.worker.lease, config.worker.lane_prefetch), (Duration::from_secs(60), None));
    assert_eq!((config.limiter.burst, config.limiter.jitter), (3, Duration::from_millis(100)));
    assert_eq!((config.retry.attempts, config.retry.cap), (10, Duration::from_secs(600)));
    assert_eq!((config.circuit.failures, config.circuit.pause), (10, Duration::from_secs(5)));
    assert_eq!(loaded.log, LogConfig { format: LogFormat::Human, level: "info".into() });
    assert!(loaded.require_accounts().is_err());
}

#[test]
fn every_key_can_be_set_and_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem").display().to_string();
    std::fs::write(&ca, crate::config::roots::tests::ca()).unwrap();
    let text = r#"
        queue = { url = "amqps://a,amqps://b", prefix = "p", connect_timeout = "1s", publish_timeout = "2s",
                  publish_batch = 3, reconnect_max = "4s", ca_file = "CA" }
        store = { url = "rediss://r", dedupe_ttl = "5m", timeout = "6s", ca_file = "CA" }
        admin = { listen = "127.0.0.1:1", console = { env = "CONSOLE" }, console_dropped = "d" }
        worker = { request_timeout = "7s", connect_timeout = "8s", lease = "90s", requests_in_flight = 10,
                   jobs_prefetch = 11, lane_prefetch = 12, exempt_per_second = 28, lower_every = 29,
                   normal_per_low = 30, hold = "13s", drain = "14s", ca_file = "CA" }
        limiter = { horizon = "15s", slot_width = "1s", jitter = "2s", burst = 4 }
        retry = { attempts = 19, max_age = "20m", base = "21s", cap = "22s" }
        circuit = { failures = 23, pause = "24s", pause_max = "25s", credentials_pause = "26s",
                    throttle_pause = "27s" }
        log = { format = "json", level = "debug" }"#;
    let environment = Environment::of([("CONSOLE", "0123456789abcdef")]);
    let loaded =
        loaded(&text.replace("CA\"", &format!("{ca}\"")), &environment).unwrap_or_else(|e| panic!("{e}"));
    let expected = "QueueConfig { urls: [[secret], [secret]], ca: Some(1 of \"CA\"), prefix: \"p\", connect_timeout: 1s, \
        publish_timeout: 2s, publish_batch: 3, reconnect_max: 4s } \
        StoreConfig { url: [secret], ca: Some(1 of \"CA\"), prefix: \"p\", dedupe_ttl: 300s, timeout: 6s } Some(127.0.0.1:1) \
        Some(ConsoleConfig { token: [secret], dropped: Some(\"conf/d\") }) \
        WorkerConfig { request_timeout: 7s, connect_timeout: 8s, ca: Some(1 of \"CA\"), lease: 90s, requests_in_flight: 10, \
        jobs_prefetch: 11, lane_prefetch: Some(12), exempt_per_second: Some(28), \
        weights: Weights { lower_every: 29, normal_per_low: 30 }, hold: 13s, drain: 14s } \
        LimiterConfig { horizon: 15s, slot_width: 1s, jitter: 2s, burst: 4 } \
        RetryConfig { attempts: 19, max_age: 1200s, base: 21s, cap: 22s } \
        CircuitConfig { failures: 23, pause: 24s, pause_max: 25s, credentials_pause: 26s, throttle_pause: 27s }";
    let Config { queue, store, admin, console, worker, limiter, retry, circuit, .. } = &loaded.config;
    assert_eq!(
        format!("{queue:?} {store:?} {admin:?} {console:?} {worker:?} {limiter:?} {retry:?} {circuit:?}"),
        expected.replace("CA", &ca)
    );
    assert_eq!(loaded.log, LogConfig { format: LogFormat::Json, level: "debug".into() });
    let from_file = loaded.values.iter().filter(|v| matches!(v.origin, crate::config::Origin::File(_)));
    assert_eq!(from_file.count(), all_keys().count(), "a key is not covered by this test");
}

#[test]
fn the_environment_overrides_the_file() {
    let environment = Environment::of([
        ("TOKEN", "hunter2"),
        ("PACELINE__QUEUE__PREFIX", "from_env"),
        ("PACELINE__WORKER__LEASE", "2m"),
        ("PACELINE__ACCOUNTS__SHOP__REQUESTS_PER_MINUTE", "30"),
        ("PACELINE__ACCOUNTS__SHOP__DATA_CENTER", "101"),
        ("PACELINE__ACCOUNTS__SHOP__API_TOKEN", "12345"),
    ]);
    let text = format!("queue.prefix = \"from_file\"\n{SHOP}requests_per_minute = 5\n");
    let loaded = loaded(&text, &environment).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(loaded.config.queue.prefix, "from_env");
    assert_eq!(loaded.config.worker.lease, Duration::from_secs(120));
    let account = loaded.config.accounts.values().next().unwrap();
    let (_, key, windows) = account.gateway.pools().remove(0);
    assert_eq!((key.0, windows[0].requests), (format!("fake:{}", checksum("12345")), 30));
}

#[test]
fn a_ca_file_that_gives_no_trust_is_named_with_its_key() {
    for (text, expected) in [
        ("queue.ca_file = \"ca.pem\"", "queue.ca_file: the file conf/ca.pem: can't be read"),
        ("store.ca_file = \"/dev/null\"", "store.ca_file: the file /dev/null: holds no certificate"),
        ("worker.ca_file = \"../Cargo.toml\"", "worker.ca_file: the file conf/../Cargo.toml: "),
    ] {
        let problems = problems(text, &environment());
        assert!(problems.iter().any(|p| p.contains(expected)), "{text}: {problems:?}");
    }
}

#[test]
fn mistakes_name_the_key_the_file_and_the_likely_key() {
    let env = environment;
    let with = |name, value| Environment::of([("TOKEN", "hunter2"), (name, value)]);
    let cases: [(&str, Environment, &str); 17] = [
        ("[wroker]\n", env(), "wroker: unknown key; did you mean worker? (in file conf/paceline.toml)"),
        ("colour = 1", env(), "colour: unknown key (in file conf/paceline.toml)"),
        ("worker.leese = \"60s\"", env(), "worker.leese: unknown key; did you mean lease? (in file"),
        ("worker = 5", env(), "worker: found a value, allowed: a table of keys (in file"),
        ("accounts = 5", env(), "accounts: found a value, allowed: a table of keys"),
        ("accounts.shop = 5", env(), "accounts.shop: found a value, allowed: a table of keys"),
        (
            "retry.attempts = 1001",
            env(),
            "retry.attempts: found 1001, allowed: a whole number from 0 to 1000",
        ),
        ("store.timeout = 2", env(), "store.timeout: found 2, allowed: a duration from 50ms to 30s"),
        (
            "",
            with("PACELINE__RETRY__ATEMPTS", "3"),
            "retry.atempts: unknown key; did you mean attempts? (in environment variable PACELINE__RETRY__ATEMPTS)",
        ),
        (
            "retry.attempts = 3",
            with("PACELINE__RETRY__ATTEMPTS", "many"),
            "retry.attempts: found \"many\", allowed: a whole number from 0 to 1000 (in environment variable \
             PACELINE__RETRY__ATTEMPTS)",
        ),
        ("[accounts.\"a.b\"]\n", env(), "accounts.a.b: can't name an account, allowed: 1 to 64 of"),
        ("[accounts.shop]\n", env(), "accounts.shop.provider: is required, allowed: \"fake\""),
        ("[accounts.shop]\nprovider = \"fakee\"", env(), "found \"fakee\", allowed: \"fake\"; did you mean"),
        ("[accounts.shop]\nprovider = \"fake\"", env(), "accounts.shop.api_token: is required (in file"),
        (SHOP, Environment::default(), "accounts.shop.api_token: the environment variable TOKEN is not set"),
        (
            "[accounts.shop]\nprovider = \"fake\"\napi_token = \"hunter2\"",
            env(),
            "accounts.shop.api_token: a credential does not stand in the file itself, allowed: { env",
        ),
        ("queue.url = \"embedded:x\"", env(), "store.url: names a server, but queue.url is embedded:FILE"),
    ];
    for (text, environment, expected) in cases {
        let problems = problems(text, &environment);
        assert!(problems.iter().any(|p| p.contains(expected)), "{text}\n{expected}\n{problems:#?}");
        assert!(problems.iter().all(|p| !p.contains("hunter2")), "{problems:?}");
    }
}

#[test]
fn a_misspelt_key_of_an_account_is_named_beside_the_one_that_is_missing() {
    let text = "[accounts.shop]\nprovider = \"fake\"\napi_tokne = { env = \"TOKEN\" }\ndata_center = \"1\"";
    assert_eq!(
        problems(text, &environment()),
        [
            "accounts.shop.api_tokne: unknown key; did you mean api_token? (in file conf/paceline.toml)",
            "accounts.shop.api_token: is required (in file conf/paceline.toml)",
        ]
    );
    let text = format!("{SHOP}request_per_minute = 5\n");
    assert_eq!(
        problems(&text, &environment()),
        ["accounts.shop.request_per_minute: unknown key; did you mean requests_per_minute? (in file \
          conf/paceline.toml)"]
    );
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = "retry = { attempts = -1, bse = \"1s\" }\nlog.level = \"loud\"\nextra = 1";
    let keys: Vec<String> = loaded(text, &environment())
        .err()
        .map(|e| e.0.into_iter().map(|e| e.key).collect())
        .unwrap_or_default();
    assert_eq!(keys, ["retry.attempts", "retry.bse", "log.level", "extra"]);
}

#[test]
fn values_are_checked_against_each_other() {
    // The defaults of the other four and the margin add up to 2 + 0.2 + 20 + 5 + 5 = 32.2 s.
    let cases = [
        ("worker.lease = \"32200ms\"", Some("worker.lease: found 32s 200ms, allowed: at least 32s 201ms")),
        ("worker.lease = \"32201ms\"", None),
        ("worker.request_timeout = \"48s\"", Some("worker.request_timeout + worker.connect_timeout + 5s")),
        ("worker.lease = \"2m\"\nstore.dedupe_ttl = \"90s\"", Some("store.dedupe_ttl: found 1m 30s")),
        ("retry.base = \"1m\"\nretry.cap = \"59s\"", Some("retry.cap: found 59s, allowed: at least 1m")),
        ("retry.base = \"1m\"\nretry.cap = \"60s\"", None),
        ("circuit.pause = \"61s\"", Some("circuit.pause_max: found 1m, allowed: at least 1m 1s")),
    ];
    for (text, expected) in cases {
        let problems = problems(text, &environment());
        match expected {
            None => assert!(problems.is_empty(), "{text}: {problems:?}"),
            Some(part) => assert!(problems.iter().any(|p| p.contains(part)), "{text}: {problems:?}"),
        }
    }
}

#[test]
fn accounts_with_one_credential_need_one_limit() {
    let two = |limit: &str| {
        format!("{SHOP}\n[accounts.twin]\nprovider = \"fake\"\napi_token = {{ env = \"TOKEN\" }}\n{limit}")
    };
    assert_eq!(problems(&two(""), &environment()), Vec::<String>::new());
    assert_eq!(
        problems(&two("requests_per_minute = 60"), &environment()),
        ["accounts.twin: has the credential of accounts.shop but another limit (60 in 1m instead of 600 in \
          1m); accounts with one credential share one limit, so both need the same (in file \
          conf/paceline.toml)"]
    );
}

#[test]
fn what_is_shown_has_origins_and_no_credentials() {
    let environment = Environment::of([
        ("TOKEN", "hunter2"),
        ("PACELINE__STORE__URL", "redis://:hunter2@cache:6379/1"),
        ("PACELINE__LOG__LEVEL", "warn"),
    ]);
    let loaded = loaded(SHOP, &environment).unwrap_or_else(|e| panic!("{e}"));
    let text = show::as_text(&loaded);
    let json = show::as_json(&loaded).to_string();
    assert!(
        !text.contains("hunter2") && !json.contains("hunter2") && !format!("{loaded:?}").contains("hunter2")
    );
    let line = |part: &str| text.lines().find(|line| line.starts_with(part)).unwrap_or_default().to_owned();
    assert!(line("prefix").ends_with("# default"), "{text}");
    assert!(line("# lane_prefetch: not set").ends_with("# default"), "{text}");
    assert!(line("level = \"warn\"").ends_with("# environment variable PACELINE__LOG__LEVEL"), "{text}");
    assert!(line("url = \"redis://:***@cache:6379/1\"").contains("# environment variable"), "{text}");
    assert!(line("api_token = [secret] from env TOKEN").ends_with("# file conf/paceline.toml"), "{text}");
    assert!(text.contains("[accounts.shop]") && text.contains("# limit of account shop, push: 600 in 1m"));
    assert!(json.contains(r#"{"key":"queue.prefix","value":"\"paceline\"","origin":{"from":"default"}}"#));
}

#[test]
fn a_console_needs_a_token_that_nobody_guesses_and_a_listener() {
    let console = "[admin]\nconsole = { env = \"CONSOLE\" }\n";
    for (more, token, expected) in [
        ("", "0123456789abcde", Some("admin.console: is too short, allowed: at least 16 characters")),
        ("", "0123456789abcdef", None),
        ("listen = \"off\"", "0123456789abcdef", Some("admin.console: needs admin.listen")),
    ] {
        let environment = Environment::of([("CONSOLE", token)]);
        let found = problems(&format!("{console}{more}"), &environment);
        assert_eq!(found.len(), usize::from(expected.is_some()), "{found:?}");
        let told = found.iter().all(|problem| problem.starts_with(expected.unwrap_or_default()));
        assert!(told && !format!("{found:?}").contains(token), "{found:?}");
    }
    assert!(load_text("", None, &Environment::default(), FAKES).unwrap().config.console.is_none());
}

#[test]
fn the_full_sample_holds_every_key_with_its_default() {
    let full = include_str!("../../config/full.toml");
    let table: toml::Table = full.parse().unwrap();
    for (path, key) in all_keys() {
        let (section, name) = path.split_once('.').unwrap();
        let Some(default) = key.default else {
            assert!(full.contains(&format!("# {name} = ")), "{path} is not mentioned");
            continue;
        };
        let expected = format!("v = {default}").parse::<toml::Table>().unwrap();
        assert_eq!(table.get(section).and_then(|s| s.get(name)), expected.get("v"), "{path}");
    }
}

/// A provider that reads the keys which the contract gives its accounts.
struct Promised {
    name: &'static str,
    texts: &'static [&'static str],
    secrets: &'static [&'static str],
    integers: &'static [&'static str],
    booleans: &'static [&'static str],
}

static PROMISED: [&dyn Provider; 2] = [
    &Promised {
        name: "pushwoosh",
        texts: &["base_url", "application"],
        secrets: &["api_token"],
        integers: &["exempt_devices", "notifications_per_request"],
        booleans: &["require_targeting"],
    },
    &Promised {
        name: "moengage",
        texts: &["base_url", "data_center", "workspace_id", "on_unknown"],
        secrets: &["push_api_key", "campaign_api_key"],
        integers: &[],
        booleans: &[],
    },
];

impl Provider for Promised {
    fn name(&self) -> &'static str {
        self.name
    }
    fn operations(&self) -> &'static [&'static str] {
        &[]
    }
    fn keys(&self) -> &'static [crate::config::keys::Key] {
        &[]
    }
    fn configure(&self, settings: &mut Settings<'_>) -> Result<Arc<dyn Gateway>, ConfigError> {
        for key in self.texts {
            settings.text(key)?;
        }
        for key in self.integers {
            settings.integer(key, 0, 1000)?;
        }
        for key in self.booleans {
            settings.boolean(key)?;
        }
        let mut token = String::from(self.name);
        for key in self.secrets {
            let secret = settings.secret(key)?.ok_or_else(|| settings.error(key, "is required"))?;
            token.push_str(secret.expose());
        }
        let limit = settings.limit("requests_per_minute")?.unwrap_or(None);
        Ok(Arc::new(FakeGateway { token: Secret::new(token), limit }))
    }
    fn payload_schema(&self, _: &str) -> Json {
        Json::Bool(true)
    }
    fn simulated(&self) -> Arc<dyn Simulated> {
        unreachable!("not part of loading")
    }
    fn samples(&self) -> &'static [&'static str] {
        &[]
    }
}

#[test]
fn every_sample_loads() {
    let environment = Environment::of([
        ("PUSHWOOSH_TOKEN", "token"),
        ("MOENGAGE_PUSH_KEY", "key"),
        ("MOENGAGE_CAMPAIGN_KEY", "key"),
    ]);
    for (name, text) in [
        ("paceline.toml", include_str!("../../config/paceline.toml")),
        ("full.toml", include_str!("../../config/full.toml")),
        ("development.toml", include_str!("../../config/development.toml")),
        ("embedded.toml", include_str!("../../config/embedded.toml")),
    ] {
        let loaded = load_text(text, Some(Path::new(name)), &environment, &PROMISED)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(loaded.require_accounts().is_ok(), "{name} has no account");
    }
}

#[test]
fn an_embedded_file_is_broker_and_store_at_once() {
    let load = |text: &str| {
        let text =
            format!("{text}\n[accounts.shop]\nprovider = \"pushwoosh\"\napi_token = {{ env = \"T\" }}");
        load_text(&text, Some(Path::new("/etc/paceline/p.toml")), &Environment::of([("T", "t")]), &PROMISED)
    };
    let both = |queue, store| load(&format!("[queue]\nurl = \"{queue}\"\n[store]\nurl = \"{store}\""));
    let loaded = both("embedded:jobs.db", "embedded:/etc/paceline/jobs.db").unwrap();
    assert_eq!(loaded.config.embedded.as_deref(), Some(Path::new("/etc/paceline/jobs.db")));
    let shown = show::as_text(&loaded);
    assert!(shown.contains("url = \"embedded:/etc/paceline/jobs.db\""), "{shown}");
    assert_eq!(load("").unwrap().config.embedded, None);
    let wrong = [
        (
            both("embedded:a", "embedded:b"),
            "store.url: names /etc/paceline/b, but queue.url names /etc/paceline/a",
        ),
        (load("[queue]\nurl = \"embedded:a\""), "store.url: names a server, but queue.url is embedded:FILE"),
        (load("[store]\nurl = \"embedded:a\""), "queue.url: names a server, but store.url is embedded:FILE"),
    ];
    for (loaded, expected) in wrong {
        let problem = loaded.unwrap_err().to_string();
        assert!(problem.contains(expected) && problem.contains("p.toml"), "{problem}");
    }
}
