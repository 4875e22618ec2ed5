//! `paceline topology`

use super::{Ended, Outcome, Shared, block_on, print};
use crate::app::{self, BrokerObject};

/// Declares the broker objects of all accounts and prints them
///
/// Exchanges, queues and their bindings, all durable, under the configured prefix. What exists is
/// left as it is; where something exists with other arguments, the error names it. A worker
/// declares what is missing by itself: this is for producers that start first, and for looking. Where
/// queue.url is a file, it is made, and its queues are printed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  paceline --config /etc/paceline.toml topology --json")]
pub(super) struct Args {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, shared: &Shared) -> Outcome {
    let loaded = shared.load()?;
    shared.log_quietly(&loaded)?;
    block_on(async {
        let objects = app::declare_topology(&loaded.config).await?;
        let width = objects.iter().map(|object| object.name.len()).max().unwrap_or_default();
        for object in &objects {
            print(&if args.json { as_json(object)? } else { as_text(object, width) })?;
        }
        Ok(Ended::Done)
    })
}

fn as_json(object: &BrokerObject) -> anyhow::Result<String> {
    Ok(serde_json::to_string(object)?)
}

fn as_text(object: &BrokerObject, width: usize) -> String {
    let BrokerObject { kind, name, detail } = object;
    format!("{kind:<8}  {name:<width$}  {detail}").trim_end().to_owned()
}
