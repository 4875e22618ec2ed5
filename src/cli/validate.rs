//! `paceline validate`: jobs checked as a worker would, without sending anything.
//!
//! `check` says what there is to say of one line, `flow` leads lines through several threads,
//! `large` keeps their memory small together.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};

use super::lines::{self, Input, Line, Lines};
use super::progress::Progress;
use super::{Ended, Failure, Outcome, Shared, block_on, interrupt, print_lines};
use crate::config::Config;

mod check;
mod flow;
mod large;

use check::{Report, Summary, Told};
use flow::{Check, Flowed, Output, Part, Position};
use large::{LARGE, Large};

/// Checks jobs without sending anything
///
/// Reads one JSON object a line and tells what a worker would say of it: what breaks the job
/// format or the provider's documented rules (the delivery would end as dead, reason invalid), and
/// warnings, which keep nothing from being sent. The rules depend on the account, so the
/// configuration with the accounts is needed, their credentials included; nothing is connected to.
///
/// Findings come in the order of the lines, whatever the number of threads; a file may have any
/// size. Progress goes to standard error. Ctrl-C stops the reading, and the summary says how far it
/// came. Whether an id was used before is not looked at. Exit status 1 where a job is invalid.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  paceline --config /etc/paceline.toml validate jobs.ndjson\n  \
                        paceline validate - --json < jobs.ndjson")]
pub(super) struct Args {
    /// File of jobs, one JSON object a line; - reads standard input
    file: PathBuf,
    /// Threads that check; by default as many as there are processors
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Print one JSON object for each line with findings or warnings, and one for the summary
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, shared: &Shared) -> Outcome {
    let loaded = shared.load_with_accounts()?;
    shared.log_quietly(&loaded)?;
    block_on(async {
        let (input, length) = lines::open(&args.file).await?;
        let told = Telling { progress: Progress::new(length), summary: Summary::default(), last_line: 0 };
        let checks = Checks::new(loaded.config, args.json);
        let flowed = tokio::select! {
            flowed = flow::flow(Lines::<Input>::new(input), threads(args), Arc::new(checks), told, interrupt()) => {
                flowed?
            }
            () = async { interrupt().await; interrupt().await } => {
                return Err(anyhow!("interrupted before all that was read was checked").into());
            }
        };
        let whole = format!("{} can't be read any further", args.file.display());
        finish(flowed, args.json, &whole)
    })
}

fn threads(args: &Args) -> usize {
    let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    args.jobs.map_or_else(processors, usize::from)
}

/// Sums up.
fn finish(flowed: Flowed<Telling>, json: bool, unreadable: &str) -> Outcome {
    let Flowed { output: Telling { progress, mut summary, last_line }, input } = flowed;
    progress.end();
    let whole = matches!(input, Ok(ControlFlow::Continue(())));
    summary.stopped_after_line = (!whole).then_some(last_line);
    let mut text = String::new();
    Told::Summary(&summary).write(json, &mut text)?;
    print_lines(&text)?;
    match input.with_context(|| unreadable.to_owned())? {
        ControlFlow::Continue(()) if summary.invalid == 0 => Ok(Ended::Done),
        ControlFlow::Continue(()) | ControlFlow::Break(()) => Ok(Ended::Failures),
    }
}

/// The checks of one run.
struct Checks {
    config: Arc<Config>,
    json: bool,
    large: Large<Report>,
}

impl Checks {
    fn new(config: Config, json: bool) -> Self {
        let config = Arc::new(config);
        let own = config.clone();
        Self { config, json, large: Large::new(move |line| check::check(line, &own)) }
    }

    fn report(&self, line: &Line) -> anyhow::Result<Report> {
        if line.bytes() >= LARGE { self.large.check(line) } else { Ok(check::check(line, &self.config)) }
    }
}

impl Check for Checks {
    type Counts = Summary;

    fn check(&self, line: &Line, said: &mut String) -> anyhow::Result<Summary> {
        let report = self.report(line)?;
        Told::Line(&report).write(self.json, said)?;
        Ok(Summary::of(&report))
    }

    fn add(counts: &mut Summary, more: Summary) {
        counts.add(&more);
    }
}

/// What is told so far.
struct Telling {
    progress: Progress,
    summary: Summary,
    last_line: u64,
}

impl Output<Summary> for Telling {
    fn take(&mut self, part: Part<Summary>) -> Result<(), Failure> {
        self.summary.add(&part.counts);
        if part.said.is_empty() {
            return Ok(());
        }
        self.progress.aside(|| print_lines(&part.said))
    }

    fn reached(&mut self, Position { line, bytes }: Position) {
        self.last_line = line;
        let summary = &self.summary;
        self.progress.show(bytes, || summary.to_string());
    }
}
