//! `paceline status`

use std::time::Duration;

use crate::app::{self, Onlookers};
use crate::config::Config;

use super::{Ended, Failure, Outcome, Shared, block_on, interrupt, print_lines};

mod render;

/// Shows what waits, how much of each limit is used, what is paused and why
///
/// For each account, and each of its limits: requests that used it up in the last 60 seconds, the
/// time to the next free slot, how many deliveries wait in each lane with the age of the oldest, and
/// how long it takes to send them. Nothing is declared, taken or changed.
///
/// A number that waits is what is in the queue and what workers hold; ages are what workers told last
/// ("?" where none did). Exit status 1 where something could not be asked; the rest is shown.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  paceline --config /etc/paceline.toml status
  paceline --config /etc/paceline.toml status shop --watch
  paceline --config /etc/paceline.toml status --json | jq '.accounts[].limits[].drainSeconds'")]
pub(super) struct Args {
    /// Only these accounts
    accounts: Vec<String>,
    /// Show it again and again, every 2 seconds or as many as given (--watch=10), until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "2", value_parser = clap::value_parser!(u64).range(1..=3600))]
    watch: Option<u64>,
    /// Print one JSON object (with --watch one a line)
    #[arg(long)]
    json: bool,
}

/// Clears a terminal and goes to its upper left corner.
const CLEAR: &str = "\x1b[2J\x1b[H";

pub(super) fn run(args: &Args, shared: &Shared) -> Outcome {
    let mut loaded = shared.load_with_accounts()?;
    shared.log_quietly(&loaded)?;
    select(&mut loaded.config, &args.accounts)?;
    block_on(async {
        let mut onlookers = app::onlookers(&loaded.config).await?;
        match args.watch {
            None => show(args, &loaded.config, &mut onlookers, "").await,
            Some(seconds) => watch(args, &loaded.config, &mut onlookers, Duration::from_secs(seconds)).await,
        }
    })
}

/// Leaves only the accounts that were named.
pub(super) fn select(config: &mut Config, names: &[String]) -> Result<(), Failure> {
    let known = |name: &String| config.accounts.keys().any(|account| account.as_str() == name);
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let all: Vec<&str> = config.accounts.keys().map(|account| account.as_str()).collect();
        return Err(Failure::Usage(format!("no account {unknown:?}, there are: {}", all.join(", "))));
    }
    if !names.is_empty() {
        config.accounts.retain(|account, _| names.iter().any(|name| name == account.as_str()));
    }
    Ok(())
}

async fn watch(args: &Args, config: &Config, onlookers: &mut Onlookers, every: Duration) -> Outcome {
    use std::io::IsTerminal as _;
    let clear = if !args.json && std::io::stdout().is_terminal() { CLEAR } else { "" };
    loop {
        show(args, config, onlookers, clear).await?;
        tokio::select! {
            () = interrupt() => return Ok(Ended::Done),
            () = tokio::time::sleep(every) => {}
        }
    }
}

async fn show(args: &Args, config: &Config, onlookers: &mut Onlookers, before: &str) -> Outcome {
    let picture = onlookers.look(config).await;
    let text = if args.json { render::json(&picture) } else { render::text(&picture) };
    print_lines(&format!("{before}{text}"))?;
    Ok(if picture.problems.is_empty() { Ended::Done } else { Ended::Failures })
}
