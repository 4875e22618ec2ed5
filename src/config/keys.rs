//! The table of configuration keys: every tunable with its meaning, unit, bounds, default and the
//! reason for the default, in one place that parsing, `config show` and the samples' tests share.
//!
//! The keys of an account are its provider's own (see [`crate::providers::Provider::keys`]).

use std::time::Duration;

/// What values a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A credential: `{ env = "NAME" }` or `{ file = "PATH" }`.
    Secret,
    /// `true` or `false`.
    Boolean,
    /// A whole number within bounds (both included).
    Integer {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A limit: a whole number of at least 2, or `"unlimited"`.
    Limit,
    /// A duration such as `"30s"`, within bounds (both included).
    Duration {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Addresses of servers, comma separated; a text, `{ env = "NAME" }` or `{ file = "PATH" }`,
    /// because they may hold a password. `embedded:FILE` names a file in their place.
    Addresses {
        /// How an address may begin (the part before `://`).
        schemes: &'static [&'static str],
        /// The most addresses.
        most: usize,
    },
    /// A PEM file with certificates of CAs, its path relative to the configuration file.
    Roots,
    /// A folder, its path relative to the configuration file.
    Folder,
    /// Where to listen: an IP address with a port, or `"off"`.
    Listen,
    /// A word of 1 to `max` of `A-Z a-z 0-9 _ -`.
    Word {
        /// The most characters.
        max: usize,
    },
}

/// One configuration key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// Its name within its table.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The default as it would stand in the file; `None` when the key is required or may be absent.
    pub default: Option<&'static str>,
    /// What it means.
    pub meaning: &'static str,
    /// Why the default is what it is.
    pub reason: &'static str,
}

/// One table of the configuration file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub meaning: &'static str,
    /// Its keys, in the order in which they are shown.
    pub keys: &'static [Key],
}

/// The table that holds the accounts, each a table of its provider's own keys.
pub const ACCOUNTS: &str = "accounts";

/// The key of an account that names its provider.
pub const PROVIDER: &str = "provider";

const fn millis(min: u64, max: u64) -> Kind {
    Kind::Duration { min: Duration::from_millis(min), max: Duration::from_millis(max) }
}

const fn seconds(min: u64, max: u64) -> Kind {
    Kind::Duration { min: Duration::from_secs(min), max: Duration::from_secs(max) }
}

/// A whole number within bounds.
pub const fn integer(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max }
}

/// A row of the table.
pub const fn key(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    meaning: &'static str,
    reason: &'static str,
) -> Key {
    Key { name, kind, default, meaning, reason }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Every section except the accounts.
pub const SECTIONS: &[Section] = &[
    Section { name: "queue", meaning: "The broker (RabbitMQ).", keys: QUEUE },
    Section { name: "store", meaning: "Claims and permits (Redis).", keys: STORE },
    Section { name: "admin", meaning: "The listener for metrics, health and the console.", keys: ADMIN },
    Section { name: "worker", meaning: "How a worker works.", keys: WORKER },
    Section { name: "limiter", meaning: "How permits are spread over time.", keys: LIMITER },
    Section { name: "retry", meaning: "When a failed delivery is tried again.", keys: RETRY },
    Section { name: "circuit", meaning: "Pauses of an account, for all workers.", keys: CIRCUIT },
    Section { name: "log", meaning: "The log, on standard error.", keys: LOG },
];

const QUEUE: &[Key] = &[
    key(
        "url",
        Kind::Addresses { schemes: &["amqp", "amqps"], most: 16 },
        Some(r#""amqp://guest:guest@127.0.0.1:5672/%2f""#),
        "Addresses of the broker's nodes, comma separated, tried in turn, after a loss the next first; or \"embedded:FILE\" for none.",
        "A broker on this machine with its factory settings.",
    ),
    key(
        "ca_file",
        Kind::Roots,
        None,
        "A PEM file with CAs that amqps:// trusts beside the system's; relative to the configuration file.",
        "Absent, the system's are trusted alone. Certificates are always checked.",
    ),
    key(
        "prefix",
        Kind::Word { max: 32 },
        Some(r#""paceline""#),
        "What the names of all exchanges, queues and store keys begin with.",
        "Two installations on one broker or store need different ones; most have one.",
    ),
    key(
        "connect_timeout",
        millis(100, 60_000),
        Some(r#""5s""#),
        "The longest time to connect to one node.",
        "A node that is up answers within milliseconds; the next one is tried soon.",
    ),
    key(
        "publish_timeout",
        seconds(1, 5 * MINUTE),
        Some(r#""20s""#),
        "The longest time to wait for the broker to confirm a message.",
        "Longer than the election of a new queue leader, shorter than a worker's hold.",
    ),
    key(
        "publish_batch",
        integer(1, 4096),
        Some("128"),
        "The most messages published before their confirms are awaited.",
        "Measured: 128 reaches 16,000 to 34,000 messages a second; more gains little.",
    ),
    key(
        "reconnect_max",
        millis(500, 5 * MINUTE * 1000),
        Some(r#""10s""#),
        "The longest pause between two attempts to reconnect.",
        "A broker that is back is found within seconds, and isn't stormed.",
    ),
];

const STORE: &[Key] = &[
    key(
        "url",
        Kind::Addresses { schemes: &["redis", "rediss"], most: 1 },
        Some(r#""redis://127.0.0.1:6379/0""#),
        "The address of Redis, with the number of the database as its path; or the queue's \"embedded:FILE\".",
        "A Redis on this machine with its factory settings.",
    ),
    key(
        "ca_file",
        Kind::Roots,
        None,
        "A PEM file with CAs that rediss:// trusts beside the system's; relative to the configuration file.",
        "Absent, the system's are trusted alone. Certificates are always checked.",
    ),
    key(
        "dedupe_ttl",
        seconds(MINUTE, 90 * DAY),
        Some(r#""7d""#),
        "How long an id is remembered after its end: a second message within this time is a duplicate.",
        "Covers a producer's replay after a long weekend; costs under 450 bytes of Redis a delivery.",
    ),
    key(
        "timeout",
        millis(50, 30_000),
        Some(r#""2s""#),
        "The longest time to wait for one answer.",
        "A healthy Redis answers within milliseconds; longer would eat up the permits' time.",
    ),
];

const ADMIN: &[Key] = &[
    key(
        "listen",
        Kind::Listen,
        Some(r#""127.0.0.1:9464""#),
        "Where /metrics, /healthz and /readyz are served, and the console if it is on, or \"off\".",
        "Loopback: nothing is open to the network unless asked for; 9464 is Prometheus' port for exporters.",
    ),
    key(
        "console",
        Kind::Secret,
        None,
        "The token that the console at /console asks for, of at least 16 characters.",
        "Absent, there is no console: whoever has the token can pause accounts and take out dead letters.",
    ),
    key(
        "console_dropped",
        Kind::Folder,
        None,
        "The folder in which the console keeps the dead letters that it drops; they hold device tokens. A worker makes it where it is missing.",
        "Absent, the console drops none: `paceline dead drop` keeps them where its caller says.",
    ),
];

const WORKER: &[Key] = &[
    key(
        "request_timeout",
        seconds(1, 120),
        Some(r#""20s""#),
        "The longest time for one request to a provider, from writing it to the whole answer.",
        "Providers answer within seconds; giving up early makes an outcome that nobody knows.",
    ),
    key(
        "connect_timeout",
        millis(100, 30_000),
        Some(r#""5s""#),
        "The longest time to connect to a provider.",
        "A request that never left is told apart from one whose outcome is unknown.",
    ),
    key(
        "ca_file",
        Kind::Roots,
        None,
        "A PEM file with CAs that requests to providers trust beside the system's; relative to the configuration file.",
        "Absent, the system's are trusted alone: providers have public certificates, a proxy before them may not.",
    ),
    key(
        "lease",
        seconds(10, 10 * MINUTE),
        Some(r#""60s""#),
        "How long a worker's claim on a delivery lasts.",
        "Above the longest request with its wait; after a crash the delivery waits this long.",
    ),
    key(
        "requests_in_flight",
        integer(1, 4096),
        Some("64"),
        "The most exempt requests of one account under way at once, in each worker; counted ones follow from the limit.",
        "At 200 ms a request this is 320 a second; it bounds memory and connections.",
    ),
    key(
        "jobs_prefetch",
        integer(1, 2000),
        Some("256"),
        "The most unsettled messages taken from an account's job queue, in each worker.",
        "Enough to keep 64 requests busy while others are claimed and settled; all of them come again when a worker dies. Of large bodies fewer are taken: about 4 MiB of each queue.",
    ),
    key(
        "lane_prefetch",
        integer(1, 2000),
        None,
        "The most unsettled messages taken from each lane, in each worker.",
        "Absent, it follows the account's limit, so that few messages wait in a worker's hands.",
    ),
    key(
        "exempt_per_second",
        integer(1, 100_000),
        None,
        "The most exempt requests a second of one account, in each worker.",
        "Absent there is no ceiling: the provider exempts them from its limit.",
    ),
    key(
        "lower_every",
        integer(2, 1000),
        Some("10"),
        "Every n-th permit goes to the lanes normal and low first, retry and high after them.",
        "A tenth keeps bulk moving while urgent work fills the limit.",
    ),
    key(
        "normal_per_low",
        integer(1, 100),
        Some("4"),
        "So many permits go to the lane normal for each that goes to low, while both wait.",
        "Bulk takes a fifth of what urgent work leaves.",
    ),
    key(
        "hold",
        seconds(10, 15 * MINUTE),
        Some(r#""4m""#),
        "A message held this long without being settled is given back to the broker.",
        "With a quarter more for giving it back, far below the broker's own timeout of 30 minutes, which would close the channel.",
    ),
    key(
        "drain",
        seconds(0, 30 * MINUTE),
        Some(r#""30s""#),
        "The longest time for work in progress to end after SIGTERM.",
        "Above the longest request; set the supervisor's own grace period higher than this.",
    ),
];

const LIMITER: &[Key] = &[
    key(
        "horizon",
        millis(100, 30_000),
        Some(r#""2s""#),
        "How far ahead a permit may lie.",
        "Few calls to the store, while an urgent delivery waits little and a crash wastes few permits.",
    ),
    key(
        "slot_width",
        millis(20, 5_000),
        Some(r#""200ms""#),
        "How long after its beginning a permit may be used.",
        "Wider wastes part of the limit, narrower throws permits away when the store is slow to answer.",
    ),
    key(
        "jitter",
        millis(0, 5_000),
        Some(r#""100ms""#),
        "How much the delay between writing a request and the provider's counting it may vary.",
        "What a network does in normal times; a larger spread could exceed the limit, more costs throughput.",
    ),
    key(
        "burst",
        integer(1, 1000),
        Some("3"),
        "The most permits that an idle account gets at once.",
        "A single urgent message and its neighbours never wait; each costs one permit a minute.",
    ),
];

const RETRY: &[Key] = &[
    key(
        "attempts",
        integer(0, 1000),
        Some("10"),
        "The most retries of a delivery; throttling and pauses use up none.",
        "With the waits below they span up to 27 minutes of faults.",
    ),
    key(
        "max_age",
        seconds(MINUTE, 30 * DAY),
        Some(r#""24h""#),
        "A delivery older than this, since its publishing, is not tried again.",
        "A push that is a day late helps nobody; expiresAt sets it for each job.",
    ),
    key(
        "base",
        millis(100, 10 * MINUTE * 1000),
        Some(r#""2s""#),
        "The upper bound of the first wait; each further one doubles it.",
        "Short enough for a hiccup, long enough for a provider to recover.",
    ),
    key(
        "cap",
        seconds(1, DAY),
        Some(r#""10m""#),
        "The largest upper bound of a wait.",
        "After a long outage deliveries go on within minutes of its end.",
    ),
];

const CIRCUIT: &[Key] = &[
    key(
        "failures",
        integer(1, 10_000),
        Some("10"),
        "So many faults in a row, over all workers, pause the account.",
        "One bad node behind the provider's balancer doesn't reach it, an outage does within seconds.",
    ),
    key(
        "pause",
        seconds(1, 10 * MINUTE),
        Some(r#""5s""#),
        "The first pause after faults; each further one doubles it.",
        "Most faults are over within seconds.",
    ),
    key(
        "pause_max",
        seconds(1, HOUR),
        Some(r#""60s""#),
        "The longest pause after faults.",
        "A provider that is back is noticed within a minute.",
    ),
    key(
        "credentials_pause",
        seconds(1, HOUR),
        Some(r#""30s""#),
        "The pause after a refused credential, before it is tried again.",
        "A mended credential works within half a minute, without a storm of refused requests.",
    ),
    key(
        "throttle_pause",
        seconds(1, HOUR),
        Some(r#""60s""#),
        "The pause when a provider throttles without saying for how long.",
        "The providers' limits are counted by the minute.",
    ),
];

const LOG: &[Key] = &[
    key(
        "format",
        Kind::Choice(&["human", "json"]),
        Some(r#""human""#),
        "Lines for people or JSON objects for machines.",
        "The first look is a person's.",
    ),
    key(
        "level",
        Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        Some(r#""info""#),
        "The least important events that are logged; PACELINE_LOG or RUST_LOG override it by module.",
        "A line for each end of a delivery, and for each answer that does not accept all; \"warn\" leaves what needs a person.",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::source::Context;
    use crate::config::value::{self, Leaf};

    #[test]
    fn every_default_parses_and_lies_within_its_bounds() {
        for section in SECTIONS {
            for key in section.keys {
                let Some(default) = key.default else { continue };
                let leaf = Leaf::default_of(default).unwrap_or_else(|e| panic!("{}: {e}", key.name));
                value::parse(&key.kind, &leaf, &Context::default())
                    .unwrap_or_else(|e| panic!("{}.{}: {e}", section.name, key.name));
            }
        }
    }

    #[test]
    fn every_key_is_described_once() {
        let mut names = BTreeSet::new();
        for section in SECTIONS {
            assert!(!section.meaning.is_empty());
            for key in section.keys {
                assert!(names.insert((section.name, key.name)), "{}.{} twice", section.name, key.name);
                assert!(key.meaning.ends_with('.') && key.reason.ends_with('.'), "{}", key.name);
            }
        }
    }
}
