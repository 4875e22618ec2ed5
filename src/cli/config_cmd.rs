//! `paceline config check`, `paceline config show` and `paceline config reference`

use super::{Ended, Outcome, Shared, print};
use crate::config::{reference, show};
use crate::providers;

/// Checks, shows or explains the configuration
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  paceline --config /etc/paceline.toml config check\n  \
                        PACELINE__RETRY__ATTEMPTS=3 paceline config show")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Says whether the configuration can be used; every mistake names its key and file
    ///
    /// Reads the file, the environment and the files and variables of credentials, and connects to
    /// nothing. Exit status 2 where something is wrong.
    #[command(after_help = "Example:\n  paceline --config /etc/paceline.toml config check")]
    Check,
    /// Prints every key with its meaning, bounds, default and the reason for it, as Markdown
    #[command(after_help = "Example:\n  paceline config reference | less")]
    Reference,
    /// Prints every value in force with its origin (default, file or environment); secrets masked
    #[command(after_help = "Example:\n  paceline --config /etc/paceline.toml config show --json")]
    Show {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(args: &Args, shared: &Shared) -> Outcome {
    match args.command {
        Command::Reference => print(reference::markdown(&providers::ALL).trim_end())?,
        Command::Check => {
            let loaded = shared.load()?;
            let accounts = loaded.config.accounts.len();
            print(&format!("The configuration can be used: {accounts} account(s), {}.", loaded.origin))?;
            if accounts == 0 {
                print("There is no account yet: a worker would refuse to start.")?;
            }
        }
        Command::Show { json: true } => print(&format!("{:#}", show::as_json(&shared.load()?)))?,
        Command::Show { json: false } => print(show::as_text(&shared.load()?).trim_end())?,
    }
    Ok(Ended::Done)
}
