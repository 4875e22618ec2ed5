//! Permits: never more than L requests in any window of length W, as the provider counts them.
//!
//! # Symbols
//!
//! | | meaning | unit |
//! | --- | --- | --- |
//! | L, W | the limit: L requests in any stretch of length W (closed at both ends) | 1, s |
//! | slot | an instant of the store's clock, good for one request | µs |
//! | σ | a slot may be used (its request written) from its instant until σ later | s |
//! | J | spread of the delay between a request's being written and its being counted | s |
//! | Δ | σ + J | s |
//! | b | the most slots granted for one instant | 1 |
//! | r | slots a second; I = 1/r is their distance, rounded up to whole µs | 1/s |
//! | H | no slot is granted that lies more than H ahead | s |
//! | m0, m1, R | a worker's monotonic clock before and after the call, the store's clock within it | |
//!
//! # Assumptions
//!
//! 1. A request written at w is counted within [w + d, w + d + J] for some fixed d.
//! 2. The store's clock runs at 1 ± 5·10⁻⁴ of true time, except where it steps.
//! 3. A worker's monotonic clock does likewise and counts all time; the ≤ 5·10⁻⁴ (H + σ) by which
//!    it errs over a slot's life is part of J. A host that is suspended breaks this: a permit in
//!    its hands may then be used late, at most as many as it held (≤ H·r + b).
//! 4. There is one primary store: a split brain grants twice.
//! 5. All workers have the same H, σ, J and b. While these are changed, permits are safe as long as
//!    no state is lost at the same time.
//!
//! # The bound
//!
//! The script keeps one number, `tat`: the next free slot. A slot is never granted before `tat`,
//! and `tat` then moves to I after it. k ≤ b slots are granted for one instant `now` only if
//! now ≥ tat + (k−1)I, and `tat` then moves to now + kI. Give the i-th slot of such a group the
//! place now + (i−1)I, and every other slot its own instant as its place: then all places are at
//! least I apart, and a place is never before its slot and at most (b−1)I after it. So a closed
//! stretch of length X of the store's clock holds at most (X + (b−1)I)/I + 1 = X/I + b slots.
//!
//! What is counted in a window of length W was written, by assumption 1, in a stretch of length
//! W + J, and so (assumption 2) has its slots in a stretch of W + Δ, which is at most
//! (W + Δ)(1 + 5·10⁻⁴) long on the store's clock. With
//!
//! **I = (W + Δ)(1 + 5·10⁻⁴) / (L − b)**
//!
//! these are at most (L − b) + b = L. For several windows I is the largest of theirs, and b = 1.
//!
//! On a worker a slot s becomes [m1 + (s − R), m0 + (s + σ − R)] of its monotonic clock. The
//! store's clock was R at some instant in [m0, m1], so this lies within [s, s + σ] whichever it
//! was; a round trip of σ or longer leaves nothing and the slot is thrown away. Slots that are
//! not used are lost, never handed on.
//!
//! # When something is lost
//!
//! | case | noticed by | what is done | cost |
//! | --- | --- | --- | --- |
//! | a reply is lost | nobody | nothing: its slots are wasted | up to n slots |
//! | the state is gone (flush, failover) | the key is missing | cold start | H + 2I at most |
//! | the store restarted, or a stale copy took over | its run id changed | cold start | the same |
//! | its clock stepped back | `now` before the last one written | cold start | the same |
//! | … by less than passed since | nobody | nothing: slots come later | the step |
//! | its clock stepped forward | a worker's own clock did not | its permits of that reply are dropped, cold start | the same |
//! | … and nobody saw it | nobody | nothing | min(step, H)·r + b requests too many, once |
//! | a worker dies | nobody | nothing: its slots are wasted | up to H·r slots |
//!
//! A *cold start* puts the first slot at now + max(H, bI) + I, without burst. Slots granted before
//! lie at most H ahead of the true now (on whichever clock they were granted), and a burst before
//! needs bI after it, so all slots together still keep their distance: the bound holds across it.
//! "Nobody saw it" means that no worker made a call both before (or when it connected) and after
//! the step, and asked first; a step shorter than two round trips and 10⁻³ of the time between the
//! calls is not seen either and costs that length times r.
//!
//! # When the limit changes
//!
//! While workers disagree, and for W + Δ after the lower limit was last used, the larger I is in
//! force, so no window is above the larger limit. When I grows from I₀ to I₁, the slots since
//! now − Δ are charged at I₁ (`tat` moves away in the proportion I₁/I₀), so that a window which
//! starts later holds at most what the new limit allows; only slots granted before, when they alone
//! are more than that, may exceed it. Limit and state lost at once: the larger limit holds.
//!
//! # The provider's pause
//!
//! Its end is a field of its own. Nothing is granted before, no credit for a burst is gathered
//! during it, and requests with permits granted earlier may go on for H.

use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::pacing::{Pace, Reading, drifted, permit};
use super::{RedisStore, integers, unreadable};
use crate::ports::{Grant, Pause, PauseCause, Permits, PoolKey, StoreError, Usage};

/// The script as it runs in service: its body and the prologue that reads the store's clock.
pub(super) const LIVE: &str = concat!(include_str!("permits.lua"), include_str!("live.lua"));

/// The most permits one call grants: bounds the time the store spends on one script.
const MOST_AT_ONCE: u32 = 1_000;

/// One pool as this worker sees it.
pub(super) struct Pool {
    pub(super) pace: Pace,
    pub(super) key: String,
    pub(super) counts: String,
    /// The last reading of the store's clock that this worker's slots rest on. Held over the whole
    /// call: a reply must be compared with the reading before it, and dropped slots must not be
    /// used by a call beside it.
    pub(super) seen: Mutex<Option<Reading>>,
}

/// The answer of the script, with the instants around the call.
#[derive(Debug, PartialEq, Eq)]
pub struct Slots {
    /// The store's clock, and when it was read.
    pub reading: Reading,
    /// The rest of the provider's pause; 0 when there is none.
    pub pause_us: u64,
    /// When to ask again, from the reading; `None` when all was granted.
    pub wait_us: Option<u64>,
    /// The slots, from the reading.
    pub offsets_us: Vec<u64>,
}

#[async_trait]
impl Permits for RedisStore {
    async fn take(&self, key: &PoolKey, n: u32) -> Result<Grant, StoreError> {
        let pool = self.pool(key)?;
        if n == 0 {
            return Ok(Grant::default());
        }
        let mut seen = pool.seen.lock().await;
        if seen.is_none() {
            *seen = self.link.seen();
        }
        let slots = steady(&mut seen, |reset| self.ask_slots(pool, n, reset)).await?;
        Ok(grant(&slots, n, pool.pace.slot_width))
    }

    async fn pause_pool(&self, key: &PoolKey, wait: Duration) -> Result<(), StoreError> {
        let pool = self.pool(key)?;
        let us = wait.as_micros().to_string();
        self.run_permits(pool, &["pause", &us]).await.map(|_| ())
    }

    async fn usage(&self, key: &PoolKey) -> Result<Usage, StoreError> {
        let pool = self.pool(key)?;
        let answer = self.run_permits(pool, &["usage"]).await?;
        let numbers = match &answer {
            Value::Array(values) => integers(values),
            _ => None,
        };
        match numbers.as_deref() {
            Some([count, pause, next, granted]) => {
                let [pause_us, next_us, granted_us] =
                    [pause, next, granted].map(|us| u64::try_from(*us).unwrap_or(0));
                let interval_us = granted_us.max(pool.pace.interval_us);
                Ok(Usage {
                    last_minute: u32::try_from(*count).unwrap_or(u32::MAX),
                    paused: throttled(pause_us),
                    next_slot: Duration::from_micros(next_us),
                    interval: (pool.pace.interval_us > 0).then(|| Duration::from_micros(interval_us)),
                })
            }
            _ => Err(unreadable("a pool's usage")),
        }
    }
}

impl RedisStore {
    fn pool(&self, key: &PoolKey) -> Result<&Pool, StoreError> {
        self.pools.get(key).ok_or_else(|| StoreError(format!("no pool {key:?}")))
    }

    async fn ask_slots(&self, pool: &Pool, n: u32, reset: bool) -> Result<Slots, StoreError> {
        let args = take_args(&pool.pace, n, reset);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let before = Instant::now();
        let answer = self.run_permits(pool, &args).await?;
        slots_of(&answer, before, Instant::now()).ok_or_else(|| unreadable("a wish for permits"))
    }

    async fn run_permits(&self, pool: &Pool, args: &[&str]) -> Result<Value, StoreError> {
        let cmd: Cmd = self
            .permits
            .run([pool.key.as_bytes(), pool.counts.as_bytes()], args.iter().map(|arg| arg.as_bytes()));
        self.link.run_one(&self.permits, cmd).await
    }
}

/// Asks for slots; when the store's clock stepped since the last reading, drops what was granted
/// on it and asks again for a cold start. The last reading is replaced only by one whose slots may
/// be used, so that a failure in between leaves the step to be noticed by the next call.
///
/// # Errors
/// Those of `ask`, which is told whether to ask for a cold start.
pub async fn steady<F, A>(seen: &mut Option<Reading>, mut ask: F) -> Result<Slots, StoreError>
where
    F: FnMut(bool) -> A,
    A: Future<Output = Result<Slots, StoreError>>,
{
    let mut slots = ask(false).await?;
    if seen.as_ref().is_some_and(|earlier| drifted(earlier, &slots.reading)) {
        tracing::warn!("the store's clock stepped; permits granted on it are dropped");
        slots = ask(true).await?;
    }
    *seen = Some(slots.reading.clone());
    Ok(slots)
}

/// The arguments of the script for a wish for `n` slots.
pub fn take_args(pace: &Pace, n: u32, reset: bool) -> Vec<String> {
    let Pace { interval_us, burst, horizon_us, spread_us, memory_us, slot_width: _ } = *pace;
    let numbers = [
        u64::from(n.min(MOST_AT_ONCE)),
        interval_us,
        u64::from(burst),
        horizon_us,
        spread_us,
        memory_us,
        u64::from(reset),
    ];
    std::iter::once("take".to_owned()).chain(numbers.map(|number| number.to_string())).collect()
}

/// Reads the script's answer to a wish for slots; `None` when it never gives that.
pub fn slots_of(answer: &Value, before: Instant, after: Instant) -> Option<Slots> {
    let Value::Array(values) = answer else { return None };
    let [Value::Int(store_us), Value::BulkString(run), Value::Int(pause), Value::Int(wait), offsets @ ..] =
        values.as_slice()
    else {
        return None;
    };
    let run = String::from_utf8(run.clone()).ok()?;
    Some(Slots {
        reading: Reading { before, after, store_us: *store_us, run },
        pause_us: u64::try_from(*pause).ok()?,
        wait_us: u64::try_from(*wait).ok(),
        offsets_us: integers(offsets)?.into_iter().map(u64::try_from).collect::<Result<_, _>>().ok()?,
    })
}

/// What the slots are worth on this worker's clock.
pub fn grant(slots: &Slots, wanted: u32, width: Duration) -> Grant {
    let permits: Vec<_> =
        slots.offsets_us.iter().filter_map(|&offset| permit(&slots.reading, offset, width)).collect();
    // Where every slot was granted but some were thrown away, more may be asked for at once.
    let short = permits.len() < wanted as usize;
    let wait = Duration::from_micros(slots.wait_us.unwrap_or(0));
    Grant { permits, retry_at: short.then(|| slots.reading.after + wait), paused: throttled(slots.pause_us) }
}

fn throttled(pause_us: u64) -> Option<Pause> {
    (pause_us > 0).then(|| Pause { wait: Duration::from_micros(pause_us), cause: PauseCause::Throttled })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Permit;

    #[test]
    fn answers_become_grants() {
        let before = Instant::now();
        let ms = Duration::from_millis;
        let after = before + ms(10);
        let permit = |opens, closes| Permit { opens: before + ms(opens), closes: before + ms(closes) };
        let pause = |wait| Some(Pause { wait: ms(wait), cause: PauseCause::Throttled });
        // (pause ms, wait ms, offsets ms) → grant, for 2 wanted slots of 250 ms
        let cases = [
            (
                0,
                -1,
                vec![0, 100],
                Grant { permits: vec![permit(10, 250), permit(110, 350)], ..Grant::default() },
            ),
            (
                0,
                700,
                vec![0],
                Grant { permits: vec![permit(10, 250)], retry_at: Some(after + ms(700)), paused: None },
            ),
            (0, 0, vec![], Grant { permits: vec![], retry_at: Some(after), paused: None }),
            (
                500,
                500,
                vec![],
                Grant { permits: vec![], retry_at: Some(after + ms(500)), paused: pause(500) },
            ),
        ];
        for (pause_ms, wait_ms, offsets_ms, expected) in cases {
            let us = |ms: i64| Value::Int(if ms < 0 { ms } else { ms * 1000 });
            let mut answer = vec![
                Value::Int(1_763_758_326_123_456),
                Value::BulkString("ab1".into()),
                us(pause_ms),
                us(wait_ms),
            ];
            answer.extend(offsets_ms.into_iter().map(us));
            let slots = slots_of(&Value::Array(answer), before, after).unwrap();
            assert_eq!(grant(&slots, 2, ms(250)), expected);
        }
    }

    #[test]
    fn a_round_trip_longer_than_a_slot_throws_it_away_and_asks_again_at_once() {
        let before = Instant::now();
        let after = before + Duration::from_secs(1);
        let reading = Reading { before, after, store_us: 1, run: "a".into() };
        let slots = Slots { reading, pause_us: 0, wait_us: None, offsets_us: vec![0, 100] };
        let found = grant(&slots, 2, Duration::from_millis(250));
        assert_eq!(found, Grant { permits: vec![], retry_at: Some(after), paused: None });
    }

    #[test]
    fn unreadable_answers_grant_nothing() {
        let at = Instant::now();
        let run = || Value::BulkString("a".into());
        let zero = || Value::Int(0);
        for answer in [
            Value::Nil,
            Value::Array(vec![]),
            Value::Array(vec![zero(), zero(), zero(), zero()]),
            Value::Array(vec![zero(), run(), Value::Int(-5), zero()]),
            Value::Array(vec![zero(), run(), zero(), zero(), Value::Int(-1)]),
            Value::Array(vec![zero(), run(), zero(), zero(), run()]),
        ] {
            assert_eq!(slots_of(&answer, at, at), None, "{answer:?}");
        }
    }
}
