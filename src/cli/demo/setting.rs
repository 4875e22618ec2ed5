//! What the demo runs with: two accounts, and limits that both sides know alike.
//!
//! A provider's minute lasts `60 s / speed`, for the simulated providers that count and for the
//! worker that keeps within it. Nothing else is changed: the promise that is shown is the real one,
//! only its windows are shorter, so that several pass within the demo.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::config::{self, Account, Config, Environment};
use crate::job::{AccountName, Delivery, Finding, Job, Pool};
use crate::ports::{PoolKey, Window, WireAnswer, WireRequest};
use crate::providers::{self, Gateway, Planned, Repeat};
use crate::simulator::{FaultPlan, Rules, SimulatorConfig, Span, Windows};
use crate::verdict::Verdict;

/// The account of Pushwoosh.
pub(super) const SHOP: &str = "shop";
/// The account of MoEngage.
pub(super) const NEWS: &str = "news";

/// Requests a minute: Pushwoosh's own limit, and for MoEngage, which allows 10,000, as many as one
/// can watch.
const LIMITS: [(&str, &str, u32); 2] = [(SHOP, "pushwoosh", 600), (NEWS, "moengage", 900)];

/// Deliveries that one request of Pushwoosh may carry: few, so that the limit is reached.
pub(super) const PER_REQUEST: u32 = 4;

/// How long the simulated providers take to answer.
const LATENCY: Span = Span { min: Duration::from_millis(15), max: Duration::from_millis(45) };

/// How the demo is to run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    /// Where chance begins.
    pub(super) seed: u64,
    /// How long new jobs come, and what waits is sent.
    pub(super) length: Duration,
    /// So many times shorter is a minute.
    pub(super) speed: u32,
}

impl Setting {
    /// How long a provider's minute lasts.
    pub(super) fn minute(&self) -> Duration {
        Duration::from_secs(60) / self.speed
    }

    /// The most requests of a minute for an account.
    pub(super) fn limit(&self, account: &str) -> u32 {
        LIMITS.iter().find(|(name, _, _)| *name == account).map_or(0, |(_, _, limit)| *limit)
    }

    /// Deliveries that an account can send in a second.
    pub(super) fn per_second(&self, account: &str) -> f64 {
        let requests = f64::from(self.limit(account)) / self.minute().as_secs_f64();
        if account == SHOP { requests * f64::from(PER_REQUEST) } else { requests }
    }

    /// The simulated providers.
    pub(super) fn simulator(&self) -> SimulatorConfig {
        let rules = LIMITS.iter().filter_map(|(_, provider, limit)| {
            let documented = providers::by_name(provider)?.simulated().rules();
            let pools = documented.pools.iter();
            let pools = pools.map(|(name, windows)| (name.clone(), self.shortened(windows)));
            let rules = Rules {
                requests: Some(*limit),
                window: self.minute(),
                pools: pools.collect(),
                ..documented.clone()
            };
            Some(((*provider).to_owned(), rules))
        });
        SimulatorConfig {
            rules: rules.collect::<HashMap<_, _>>(),
            faults: usual(),
            seed: self.seed,
            ..SimulatorConfig::default()
        }
    }

    fn shortened(&self, windows: &Windows) -> Windows {
        let mut windows = windows.clone();
        windows.0.iter_mut().for_each(|window| window.length /= self.speed);
        windows
    }

    /// The worker's configuration: queue and store in `file`, providers at `url`.
    pub(super) fn config(&self, file: &Path, url: &str) -> anyhow::Result<Config> {
        let file = file.to_str().context("the file's name is not UTF-8")?;
        // A text in JSON is one in TOML, too.
        let address = serde_json::to_string(&format!("embedded:{file}"))?;
        let text = configuration(&address, url);
        // Made up, and never read from the person's own environment.
        let environment = Environment::of([("DEMO", "a-made-up-credential")]);
        let loaded = config::load_text(&text, None, &environment, &providers::ALL)?;
        let mut config = loaded.config;
        config.accounts = sped(config.accounts, self.speed);
        Ok(config)
    }
}

/// The simulated providers without faults.
pub(super) fn usual() -> FaultPlan {
    FaultPlan { latency: LATENCY, rules: Vec::new() }
}

/// Short pauses and waits, so that an outage and its end are seen.
fn configuration(address: &str, url: &str) -> String {
    let [(shop, _, shop_limit), (news, _, news_limit)] = LIMITS;
    format!(
        r#"
[queue]
url = {address}

[store]
url = {address}

[admin]
listen = "off"

[worker]
request_timeout = "5s"
connect_timeout = "1s"
lease = "15s"
drain = "5s"

[limiter]
horizon = "1s"
jitter = "200ms"

[retry]
base = "1s"
cap = "4s"

[circuit]
failures = 5
pause = "1s"
pause_max = "4s"

[accounts.{shop}]
provider = "pushwoosh"
base_url = "{url}"
api_token = {{ env = "DEMO" }}
application = "AAAAA-BBBBB"
requests_per_minute = {shop_limit}
notifications_per_request = {PER_REQUEST}

[accounts.{news}]
provider = "moengage"
base_url = "{url}"
workspace_id = "DEMO"
push_api_key = {{ env = "DEMO" }}
requests_per_minute = {news_limit}
"#
    )
}

fn sped(accounts: BTreeMap<AccountName, Arc<Account>>, speed: u32) -> BTreeMap<AccountName, Arc<Account>> {
    let faster = |account: &Account| {
        let gateway = Arc::new(Sped { inner: account.gateway.clone(), speed });
        Arc::new(Account { name: account.name.clone(), provider: account.provider, gateway })
    };
    accounts.into_iter().map(|(name, account)| (name, faster(&account))).collect()
}

/// An account whose limits have shorter windows.
struct Sped {
    inner: Arc<dyn Gateway>,
    speed: u32,
}

impl Gateway for Sped {
    fn plan(&self, job: &Job) -> Result<Planned, Vec<Finding>> {
        self.inner.plan(job)
    }

    fn warnings(&self, job: &Job) -> Vec<Finding> {
        self.inner.warnings(job)
    }

    fn request(&self, deliveries: &[&Delivery]) -> WireRequest {
        self.inner.request(deliveries)
    }

    fn verdict(&self, deliveries: &[&Delivery], answer: &WireAnswer, after_unknown: bool) -> Verdict {
        self.inner.verdict(deliveries, answer, after_unknown)
    }

    fn repeat(&self, delivery: &Delivery) -> Repeat {
        self.inner.repeat(delivery)
    }

    fn reads(&self, delivery: &Delivery) -> bool {
        self.inner.reads(delivery)
    }

    fn pools(&self) -> Vec<(Pool, PoolKey, Vec<Window>)> {
        let shorter = |window: &Window| Window { length: window.length / self.speed, ..*window };
        let pools = self.inner.pools().into_iter();
        pools.map(|(pool, key, windows)| (pool, key, windows.iter().map(shorter).collect())).collect()
    }

    fn fallback_pool(&self, delivery: &Delivery) -> Option<Pool> {
        self.inner.fallback_pool(delivery)
    }

    fn deliveries_per_request(&self) -> usize {
        self.inner.deliveries_per_request()
    }

    fn warm_up_url(&self, delivery: &Delivery) -> &reqwest::Url {
        self.inner.warm_up_url(delivery)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worker_and_simulated_provider_agree_on_every_limit() {
        for speed in [1, 5, 7, 10] {
            let setting = Setting { seed: 1, length: Duration::from_secs(40), speed };
            let config = setting.config(Path::new("/tmp/a \"b\".db"), "http://127.0.0.1:1").unwrap();
            let simulator = setting.simulator();
            for account in config.accounts.values() {
                let rules = &simulator.rules[account.provider];
                for (pool, _, windows) in account.gateway.pools() {
                    let found: Vec<_> = windows.iter().map(|w| (w.requests, w.length)).collect();
                    let expected = match rules.pools.get(pool.name()) {
                        Some(further) => further.0.iter().map(|w| (w.requests, w.length)).collect(),
                        None if windows.is_empty() => Vec::new(),
                        None => vec![(rules.requests.unwrap(), rules.window)],
                    };
                    assert_eq!(found, expected, "{} {} at speed {speed}", account.name, pool.name());
                }
                assert_eq!(rules.requests, Some(setting.limit(account.name.as_str())));
            }
        }
    }
}
