//! Pools: the limits that requests use up, each with one window or with several at once.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ledger::PoolSummary;
use super::rules::{Rules, parse_duration};
use super::sliding::Sliding;

/// The limit that a request uses up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// The provider's own: [`Rules::requests`] in any [`Rules::window`].
    Main,
    /// One of [`Rules::pools`], by its name.
    Further(&'static str),
}

/// A request that found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// How long until there is room in every window.
    pub wait: Duration,
    /// The limit of the window that takes longest.
    pub limit: u32,
}

/// One window of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowRule {
    /// The most requests in it.
    pub requests: u32,
    /// Its length, more than nothing.
    pub length: Duration,
}

/// The windows of a limit, all of which hold at once; none for no limit. Written
/// `10/1s,100/1m,6000/1h`, or `unlimited`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Windows(pub Vec<WindowRule>);

impl Windows {
    /// So many requests in windows of these lengths, in seconds.
    pub fn of_seconds(windows: &[(u32, u64)]) -> Self {
        let rule =
            |&(requests, seconds): &(u32, u64)| WindowRule { requests, length: Duration::from_secs(seconds) };
        Self(windows.iter().map(rule).collect())
    }
}

const UNLIMITED: &str = "unlimited";

impl FromStr for WindowRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (requests, length) = text
            .split_once('/')
            .ok_or_else(|| format!("{text:?} is no window: a number, a slash and a time, such as 10/1s"))?;
        let requests = requests.trim().parse().map_err(|_| format!("{requests:?} is no whole number"))?;
        let length = parse_duration(length.trim())?;
        if length.is_zero() {
            return Err("a window must have a length".to_owned());
        }
        Ok(Self { requests, length })
    }
}

impl FromStr for Windows {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == UNLIMITED {
            return Ok(Self::default());
        }
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(UNLIMITED);
        }
        for (index, window) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}/{}", window.requests, humantime::format_duration(window.length))?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Windows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Windows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One window, as one account uses it up.
struct Meter {
    limit: Option<u32>,
    /// Requests that arrived: what a worker is measured by.
    arrived: Sliding,
    /// Those among them that were let through: what the limit is enforced by, so that a client
    /// that keeps asking gets in again.
    admitted: Sliding,
}

impl Meter {
    fn new(limit: Option<u32>, length: Duration) -> Self {
        Self { limit, arrived: Sliding::new(length), admitted: Sliding::new(length) }
    }

    fn over(&mut self, now: Duration) -> Option<Over> {
        let limit = self.limit?;
        let wait = self.admitted.wait(limit as usize, now);
        (limit == 0 || wait > Duration::ZERO).then_some(Over { wait, limit })
    }
}

/// All windows of one account.
pub struct Meters {
    main: Meter,
    further: BTreeMap<String, Vec<Meter>>,
}

impl Meters {
    /// Empty windows.
    pub fn new(rules: &Rules) -> Self {
        Self { main: Meter::new(rules.requests, rules.window), further: further(rules) }
    }

    /// Counts an arrival; a request that is let through must find room in every window.
    pub fn arrive(&mut self, pool: Pool, now: Duration) -> Option<Over> {
        let meters = match pool {
            Pool::Main => std::slice::from_mut(&mut self.main),
            Pool::Further(name) => self.further.get_mut(name).map(Vec::as_mut_slice).unwrap_or_default(),
        };
        for meter in meters.iter_mut() {
            meter.arrived.add(now);
        }
        let over = meters.iter_mut().filter_map(|meter| meter.over(now)).max_by_key(|over| over.wait);
        if over.is_none() {
            for meter in meters {
                meter.admitted.add(now);
            }
        }
        over
    }

    /// Goes by other rules from now on. A pool with windows of other lengths begins empty.
    pub fn change(&mut self, rules: &Rules) {
        let mut new = Self::new(rules);
        keep_what_was_used(std::slice::from_mut(&mut self.main), std::slice::from_mut(&mut new.main));
        for (name, meters) in &mut new.further {
            if let Some(old) = self.further.get_mut(name) {
                keep_what_was_used(old, meters);
            }
        }
        *self = new;
    }

    /// Begins to measure anew; the limits go on.
    pub fn reset_most(&mut self, now: Duration) {
        let all = std::iter::once(&mut self.main).chain(self.further.values_mut().flatten());
        all.for_each(|meter| meter.arrived.reset_most(now));
    }

    /// The most arrivals in any window of the main pool.
    pub fn most_of_main(&self) -> usize {
        self.main.arrived.most()
    }

    /// The use of every window of the further pools.
    pub fn of_further(&self) -> Vec<PoolSummary> {
        let summary = |(pool, meter): (&String, &Meter)| PoolSummary {
            pool: pool.clone(),
            most_in_window: meter.arrived.most(),
            window_seconds: meter.arrived.length().as_secs_f64(),
            limit: meter.limit,
        };
        let all = self.further.iter().flat_map(|(pool, meters)| meters.iter().map(move |m| (pool, m)));
        all.map(summary).collect()
    }
}

fn further(rules: &Rules) -> BTreeMap<String, Vec<Meter>> {
    let meters = |windows: &Windows| {
        windows.0.iter().map(|window| Meter::new(Some(window.requests), window.length)).collect()
    };
    rules.pools.iter().map(|(name, windows)| (name.clone(), meters(windows))).collect()
}

fn keep_what_was_used(old: &mut [Meter], new: &mut [Meter]) {
    let lengths = |meters: &[Meter]| meters.iter().map(|meter| meter.arrived.length()).collect::<Vec<_>>();
    if lengths(old) != lengths(new) {
        return;
    }
    for (old, new) in old.iter_mut().zip(new) {
        std::mem::swap(&mut old.arrived, &mut new.arrived);
        std::mem::swap(&mut old.admitted, &mut new.admitted);
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::tests::rules;
    use super::*;

    const POOL: Pool = Pool::Further("campaigns");

    fn meters(windows: &str) -> Meters {
        let mut rules = rules();
        rules.pools.insert("campaigns".into(), windows.parse().unwrap());
        Meters::new(&rules)
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn windows_are_read_and_written() {
        for text in ["10/1s,100/1m,6000/1h", "3/250ms", "unlimited"] {
            assert_eq!(text.parse::<Windows>().unwrap().to_string(), text);
        }
        assert_eq!("10/1s".parse::<Windows>().unwrap(), Windows::of_seconds(&[(10, 1)]));
        for text in ["", "10", "x/1s", "10/0", "10/soon", "10/1s,"] {
            assert!(text.parse::<Windows>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn every_window_of_a_pool_holds_at_once() {
        let mut meters = meters("2/1s,3/1m");
        let waits: Vec<Option<u128>> = [0, 100, 200, 1100, 1200, 59_999, 60_000]
            .into_iter()
            .map(|at| meters.arrive(POOL, ms(at)).map(|over| over.wait.as_millis()))
            .collect();
        assert_eq!(waits, [None, None, Some(800), None, Some(58_800), Some(1), None]);
    }

    #[test]
    fn the_limit_that_is_told_is_that_of_the_longest_wait() {
        let mut meters = meters("1/1s,1/1m");
        meters.arrive(POOL, ms(0));
        assert_eq!(meters.arrive(POOL, ms(0)), Some(Over { wait: ms(60_000), limit: 1 }));
    }

    #[test]
    fn pools_do_not_touch_one_another() {
        let mut meters = meters("1/1m");
        assert_eq!(meters.arrive(POOL, ms(0)), None);
        assert_eq!(meters.arrive(Pool::Main, ms(0)), None);
        assert!(meters.arrive(POOL, ms(0)).is_some());
        assert_eq!((meters.most_of_main(), meters.of_further()[0].most_in_window), (1, 2));
    }

    #[test]
    fn a_change_of_limits_keeps_what_was_used_and_one_of_lengths_does_not() {
        let mut meters = meters("1/1m");
        meters.arrive(POOL, ms(0));
        for (windows, let_in) in [("2/1m", true), ("2/1m", false), ("2/61s", true), ("unlimited", true)] {
            let mut rules = rules();
            rules.pools.insert("campaigns".into(), windows.parse().unwrap());
            meters.change(&rules);
            assert_eq!(meters.arrive(POOL, ms(1)).is_none(), let_in, "{windows}");
        }
    }

    #[test]
    fn measuring_anew_keeps_the_limit() {
        let mut meters = meters("1/1s");
        meters.arrive(POOL, ms(0));
        meters.reset_most(ms(1000));
        assert_eq!(meters.of_further()[0].most_in_window, 0);
        meters.arrive(POOL, ms(1000));
        assert!(meters.arrive(POOL, ms(1001)).is_some());
    }
}
