//! `paceline demo`: the whole system in one process, to be watched.
//!
//! In reading order: `setting` (accounts and limits), `jobs` (the samples), `script` (what is shown
//! when), `play` (runs it), `watch` (what is seen of the running system), `meter` and `story` (what
//! that means), `picture`, `draw` and `style` (what it looks like), `screen` and `output` (where),
//! `summary` (whether every promise held).

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use self::output::Output;
use self::setting::Setting;
use super::{Ended, Failure, Outcome, block_on};

mod draw;
mod jobs;
mod meter;
mod output;
mod picture;
mod play;
mod screen;
mod script;
mod setting;
mod story;
mod style;
mod summary;
mod watch;

/// Shows everything paceline does, in one process: nothing has to be installed or configured
///
/// Starts simulated providers, a queue and a store in a temporary file, and a worker; publishes
/// sample jobs for one account of each provider and draws what happens: exempt and counted sends,
/// urgent ones that overtake a backlog, a batch with a faulty notification, duplicates, scheduled,
/// expired and invalid jobs, an outage, throttling, a lost answer. Then it says what became of every
/// delivery and whether every promise held. No other process, network service or file is used; no
/// configuration or environment is read except NO_COLOR and TERM.
///
/// To be worth watching, a provider's minute is shorter than 60 s: with --speed 5 it lasts 12 s, in
/// which shop (Pushwoosh) may make its documented 600 counted requests, and news (MoEngage, which
/// documents 10,000) 900. The simulated providers count by the same windows and refuse what is above
/// the limit, so the promise that is shown is the real one. Everything else keeps its time: waits
/// after faults are configured to be short.
///
/// The first Ctrl-C drains and shows the summary so far; a second one ends at once. In a terminal the
/// picture is drawn in place; elsewhere what happens is told in lines.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  paceline demo
  paceline demo --speed 10 --seed 2
  paceline demo --duration 20s --json | jq 'select(.kind == \"summary\")'

Exit status: 0 every promise held, 1 one did not (the summary says which).")]
pub(super) struct Args {
    /// Where chance begins: contents, latency
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long jobs are published and sent; what waits then is sent to its end. From 15s to 10m
    #[arg(long, value_name = "TIME", default_value = "40s", value_parser = duration)]
    duration: Duration,
    /// A provider's minute lasts 60 s divided by this, for those who count and those who are counted
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=20))]
    speed: u32,
    /// Keeps queue and store in this file, which must not exist
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// One JSON object a line: what happens, how things stand every second, and the summary
    #[arg(long)]
    json: bool,
}

/// The shortest time in which everything can be shown, and the longest that somebody watches.
const DURATIONS: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(600));

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let (least, most) = DURATIONS;
    if (least..=most).contains(&duration) { Ok(duration) } else { Err("allowed: 15s to 10m".to_owned()) }
}

pub(super) fn run(args: &Args) -> Outcome {
    let folder = Folder::new().context("no temporary folder can be made")?;
    let file = match &args.keep {
        Some(file) => absent(file)?,
        None => folder.0.join("demo.db"),
    };
    let setting = Setting { seed: args.seed, length: args.duration, speed: args.speed };
    let kept = args.keep.as_ref().map(|file| file.display().to_string());
    block_on(async {
        let system = play::System::start(setting, &file).await?;
        let output = Output::open(args.json)?;
        let holds = play::play(system, output, kept).await?;
        Ok(if holds { Ended::Done } else { Ended::Failures })
    })
}

/// Ids of an earlier demo in the file would make every delivery a duplicate.
fn absent(file: &Path) -> Result<PathBuf, Failure> {
    match file.try_exists() {
        Ok(false) => std::path::absolute(file)
            .map_err(|error| Failure::Usage(format!("--keep {}: {error}", file.display()))),
        Ok(true) => Err(Failure::Usage(format!("--keep {}: the file exists already", file.display()))),
        Err(error) => Err(Failure::Usage(format!("--keep {}: {error}", file.display()))),
    }
}

/// A folder for one demo, only for its user; dropping it removes it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let name = format!("paceline-demo-{}", uuid::Uuid::new_v4().simple());
        let folder = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed lies among other temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
