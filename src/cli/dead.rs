//! `paceline dead`: work on dead letters.
//!
//! `selection` says which letters are meant, `watch` shows how far a command has come, `render` what
//! was found and done.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Ended, Failure, Outcome, Shared, block_on, interrupt, print_lines};
use crate::app;
use crate::letters::{self, Change, Cursor, Facts, Filter, Page, Replaying};
use crate::ports::{DeadLetters, LettersError};

mod render;
mod selection;
mod watch;

use selection::{Chosen, Selection};
use watch::Watch;

/// Works on dead letters: lists, shows, replays and drops them
///
/// A dead letter is a delivery that will not be sent without a person. A queue of a million is read
/// without being kept in memory, which takes a minute or more; one command at a time works on them,
/// the next one waits. While they are read, `status` and metrics count those in hand as gone.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  paceline dead list --reason rejected --newer-than 1h
  paceline dead show 3f0c5a0e9b7d4c2188d1f6e2a4b90c77
  paceline dead replay --all --account shop --reason exhausted --dry-run
  paceline dead drop --all --older-than 30d --yes")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    List(ListArgs),
    Show(ShowArgs),
    Replay(ReplayArgs),
    Drop(DropArgs),
}

/// Lists dead letters, newest first, with counts by account, operation and reason
///
/// The counts are of all that match, the list is one page of them. Exit status 1 where the letters
/// could not be read to the end.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  paceline dead list
  paceline dead list --account shop --reason rejected --detail 'application not found' --limit 50
  paceline dead list --older-than 7d --json | jq '.groups'")]
struct ListArgs {
    #[command(flatten)]
    selection: Selection,
    /// The most letters of a page
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    limit: u16,
    /// Only letters behind this one: the id of any, or what the last page gave for the next
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows one dead letter: its job, why it died, what is known of its attempts
///
/// Credentials, device tokens and names of users are masked. Exit status 1 where there is no such
/// letter.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  paceline dead show 3f0c5a0e9b7d4c2188d1f6e2a4b90c77 --json | jq .job")]
struct ShowArgs {
    /// Its id, as `dead list` shows it
    #[arg(value_name = "ID")]
    id: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Publishes dead letters again, and takes them out
///
/// Each is published to its account's queue, passes the limiter like any job, and is taken out when
/// the broker has confirmed it. Interrupted at any point (kill -9 too), the same command goes on: what
/// was published but not taken out is published once more under the same id, which the workers
/// recognise, so that nothing is lost or sent twice. That holds within store.dedupe_ttl.
///
/// A replay overrides what is known of the delivery: one that is `uncertain` may be pushed a second
/// time, and so may one whose id was published again since and delivered. A letter that would be invalid again, or
/// whose expiresAt has passed, stays where it is and is named. Exit status 1 where any stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  paceline dead replay 3f0c5a0e9b7d4c2188d1f6e2a4b90c77
  paceline dead replay --all --account shop --reason exhausted --older-than 10m --dry-run
  paceline dead replay --all --reason rejected --detail 'application not found' \\
      --set /payload/application='\"12345-67890\"' --rate 20")]
struct ReplayArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Say what would be replayed, and publish nothing
    #[arg(long)]
    dry_run: bool,
    /// The most letters a second
    #[arg(long, value_name = "N", default_value_t = 100.0, value_parser = rate)]
    rate: f64,
    /// Set a member of each job, at a JSON pointer; what comes out must be valid. May be repeated
    #[arg(long, value_name = "POINTER=JSON", value_parser = Change::set)]
    set: Vec<Change>,
    /// Take a member of each job away. May be repeated; done after every --set
    #[arg(long, value_name = "POINTER", value_parser = Change::unset)]
    unset: Vec<Change>,
    /// How long the broker is tried for one letter before the command ends
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

/// Takes dead letters out for good, once they are written to a file
///
/// The file gets one JSON object a line, with all that is needed to publish the letter again, device
/// tokens included; it is on the disk before a letter is taken out. Asks before it begins, unless
/// --yes is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  paceline dead drop 3f0c5a0e9b7d4c2188d1f6e2a4b90c77
  paceline dead drop --all --reason invalid --older-than 30d --yes --file dropped.jsonl
  jq -c .job dropped.jsonl | paceline publish -")]
struct DropArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Don't ask
    #[arg(long)]
    yes: bool,
    /// Where to keep them, a new file; by default paceline-dead-TIME.jsonl in this folder
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "is no number".to_owned())?;
    if (0.01..=100_000.0).contains(&rate) { Ok(rate) } else { Err("must be from 0.01 to 100000".to_owned()) }
}

pub(super) fn run(args: &Args, shared: &Shared) -> Outcome {
    match &args.command {
        Command::List(args) => run_list(args, shared),
        Command::Show(args) => run_show(args, shared),
        Command::Replay(args) => run_replay(args, shared),
        Command::Drop(args) => run_drop(args, shared),
    }
}

/// Set by Ctrl-C; a second one ends the process at once.
fn stopping() -> CancellationToken {
    let stop = CancellationToken::new();
    let set = stop.clone();
    tokio::spawn(async move {
        interrupt().await;
        set.cancel();
        interrupt().await;
        std::process::exit(1);
    });
    stop
}

fn unreadable(error: LettersError) -> Failure {
    anyhow!("{error}; check queue.url and that it runs. Nothing is lost").into()
}

fn run_list(args: &ListArgs, shared: &Shared) -> Outcome {
    let loaded = shared.load()?;
    shared.log_quietly(&loaded)?;
    let filter = args.selection.filter(Timestamp::now());
    block_on(async {
        let desk = app::dead_letters(&loaded.config)?;
        let stop = stopping();
        let after = match &args.after {
            Some(text) => Some(cursor(text, &*desk, &stop).await?),
            None => None,
        };
        let page = Page { limit: args.limit.into(), after };
        let mut watch = Watch::new("match");
        let listing = letters::list(&*desk, &filter, &page, &mut watch, &stop).await.map_err(unreadable)?;
        watch.end();
        let now = Timestamp::now();
        print_lines(&if args.json { render::list_json(&listing) } else { render::list_text(&listing, now) })?;
        Ok(if listing.stopped { Ended::Failures } else { Ended::Done })
    })
}

/// What the last page gave, or the place of a letter.
async fn cursor(text: &str, desk: &dyn DeadLetters, stop: &CancellationToken) -> Result<Cursor, Failure> {
    if let Ok(cursor) = text.parse() {
        return Ok(cursor);
    }
    let mut watch = Watch::new("match");
    let found = letters::find(desk, text, &mut watch, stop).await.map_err(unreadable)?;
    watch.end();
    let letter = found.ok_or_else(|| anyhow!("there is no dead letter {text:?} to go on behind"))?;
    Ok(Cursor::behind(&Facts::of(&letter)))
}

fn run_show(args: &ShowArgs, shared: &Shared) -> Outcome {
    let loaded = shared.load()?;
    shared.log_quietly(&loaded)?;
    block_on(async {
        let desk = app::dead_letters(&loaded.config)?;
        let mut watch = Watch::new("match");
        let found = letters::find(&*desk, &args.id, &mut watch, &stopping()).await.map_err(unreadable)?;
        watch.end();
        let letter = found.ok_or_else(|| anyhow!("there is no dead letter {:?}", args.id))?;
        let shown = letters::masked(&letter);
        print_lines(&if args.json { render::show_json(&shown)? } else { render::show_text(&shown)? })?;
        Ok(Ended::Done)
    })
}

fn run_replay(args: &ReplayArgs, shared: &Shared) -> Outcome {
    let loaded = shared.load_with_accounts()?;
    shared.log_quietly(&loaded)?;
    let filter = args.chosen.filter(Timestamp::now())?;
    let changes: Vec<Change> = args.set.iter().chain(&args.unset).cloned().collect();
    block_on(async {
        let desk = app::dead_letters(&loaded.config)?;
        let publisher = app::publisher(&loaded.config).await?;
        let wish = Replaying {
            filter: &filter,
            changes: &changes,
            config: &loaded.config,
            rate: args.rate,
            patience: args.timeout,
            dry_run: args.dry_run,
        };
        let mut watch = Watch::new(if args.dry_run { "would be replayed" } else { "replayed" });
        let replayed = letters::replay(&*desk, &publisher, &wish, &mut watch, &stopping()).await;
        watch.end();
        let replayed = replayed.map_err(unreadable)?;
        print_lines(&if args.json {
            render::replay_json(&replayed, args.dry_run)
        } else {
            render::replay_text(&replayed, args.dry_run)
        })?;
        let whole = replayed.left + replayed.failed == 0 && replayed.missing.is_empty() && !replayed.stopped;
        Ok(if whole { Ended::Done } else { Ended::Failures })
    })
}

fn run_drop(args: &DropArgs, shared: &Shared) -> Outcome {
    let loaded = shared.load()?;
    shared.log_quietly(&loaded)?;
    let now = Timestamp::now();
    let filter = args.chosen.filter(now)?;
    if !args.yes && !std::io::stdin().is_terminal() {
        return Err(Failure::Usage("nobody can be asked here; --yes drops without asking".to_owned()));
    }
    let path = args
        .file
        .clone()
        .unwrap_or_else(|| format!("paceline-dead-{}.jsonl", now.strftime("%Y%m%dT%H%M%SZ")).into());
    block_on(async {
        let desk = app::dead_letters(&loaded.config)?;
        let stop = stopping();
        if !args.yes && !is_agreed(&desk, &filter, &stop).await? {
            return Ok(Ended::Failures);
        }
        let mut kept = letters::Kept::at(&path);
        let mut watch = Watch::new("dropped");
        let dropped = letters::drop_letters(&*desk, &filter, &mut kept, &mut watch, &stop).await;
        watch.end();
        let dropped = dropped
            .map_err(|error| anyhow!("{error}; what was dropped until then is in {}", path.display()))?;
        print_lines(&if args.json {
            render::drop_json(&dropped, &path)
        } else {
            render::drop_text(&dropped, &path)
        })?;
        Ok(if dropped.missing.is_empty() && !dropped.stopped { Ended::Done } else { Ended::Failures })
    })
}

/// Shows what would be dropped, and asks.
async fn is_agreed(
    desk: &Arc<dyn DeadLetters>,
    filter: &Filter,
    stop: &CancellationToken,
) -> Result<bool, Failure> {
    let mut watch = Watch::new("match");
    let page = Page::default();
    let listing = letters::list(&**desk, filter, &page, &mut watch, stop).await.map_err(unreadable)?;
    watch.end();
    print_lines(&render::groups_text(&listing.groups, Timestamp::now()))?;
    if listing.matched == 0 || listing.stopped {
        print_lines("nothing is dropped\n")?;
        return Ok(false);
    }
    print_lines(&format!(
        "Drop these {} dead letters? They are written to a file first. [y/N] ",
        listing.matched
    ))?;
    let _ = std::io::stdout().flush();
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    let answer = answer.await.map_err(anyhow::Error::from)?.map_err(anyhow::Error::from)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
