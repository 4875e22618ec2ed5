//! Redis with paceline's scripts, as a model: claims, the accounts' health, permits.
//!
//! What the scripts do is told once more here, in Rust, so that thousands of runs take seconds. The
//! tests of `tests/contract` run on both, lest the two differ.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use paceline::adapters::redis::pacing::{Pace, Reading};
use paceline::config::{CircuitConfig, Config, LimiterConfig};
use paceline::job::{AccountName, DeliveryId, Line};
use paceline::ports::{
    Answer, Claim, ClaimRequest, Claims, Fenced, History, Pause, PauseCause, PoolKey, Purpose, Release,
    Sighted, Sighting, Sightings, StoreError, Suspicion, Window,
};
use paceline::verdict::{Outcome, Signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::life::{Chaos, Life};

#[path = "store/health.rs"]
mod health;
#[path = "store/permits.rs"]
mod permits;
#[path = "store/record.rs"]
mod record;

use health::Health;
use record::{Ended, Live, Phase, Record};

const TIMEOUT: Duration = Duration::from_secs(2);
const PROBE_WAIT_MS: i64 = 1_000;
const OPERATOR_WAIT_MS: i64 = 10_000;
/// Between the last write, plus the longest request, and the end of the lease.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// `tat`, the last `now`, and the provider's pause, in microseconds.
#[derive(Debug, Clone, Default)]
struct Pool {
    tat: i64,
    at: i64,
    run: u64,
    pause_until: i64,
    /// The slots of the last minute, for people.
    slots: Vec<i64>,
}

/// What the store goes by.
#[derive(Debug, Clone)]
pub struct Terms {
    pub lease: Duration,
    pub request_timeout: Duration,
    pub limiter: LimiterConfig,
    pub circuit: CircuitConfig,
    pub pools: Vec<(PoolKey, Vec<Window>)>,
}

impl Terms {
    pub fn of(config: &Config) -> Self {
        let pools = config.accounts.values().flat_map(|account| account.gateway.pools());
        Self {
            lease: config.worker.lease,
            request_timeout: config.worker.request_timeout,
            limiter: config.limiter,
            circuit: config.circuit,
            pools: pools.map(|(_, key, windows)| (key, windows)).collect(),
        }
    }
}

/// All that can be lost.
#[derive(Debug, Clone, Default)]
struct Data {
    records: BTreeMap<(AccountName, DeliveryId), Record>,
    health: BTreeMap<(AccountName, Line), Health>,
    paused_by_person: BTreeSet<AccountName>,
    pools: BTreeMap<PoolKey, Pool>,
    handlings: BTreeMap<String, BTreeSet<String>>,
    sightings: BTreeMap<String, (i64, Sighting)>,
}

/// The store.
pub struct Store {
    chaos: Arc<Chaos>,
    terms: Terms,
    paces: BTreeMap<PoolKey, Pace>,
    data: Mutex<Data>,
    saved: Mutex<Data>,
    run: AtomicI64,
    down: AtomicBool,
    up: watch::Sender<bool>,
}

impl Store {
    pub fn new(chaos: Arc<Chaos>, terms: Terms) -> Arc<Self> {
        let pace = |windows: &[Window]| Pace::new(&terms.limiter, windows).expect("limits of 2 or more");
        let paces = terms.pools.iter().map(|(key, windows)| (key.clone(), pace(windows))).collect();
        Arc::new(Self {
            chaos,
            terms,
            paces,
            data: Mutex::default(),
            saved: Mutex::default(),
            run: 1.into(),
            down: false.into(),
            up: watch::Sender::new(true),
        })
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        self.data.lock().expect("nobody panics with it")
    }

    /// Away for a while, with its data kept.
    pub async fn restart(&self, away: Duration) {
        self.down.store(true, Ordering::Relaxed);
        self.up.send_replace(false);
        sleep(away).await;
        self.run.fetch_add(1, Ordering::Relaxed);
        self.down.store(false, Ordering::Relaxed);
        self.up.send_replace(true);
    }

    pub fn save(&self) {
        *self.saved.lock().expect("nobody panics with it") = self.data().clone();
    }

    /// All is gone, or only what was saved is left.
    pub fn lose(&self, all: bool) {
        let saved = self.saved.lock().expect("nobody panics with it").clone();
        *self.data() = if all { Data::default() } else { saved };
        if !all {
            self.run.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A person pauses an account, or resumes it.
    pub fn pause(&self, account: &AccountName, paused: bool) {
        let mut data = self.data();
        if paused {
            data.paused_by_person.insert(account.clone());
        } else {
            data.paused_by_person.remove(account);
        }
    }

    /// Claims that nobody settled, and those that say `sending`.
    pub fn unfinished(&self) -> Vec<(String, String)> {
        let data = self.data();
        let open = data.records.iter().filter_map(|((account, id), record)| match record {
            Record::Ended(_) => None,
            Record::Live(Live { phase: Phase::Idle, .. }) => None,
            Record::Live(Live { phase: Phase::Sending | Phase::Held, .. }) => {
                Some((account.to_string(), id.to_string()))
            }
        });
        open.collect()
    }

    /// A worker's way to it.
    pub fn connect(self: &Arc<Self>, life: Arc<Life>) -> StoreLink {
        let seen = self.paces.keys().map(|key| (key.clone(), tokio::sync::Mutex::new(None))).collect();
        StoreLink { store: self.clone(), life, seen }
    }
}

/// A worker's way to the store.
pub struct StoreLink {
    store: Arc<Store>,
    life: Arc<Life>,
    seen: BTreeMap<PoolKey, tokio::sync::Mutex<Option<Reading>>>,
}

impl StoreLink {
    /// One trip of claims and health, which go by a clock that steps.
    async fn trip<T>(&self, script: impl FnOnce(&mut Data, i64) -> T) -> Result<T, StoreError> {
        let chaos = self.store.chaos.clone();
        self.timely(|data, now| script(data, now + chaos.store_ahead_ms.load(Ordering::Relaxed))).await
    }

    /// One trip: there, the script, back; each part of it may fail.
    async fn timely<T>(&self, script: impl FnOnce(&mut Data, i64) -> T) -> Result<T, StoreError> {
        let chaos = &self.store.chaos;
        let lost = |why: &str| Err(StoreError(why.to_owned()));
        self.life.moment().await;
        if self.store.down.load(Ordering::Relaxed) {
            chaos.travel(50).await;
            self.life.moment().await;
            return lost("away");
        }
        chaos.travel(if chaos.strikes(|odds| odds.store_slow) { 1_500 } else { 3 }).await;
        if chaos.strikes(|odds| odds.ask_lost) {
            sleep(TIMEOUT).await;
            self.life.moment().await;
            return lost("the question was lost");
        }
        let answer = script(&mut self.store.data(), self.store.chaos.true_ms());
        if chaos.strikes(|odds| odds.answer_lost) {
            sleep(TIMEOUT).await;
            self.life.moment().await;
            return lost("the answer was lost");
        }
        chaos.travel(3).await;
        self.life.moment().await;
        Ok(answer)
    }

    fn longest_pause_ms(&self) -> i64 {
        let circuit = &self.store.terms.circuit;
        i64::try_from(circuit.pause_max.max(circuit.credentials_pause).as_millis()).expect("a sane length")
    }

    fn claim_one(&self, data: &mut Data, now: i64, wish: &ClaimRequest, write_by: Instant) -> Answer {
        let lease = i64::try_from(self.store.terms.lease.as_millis()).expect("a sane length");
        let key = (wish.account.clone(), wish.id.clone());
        let record = data.records.get(&key).cloned();
        let mut kept = record.as_ref().map(Record::to_keep).unwrap_or_default();
        let replay = wish.replay.as_ref().filter(|replay| !replay.is_empty());
        let overrides = replay.is_some_and(|replay| !kept.replays.contains(replay));
        let ended = record.as_ref().and_then(|record| record.end_of(wish.instance.as_str()));
        if let Some(outcome) = ended.filter(|_| !overrides) {
            return Answer::Ended { outcome: outcome.clone(), same: true };
        }
        if let Some(outcome) = kept.duplicate_of(wish.instance.as_str()).filter(|_| !overrides) {
            return Answer::Ended { outcome: outcome.clone(), same: false };
        }
        let mut live = match record {
            Some(Record::Ended(mut ended)) if ended.outcome.blocks() && !overrides => {
                let outcome = ended.outcome.clone();
                ended.kept.note_duplicate(wish.instance.as_str(), &outcome);
                data.records.insert(key, Record::Ended(ended));
                return Answer::Ended { outcome, same: false };
            }
            Some(Record::Ended(_)) | None => None,
            Some(Record::Live(live)) => Some(live),
        };
        if let Some(live) = &mut live {
            match live.phase {
                Phase::Idle if live.token == wish.token => {
                    return Answer::Held(millis(PROBE_WAIT_MS));
                }
                Phase::Idle => {}
                Phase::Sending | Phase::Held => {
                    if live.lease_ends - now > lease {
                        live.lease_ends = now + lease;
                        data.records.insert(key.clone(), Record::Live(live.clone()));
                    }
                    if live.token == wish.token {
                        if live.phase == Phase::Sending {
                            live.history.requests -= 1;
                            if live.history.first_attempt_ms == live.attempt {
                                live.history.first_attempt_ms = None;
                            }
                        }
                        (live.phase, live.token) = (Phase::Idle, String::new());
                    } else if now < live.lease_ends {
                        return Answer::Held(millis(live.lease_ends - now));
                    } else if live.phase == Phase::Sending {
                        live.history.unresolved_ms = earliest(live.history.unresolved_ms, live.attempt);
                    }
                }
            }
            data.records.insert(key.clone(), Record::Live(live.clone()));
        }
        let mut probe = false;
        if wish.purpose == Purpose::Send {
            if data.paused_by_person.contains(&wish.account) {
                return Answer::Paused(Pause { wait: millis(OPERATOR_WAIT_MS), cause: PauseCause::Operator });
            }
            let health = data.health.entry((wish.account.clone(), wish.line.clone())).or_default();
            if let Some(pause) = health.throttled(now) {
                return Answer::Paused(pause);
            }
            if let Some(cause) = health.cause {
                let rest = health.until - now;
                if rest > 0 && rest <= self.longest_pause_ms() {
                    return Answer::Paused(Pause { wait: millis(rest), cause });
                }
                let wait = Pause { wait: millis(PROBE_WAIT_MS), cause };
                if health.probe.as_ref().is_some_and(|(token, ends)| *token != wish.token && now < *ends) {
                    return Answer::Paused(wait);
                }
                let again = i64::try_from(self.store.terms.circuit.credentials_pause.as_millis());
                let alone_until = health.until + again.expect("a sane length");
                if cause == PauseCause::Credentials && now < alone_until && health.suspects.contains(&wish.id)
                {
                    return Answer::Paused(wait);
                }
                probe = true;
            }
        }
        let known = live.map(|live| live.history).unwrap_or_default();
        let before = History {
            requests: known.requests.max(wish.remembered.requests),
            retries: known.retries.max(wish.remembered.retries),
            first_attempt_ms: earliest(known.first_attempt_ms, wish.remembered.first_attempt_ms),
            unresolved_ms: earliest(known.unresolved_ms, wish.remembered.unresolved_ms),
        };
        let (phase, attempt, history) = match wish.purpose {
            Purpose::Send => {
                let first_attempt_ms = earliest(before.first_attempt_ms, Some(now));
                let history = History { requests: before.requests + 1, first_attempt_ms, ..before };
                (Phase::Sending, Some(now), history)
            }
            Purpose::End => (Phase::Held, None, before),
        };
        if let Some(replay) = replay.filter(|_| overrides) {
            kept.replays.insert(0, replay.clone());
            kept.replays.truncate(16);
        }
        let live = Live { phase, token: wish.token.clone(), lease_ends: now + lease, attempt, history, kept };
        data.records.insert(key, Record::Live(live));
        if probe {
            let health = data.health.entry((wish.account.clone(), wish.line.clone())).or_default();
            health.probe = Some((wish.token.clone(), now + lease));
        }
        Answer::Acquired(Claim {
            account: wish.account.clone(),
            line: wish.line.clone(),
            id: wish.id.clone(),
            instance: wish.instance.clone(),
            token: wish.token.clone(),
            history: before,
            claimed_ms: now,
            probe,
            write_by,
        })
    }

    async fn settle(
        &self,
        claim: &Claim,
        end: Option<Outcome>,
        history: History,
        signal: Signal,
    ) -> Result<Fenced, StoreError> {
        self.trip(|data, now| {
            let key = (claim.account.clone(), claim.id.clone());
            let kept = data.records.get(&key).map(Record::to_keep).unwrap_or_default();
            match data.records.get(&key) {
                Some(Record::Ended(ended)) => return Fenced(!(end.is_some() && ended.token == claim.token)),
                Some(Record::Live(live)) => {
                    let same = live.token == claim.token;
                    if end.is_none() && live.phase == Phase::Idle && same {
                        return Fenced(false);
                    }
                    if live.phase == Phase::Idle || !same {
                        return Fenced(true);
                    }
                }
                None => {}
            }
            let record = match end {
                Some(outcome) => Record::Ended(Ended {
                    token: claim.token.clone(),
                    instance: claim.instance.as_str().to_owned(),
                    outcome,
                    kept,
                }),
                None => Record::Live(Live {
                    phase: Phase::Idle,
                    token: claim.token.clone(),
                    lease_ends: 0,
                    attempt: None,
                    history,
                    kept,
                }),
            };
            data.records.insert(key, record);
            let health = data.health.entry((claim.account.clone(), claim.line.clone())).or_default();
            health.apply(&self.store.terms.circuit, signal, &claim.token, now);
            Fenced(false)
        })
        .await
    }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn earliest(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    [a, b].into_iter().flatten().min()
}

#[async_trait]
impl Claims for StoreLink {
    async fn claim(&self, requests: &[ClaimRequest]) -> Result<Vec<Answer>, StoreError> {
        let Terms { lease, request_timeout, .. } = self.store.terms;
        let write_by = Instant::now() + lease.saturating_sub(request_timeout + LEASE_MARGIN);
        self.trip(|data, now| requests.iter().map(|wish| self.claim_one(data, now, wish, write_by)).collect())
            .await
    }

    async fn end(&self, claim: &Claim, outcome: &Outcome, signal: Signal) -> Result<Fenced, StoreError> {
        self.settle(claim, Some(outcome.clone()), claim.history, signal).await
    }

    async fn release(&self, claim: &Claim, release: Release) -> Result<Fenced, StoreError> {
        self.settle(claim, None, release.history, release.signal).await
    }

    async fn suspect(&self, claim: &Claim) -> Result<Suspicion, StoreError> {
        let pause = self.store.terms.circuit.credentials_pause;
        let longest = i64::try_from(pause.as_millis()).expect("a sane length");
        self.trip(|data, now| {
            let record = data.records.get(&(claim.account.clone(), claim.id.clone()));
            let ours = match record {
                None => true,
                Some(Record::Ended(_)) => false,
                Some(Record::Live(live)) => live.token == claim.token,
            };
            let health = data.health.entry((claim.account.clone(), claim.line.clone())).or_default();
            if !ours {
                let rest = if health.cause.is_some() { (health.until - now).clamp(0, longest) } else { 0 };
                let wait = millis(rest.max(PROBE_WAIT_MS));
                return Suspicion::Paused(Pause { wait, cause: PauseCause::Credentials });
            }
            if health.cleared.contains(&claim.id) {
                return Suspicion::Delivery;
            }
            health.cleared.clear();
            health.suspects.insert(claim.id.clone());
            health.cause = Some(PauseCause::Credentials);
            health.until = now + longest;
            (health.faults, health.backoff) = (0, None);
            if health.probe.as_ref().is_some_and(|(token, _)| *token == claim.token) {
                health.probe = None;
            }
            Suspicion::Paused(Pause { wait: pause, cause: PauseCause::Credentials })
        })
        .await
    }

    async fn throttle(&self, account: &AccountName, line: &Line, wait: Duration) -> Result<(), StoreError> {
        let wait = i64::try_from(wait.as_millis()).expect("a sane length");
        self.trip(|data, now| {
            let health = data.health.entry((account.clone(), line.clone())).or_default();
            let rest = health.throttled(now).map_or(0, |_| health.throttled_until - now);
            health.throttled_until = now + wait.max(rest);
        })
        .await
    }

    async fn pause_of(&self, account: &AccountName, line: &Line) -> Result<Option<Pause>, StoreError> {
        self.trip(|data, now| {
            if data.paused_by_person.contains(account) {
                return Some(Pause { wait: millis(OPERATOR_WAIT_MS), cause: PauseCause::Operator });
            }
            let health = data.health.get(&(account.clone(), line.clone()))?;
            let Some(cause) = health.cause else { return health.throttled(now) };
            let rest = health.until - now;
            let rest = if rest > self.longest_pause_ms() { 0 } else { rest };
            Some(Pause { wait: millis(rest), cause })
        })
        .await
    }

    async fn pause(&self, account: &AccountName) -> Result<(), StoreError> {
        self.trip(|data, _| {
            data.paused_by_person.insert(account.clone());
        })
        .await
    }

    async fn resume(&self, account: &AccountName, line: &Line) -> Result<(), StoreError> {
        self.trip(|data, _| {
            data.paused_by_person.remove(account);
            data.health.remove(&(account.clone(), line.clone()));
        })
        .await
    }

    async fn count_suspect(&self, fingerprint: &str, handling: &str) -> Result<u32, StoreError> {
        self.trip(|data, _| {
            let handlings = data.handlings.entry(fingerprint.to_owned()).or_default();
            handlings.insert(handling.to_owned());
            u32::try_from(handlings.len()).expect("few")
        })
        .await
    }

    async fn uncount_suspect(&self, fingerprint: &str, handling: &str) -> Result<(), StoreError> {
        self.trip(|data, _| {
            if let Some(handlings) = data.handlings.get_mut(fingerprint) {
                handlings.remove(handling);
            }
        })
        .await
    }

    fn up(&self) -> watch::Receiver<bool> {
        self.store.up.subscribe()
    }

    async fn ping(&self) -> bool {
        self.trip(|_, _| ()).await.is_ok()
    }
}

#[async_trait]
impl Sightings for StoreLink {
    async fn report(&self, worker: &str, sighting: &Sighting) -> Result<(), StoreError> {
        self.trip(|data, now| {
            if sighting.held.is_empty() {
                data.sightings.remove(worker);
            } else {
                data.sightings.insert(worker.to_owned(), (now, sighting.clone()));
            }
        })
        .await
    }

    async fn sightings(&self) -> Result<Vec<Sighted>, StoreError> {
        self.trip(|data, now| {
            let sighted = |(at, sighting): &(i64, Sighting)| Sighted {
                age: millis(now - at),
                sighting: sighting.clone(),
            };
            data.sightings.values().map(sighted).collect()
        })
        .await
    }
}
