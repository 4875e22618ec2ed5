//! `paceline simulate`: serves both providers' APIs until SIGINT or SIGTERM, then says what came.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::providers::ALL;
use crate::simulator::rules::{Limit, parse_duration};
use crate::simulator::{
    AccountSummary, FaultPlan, FaultRule, Rules, Simulator, SimulatorConfig, Span, Summary, Throttling,
};

/// The examples at the end of the help.
const EXAMPLES: &str = "\
Faults: [PROVIDER:]KIND, then @PROBABILITY (by chance) or *COUNT (the next requests; *1 if left out)
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
  GET and PUT limits           {\"pushwoosh\": {\"requests\": 600, \"window\": \"60s\", \"throttling\": \"429\"}}

Examples:
  paceline simulate --latency 20ms..80ms --fault 'reset-after@1%' --fault 'pushwoosh:503@2%' --seed 7
  paceline simulate --listen 127.0.0.1:0 --pushwoosh-limit 60 --fault 'hang-after*3' --json
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
    /// Most counted createMessage requests of an account in any window [default: 600]
    #[arg(long, value_name = "N|unlimited")]
    pub pushwoosh_limit: Option<Limit>,
    /// Most sendPush requests of a workspace in any window [default: 10000]
    #[arg(long, value_name = "N|unlimited")]
    pub moengage_limit: Option<Limit>,
    /// Length of the sliding window of both limits [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = parse_window)]
    pub window: Option<Duration>,
    /// How a request over the limit is answered [default: 429 for Pushwoosh, body for MoEngage]
    #[arg(long, value_name = "HOW")]
    pub throttling: Option<Style>,
    /// How long Pushwoosh remembers a transactionId [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub duplicate_window: Option<Duration>,
    /// Most devices of a request that uses up no limit at Pushwoosh; 0 is message tracing switched
    /// on [default: 10]
    #[arg(long, value_name = "N")]
    pub exempt_devices: Option<usize>,
    /// File of the credentials that are let in, one a line: `pushwoosh:TOKEN` or
    /// `moengage:WORKSPACE:PUSH_KEY`, which also has signatures checked. Without it any credential
    /// is an account of its own
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
    let limit = match provider {
        "pushwoosh" => args.pushwoosh_limit,
        "moengage" => args.moengage_limit,
        _ => None,
    };
    let throttling = args.throttling.map(|style| match style {
        Style::Status => Throttling::Status,
        Style::Body => Throttling::Body,
    });
    Rules {
        requests: limit.map_or(documented.requests, |limit| limit.0),
        window: args.window.unwrap_or(documented.window),
        throttling: throttling.unwrap_or(documented.throttling),
        // What is remembered for ever is so by its nature, not by a window that could be shorter.
        duplicate_window: documented.duplicate_window.map(|time| args.duplicate_window.unwrap_or(time)),
        exempt_devices: args.exempt_devices.unwrap_or(documented.exempt_devices),
        credentials: credentials.map(|all| all.get(provider).cloned().unwrap_or_default()),
    }
}

/// By provider.
type Credentials = HashMap<String, Vec<String>>;

fn read_credentials(path: &Path) -> anyhow::Result<Credentials> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    parse_credentials(&text).map_err(|line| {
        anyhow::anyhow!(
            "{}, line {line}: expected pushwoosh:TOKEN or moengage:WORKSPACE:PUSH_KEY",
            path.display()
        )
    })
}

/// `Err` holds the number of the line that is wrong; its text may be a secret.
fn parse_credentials(text: &str) -> Result<Credentials, usize> {
    let mut credentials = Credentials::new();
    let lines = text.lines().map(str::trim).enumerate();
    for (index, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let (provider, credential) = line.split_once(':').ok_or(index + 1)?;
        let known = ALL.iter().any(|known| known.name() == provider);
        if !known || credential.is_empty() {
            return Err(index + 1);
        }
        credentials.entry(provider.to_owned()).or_default().push(credential.to_owned());
    }
    Ok(credentials)
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
            let _ = writeln!(text, "  {name:<10} {limit} in any {window}");
        }
    }
    let _ = write!(text, "Control and ledger: {url}/_simulator/summary. SIGINT or SIGTERM ends it.");
    text
}

const HEADINGS: [&str; 9] = [
    "provider",
    "account",
    "requests",
    "accepted",
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

fn row(account: &AccountSummary, summary: &Summary) -> [String; 9] {
    let twice = summary.accepted_twice.iter().filter(|twice| twice.account == account.account).count();
    let limit = account.limit.map_or("no limit".to_owned(), |limit| format!("limit {limit}"));
    let counts = account.counts;
    [
        account.provider.clone(),
        account.account.clone(),
        counts.requests.to_string(),
        counts.accepted.to_string(),
        counts.suppressed.to_string(),
        counts.refused.to_string(),
        counts.throttled.to_string(),
        format!("{} in {} s ({limit})", account.most_in_window, account.window_seconds),
        twice.to_string(),
    ]
}

fn total(summary: &Summary) -> [String; 9] {
    let counts = summary.counts;
    [
        "all".to_owned(),
        String::new(),
        counts.requests.to_string(),
        counts.accepted.to_string(),
        counts.suppressed.to_string(),
        counts.refused.to_string(),
        counts.throttled.to_string(),
        String::new(),
        summary.accepted_twice.len().to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &[&str]) -> Result<Args, clap::Error> {
        Line::try_parse_from(["simulate"].iter().chain(words)).map(|line| line.args)
    }

    #[test]
    fn without_arguments_the_documented_rules_hold() {
        let config = configuration(&args(&[]).unwrap()).unwrap();
        for provider in ALL {
            assert_eq!(config.rules[provider.name()], provider.simulated().rules());
        }
        assert_eq!(config.listen.to_string(), "127.0.0.1:8089");
    }

    #[test]
    fn arguments_change_the_rules() {
        let words = "--pushwoosh-limit 5 --moengage-limit unlimited --window 1s --throttling body \
                     --duplicate-window 2s --exempt-devices 0 --latency 20ms..80ms --fault cut@2% \
                     --fault pushwoosh:503*3 --seed 9 --ledger 10 --listen 127.0.0.1:1";
        let words: Vec<&str> = words.split_whitespace().collect();
        let config = configuration(&args(&words).unwrap()).unwrap();
        let pushwoosh = &config.rules["pushwoosh"];
        assert_eq!((pushwoosh.requests, pushwoosh.exempt_devices), (Some(5), 0));
        assert_eq!(pushwoosh.duplicate_window, Some(Duration::from_secs(2)));
        let moengage = &config.rules["moengage"];
        assert_eq!((moengage.requests, moengage.duplicate_window), (None, None));
        assert_eq!((moengage.window, moengage.throttling), (Duration::from_secs(1), Throttling::Body));
        assert_eq!((config.seed, config.ledger_capacity), (9, 10));
        let faults: Vec<String> = config.faults.rules.iter().map(ToString::to_string).collect();
        assert_eq!(faults, ["cut@0.02", "pushwoosh:503*3"]);
    }

    #[test]
    fn arguments_that_make_no_sense_are_refused() {
        for words in [
            ["--pushwoosh-limit", "many"],
            ["--latency", "2s..1s"],
            ["--fault", "oops"],
            ["--window", "0"],
            ["--listen", "somewhere"],
            ["--throttling", "503"],
        ] {
            assert!(args(&words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn credentials_are_read_by_line_and_never_shown() {
        let good = "# test\npushwoosh:t1\n\npushwoosh:t2\nmoengage:W:key:with:colons\n";
        let found = parse_credentials(good).unwrap();
        assert_eq!(found["pushwoosh"], ["t1", "t2"]);
        assert_eq!(found["moengage"], ["W:key:with:colons"]);
        for (text, line) in [("\nhunter2", 2), ("pushwoosh:", 1), ("nobody:hunter2", 1)] {
            assert_eq!(parse_credentials(text), Err(line), "{text:?}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2").unwrap();
        let error = read_credentials(file.path()).unwrap_err();
        assert!(!format!("{error:#}").contains("hunter2"));
    }

    /// Hands what is written to the other side, line by line.
    struct Lines(tokio::sync::mpsc::UnboundedSender<String>, Vec<u8>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.1.extend_from_slice(bytes);
            while let Some(end) = self.1.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.1.drain(..=end).collect();
                let _ = self.0.send(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    async fn run_with(words: &[&str], mut during: impl AsyncFnMut(String)) -> Vec<String> {
        let (lines, mut written) = tokio::sync::mpsc::unbounded_channel();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let args = args(words).unwrap();
        let mut out = Lines(lines, Vec::new());
        let running = tokio::spawn(async move {
            run_until(args, async { drop(ended.await) }, &mut out).await.unwrap();
        });
        let first = written.recv().await.unwrap();
        during(first.clone()).await;
        end.send(()).unwrap();
        running.await.unwrap();
        let mut all = vec![first];
        while let Some(line) = written.recv().await {
            all.push(line);
        }
        all
    }

    async fn get(url: String) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder().no_proxy().build().unwrap().post(url).body("{}").send().await.unwrap();
    }

    #[tokio::test]
    async fn json_output_is_one_object_a_line() {
        let lines = run_with(&["--listen", "127.0.0.1:0", "--json"], async |first| {
            let first: Value = serde_json::from_str(&first).unwrap();
            get(format!("{}/v2/transaction/sendpush", first["listening"].as_str().unwrap())).await;
        })
        .await;
        assert_eq!(lines.len(), 2, "{lines:?}");
        let summary: Summary = serde_json::from_str(&lines[1]).unwrap();
        assert_eq!((summary.counts.requests, summary.counts.refused), (1, 1));
    }

    #[tokio::test]
    async fn the_table_has_a_row_for_each_account() {
        let lines = run_with(&["--listen", "127.0.0.1:0", "--moengage-limit", "70"], async |first| {
            let url = first.strip_prefix("listening on ").unwrap().to_owned();
            get(format!("{url}/v2/transaction/sendpush")).await;
            get(format!("{url}/elsewhere")).await;
        })
        .await;
        let row = lines.iter().find(|line| line.starts_with("moengage ")).unwrap();
        assert!(row.contains("1 in 60 s (limit 70)"), "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("all ")), "{lines:#?}");
        assert!(lines.last().unwrap().starts_with("1 requests for a path"), "{lines:#?}");
    }
}
