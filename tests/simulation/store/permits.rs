//! Permits, as the store's script grants them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use paceline::adapters::redis::pacing::{Pace, Reading};
use paceline::adapters::redis::permits::{Slots, grant, steady};
use paceline::ports::{Grant, Pause, PauseCause, Permits, PoolKey, StoreError, Usage};
use tokio::time::Instant;

use super::{Pool, StoreLink};

impl StoreLink {
    /// `permits.lua`, without what only matters when limits change or several windows are kept.
    fn take_slots(
        &self,
        pool: &mut Pool,
        known: bool,
        now: i64,
        want: u32,
        pace: &Pace,
        reset: bool,
    ) -> (Vec<u64>, Option<u64>, u64) {
        let us = |number: u64| i64::try_from(number).expect("a sane length");
        let (interval, horizon) = (us(pace.interval_us), us(pace.horizon_us));
        let run = u64::try_from(self.store.run.load(Ordering::Relaxed)).expect("it counts up");
        let cold = now + horizon.max(i64::from(pace.burst) * interval) + interval;
        let mut tat = if !known || pool.run != run || now < pool.at { cold } else { pool.tat };
        if reset {
            tat = tat.max(cold);
        }
        let rest = (pool.pause_until - now).max(0);
        let mut slots = Vec::new();
        if rest == 0 {
            tat = tat.max(pool.pause_until);
            if now >= tat {
                let at_once = i64::from(want).min(i64::from(pace.burst)).min((now - tat) / interval + 1);
                slots.extend((0..at_once).map(|_| 0));
                tat = now + at_once * interval;
            }
            while slots.len() < want as usize && tat <= now + horizon {
                slots.push(u64::try_from(tat - now).expect("ahead"));
                tat += interval;
            }
        }
        (pool.tat, pool.at, pool.run) = (tat, now, run);
        pool.slots.retain(|slot| *slot > now - 60_000_000);
        pool.slots.extend(slots.iter().map(|offset| now + us(*offset)));
        let wait = (slots.len() < want as usize).then(|| {
            u64::try_from(rest.max(tat.max(pool.pause_until) - horizon - now).max(0)).expect("not negative")
        });
        (slots, wait, u64::try_from(rest).expect("not negative"))
    }

    fn pace(&self, key: &PoolKey) -> Result<Pace, StoreError> {
        self.store.paces.get(key).copied().ok_or_else(|| StoreError("no such pool".to_owned()))
    }

    async fn ask_slots(&self, key: &PoolKey, n: u32, reset: bool) -> Result<Slots, StoreError> {
        let pace = self.pace(key)?;
        let before = Instant::now();
        let (slots, wait, pause_us, store_us) = self
            .timely(|data, now_ms| {
                let now = now_ms * 1_000;
                let known = data.pools.contains_key(key);
                let pool = data.pools.entry(key.clone()).or_default();
                if pace.interval_us == 0 {
                    let rest = (pool.pause_until - now).max(0);
                    let slots = if rest == 0 { vec![0; n as usize] } else { Vec::new() };
                    let rest = u64::try_from(rest).expect("not negative");
                    return (slots, (rest > 0).then_some(rest), rest, now);
                }
                let (slots, wait, rest) = self.take_slots(pool, known, now, n, &pace, reset);
                (slots, wait, rest, now)
            })
            .await?;
        let run = self.store.run.load(Ordering::Relaxed).to_string();
        let reading = Reading { before, after: Instant::now(), store_us, run };
        Ok(Slots { reading, pause_us, wait_us: wait, offsets_us: slots })
    }
}

#[async_trait]
impl Permits for StoreLink {
    async fn take(&self, pool: &PoolKey, n: u32) -> Result<Grant, StoreError> {
        let width = self.pace(pool)?.slot_width;
        if n == 0 {
            return Ok(Grant::default());
        }
        let mut seen = self.seen[pool].lock().await;
        let slots = steady(&mut seen, |reset| self.ask_slots(pool, n, reset)).await?;
        Ok(grant(&slots, n, width))
    }

    async fn pause_pool(&self, pool: &PoolKey, wait: Duration) -> Result<(), StoreError> {
        let wait = i64::try_from(wait.as_micros()).expect("a sane length");
        self.timely(|data, now_ms| {
            let pool = data.pools.entry(pool.clone()).or_default();
            pool.pause_until = pool.pause_until.max(now_ms * 1_000 + wait);
        })
        .await
    }

    async fn usage(&self, key: &PoolKey) -> Result<Usage, StoreError> {
        let interval_us = self.pace(key)?.interval_us;
        self.timely(|data, now_ms| {
            let now = now_ms * 1_000;
            let pool = data.pools.get(key).cloned().unwrap_or_default();
            let micros = |us: i64| Duration::from_micros(u64::try_from(us).unwrap_or(0));
            let rest = micros(pool.pause_until - now);
            let past = pool.slots.iter().filter(|slot| (now - 60_000_000..=now).contains(*slot));
            Usage {
                last_minute: u32::try_from(past.count()).expect("few"),
                paused: (!rest.is_zero()).then_some(Pause { wait: rest, cause: PauseCause::Throttled }),
                next_slot: rest.max(micros(pool.tat - now)),
                interval: (interval_us > 0).then(|| Duration::from_micros(interval_us)),
            }
        })
        .await
    }
}
