//! `paceline generate`: man pages and shell completions, from the arguments themselves.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Ended, Outcome};

/// The shells that completions are made for.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// Writes the man pages and the completions for bash, zsh and fish into a folder
///
/// `make install` and packagers use it. One page for paceline and one for each command.
#[derive(Debug, clap::Args)]
#[command(hide = true, after_help = "Example:\n  paceline generate target/install")]
pub(super) struct Args {
    /// The folder; made where it is missing
    folder: PathBuf,
}

pub(super) fn run(args: &Args) -> Outcome {
    generate(&args.folder).with_context(|| format!("{} can't be written", args.folder.display()))?;
    Ok(Ended::Done)
}

fn generate(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let mut command = Cli::command();
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut command, "paceline", folder)?;
    }
    // A page for each "help" of each command would say nothing.
    let without_help = |command: clap::Command| command.disable_help_subcommand(true);
    let command = without_help(Cli::command()).mut_subcommands(without_help);
    clap_mangen::generate_to(command, folder)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_is_shown_has_a_page_and_is_completed_in_each_shell() {
        let folder = tempfile::tempdir().unwrap();
        generate(folder.path()).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let completions = ["paceline.bash", "_paceline", "paceline.fish"].map(read);
        let main = read("paceline.1");
        assert!(main.contains("PACELINE_CONFIG") && main.contains("Exit status"), "{main}");
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            if command.is_hide_set() {
                assert!(!main.contains(&format!("paceline\\-{name}")), "{name} is hidden\n{main}");
                continue;
            }
            let page = read(&format!("paceline-{name}.1"));
            assert!(page.contains("Example"), "{name}\n{page}");
            for completion in &completions {
                assert!(completion.contains(name), "{name}");
            }
        }
    }
}
