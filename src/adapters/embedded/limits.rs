//! Permits within one process: never more than L requests in any window of length W, as the provider
//! counts them, across restarts too.
//!
//! The symbols are those of [`crate::adapters::redis::permits`], and so is the interval
//! I = (W + Δ)(1 + 5·10⁻⁴) / (L − b). `governor` is the token bucket: on any clock that it is given, a
//! closed stretch of length X holds at most X/I + b of its slots, which is all that the bound there
//! needs. It is asked for slots ahead of time, up to the horizon H, by telling it that much later a
//! time; it only ever sees the times of slots.
//!
//! # A restart
//!
//! What the process that ended had granted is not known, and need not be: its slots were used by its
//! end c at the latest, since nothing of it sends any more, so at most (c − a)/I + b of them lie in a
//! stretch that begins at a. The new bucket begins empty at v = start + Δ ≥ c + Δ: up to y it gives at
//! most (y − v)/I slots. Together, in a stretch of length X, these are at most X/I + b − Δ/I: the bound
//! holds whatever was granted before, and however often the process is restarted. So the first permit
//! comes at start + Δ + I, and no state is needed on the way to a permit.
//!
//! Where the limit was higher before (the file keeps its I₀ and b₀), the last Δ of the old slots may
//! be counted in a window that begins after the start; the new bucket then begins Δ·I/I₀ + b₀·I late
//! instead of Δ, so that such a window holds at most what the new limit allows.
//!
//! # A pause
//!
//! The provider's pause is kept in the file. When it ends the bucket is empty but for one slot: a
//! pause gathers no credit.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use rusqlite::OptionalExtension as _;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::engine::{Engine, Moment};
use super::front::Embedded;
use super::{EmbeddedSettings, Role};
use crate::adapters::redis::pacing::Pace;
use crate::ports::{Grant, Pause, PauseCause, Permit, Permits, PoolKey, StoreError, Usage};

/// The most permits one call grants.
const MOST_AT_ONCE: u32 = 1_000;

/// Seconds of which the slots are counted, for people.
const COUNTED: u64 = 60;

/// The bucket's clock, which shows what it is told: nanoseconds since the process's origin.
#[derive(Debug, Clone, Default)]
struct Told(Arc<AtomicU64>);

impl Clock for Told {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.load(Ordering::Relaxed).into()
    }
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, Told, StateInformationMiddleware>;

/// A bucket and its clock.
struct Slots {
    bucket: Bucket,
    told: Told,
    interval: u64,
}

/// An answer of the bucket.
enum Asked {
    /// A slot; when the next one is free.
    Slot { next: u64 },
    /// None before this.
    Wait(u64),
}

impl Slots {
    /// An empty bucket whose first slot comes `begin` + I.
    fn new(interval: u64, burst: u32, begin: u64) -> Option<Self> {
        let quota = Quota::with_period(Duration::from_nanos(interval))?.allow_burst(NonZeroU32::new(burst)?);
        let told = Told::default();
        let bucket = RateLimiter::direct_with_clock(quota, told.clone()).with_middleware();
        let slots = Self { bucket, told, interval };
        slots.empty(begin);
        Some(slots)
    }

    fn ask(&self, at: u64) -> Asked {
        self.told.0.store(at, Ordering::Relaxed);
        match self.bucket.check() {
            Ok(state) if state.remaining_burst_capacity() > 0 => Asked::Slot { next: at },
            Ok(_) => Asked::Slot { next: at + self.interval },
            Err(until) => Asked::Wait(until.earliest_possible().as_u64()),
        }
    }

    /// Takes all that there is at a time: the next slot comes I later, or when it would have come anyway.
    fn empty(&self, at: u64) {
        while let Asked::Slot { .. } = self.ask(at) {}
    }
}

/// One limit.
struct Pool {
    pace: Pace,
    /// `None` for no limit.
    slots: Option<Slots>,
    paused_until: Option<Instant>,
    /// Slots by the second since the origin in which they lie, oldest first.
    used: VecDeque<(u64, u32)>,
    /// The next free slot as far as it was asked for, nanoseconds since the origin.
    next: u64,
    changed: bool,
}

/// A limit as the file keeps it: what a restart must know, and what people want to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    interval_us: u64,
    burst: u32,
    /// When the pause was asked for, and when it ends, on the wall clock.
    pause_from: i64,
    pause_until: i64,
    /// Second of the wall clock and number of slots.
    used: Vec<(i64, u32)>,
    /// The next free slot on the wall clock.
    next: i64,
}

impl Kept {
    fn of(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// The rest of the pause. A clock that went back doesn't make it longer than it was asked for.
    fn rest_of_pause(&self, wall: i64) -> Duration {
        let rest = (self.pause_until - wall).min(self.pause_until - self.pause_from);
        super::health::from_millis(rest)
    }

    fn usage(&self, wall: i64) -> Usage {
        let (second, counted) = (wall.div_euclid(1_000), i64::try_from(COUNTED).unwrap_or(i64::MAX));
        let within = self.used.iter().filter(|(at, _)| *at > second - counted && *at <= second);
        let rest = self.rest_of_pause(wall);
        Usage {
            last_minute: within.map(|(_, count)| count).sum(),
            paused: throttled(rest),
            next_slot: super::health::from_millis(self.next - wall).max(rest),
            interval: (self.interval_us > 0).then(|| Duration::from_micros(self.interval_us)),
        }
    }
}

fn throttled(rest: Duration) -> Option<Pause> {
    (!rest.is_zero()).then_some(Pause { wait: rest, cause: PauseCause::Throttled })
}

/// How long after the start the new bucket begins, empty: see "A restart" above.
fn late_by(pace: &Pace, before: &Kept) -> Duration {
    let spread = Duration::from_micros(pace.spread_us);
    if before.interval_us == 0 || before.interval_us >= pace.interval_us {
        return spread;
    }
    let grown = pace.interval_us as f64 / before.interval_us as f64;
    spread.mul_f64(grown) + Duration::from_micros(pace.interval_us) * before.burst
}

/// All limits of a worker.
pub(super) struct Limits {
    /// Well before the process's start, so that no time is below it.
    origin: Instant,
    pools: HashMap<PoolKey, Mutex<Pool>>,
}

impl Limits {
    /// No limits: for who asks for no permits.
    pub(super) fn none() -> Self {
        Self { origin: Instant::now(), pools: HashMap::new() }
    }

    /// The limits of the configuration, as after a restart; `kept` is what the file says of each.
    ///
    /// # Errors
    /// When a window allows fewer than 2 requests.
    pub(super) fn new(
        settings: &EmbeddedSettings,
        kept: &HashMap<String, String>,
        moment: &Moment,
    ) -> Result<Self, StoreError> {
        let mut limits = Self { origin: moment.at, pools: HashMap::new() };
        for (key, windows) in &settings.pools {
            let pace = Pace::new(&settings.limiter, windows)
                .ok_or_else(|| StoreError(format!("pool {key:?}: a window allows fewer than 2 requests")))?;
            let before = kept.get(&key.0).map(|text| Kept::of(text)).unwrap_or_default();
            let pool = limits.begin(pace, &before, moment);
            limits.pools.entry(key.clone()).or_insert(Mutex::new(pool));
        }
        Ok(limits)
    }

    fn begin(&self, pace: Pace, before: &Kept, moment: &Moment) -> Pool {
        let begin = self.place_of(moment.at + late_by(&pace, before));
        let slots = Slots::new(pace.interval_us * 1_000, pace.burst, begin);
        let mut pool =
            Pool { pace, slots, paused_until: None, used: VecDeque::new(), next: 0, changed: true };
        let rest = before.rest_of_pause(moment.wall);
        if !rest.is_zero() {
            self.pause(&mut pool, moment.at + rest);
        }
        pool
    }

    fn pool(&self, key: &PoolKey) -> Result<MutexGuard<'_, Pool>, StoreError> {
        let pool = self.pools.get(key).ok_or_else(|| StoreError(format!("no pool {key:?}")))?;
        // Nothing panics while it is held, and what is in it is valid at any time.
        Ok(pool.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn place_of(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX / 2)
    }

    fn instant(&self, place: u64) -> Instant {
        self.origin + Duration::from_nanos(place)
    }

    /// Up to `n` permits.
    pub(super) fn take(&self, key: &PoolKey, n: u32, now: Instant) -> Result<Grant, StoreError> {
        let mut pool = self.pool(key)?;
        if n == 0 {
            return Ok(Grant::default());
        }
        if let Some(until) = pool.paused_until {
            if now < until {
                return Ok(Grant {
                    retry_at: Some(until),
                    paused: throttled(until - now),
                    ..Grant::default()
                });
            }
            pool.paused_until = None;
        }
        let width = pool.pace.slot_width;
        let mut grant = Grant::default();
        let begin = self.place_of(now);
        let end = begin + pool.pace.horizon_us * 1_000;
        let mut at = begin;
        while grant.permits.len() < n.min(MOST_AT_ONCE) as usize {
            match pool.slots.as_ref().map_or(Asked::Slot { next: at }, |slots| slots.ask(at)) {
                Asked::Slot { next } => {
                    let opens = self.instant(at);
                    grant.permits.push(Permit { opens, closes: opens + width });
                    pool.count(at);
                    pool.next = next;
                }
                Asked::Wait(until) if until <= end => at = until,
                Asked::Wait(until) => {
                    pool.next = until;
                    grant.retry_at = Some(self.instant(until - (end - begin)));
                    return Ok(grant);
                }
            }
        }
        if grant.permits.len() < n as usize {
            grant.retry_at = Some(now);
        }
        Ok(grant)
    }

    fn pause(&self, pool: &mut Pool, until: Instant) {
        if pool.paused_until.is_some_and(|longer| longer >= until) {
            return;
        }
        pool.paused_until = Some(until);
        pool.changed = true;
        if let Some(slots) = &pool.slots {
            slots.empty(self.place_of(until).saturating_sub(slots.interval));
        }
        pool.next = pool.next.max(self.place_of(until));
    }

    /// Stops all grants of a pool for a while.
    fn pause_pool(&self, key: &PoolKey, wait: Duration, now: Instant) -> Result<(), StoreError> {
        let mut pool = self.pool(key)?;
        self.pause(&mut pool, now + wait);
        Ok(())
    }

    /// What the file is to keep of a pool.
    fn record(&self, key: &PoolKey, moment: &Moment) -> Result<String, StoreError> {
        Ok(self.written(&*self.pool(key)?, moment))
    }

    fn usage(&self, key: &PoolKey, now: Instant) -> Result<Usage, StoreError> {
        let pool = self.pool(key)?;
        let second = self.place_of(now) / 1_000_000_000;
        let within = pool.used.iter().filter(|(at, _)| at + COUNTED > second && *at <= second);
        let rest = pool.paused_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        Ok(Usage {
            last_minute: within.map(|(_, count)| count).sum(),
            paused: throttled(rest),
            next_slot: self.instant(pool.next).saturating_duration_since(now).max(rest),
            interval: pool.slots.as_ref().map(|slots| Duration::from_nanos(slots.interval)),
        })
    }

    fn written(&self, pool: &Pool, moment: &Moment) -> String {
        let wall = |at: Instant| {
            let ahead = at.saturating_duration_since(moment.at);
            moment.wall.saturating_add(super::health::millis(ahead))
        };
        let second = self.place_of(moment.at) / 1_000_000_000;
        let (now, today) = (i64::try_from(second).unwrap_or(0), moment.wall.div_euclid(1_000));
        let of_wall = |at: u64| i64::try_from(at).unwrap_or(0) - now + today;
        let kept = Kept {
            interval_us: pool.pace.interval_us,
            burst: pool.pace.burst,
            pause_from: moment.wall,
            pause_until: pool.paused_until.map_or(moment.wall, wall),
            used: pool.used.iter().map(|(at, count)| (of_wall(*at), *count)).collect(),
            next: wall(self.instant(pool.next)),
        };
        // Numbers only: nothing in it can fail to be written.
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// What changed since the last time, for the file.
    pub(super) fn changed(&self, moment: &Moment) -> Vec<(String, String)> {
        let mut changed = Vec::new();
        for (key, pool) in &self.pools {
            let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
            if std::mem::take(&mut pool.changed) {
                changed.push((key.0.clone(), self.written(&pool, moment)));
            }
        }
        changed.sort();
        changed
    }
}

impl Pool {
    fn count(&mut self, at: u64) {
        let second = at / 1_000_000_000;
        match self.used.back_mut() {
            Some((last, count)) if *last == second => *count += 1,
            Some(_) | None => self.used.push_back((second, 1)),
        }
        while self.used.front().is_some_and(|(first, _)| first + COUNTED < second) {
            self.used.pop_front();
        }
        self.changed = true;
    }
}

impl Engine {
    /// What the file keeps of the limits.
    pub(super) fn kept_limits(&self) -> rusqlite::Result<HashMap<String, String>> {
        let mut select = self.db.prepare_cached("SELECT key, record FROM pool")?;
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    }
}

#[async_trait]
impl Permits for Embedded {
    async fn take(&self, pool: &PoolKey, n: u32) -> Result<Grant, StoreError> {
        self.limits().take(pool, n, Instant::now())
    }

    async fn pause_pool(&self, pool: &PoolKey, wait: Duration) -> Result<(), StoreError> {
        let (limits, key) = (self.limits(), pool.clone());
        // In force at once, whether or not it can be written.
        limits.pause_pool(&key, wait, Instant::now())?;
        let work = move |engine: &mut Engine, moment: &Moment| match limits.record(&key, moment) {
            Ok(record) => engine.write_pool(&key.0, &record),
            // There is no such pool, which was said just above.
            Err(_) => Ok(()),
        };
        Ok(self.store(work).await?)
    }

    async fn usage(&self, pool: &PoolKey) -> Result<Usage, StoreError> {
        if self.role() == Role::Worker {
            return self.limits().usage(pool, Instant::now());
        }
        let key = pool.0.clone();
        let work = move |engine: &mut Engine, moment: &Moment| {
            let mut select = engine.db.prepare_cached("SELECT record FROM pool WHERE key = ?")?;
            let found: Option<String> = select.query_row([&key], |row| row.get(0)).optional()?;
            Ok(found.map(|text| Kept::of(&text).usage(moment.wall)))
        };
        let kept = self.look(work).await?;
        let pace = self.settings().pools.iter().find(|(known, _)| known == pool);
        let pace = pace.and_then(|(_, windows)| Pace::new(&self.settings().limiter, windows));
        let interval = pace.map(|pace| pace.interval_us).filter(|us| *us > 0).map(Duration::from_micros);
        // No worker has used it yet.
        Ok(kept.unwrap_or(Usage { interval, ..Usage::default() }))
    }
}

#[cfg(test)]
mod tests;
