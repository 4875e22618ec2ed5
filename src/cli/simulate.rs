//! `paceline simulate`: serves both providers' APIs until SIGINT or SIGTERM, then says what came.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::providers::{ALL, by_name};
use crate::simulator::rules::{Limit, parse_duration};
use crate::simulator::{
    AccountSummary, FaultPlan, FaultRule, Rules, Simulator, SimulatorConfig, Span, Summary, Throttling,
    Windows,
};

/// The examples at the end of the help.
const EXAMPLES: &str = "\
Faults: [PROVIDER[/OPERATION]:]KIND, then @PROBABILITY (by chance) or *COUNT (next requests, else *1)
  none                         nothing: lets a request of a script through
  latency=1s..2s               the answer takes that much longer
  429, 429=30s                 HTTP 429, with that Retry-After; nothing accepted
  401, 500, 502, 503, ...      that status; nothing accepted
  500-after, ...               that status although the request was accepted
  reset-before, reset-after    TCP reset before or after accepting
  hang-before, hang-after      no answer until the client gives up, before or after accepting
  garbage                      accepted, and HTTP 200 with a body that is no JSON
  cut                          accepted, and the answer's body ends half way

While it runs, under /_simulator/ (JSON):
  GET ledger?since=N, GET summary, DELETE ledger
  GET and PUT faults           {\"faults\": [\"reset-after@2%\"], \"latency\": \"20ms..80ms\", \"down\": \"5s\"}
  GET and PUT limits           {\"pushwoosh\": {\"requests\": 600, \"window\": \"60s\"},
                                \"moengage\": {\"pools\": {\"campaigns\": \"10/1s,100/1m\"}}}

Every operation is played, with what its documentation says: messages and campaigns are stored (64 MB \
an account, the oldest go first), scheduled ones are sent at their time, and can be read, changed, \
deleted and cancelled until then.

Markers in a request ask for an outcome. Pushwoosh: the word `faulty` in a content, a device or an \
application that begins with `unknown`. MoEngage: a campaign whose name begins with `paused`, `stopped` \
or `archived` is in that state.

Examples:
  paceline simulate --latency 20ms..80ms --fault 'reset-after@1%' --fault 'pushwoosh:503@2%' --seed 7
  paceline simulate --listen 127.0.0.1:0 --pushwoosh-limit 60 --fault 'hang-after*3' --json
  paceline simulate --fault 'pushwoosh/deleteMessage:503@50%' --limit moengage/campaigns=2/1s,5/1m
  curl -s http://127.0.0.1:8089/_simulator/summary

An account uses it by its base_url, which is printed at the start. Nothing is ever sent on.";

/// Serves both providers' APIs with their limits, errors and duplicate windows. SIGINT or SIGTERM
/// ends it with a summary of what came.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Where to listen; port 0 takes a free one. Nobody is asked for a password: keep to loopback
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8089")]
    pub listen: SocketAddr,
    /// Most counted createMessage and createTargetedMessage requests of an account in any window
    /// [default: 600]
    #[arg(long, value_name = "N|unlimited")]
    pub pushwoosh_limit: Option<Limit>,
    /// Most sendPush requests of a workspace in any window [default: 10000]
    #[arg(long, value_name = "N|unlimited")]
    pub moengage_limit: Option<Limit>,
    /// Most updateCampaign and searchCampaigns requests of a workspace, in all of these windows at
    /// once [default: 10/1s,100/1m,6000/1h]
    #[arg(long, value_name = "N/TIME,...|unlimited")]
    pub moengage_campaign_limit: Option<Windows>,
    /// A limit of a provider (N), or of one of its pools (N/TIME,...), or `unlimited`; may be given
    /// several times, and comes before the flags above
    #[arg(long = "limit", value_name = "PROVIDER[/POOL]=LIMIT")]
    pub limits: Vec<NamedLimit>,
    /// Length of the sliding window of each provider's main limit [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = parse_window)]
    pub window: Option<Duration>,
    /// How a request over a provider's main limit is answered [default: 429 for Pushwoosh, body for
    /// MoEngage]
    #[arg(long, value_name = "HOW")]
    pub throttling: Option<Style>,
    /// How long Pushwoosh remembers a transactionId of createMessage [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duplicate_window: Option<Duration>,
    /// How long Pushwoosh remembers a transactionId of createTargetedMessage [default: 1day]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub targeted_duplicate_window: Option<Duration>,
    /// Most devices of a request that uses up no limit at Pushwoosh; 0 is message tracing switched
    /// on [default: 10]
    #[arg(long, value_name = "N")]
    pub exempt_devices: Option<usize>,
    /// File of the credentials that are let in, one a line: `pushwoosh:TOKEN`,
    /// `moengage:WORKSPACE:PUSH_KEY` (which also has signatures checked) or
    /// `moengage-campaigns:WORKSPACE:CAMPAIGN_KEY`. Without it any credential is let in, and each
    /// token or workspace is an account of its own
    #[arg(long, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
    /// How long every answer takes: a time, or a range that chance draws from
    #[arg(long, value_name = "TIME[..TIME]", default_value = "0")]
    pub latency: Span,
    /// A fault; may be given several times (see below)
    #[arg(long = "fault", value_name = "FAULT")]
    pub faults: Vec<FaultRule>,
    /// Where chance begins: the same seed and the same requests give the same faults
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Most records (arrivals and their deliveries) kept in the ledger, some 450 bytes each
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub ledger: usize,
    /// One JSON object a line: at the start where it listens, at the end the summary
    #[arg(long)]
    pub json: bool,
}

/// A limit and whose it is, written `PROVIDER=N` or `PROVIDER/POOL=N/TIME,...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedLimit {
    /// A name out of the registry of providers.
    pub provider: &'static str,
    /// The limit itself.
    pub limit: SomeLimit,
}

/// A provider's main limit, or that of one of its pools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SomeLimit {
    /// In any of the provider's windows.
    Main(Limit),
    /// By the pool's name, with windows of its own.
    Pool(String, Windows),
}

impl FromStr for NamedLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (whose, limit) = text.split_once('=').ok_or("expected PROVIDER[/POOL]=LIMIT")?;
        let (name, pool) = match whose.split_once('/') {
            Some((name, pool)) => (name, Some(pool)),
            None => (whose, None),
        };
        let provider = by_name(name).ok_or_else(|| format!("no provider {name:?}"))?;
        let limit = match pool {
            None => SomeLimit::Main(limit.parse()?),
            Some(pool) if provider.simulated().rules().pools.contains_key(pool) => {
                SomeLimit::Pool(pool.to_owned(), limit.parse()?)
            }
            Some(pool) => return Err(format!("{name} has no pool {pool:?}")),
        };
        Ok(Self { provider: provider.name(), limit })
    }
}

/// How a request over the limit is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Style {
    /// HTTP 429, with the wait in a header
    #[value(name = "429")]
    Status,
    /// HTTP 200 with the refusal in the body
    Body,
}

fn parse_window(text: &str) -> Result<Duration, String> {
    let window = parse_duration(text)?;
    if window.is_zero() { Err("a window must have a length".to_owned()) } else { Ok(window) }
}

/// Runs until SIGINT or SIGTERM. Fails when the address can't be used, the file of credentials
/// can't be read, or standard output is closed.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let told_to_stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    run_until(args, told_to_stop, &mut std::io::stdout()).await
}

/// Runs until `end` is there; writes to `out`.
pub async fn run_until(
    args: Args,
    end: impl Future<Output = ()>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let config = configuration(&args)?;
    let simulator =
        Simulator::start(config).await.with_context(|| format!("can't listen on {}", args.listen))?;
    let greeting = if args.json {
        json!({"listening": simulator.url(), "seed": args.seed}).to_string()
    } else {
        greeting(&simulator)
    };
    writeln!(out, "{greeting}")?;
    out.flush()?;
    end.await;
    let summary = simulator.summary();
    simulator.stop().await;
    let text = if args.json { serde_json::to_string(&summary)? } else { table(&summary) };
    writeln!(out, "{text}")?;
    Ok(())
}

fn configuration(args: &Args) -> anyhow::Result<SimulatorConfig> {
    let credentials = args.credentials.as_deref().map(read_credentials).transpose()?;
    let rules = ALL.iter().map(|provider| {
        let name = provider.name();
        let documented = provider.simulated().rules();
        (name.to_owned(), rules(args, credentials.as_ref(), name, documented))
    });
    Ok(SimulatorConfig {
        listen: args.listen,
        rules: rules.collect(),
        faults: FaultPlan { latency: args.latency, rules: args.faults.clone() },
        seed: args.seed,
        ledger_capacity: args.ledger,
    })
}

fn rules(args: &Args, credentials: Option<&Credentials>, provider: &str, documented: Rules) -> Rules {
    let throttling = args.throttling.map(|style| match style {
        Style::Status => Throttling::Status,
        Style::Body => Throttling::Body,
    });
    let mut requests = documented.requests;
    let mut pools = documented.pools;
    for named in args.all_limits().into_iter().filter(|named| named.provider == provider) {
        match named.limit {
            SomeLimit::Main(Limit(most)) => requests = most,
            SomeLimit::Pool(name, windows) => {
                pools.insert(name, windows);
            }
        }
    }
    let of = |whom: &str| credentials.map(|all| all.get(whom).cloned().unwrap_or_default());
    Rules {
        requests,
        window: args.window.unwrap_or(documented.window),
        pools,
        throttling: throttling.unwrap_or(documented.throttling),
        // What is remembered for ever is so by its nature, not by a window that could be shorter.
        duplicate_window: documented.duplicate_window.map(|time| args.duplicate_window.unwrap_or(time)),
        targeted_duplicate_window: documented
            .targeted_duplicate_window
            .map(|time| args.targeted_duplicate_window.unwrap_or(time)),
        exempt_devices: args.exempt_devices.unwrap_or(documented.exempt_devices),
        credentials: of(provider),
        campaign_credentials: of(&format!("{provider}{FOR_CAMPAIGNS}")),
    }
}

impl Args {
    /// Those of the flags for one limit each, then those that name theirs: the last one holds.
    fn all_limits(&self) -> Vec<NamedLimit> {
        let main = |provider, limit: Option<Limit>| {
            limit.map(|limit| NamedLimit { provider, limit: SomeLimit::Main(limit) })
        };
        let campaigns = self.moengage_campaign_limit.clone().map(|windows| NamedLimit {
            provider: "moengage",
            limit: SomeLimit::Pool("campaigns".to_owned(), windows),
        });
        let flags =
            [main("pushwoosh", self.pushwoosh_limit), main("moengage", self.moengage_limit), campaigns];
        flags.into_iter().flatten().chain(self.limits.iter().cloned()).collect()
    }
}

/// What follows the provider's name where the key is that of its campaign calls.
const FOR_CAMPAIGNS: &str = "-campaigns";

/// By provider, and by what they are for.
type Credentials = HashMap<String, Vec<String>>;

fn read_credentials(path: &Path) -> anyhow::Result<Credentials> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    parse_credentials(&text).map_err(|line| {
        anyhow::anyhow!(
            "{}, line {line}: expected pushwoosh:TOKEN, moengage:WORKSPACE:PUSH_KEY or \
             moengage-campaigns:WORKSPACE:CAMPAIGN_KEY",
            path.display()
        )
    })
}

/// `Err` holds the number of the line that is wrong; its text may be a secret.
fn parse_credentials(text: &str) -> Result<Credentials, usize> {
    let mut credentials = Credentials::new();
    let lines = text.lines().map(str::trim).enumerate();
    for (index, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let (whom, credential) = line.split_once(':').ok_or(index + 1)?;
        if !is_known(whom) || credential.is_empty() {
            return Err(index + 1);
        }
        credentials.entry(whom.to_owned()).or_default().push(credential.to_owned());
    }
    Ok(credentials)
}

/// A provider, or one that has campaigns and their mark behind it.
fn is_known(whom: &str) -> bool {
    ALL.iter().any(|provider| match whom.strip_prefix(provider.name()) {
        Some("") => true,
        Some(FOR_CAMPAIGNS) => !provider.simulated().rules().pools.is_empty(),
        Some(_) | None => false,
    })
}

fn greeting(simulator: &Simulator) -> String {
    let url = simulator.url();
    let mut text = format!("listening on {url}\n\nIn an account's configuration: base_url = \"{url}\"\n");
    for provider in ALL {
        let name = provider.name();
        if let Ok(rules) = simulator.rules(name) {
            let limit = rules.requests.map_or("no limit".to_owned(), |n| format!("{n} requests"));
            let window = humantime::format_duration(rules.window);
            // Writing to a String can't fail.
            let _ = write!(text, "  {name:<10} {limit} in any {window}");
            for (pool, windows) in &rules.pools {
                let _ = write!(text, "; {pool}: {windows}");
            }
            text.push('\n');
        }
    }
    let _ = write!(text, "Control and ledger: {url}/_simulator/summary. SIGINT or SIGTERM ends it.");
    text
}

const COLUMNS: usize = 10;

const HEADINGS: [&str; COLUMNS] = [
    "provider",
    "account",
    "requests",
    "accepted",
    "done",
    "suppressed",
    "refused",
    "throttled",
    "most in a window",
    "accepted twice",
];

/// The summary for people.
fn table(summary: &Summary) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(summary.accounts.iter().map(|account| row(account, summary)));
    rows.push(total(summary));
    let widths: Vec<usize> =
        (0..HEADINGS.len()).map(|i| rows.iter().map(|row| row[i].len()).max().unwrap_or(0)).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    let mut text = lines.collect::<Vec<_>>().join("\n");
    text.push_str(&further_pools(summary));
    // Writing to a String can't fail.
    if summary.unknown_paths > 0 {
        let _ = write!(text, "\n{} requests for a path that is no provider's", summary.unknown_paths);
    }
    if summary.dropped > 0 {
        let _ = write!(
            text,
            "\n{} requests dropped from the ledger: what one of them and a later one had accepted twice is not seen",
            summary.dropped
        );
    }
    text
}

/// A line for each account that used a limit beside the main one.
fn further_pools(summary: &Summary) -> String {
    let mut text = String::new();
    for account in &summary.accounts {
        let used: Vec<String> = account
            .pools
            .iter()
            .filter(|pool| pool.most_in_window > 0)
            .map(|pool| {
                let limit = pool.limit.map_or("no limit".to_owned(), |limit| format!("limit {limit}"));
                format!("{} {} in {} s ({limit})", pool.pool, pool.most_in_window, pool.window_seconds)
            })
            .collect();
        if !used.is_empty() {
            // Writing to a String can't fail.
            let _ = write!(text, "\n{} {}: {}", account.provider, account.account, used.join(", "));
        }
    }
    text
}

fn row(account: &AccountSummary, summary: &Summary) -> [String; COLUMNS] {
    let twice = summary.accepted_twice.iter().filter(|twice| twice.account == account.account).count();
    let limit = account.limit.map_or("no limit".to_owned(), |limit| format!("limit {limit}"));
    let counts = account.counts;
    [
        account.provider.clone(),
        account.account.clone(),
        counts.requests.to_string(),
        counts.accepted.to_string(),
        counts.done.to_string(),
        counts.suppressed.to_string(),
        counts.refused.to_string(),
        counts.throttled.to_string(),
        format!("{} in {} s ({limit})", account.most_in_window, account.window_seconds),
        twice.to_string(),
    ]
}

fn total(summary: &Summary) -> [String; COLUMNS] {
    let counts = summary.counts;
    [
        "all".to_owned(),
        String::new(),
        counts.requests.to_string(),
        counts.accepted.to_string(),
        counts.done.to_string(),
        counts.suppressed.to_string(),
        counts.refused.to_string(),
        counts.throttled.to_string(),
        String::new(),
        summary.accepted_twice.len().to_string(),
    ]
}

#[cfg(test)]
mod tests;
