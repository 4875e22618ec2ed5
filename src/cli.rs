//! The command line: arguments, exit statuses, and what every command shares.
//!
//! Each command lies in a file of its own: its arguments as a `clap` struct and a `run` function.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, ConfigErrors, Environment, Loaded};
use crate::{logging, providers};

mod config_cmd;
mod dead;
mod demo;
mod generate;
mod lines;
mod pause;
mod progress;
mod publish;
mod schema;
mod simulate;
mod status;
mod topology;
mod validate;
mod worker;

/// A durable push-delivery worker: RabbitMQ jobs to Pushwoosh and MoEngage, within each account's
/// limit, each at most once as far as the provider makes that possible.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    /// Configuration file (TOML); without one, defaults and environment variables hold
    #[arg(long, value_name = "FILE", env = "PACELINE_CONFIG", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Every key of the configuration can be overridden by an environment variable:
  PACELINE__QUEUE__URL=amqps://user:password@broker/%2f

Exit status: 0 done, 1 it ran and found failures, 2 bad usage or configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    Worker(worker::Args),
    Publish(publish::Args),
    Validate(validate::Args),
    Dead(dead::Args),
    Status(status::Args),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
    Topology(topology::Args),
    Simulate(simulate::Args),
    Schema(schema::Args),
    Config(config_cmd::Args),
    Demo(demo::Args),
    Generate(generate::Args),
}

/// How a command ended that could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All is well: exit status 0.
    Done,
    /// It ran and found failures, which it has told: exit status 1.
    Failures,
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Bad usage: exit status 2.
    Usage(String),
    /// Bad configuration: exit status 2.
    Configuration(ConfigErrors),
    /// Something else was in the way: exit status 1.
    Other(anyhow::Error),
    /// Whoever read the output went away (`| head`): exit status 1, nothing to tell anybody.
    OutputClosed,
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Configuration(errors)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

type Outcome = Result<Ended, Failure>;

/// Runs the command and gives the exit status.
pub fn run(cli: &Cli) -> ExitCode {
    status(cli.command.run(&Shared { file: cli.config.clone(), environment: Environment::of_process() }))
}

fn status(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Failures) | Err(Failure::OutputClosed) => ExitCode::from(1),
        Err(Failure::Usage(text)) => {
            complain(&text);
            ExitCode::from(2)
        }
        Err(Failure::Configuration(errors)) => {
            complain(&format!("the configuration can't be used:\n{errors}"));
            ExitCode::from(2)
        }
        Err(Failure::Other(error)) => {
            complain(&format!("{error:#}"));
            ExitCode::from(1)
        }
    }
}

impl Command {
    fn run(&self, shared: &Shared) -> Outcome {
        match self {
            Self::Worker(args) => worker::run(args, shared),
            Self::Publish(args) => publish::run(args, shared),
            Self::Validate(args) => validate::run(args, shared),
            Self::Dead(args) => dead::run(args, shared),
            Self::Status(args) => status::run(args, shared),
            Self::Pause(args) => pause::pause(args, shared),
            Self::Resume(args) => pause::resume(args, shared),
            Self::Topology(args) => topology::run(args, shared),
            Self::Simulate(args) => block_on(async {
                simulate::run(args.clone()).await?;
                Ok(Ended::Done)
            }),
            Self::Schema(args) => schema::run(args),
            Self::Config(args) => config_cmd::run(args, shared),
            Self::Demo(args) => demo::run(args),
            Self::Generate(args) => generate::run(args),
        }
    }
}

/// What every command may need.
pub(crate) struct Shared {
    file: Option<PathBuf>,
    environment: Environment,
}

impl Shared {
    /// The configuration.
    fn load(&self) -> Result<Loaded, Failure> {
        Ok(config::load(self.file.as_deref(), &self.environment, &providers::ALL)?)
    }

    /// The configuration with at least one account.
    fn load_with_accounts(&self) -> Result<Loaded, Failure> {
        let loaded = self.load()?;
        loaded.require_accounts()?;
        Ok(loaded)
    }

    /// Logs as configured: for the worker.
    fn log(&self, loaded: &Loaded) -> Result<(), Failure> {
        logging::install(&loaded.log, &self.environment)
            .map_err(|error| Failure::Usage(format!("the log can't be set up: {error:#}")))
    }

    /// Logs warnings only, for commands that end: their own words are what matters.
    fn log_quietly(&self, loaded: &Loaded) -> Result<(), Failure> {
        let mut quiet = loaded.clone();
        quiet.log.level = "warn".to_owned();
        self.log(&quiet)
    }
}

/// Runs a future to its end on a runtime of its own.
fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| anyhow::Error::new(error).context("the runtime can't be started"))?;
    let outcome = runtime.block_on(work);
    // A read of standard input that waits for a person would keep the process from ending.
    runtime.shutdown_background();
    outcome
}

/// Ends at the next Ctrl-C.
async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Writes a line to standard output.
fn print(line: &str) -> Result<(), Failure> {
    print_lines(&format!("{line}\n"))
}

/// Writes whole lines, their ends included, to standard output.
fn print_lines(text: &str) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure::OutputClosed),
        Err(error) => Err(anyhow::Error::new(error).context("standard output can't be written").into()),
    }
}

/// Writes a line to standard error. One that can't be written has no other place to go.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "paceline: {line}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_sound_and_every_command_shows_an_example() {
        let mut cli = Cli::command();
        cli.clone().debug_assert();
        cli.build();
        for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Example"), "{}\n{help}", command.get_name());
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }

    #[test]
    fn statuses_are_those_of_the_contract() {
        let bad = ConfigErrors(Vec::new());
        let cases: [(Outcome, u8); 6] = [
            (Ok(Ended::Done), 0),
            (Ok(Ended::Failures), 1),
            (Err(Failure::OutputClosed), 1),
            (Err(Failure::Other(anyhow::anyhow!("x"))), 1),
            (Err(Failure::Usage("x".into())), 2),
            (Err(Failure::Configuration(bad)), 2),
        ];
        for (outcome, expected) in cases {
            let shown = format!("{outcome:?}");
            assert_eq!(
                format!("{:?}", status(outcome)),
                format!("{:?}", ExitCode::from(expected)),
                "{shown}"
            );
        }
    }
}
