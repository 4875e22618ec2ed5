//! The one source of chance of a run: everything that is drawn is drawn from the seed, in order.

use std::sync::Mutex;
use std::time::Duration;

use paceline::ports::Chance;

/// Numbers that look random and repeat (SplitMix64).
pub struct Dice(Mutex<u64>);

impl Dice {
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds must not give neighbouring streams.
        Self(Mutex::new(seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ 0x9E37_79B9_7F4A_7C15))
    }

    pub fn next(&self) -> u64 {
        let mut state = self.0.lock().expect("nobody panics with it");
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Less than `n`.
    pub fn below(&self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// True so often in a thousand.
    pub fn in_thousand(&self, times: u64) -> bool {
        times > 0 && self.below(1_000) < times
    }

    /// A time of at most so many milliseconds.
    pub fn millis(&self, most: u64) -> Duration {
        Duration::from_micros(self.below(most * 1_000 + 1))
    }

    /// One of these.
    pub fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).expect("an index")]
    }
}

impl Chance for Dice {
    fn unit(&self) -> f64 {
        self.below(1 << 30) as f64 / f64::from(1 << 30)
    }

    fn unique(&self) -> String {
        format!("{:016x}{:016x}", self.next(), self.next())
    }
}
