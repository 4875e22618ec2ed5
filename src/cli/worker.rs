//! `paceline worker`

use std::convert::Infallible;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::{Ended, Failure, Outcome, Shared, block_on};
use crate::app;
use crate::config::{Config, Loaded};
use crate::telemetry::{self, System};
use crate::worker::Stage;

/// Runs a delivery worker until SIGTERM or SIGINT, then drains
///
/// Takes jobs of every configured account from the broker and sends them to the providers within
/// the accounts' limits. Any number of workers may run; they share limits, pauses and claims. On a file
/// (queue.url = "embedded:FILE") there is one, and a second one is refused.
/// The first SIGTERM or SIGINT ends the intake and lets work in progress end (worker.drain at the
/// longest); a second one ends at once. Nothing is lost either way.
/// SIGHUP reads the configuration again, credentials and CA files included. Accounts and everything
/// else but [queue], [store], [admin] and [log] are then in force without a pause (on a file: after what
/// is under way has ended). A file that can't be used changes nothing, and the log says why.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  paceline --config /etc/paceline.toml worker\n  \
                        kill -HUP PID        # after a change of accounts or credentials")]
pub(super) struct Args {}

pub(super) fn run(_: &Args, shared: &Shared) -> Outcome {
    let loaded = shared.load_with_accounts()?;
    shared.log(&loaded)?;
    block_on(async {
        let system = if loaded.config.embedded.is_some() { System::File } else { System::RabbitMq };
        let export = telemetry::start(&shared.environment, system);
        let (asking, asked) = watch::channel(Stage::Running);
        let mut stopping = asked.clone();
        let (terminate, interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
        let hang_up = listen(SignalKind::hangup())?;
        let watching = tokio::spawn(watch_signals(terminate, interrupt, asking));
        let (reloading, reloaded) = mpsc::channel(1);
        let worked = tokio::select! {
            worked = app::run_worker(loaded.config.clone(), asked, reloaded) => worked,
            never = reload(hang_up, shared, loaded, reloading) => match never {},
        };
        tokio::select! {
            () = export.end() => {}
            _ = stopping.wait_for(|stage| *stage == Stage::Stopped) => {}
        }
        watching.abort();
        worked?;
        Ok(Ended::Done)
    })
}

fn listen(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("signals can't be listened to")
}

/// Reads the configuration again at each SIGHUP, and hands on what can be used.
async fn reload(
    mut hang_up: Signal,
    shared: &Shared,
    mut present: Loaded,
    reloading: mpsc::Sender<Config>,
) -> Infallible {
    loop {
        if hang_up.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        match shared.load_with_accounts().map_err(told).and_then(|next| usable(&present, next)) {
            Err(problem) => {
                tracing::error!(
                    "the configuration was read again and can't be used, nothing is changed: {problem}"
                );
            }
            Ok(next) => {
                let changes = changes(&present, &next);
                tracing::info!(changes, "the configuration was read again, and credentials with it");
                present = next;
                // The receiver lives as long as the worker, and this as long as both.
                let _ = reloading.send(present.config.clone()).await;
            }
        }
    }
}

fn told(failure: Failure) -> String {
    match failure {
        Failure::Usage(text) => text,
        Failure::Configuration(errors) => errors.to_string(),
        Failure::Other(error) => format!("{error:#}"),
        Failure::OutputClosed => String::new(),
    }
}

/// What was read, unless it changes what only a start can.
fn usable(present: &Loaded, next: Loaded) -> Result<Loaded, String> {
    let (before, now) = (&present.config, &next.config);
    let changed: Vec<&str> = [
        ("[queue]", before.queue != now.queue || before.embedded != now.embedded),
        ("[store]", before.store != now.store),
        ("[admin]", before.admin != now.admin || before.console != now.console),
        ("[log]", present.log != next.log),
    ]
    .into_iter()
    .filter_map(|(section, differs)| differs.then_some(section))
    .collect();
    if changed.is_empty() {
        return Ok(next);
    }
    Err(format!("a change of {} needs a restart; take it back, or restart the workers", changed.join(", ")))
}

/// The keys whose values differ, as `config show` shows them; of credentials only what they are read
/// from is seen.
fn changes(present: &Loaded, next: &Loaded) -> String {
    let differing = |these: &Loaded, those: &Loaded| -> Vec<String> {
        let has = |shown: &crate::config::Shown| {
            those.values.iter().any(|other| other.key == shown.key && other.value == shown.value)
        };
        these.values.iter().filter(|shown| !has(shown)).map(|shown| shown.key.clone()).collect()
    };
    let mut keys = differing(present, next);
    keys.extend(differing(next, present));
    keys.sort();
    keys.dedup();
    if keys.is_empty() { "none that is shown".to_owned() } else { keys.join(" ") }
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
    use crate::config::Environment;

    const BEFORE: &str = r#"
[accounts.shop]
provider = "pushwoosh"
api_token = { env = "TOKEN" }
application = "XXXXX-XXXXX"
"#;

    fn loaded(text: &str) -> Loaded {
        let environment = Environment::of([("TOKEN", "secret")]);
        crate::config::load_text(text, None, &environment, &crate::providers::ALL).expect("a configuration")
    }

    #[test]
    fn a_change_that_needs_a_start_is_refused_and_any_other_named() {
        let present = loaded(BEFORE);
        for (more, refused) in [
            ("[queue]\nprefix = \"other\"", Some("[queue], [store]")),
            ("[queue]\nurl = \"amqp://guest:other@127.0.0.1:5672/%2f\"", Some("[queue]")),
            ("[store]\ndedupe_ttl = \"1d\"\n[admin]\nlisten = \"off\"", Some("[store], [admin]")),
            ("[log]\nlevel = \"warn\"", Some("[log]")),
            ("[retry]\nattempts = 3", None),
        ] {
            let next = loaded(&format!("{BEFORE}{more}"));
            let found = usable(&present, next).map(|next| changes(&present, &next));
            let expected = match refused {
                Some(sections) => Err(format!(
                    "a change of {sections} needs a restart; take it back, or restart the workers"
                )),
                None => Ok("retry.attempts".to_owned()),
            };
            assert_eq!(found, expected, "{more}");
        }
        let same = loaded(BEFORE);
        assert_eq!(changes(&present, &same), "none that is shown");
        let renamed = loaded(&BEFORE.replace("accounts.shop", "accounts.store"));
        let changes = changes(&present, &renamed);
        assert!(changes.contains("accounts.shop.provider") && changes.contains("accounts.store.provider"));
    }

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
