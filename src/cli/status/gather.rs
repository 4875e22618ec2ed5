//! Asks broker and store, and puts together what they say.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::app::{Onlookers, Store};
use crate::config::{Account, Config};
use crate::job::{Line, Priority};
use crate::ports::{Place, PoolKey, Sighted, Window};

use super::picture::{AccountPicture, Lane, LimitPicture, Picture, drain, fresh, lane, pause, per_request};

/// What is known of everything at one moment.
struct Known {
    now: Timestamp,
    depths: BTreeMap<Place, u64>,
    sightings: Vec<Sighted>,
}

impl Known {
    fn lane(&self, place: &Place) -> Lane {
        lane(place, self.depths.get(place).copied(), &self.sightings, self.now)
    }
}

/// Looks once. What can't be asked is left open, and said.
pub(super) async fn gather(config: &Config, onlookers: &mut Onlookers) -> Picture {
    let mut problems = Vec::new();
    let places: Vec<Place> =
        config.accounts.values().flat_map(|account| account.places()).chain([Place::Dead]).collect();
    let (depths, delayed) = match onlookers.broker().await {
        Ok(broker) => (broker.depths(&places).await, broker.delayed().await),
        Err(error) => {
            problems.push(format!("the broker can't be asked ({error}): check queue.url and that it runs"));
            (vec![None; places.len()], None)
        }
    };
    let broker = problems.is_empty();
    if broker && depths.iter().any(Option::is_none) {
        let prefix = &config.queue.prefix;
        problems.push(format!(
            "queues are missing at the broker: is {prefix:?} the right prefix, and has a worker run with it?"
        ));
    }
    let asked = onlookers.store().sightings().await;
    let store = asked.is_ok();
    if let Err(error) = &asked {
        problems.push(format!("the store can't be asked ({error}): check store.url and that it runs"));
    }
    let known = Known {
        now: Timestamp::now(),
        depths: places.into_iter().zip(depths).filter_map(|(place, depth)| Some((place, depth?))).collect(),
        sightings: fresh(asked.unwrap_or_default(), config.worker.hold),
    };
    let mut accounts = Vec::new();
    for account in config.accounts.values() {
        accounts.push(picture_of(account, &known, onlookers.store()).await);
    }
    let dead = known.depths.get(&Place::Dead).copied();
    Picture { at: known.now, broker, store, dead, delayed, accounts, problems }
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
    // That the store can't be asked was said already.
    let usage = store.usage(&key).await.ok();
    let paused = store.pause_of(&account.name, line).await.ok().flatten();
    let pause = pause(paused, usage.and_then(|usage| usage.paused));
    let retry = Place::Retry(account.name.clone(), line.clone());
    let lanes = Priority::ALL.map(|lane| Place::Lane(account.name.clone(), line.clone(), lane));
    let lanes: Vec<Lane> = std::iter::once(retry).chain(lanes).map(|place| known.lane(&place)).collect();
    let waiting = lanes.iter().map(|lane| lane.waiting).sum();
    let drain = drain(waiting, usage.as_ref(), pause.as_ref(), per_request(&key, &known.sightings));
    LimitPicture { name: line.name().map(str::to_owned), windows, usage, lanes, pause, drain }
}
