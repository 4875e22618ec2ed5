//! `paceline config check` and `paceline config show`

use super::{Ended, Outcome, Shared, print};
use crate::config::show;

/// Checks or shows the configuration that will be in force
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
    /// Prints every value in force with its origin (default, file or environment); secrets masked
    #[command(after_help = "Example:\n  paceline --config /etc/paceline.toml config show --json")]
    Show {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(args: &Args, shared: &Shared) -> Outcome {
    let loaded = shared.load()?;
    match args.command {
        Command::Check => {
            let accounts = loaded.config.accounts.len();
            print(&format!("The configuration can be used: {accounts} account(s), {}.", loaded.origin))?;
            if accounts == 0 {
                print("There is no account yet: a worker would refuse to start.")?;
            }
        }
        Command::Show { json: true } => print(&format!("{:#}", show::as_json(&loaded)))?,
        Command::Show { json: false } => print(show::as_text(&loaded).trim_end())?,
    }
    Ok(Ended::Done)
}
