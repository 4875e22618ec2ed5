//! Asks broker and store, and puts together what they say.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::config::{Account, Config};
use crate::job::{Line, Priority};
use crate::ports::{Place, PoolKey, Sighted, Store, Window};

use super::picture::{AccountPicture, Lane, LimitPicture, Picture, drain, fresh, lane, pause, per_request};

/// What is known of everything at one moment.
struct Known {
    now: Timestamp,
    depths: BTreeMap<Place, u64>,
    sightings: Vec<Sighted>,
    /// Whether the store can be asked; where it can't, each question would only wait.
    store: bool,
}

impl Known {
    fn lane(&self, place: &Place) -> Lane {
        lane(place, self.depths.get(place).copied(), &self.sightings, self.now)
    }
}

/// The queues that are asked for a picture.
pub fn places(config: &Config) -> Vec<Place> {
    config.accounts.values().flat_map(|account| account.places()).chain([Place::Dead]).collect()
}

/// What the broker said of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queues {
    /// How many messages wait in each of [`places`], in their order.
    pub depths: Vec<Option<u64>>,
    /// How many wait on the delay ladder.
    pub delayed: Option<u64>,
}

/// Looks once. What can't be asked is left open, and said; `queues` is an error where the broker can't
/// be.
pub async fn gather<E: std::fmt::Display>(
    config: &Config,
    queues: Result<Queues, E>,
    store: &dyn Store,
) -> Picture {
    let mut problems = Vec::new();
    let broker = queues.is_ok();
    let Queues { depths, delayed } = queues.unwrap_or_else(|error| {
        problems.push(format!("the broker can't be asked ({error}): check queue.url and that it runs"));
        Queues::default()
    });
    if broker && depths.iter().any(Option::is_none) {
        let prefix = &config.queue.prefix;
        problems.push(format!(
            "queues are missing at the broker: is {prefix:?} the right prefix, and has a worker run with it?"
        ));
    }
    let asked = store.sightings().await;
    if let Err(error) = &asked {
        problems.push(format!("the store can't be asked ({error}): check store.url and that it runs"));
    }
    let is_asked = asked.is_ok();
    let depths = places(config).into_iter().zip(depths);
    let known = Known {
        now: Timestamp::now(),
        depths: depths.filter_map(|(place, depth)| Some((place, depth?))).collect(),
        sightings: fresh(asked.unwrap_or_default(), config.worker.hold),
        store: is_asked,
    };
    let mut accounts = Vec::new();
    for account in config.accounts.values() {
        accounts.push(picture_of(account, &known, store).await);
    }
    let dead = known.depths.get(&Place::Dead).copied();
    Picture { at: known.now, broker, store: is_asked, dead, delayed, accounts, problems }
}

async fn picture_of(account: &Account, known: &Known, store: &dyn Store) -> AccountPicture {
    let mut pools = account.gateway.pools();
    // The main limit first.
    pools.sort_by_key(|(pool, _, _)| pool.line() != Line::MAIN);
    let mut limits = Vec::new();
    for (pool, key, windows) in pools {
        limits.push(limit_of(account, &pool.line(), key, windows, known, store).await);
    }
    let jobs = known.lane(&Place::Jobs(account.name.clone()));
    AccountPicture { name: account.name.to_string(), provider: account.provider, jobs, limits }
}

async fn limit_of(
    account: &Account,
    line: &Line,
    key: PoolKey,
    windows: Vec<Window>,
    known: &Known,
    store: &dyn Store,
) -> LimitPicture {
    let (usage, paused) = if known.store {
        (store.usage(&key).await.ok(), store.pause_of(&account.name, line).await.ok().flatten())
    } else {
        (None, None)
    };
    let pause = pause(paused, usage.and_then(|usage| usage.paused));
    let retry = Place::Retry(account.name.clone(), line.clone());
    let lanes = Priority::ALL.map(|lane| Place::Lane(account.name.clone(), line.clone(), lane));
    let lanes: Vec<Lane> = std::iter::once(retry).chain(lanes).map(|place| known.lane(&place)).collect();
    let waiting = lanes.iter().map(|lane| lane.waiting).sum();
    let drain = drain(waiting, usage.as_ref(), pause.as_ref(), per_request(&key, &known.sightings));
    LimitPicture { name: line.name().map(str::to_owned), windows, usage, lanes, pause, drain }
}
