//! `paceline pause` and `paceline resume`

use serde_json::{Map, Value, json};

use super::status::select;
use super::{Ended, Outcome, Shared, block_on, print};
use crate::app;
use crate::status::{Left, Wish, fulfil, left_of, pause_json, pause_note};

/// Stops the sends of accounts for all workers until they are resumed
///
/// Jobs are still taken in and checked, and wait: nothing is lost and no retry is used up. Requests
/// under way end as they would. Workers learn of it with their next claim: limited requests stop within
/// limiter.horizon, exempt ones within a second. It needs the store only, outlasts restarts of the
/// workers, and doing it twice does no harm. `paceline status` shows it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  paceline --config /etc/paceline.toml pause shop")]
pub(super) struct PauseArgs {
    #[command(flatten)]
    which: Which,
}

/// Ends a pause of accounts, and has workers try again at once what they had given up for a while
///
/// Ends what `paceline pause` began, and the waits after refused credentials and after too many faults.
/// A pause that a provider asked for (throttled) is kept: going on earlier would be refused. A worker looks
/// again when the wait that it was told of is over: within 10 seconds after `paceline pause`, within
/// circuit.credentials_pause or circuit.pause_max after the others.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  paceline --config /etc/paceline.toml resume shop")]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The accounts
    #[arg(required = true, value_name = "ACCOUNT")]
    accounts: Vec<String>,
    /// Print one JSON object for each account, a line each
    #[arg(long)]
    json: bool,
}

pub(super) fn pause(args: &PauseArgs, shared: &Shared) -> Outcome {
    each(&args.which, shared, Wish::Pause)
}

pub(super) fn resume(args: &ResumeArgs, shared: &Shared) -> Outcome {
    each(&args.which, shared, Wish::Resume)
}

fn each(which: &Which, shared: &Shared, wish: Wish) -> Outcome {
    let mut loaded = shared.load_with_accounts()?;
    shared.log_quietly(&loaded)?;
    select(&mut loaded.config, &which.accounts)?;
    block_on(async {
        let onlookers = app::onlookers(&loaded.config).await?;
        let store = onlookers.store();
        for account in loaded.config.accounts.values() {
            fulfil(wish, account, store).await.map_err(|error| {
                anyhow::anyhow!("{}: {error}: check store.url and that it runs", account.name)
            })?;
            let left = left_of(account, store).await;
            let name = account.name.as_str();
            print(&if which.json { as_json(name, &left) } else { as_text(wish, name, &left) })?;
        }
        Ok(Ended::Done)
    })
}

fn as_text(wish: Wish, name: &str, left: &[Left]) -> String {
    match (wish, left) {
        (Wish::Pause, _) => {
            format!("{name} is paused for all workers. `paceline resume {name}` lets it go on.")
        }
        (Wish::Resume, []) => format!(
            "{name} is resumed for all workers. Each goes on when the wait that it knows of is over: within \
             10 seconds after `paceline pause`."
        ),
        (Wish::Resume, left) => {
            let notes = left.iter().map(|(limit, pause)| pause_note(name, limit.as_deref(), *pause));
            notes.collect::<Vec<_>>().join("\n")
        }
    }
}

fn members(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        Value::Array(_) | Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => Map::new(),
    }
}

fn as_json(name: &str, left: &[Left]) -> String {
    let paused = left.iter().map(|(limit, pause)| {
        let mut told = json!({"limit": limit.as_deref().unwrap_or("main")});
        told.as_object_mut().into_iter().for_each(|told| told.extend(members(pause_json(*pause))));
        told
    });
    json!({"account": name, "paused": paused.collect::<Vec<_>>()}).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ports::{Pause, PauseCause};

    #[test]
    fn what_was_done_is_said_and_what_still_stops_the_account() {
        let left = |cause| vec![(None, Pause { cause, wait: Duration::from_secs(12) })];
        let operator = left(PauseCause::Operator);
        for (wish, left, expected) in [
            (Wish::Pause, &operator, "shop is paused for all workers. `paceline resume shop` lets it go on."),
            (Wish::Resume, &vec![], "shop is resumed for all workers."),
            (
                Wish::Resume,
                &left(PauseCause::Throttled),
                "! shop is paused (throttled) for 12s more: the provider",
            ),
        ] {
            let text = as_text(wish, "shop", left);
            assert!(text.starts_with(expected), "{text}");
        }
    }

    #[test]
    fn programs_learn_of_each_limit_that_is_paused() {
        let pause = |cause| Pause { cause, wait: Duration::from_millis(1_500) };
        let left = vec![
            (None, pause(PauseCause::Operator)),
            (Some("campaigns".to_owned()), pause(PauseCause::Throttled)),
        ];
        let expected = json!({"account": "news", "paused": [
            {"limit": "main", "cause": "operator", "seconds": null},
            {"limit": "campaigns", "cause": "throttled", "seconds": 1.5},
        ]});
        assert_eq!(as_json("news", &left), expected.to_string());
    }
}
