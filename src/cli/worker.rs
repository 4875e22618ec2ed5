//! `paceline worker`

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::{Ended, Outcome, Shared, block_on};
use crate::app;
use crate::worker::Stage;

/// Runs a delivery worker until SIGTERM or SIGINT, then drains
///
/// Takes jobs of every configured account from the broker and sends them to the providers within
/// the accounts' limits. Any number of workers may run; they share limits, pauses and claims. On a file
/// (queue.url = "embedded:FILE") there is one, and a second one is refused.
/// The first SIGTERM or SIGINT ends the intake and lets work in progress end (worker.drain at the
/// longest); a second one ends at once. Nothing is lost either way.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  paceline --config /etc/paceline.toml worker")]
pub(super) struct Args {}

pub(super) fn run(_: &Args, shared: &Shared) -> Outcome {
    let loaded = shared.load_with_accounts()?;
    shared.log(&loaded)?;
    block_on(async {
        let (asking, asked) = watch::channel(Stage::Running);
        let (terminate, interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        let watching = tokio::spawn(watch_signals(terminate, interrupt, asking));
        let worked = app::run_worker(loaded.config, asked).await;
        watching.abort();
        worked?;
        Ok(Ended::Done)
    })
}

fn listen(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("signals can't be listened to")
}

/// The first signal asks for a drain, every further one to end at once.
async fn watch_signals(mut terminate: Signal, mut interrupt: Signal, asking: watch::Sender<Stage>) {
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        asking.send_modify(|stage| *stage = after_signal(*stage));
    }
}

const fn after_signal(stage: Stage) -> Stage {
    match stage {
        Stage::Running => Stage::Draining,
        Stage::Draining | Stage::Stopped => Stage::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_first_signal_drains_and_the_second_ends_at_once() {
        // Signals that stand for SIGTERM and SIGINT, so that the test runner's own are not touched.
        let (terminate, interrupt) = (SignalKind::user_defined1(), SignalKind::user_defined2());
        let (asking, mut asked) = watch::channel(Stage::Running);
        let task =
            tokio::spawn(watch_signals(listen(terminate).unwrap(), listen(interrupt).unwrap(), asking));
        for (signal, expected) in
            [("-USR1", Stage::Draining), ("-USR2", Stage::Stopped), ("-USR1", Stage::Stopped)]
        {
            let pid = std::process::id().to_string();
            let sent = tokio::process::Command::new("kill").args([signal, &pid]).status().await.unwrap();
            assert!(sent.success());
            tokio::time::timeout(Duration::from_secs(5), asked.changed()).await.unwrap().unwrap();
            assert_eq!(*asked.borrow_and_update(), expected, "{signal}");
        }
        task.abort();
    }
}
