//! `paceline publish`: jobs from a file to the broker, with confirms.

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncBufRead;
use tokio::time::{Instant, interval};

use super::lines::{self, Line, Lines};
use super::progress::Progress;
use super::{Ended, Outcome, Shared, block_on, interrupt, print};
use crate::app;
use crate::pipeline::decode::decode_body;
use crate::ports::{Destination, Outgoing, Properties, PublishError, Publisher};
use crate::steady::publish_steadily;

/// Publishes jobs, one JSON object a line, with confirms and progress
///
/// Each line is published byte for byte to the queue of its account, and counts as published when
/// the broker has confirmed it. A bad line is named on standard error with its number, and the
/// others go. A line that the broker does not confirm is published again under the same message
/// id until --timeout; it may then be there twice, which the workers recognise. When the broker
/// confirms nothing at all for that long, the rest of the file is not read.
///
/// Ctrl-C stops the reading; what is under way is still awaited (a second Ctrl-C ends that too),
/// and the summary says how far it came. Exit status 1 where a line failed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  paceline publish jobs.ndjson\n  \
                        generate-jobs | paceline --config /etc/paceline.toml publish - --json")]
pub(super) struct Args {
    /// File of jobs, one JSON object a line; - reads standard input
    file: PathBuf,
    /// Most messages whose confirms are awaited at once
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=4096))]
    window: u16,
    /// How long one line is tried before it counts as failed
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Publish lines as they are, even those that are no valid job
    #[arg(long)]
    no_check: bool,
    /// With --no-check: the account of lines that name none
    #[arg(long, value_name = "ACCOUNT", requires = "no_check")]
    account: Option<String>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

/// How often the progress is brought up to date.
const TICK: Duration = Duration::from_millis(200);

pub(super) fn run(args: &Args, shared: &Shared) -> Outcome {
    let loaded = shared.load()?;
    shared.log_quietly(&loaded)?;
    block_on(async {
        let (input, length) = lines::open(&args.file).await?;
        let publisher = app::publisher(&loaded.config).await?;
        let route = Route { check: !args.no_check, account: args.account.clone() };
        let options = Options { window: args.window.into(), timeout: args.timeout, route };
        let mut progress = Progress::new(length);
        let pumping = pump(Lines::new(input), publisher.as_ref(), &options, &mut progress, interrupt());
        let summary = tokio::select! {
            summary = pumping => {
                summary.with_context(|| format!("{} can't be read any further", args.file.display()))?
            }
            () = async { interrupt().await; interrupt().await } => {
                return Err(anyhow!("interrupted before the broker had confirmed all that was under way").into());
            }
        };
        progress.end();
        print(&if args.json { summary.as_json()? } else { summary.as_text() })?;
        Ok(if summary.is_success() { Ended::Done } else { Ended::Failures })
    })
}

struct Options {
    window: usize,
    timeout: Duration,
    route: Route,
}

/// What came of a file.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    /// Lines read, blank ones not counted.
    read: u64,
    /// Lines that the broker confirmed.
    published: u64,
    /// Lines that are not at the broker, or not known to be.
    failed: u64,
    /// The last line that was read, where the reading ended before the file did.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_after_line: Option<u64>,
}

impl Summary {
    const fn is_success(&self) -> bool {
        self.failed == 0 && self.stopped_after_line.is_none()
    }

    fn as_json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    fn as_text(&self) -> String {
        let Self { read, published, failed, stopped_after_line } = self;
        let rest = stopped_after_line
            .map(|line| format!("; stopped after line {line}, the lines behind it were not read"))
            .unwrap_or_default();
        format!("{read} read, {published} published, {failed} failed{rest}")
    }
}

/// Finds the account that a line goes to.
struct Route {
    check: bool,
    account: Option<String>,
}

impl Route {
    /// The account, or what is wrong with the line.
    fn of(&self, body: &[u8]) -> Result<String, String> {
        if self.check {
            let job = decode_body(body).map_err(|unreadable| {
                unreadable.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            })?;
            return Ok(job.account.as_str().to_owned());
        }
        named_account(body)
            .or_else(|| self.account.clone())
            .ok_or_else(|| "names no account to go to; --account gives one".to_owned())
    }
}

/// The account of a line that need not be a valid job.
fn named_account(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Envelope {
        account: String,
    }
    serde_json::from_slice(body).ok().map(|Envelope { account }| account)
}

/// What became of one line.
struct Settled {
    line: u64,
    /// When it was published for the first time.
    began: Instant,
    result: Result<(), PublishError>,
}

/// Publishes every line, at most a window of them at once.
async fn pump<R: AsyncBufRead + Unpin>(
    mut lines: Lines<R>,
    publisher: &dyn Publisher,
    options: &Options,
    progress: &mut Progress,
    stop: impl Future<Output = ()>,
) -> std::io::Result<Summary> {
    let mut stop = pin!(stop);
    let mut ticks = interval(TICK);
    let mut flying = FuturesUnordered::new();
    let mut summary = Summary::default();
    let mut last_line = 0;
    let mut reading = true;
    let mut confirmed_at: Option<Instant> = None;
    while reading || !flying.is_empty() {
        tokio::select! {
            Some(Settled { line, began, result }) = flying.next(), if !flying.is_empty() => match result {
                Ok(()) => {
                    summary.published += 1;
                    confirmed_at = Some(Instant::now());
                }
                Err(error) => {
                    summary.failed += 1;
                    progress.complain(line, &describe(&error));
                    let silent = confirmed_at.is_none_or(|at| at < began);
                    let dead = silent && matches!(error, PublishError::Unconfirmed(_));
                    if dead && reading {
                        reading = false;
                        summary.stopped_after_line = Some(last_line);
                    }
                }
            },
            () = &mut stop, if reading => {
                reading = false;
                summary.stopped_after_line = Some(last_line);
            }
            line = lines.next(), if reading && flying.len() < options.window => match line? {
                None => reading = false,
                Some(Line { number, body }) => {
                    summary.read += 1;
                    last_line = number;
                    match route(body, &options.route) {
                        Ok((account, body)) => {
                            flying.push(deliver(publisher, number, outgoing(account, body), options.timeout));
                        }
                        Err(problem) => {
                            summary.failed += 1;
                            progress.complain(number, &problem);
                        }
                    }
                }
            },
            _ = ticks.tick() => progress.show(lines.bytes_read(), || summary.as_text()),
        }
    }
    Ok(summary)
}

fn route(body: Option<Bytes>, route: &Route) -> Result<(String, Bytes), String> {
    let body = body.ok_or_else(lines::too_long)?;
    let account = route.of(&body)?;
    Ok((account, body))
}

fn outgoing(account: String, body: Bytes) -> Outgoing {
    let properties = Properties {
        message_id: Some(uuid::Uuid::new_v4().to_string()),
        timestamp: Some(Timestamp::now()),
        content_type: Some("application/json".to_owned()),
        ..Properties::default()
    };
    Outgoing { destination: Destination::Jobs(account), body, properties }
}

/// Publishes one line's message; see [`publish_steadily`].
async fn deliver(publisher: &dyn Publisher, line: u64, message: Outgoing, timeout: Duration) -> Settled {
    let began = Instant::now();
    let result = publish_steadily(publisher, message, timeout).await;
    Settled { line, began, result }
}

fn describe(error: &PublishError) -> String {
    match error {
        PublishError::Unroutable => {
            "no queue takes it: is its account configured, and was `paceline topology` or a worker run?"
                .to_owned()
        }
        PublishError::Refused => {
            "the broker refused it: the account's queue is full, or has no leader".to_owned()
        }
        PublishError::Unconfirmed(why) => {
            format!("the broker did not confirm it, it may have arrived all the same: {why}")
        }
    }
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
