//! The whole configuration: every section and account read, then checked against each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::{Table, Value};

use super::keys::{ACCOUNTS, Key, Kind, PROVIDER, SECTIONS, Section};
use super::settings::{Settings, as_table, closest, unknown};
use super::source::{self, Context, Environment};
use super::value::{Parsed, allowed};
use super::{
    Account, CircuitConfig, Config, ConfigError, ConfigErrors, ConsoleConfig, LimiterConfig, LogConfig,
    LogFormat, QueueConfig, RetryConfig, Roots, Secret, Shown, StoreConfig, Weights, WorkerConfig,
};
use crate::job::AccountName;
use crate::ports::{PoolKey, Window};
use crate::providers::Provider;

/// What a claim's lease must have left over beside everything that may happen while it lasts.
pub const LEASE_MARGIN: Duration = Duration::from_secs(5);

/// The fewest characters of the console's token.
const SHORTEST_TOKEN: usize = 16;

/// A configuration that was read and checked.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// The log.
    pub log: LogConfig,
    /// Every value in force with its origin, credentials masked.
    pub values: Vec<Shown>,
    /// The file it came from, or a text that says that there is none.
    pub origin: String,
}

impl Loaded {
    /// An error when there is no account, for commands that are nothing without one.
    pub fn require_accounts(&self) -> Result<(), ConfigErrors> {
        if !self.config.accounts.is_empty() {
            return Ok(());
        }
        Err(ConfigErrors(vec![ConfigError {
            key: ACCOUNTS.to_owned(),
            problem: "no account is configured; add a table [accounts.NAME] to the file named by --config \
                      or PACELINE_CONFIG"
                .to_owned(),
            origin: self.origin.clone(),
        }]))
    }
}

/// Reads the file, if there is one, the environment over it, and the defaults for the rest.
///
/// Every problem that can be found is reported, not only the first.
pub fn load(
    file: Option<&Path>,
    environment: &Environment,
    providers: &[&'static dyn Provider],
) -> Result<Loaded, ConfigErrors> {
    let (table, context) = source::read(file, environment).map_err(ConfigErrors)?;
    assemble(table, &context, file, providers)
}

/// The same for a file's text; `file` is its name.
pub fn load_text(
    text: &str,
    file: Option<&Path>,
    environment: &Environment,
    providers: &[&'static dyn Provider],
) -> Result<Loaded, ConfigErrors> {
    let (table, context) = source::parse(text, file, environment).map_err(ConfigErrors)?;
    assemble(table, &context, file, providers)
}

fn assemble(
    mut table: Table,
    context: &Context,
    file: Option<&Path>,
    providers: &[&'static dyn Provider],
) -> Result<Loaded, ConfigErrors> {
    let mut reading = Reading::default();
    let values: BTreeMap<&str, Values> = SECTIONS
        .iter()
        .map(|section| (section.name, reading.section(section, &mut table, context)))
        .collect();
    let accounts = reading.accounts(&mut table, context, providers);
    reading.leftovers(&table, context);
    if !reading.errors.is_empty() {
        return Err(ConfigErrors(reading.errors));
    }
    let embedded = embedded_file(&values, context).map_err(|error| ConfigErrors(vec![error]))?;
    let (config, log) = build(&values, embedded, accounts).map_err(|error| ConfigErrors(vec![error]))?;
    let errors = crossed(&config, context);
    if !errors.is_empty() {
        return Err(ConfigErrors(errors));
    }
    let origin = file.map_or_else(
        || "defaults and environment, no file".to_owned(),
        |path| format!("file {}", path.display()),
    );
    Ok(Loaded { config, log, values: reading.shown, origin })
}

// ---------------------------------------------------------------------------------------------
// Reading
// ---------------------------------------------------------------------------------------------

#[derive(Default)]
struct Reading {
    shown: Vec<Shown>,
    errors: Vec<ConfigError>,
}

impl Reading {
    fn section(&mut self, section: &'static Section, table: &mut Table, context: &Context) -> Values {
        let mut values = Values { section: section.name, by_key: BTreeMap::new() };
        let Some(mut own) = self.table(section.name, table.remove(section.name), context) else {
            return values;
        };
        let mut settings = Settings::new(section.name, &mut own, context);
        for key in section.keys {
            match settings.key(key) {
                Ok(Some(parsed)) => {
                    values.by_key.insert(key.name, parsed);
                }
                Ok(None) => {}
                Err(error) => self.errors.push(error),
            }
        }
        self.close(settings, None);
        values
    }

    fn accounts(
        &mut self,
        table: &mut Table,
        context: &Context,
        providers: &[&'static dyn Provider],
    ) -> BTreeMap<AccountName, Arc<Account>> {
        let mut accounts = BTreeMap::new();
        let all = self.table(ACCOUNTS, table.remove(ACCOUNTS), context).unwrap_or_default();
        for (text, value) in all {
            let path = format!("{ACCOUNTS}.{text}");
            let Some(name) = AccountName::new(&text) else {
                let word = allowed(&Kind::Word { max: 64 });
                self.errors.push(context.error(&path, format!("can't name an account, allowed: {word}")));
                continue;
            };
            let Some(mut own) = self.table(&path, Some(value), context) else { continue };
            let mut settings = Settings::new(path, &mut own, context);
            let account = configure(name.clone(), &mut settings, providers);
            self.close(settings, account.as_ref().err());
            match account {
                Ok(account) => {
                    accounts.insert(name, Arc::new(account));
                }
                Err(error) => self.errors.push(error),
            }
        }
        accounts
    }

    fn leftovers(&mut self, table: &Table, context: &Context) {
        let known = || SECTIONS.iter().map(|section| section.name).chain([ACCOUNTS]);
        for name in table.keys() {
            self.errors.push(context.error(name, unknown(closest(name, known()))));
        }
    }

    /// The table at `path`: empty when there is none, `None` (and an error) when it is a value.
    fn table(&mut self, path: &str, value: Option<Value>, context: &Context) -> Option<Table> {
        let Some(value) = value else { return Some(Table::new()) };
        as_table(value).map_err(|problem| self.errors.push(context.error(path, problem))).ok()
    }

    fn close(&mut self, settings: Settings<'_>, failed: Option<&ConfigError>) {
        let (shown, errors) = settings.finish(failed);
        self.shown.extend(shown);
        self.errors.extend(errors);
    }
}

fn configure(
    name: AccountName,
    settings: &mut Settings<'_>,
    providers: &[&'static dyn Provider],
) -> Result<Account, ConfigError> {
    let names = || providers.iter().map(|provider| provider.name());
    let list = || names().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(" or ");
    let word = settings
        .text(PROVIDER)?
        .ok_or_else(|| settings.error(PROVIDER, format!("is required, allowed: {}", list())))?;
    let provider = providers.iter().find(|provider| provider.name() == word).ok_or_else(|| {
        let hint = closest(&word, names()).map(|likely| format!("; did you mean {likely:?}?"));
        settings.error(PROVIDER, format!("found {word:?}, allowed: {}{}", list(), hint.unwrap_or_default()))
    })?;
    let gateway = provider.configure(settings)?;
    Ok(Account { name, provider: provider.name(), gateway })
}

// ---------------------------------------------------------------------------------------------
// Building
// ---------------------------------------------------------------------------------------------

/// The values of one section, each of the kind that the table of keys gives it.
struct Values {
    section: &'static str,
    by_key: BTreeMap<&'static str, Parsed>,
}

impl Values {
    /// The table of keys and the code that builds the configuration belong together; where they
    /// part, loading fails with this (and a test loads every key).
    fn bug(&self, key: &str) -> ConfigError {
        ConfigError {
            key: format!("{}.{key}", self.section),
            problem: "is not in the table of keys as it is used (a bug)".to_owned(),
            origin: "defaults".to_owned(),
        }
    }

    fn text(&self, key: &str) -> Result<String, ConfigError> {
        let Some(Parsed::Text(text)) = self.by_key.get(key) else { return Err(self.bug(key)) };
        Ok(text.clone())
    }

    fn duration(&self, key: &str) -> Result<Duration, ConfigError> {
        let Some(Parsed::Duration(duration)) = self.by_key.get(key) else { return Err(self.bug(key)) };
        Ok(*duration)
    }

    fn integer<T: TryFrom<u64>>(&self, key: &str) -> Result<T, ConfigError> {
        self.optional(key)?.ok_or_else(|| self.bug(key))
    }

    fn optional<T: TryFrom<u64>>(&self, key: &str) -> Result<Option<T>, ConfigError> {
        let Some(parsed) = self.by_key.get(key) else { return Ok(None) };
        let Parsed::Integer(number) = parsed else { return Err(self.bug(key)) };
        T::try_from(*number).map(Some).map_err(|_| self.bug(key))
    }

    fn addresses(&self, key: &str) -> Result<Vec<Secret>, ConfigError> {
        match self.by_key.get(key) {
            Some(Parsed::Addresses(list)) => Ok(list.clone()),
            Some(shown @ Parsed::Embedded(_)) => Ok(vec![Secret::new(shown.shown().trim_matches('"'))]),
            _ => Err(self.bug(key)),
        }
    }

    /// The file that stands in the place of servers, if one does.
    fn embedded(&self, key: &str) -> Option<&PathBuf> {
        match self.by_key.get(key) {
            Some(Parsed::Embedded(file)) => Some(file),
            _ => None,
        }
    }

    fn roots(&self, key: &str) -> Result<Option<Roots>, ConfigError> {
        match self.by_key.get(key) {
            None => Ok(None),
            Some(Parsed::Roots(roots)) => Ok(Some(roots.clone())),
            Some(_) => Err(self.bug(key)),
        }
    }

    fn listen(&self, key: &str) -> Result<Option<SocketAddr>, ConfigError> {
        let Some(Parsed::Listen(address)) = self.by_key.get(key) else { return Err(self.bug(key)) };
        Ok(*address)
    }
}

/// The file that is broker and store at once. One without the other is a mistake: claims and messages
/// lie in one file, or on servers that any number of workers share.
fn embedded_file(values: &BTreeMap<&str, Values>, context: &Context) -> Result<Option<PathBuf>, ConfigError> {
    let file = |section| values.get(section).and_then(|values: &Values| values.embedded("url"));
    let same = "both are embedded:FILE with the same file, or neither is";
    match (file("queue"), file("store")) {
        (None, None) => Ok(None),
        (Some(one), Some(other)) if one == other => Ok(Some(one.clone())),
        (Some(one), Some(other)) => {
            let (one, other) = (one.display(), other.display());
            Err(context.error("store.url", format!("names {other}, but queue.url names {one}; {same}")))
        }
        (Some(_), None) => {
            Err(context.error("store.url", format!("names a server, but queue.url is embedded:FILE; {same}")))
        }
        (None, Some(_)) => {
            Err(context.error("queue.url", format!("names a server, but store.url is embedded:FILE; {same}")))
        }
    }
}

fn build(
    values: &BTreeMap<&str, Values>,
    embedded: Option<PathBuf>,
    accounts: BTreeMap<AccountName, Arc<Account>>,
) -> Result<(Config, LogConfig), ConfigError> {
    let none = |section| Values { section, by_key: BTreeMap::new() };
    let section = |name| values.get(name).ok_or_else(|| none(name).bug("*"));
    let queue = queue(section("queue")?)?;
    let config = Config {
        embedded,
        store: store(section("store")?, queue.prefix.clone())?,
        queue,
        admin: section("admin")?.listen("listen")?,
        console: console(section("admin")?)?,
        worker: worker(section("worker")?)?,
        limiter: limiter(section("limiter")?)?,
        retry: retry(section("retry")?)?,
        circuit: circuit(section("circuit")?)?,
        accounts,
    };
    Ok((config, log(section("log")?)?))
}

fn console(values: &Values) -> Result<Option<ConsoleConfig>, ConfigError> {
    let token = match values.by_key.get("console") {
        None => return Ok(None),
        Some(Parsed::Secret(token)) => token.clone(),
        Some(_) => return Err(values.bug("console")),
    };
    let dropped = match values.by_key.get("console_dropped") {
        None => None,
        Some(_) => Some(values.text("console_dropped")?.into()),
    };
    Ok(Some(ConsoleConfig { token, dropped }))
}

fn queue(values: &Values) -> Result<QueueConfig, ConfigError> {
    Ok(QueueConfig {
        urls: values.addresses("url")?,
        ca: values.roots("ca_file")?,
        prefix: values.text("prefix")?,
        connect_timeout: values.duration("connect_timeout")?,
        publish_timeout: values.duration("publish_timeout")?,
        publish_batch: values.integer("publish_batch")?,
        reconnect_max: values.duration("reconnect_max")?,
    })
}

fn store(values: &Values, prefix: String) -> Result<StoreConfig, ConfigError> {
    let url = values.addresses("url")?.into_iter().next().ok_or_else(|| values.bug("url"))?;
    Ok(StoreConfig {
        url,
        ca: values.roots("ca_file")?,
        prefix,
        dedupe_ttl: values.duration("dedupe_ttl")?,
        timeout: values.duration("timeout")?,
    })
}

fn worker(values: &Values) -> Result<WorkerConfig, ConfigError> {
    Ok(WorkerConfig {
        request_timeout: values.duration("request_timeout")?,
        connect_timeout: values.duration("connect_timeout")?,
        ca: values.roots("ca_file")?,
        lease: values.duration("lease")?,
        requests_in_flight: values.integer("requests_in_flight")?,
        jobs_prefetch: values.integer("jobs_prefetch")?,
        lane_prefetch: values.optional("lane_prefetch")?,
        exempt_per_second: values.optional("exempt_per_second")?,
        weights: Weights {
            lower_every: values.integer("lower_every")?,
            normal_per_low: values.integer("normal_per_low")?,
        },
        hold: values.duration("hold")?,
        drain: values.duration("drain")?,
    })
}

fn limiter(values: &Values) -> Result<LimiterConfig, ConfigError> {
    Ok(LimiterConfig {
        horizon: values.duration("horizon")?,
        slot_width: values.duration("slot_width")?,
        jitter: values.duration("jitter")?,
        burst: values.integer("burst")?,
    })
}

fn retry(values: &Values) -> Result<RetryConfig, ConfigError> {
    Ok(RetryConfig {
        attempts: values.integer("attempts")?,
        max_age: values.duration("max_age")?,
        base: values.duration("base")?,
        cap: values.duration("cap")?,
    })
}

fn circuit(values: &Values) -> Result<CircuitConfig, ConfigError> {
    Ok(CircuitConfig {
        failures: values.integer("failures")?,
        pause: values.duration("pause")?,
        pause_max: values.duration("pause_max")?,
        credentials_pause: values.duration("credentials_pause")?,
        throttle_pause: values.duration("throttle_pause")?,
    })
}

fn log(values: &Values) -> Result<LogConfig, ConfigError> {
    let format = values.text("format")?;
    Ok(LogConfig {
        format: LogFormat::parse(&format).ok_or_else(|| values.bug("format"))?,
        level: values.text("level")?,
    })
}

// ---------------------------------------------------------------------------------------------
// Cross checks
// ---------------------------------------------------------------------------------------------

fn crossed(config: &Config, context: &Context) -> Vec<ConfigError> {
    let mut errors: Vec<ConfigError> = orders(config)
        .into_iter()
        .filter(|order| order.least > order.value)
        .map(|order| {
            let span = |duration| humantime::format_duration(duration).to_string();
            let (value, least) = (span(order.value), span(order.least));
            context.error(order.key, format!("found {value}, allowed: at least {least}, {}", order.why))
        })
        .collect();
    errors.extend(shared_limits(config, context));
    errors.extend(unusable_console(config).map(|problem| context.error("admin.console", problem)));
    errors
}

/// What is wrong with the console's token, which is never shown.
fn unusable_console(config: &Config) -> Option<String> {
    let token = &config.console.as_ref()?.token;
    if token.expose().chars().count() < SHORTEST_TOKEN {
        return Some(format!("is too short, allowed: at least {SHORTEST_TOKEN} characters, made by chance"));
    }
    config.admin.is_none().then(|| "needs admin.listen, which is \"off\"".to_owned())
}

/// One value that must not be below another.
struct Order {
    key: &'static str,
    value: Duration,
    least: Duration,
    why: &'static str,
}

fn orders(config: &Config) -> [Order; 4] {
    let Config { worker, limiter, retry, circuit, store, .. } = config;
    let longest = limiter.horizon + limiter.slot_width + worker.request_timeout + worker.connect_timeout;
    [
        Order {
            key: "worker.lease",
            value: worker.lease,
            // Strictly more than the sum: the clocks that measure them count in milliseconds.
            least: longest + LEASE_MARGIN + Duration::from_millis(1),
            why: "which is more than limiter.horizon + limiter.slot_width + worker.request_timeout + \
                  worker.connect_timeout + 5s, so that no request outlives its claim",
        },
        Order {
            key: "store.dedupe_ttl",
            value: store.dedupe_ttl,
            least: worker.lease,
            why: "which is worker.lease, so that no claim is forgotten while it is held",
        },
        Order {
            key: "retry.cap",
            value: retry.cap,
            least: retry.base,
            why: "which is retry.base, the first wait",
        },
        Order {
            key: "circuit.pause_max",
            value: circuit.pause_max,
            least: circuit.pause,
            why: "which is circuit.pause, the first pause",
        },
    ]
}

/// Accounts with one credential share one limit at the provider, so two limits can't both be true.
fn shared_limits(config: &Config, context: &Context) -> Vec<ConfigError> {
    let mut seen: BTreeMap<PoolKey, (&AccountName, Vec<Window>)> = BTreeMap::new();
    let mut errors = Vec::new();
    for account in config.accounts.values() {
        for (_, key, windows) in account.gateway.pools() {
            let (other, theirs) = seen.entry(key).or_insert_with(|| (&account.name, windows.clone()));
            if *theirs != windows {
                errors.push(context.error(
                    &format!("{ACCOUNTS}.{}", account.name),
                    format!(
                        "has the credential of {ACCOUNTS}.{other} but another limit ({} instead of {}); \
                         accounts with one credential share one limit, so both need the same",
                        limits(&windows),
                        limits(theirs),
                    ),
                ));
            }
        }
    }
    errors
}

/// A pool's windows, for people.
pub(super) fn limits(windows: &[Window]) -> String {
    let one =
        |window: &Window| format!("{} in {}", window.requests, humantime::format_duration(window.length));
    if windows.is_empty() {
        return "unlimited".to_owned();
    }
    windows.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Every key with its dotted path, in the order in which they are shown.
pub fn all_keys() -> impl Iterator<Item = (String, &'static Key)> {
    SECTIONS.iter().flat_map(|section| {
        section.keys.iter().map(move |key| (format!("{}.{}", section.name, key.name), key))
    })
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
