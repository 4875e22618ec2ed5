//! What is shown when. Pure: the time in, what is due out.

use std::time::Duration;

/// One thing that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Exempt sends.
    Codes,
    /// A backlog of counted ones.
    Letters,
    /// Urgent ones overtake it.
    Alarm,
    /// A batch with a faulty notification.
    Digest,
    /// The same job twice.
    Twice,
    /// A scheduled, an expired and an invalid one.
    Times,
    /// The provider fails.
    Outage,
    /// It works again.
    OutageOver,
    /// The other provider asks for a pause.
    Throttled,
    /// An answer is lost after the provider took the request.
    Lost,
    /// Nothing more is published.
    Rest,
}

impl Act {
    /// What is being shown, in one line; `None` where the last one goes on.
    pub(super) const fn caption(self) -> Option<&'static str> {
        Some(match self {
            Self::Codes => "One-time codes to single devices use up no limit: sent at once",
            Self::Letters => "Letters to thousands are counted: they wait, and the limit holds",
            Self::Alarm => "Urgent messages overtake what waits",
            Self::Digest => "A batch with a faulty notification: only that one is refused",
            Self::Twice => "The same job published twice is sent once",
            Self::Times => "A scheduled job waits, a late one expires, an invalid one is never sent",
            Self::Outage => "An outage: the circuit opens, one probe at a time, nothing is lost",
            Self::OutageOver => return None,
            Self::Throttled => "A provider says slow down: the account waits as long as it is told",
            Self::Lost => "An answer is lost: the repeat is recognised, nothing is pushed twice",
            Self::Rest => "Nothing more is published: what waits is sent",
        })
    }
}

/// Each act and its beginning, in thousandths of the whole.
const ACTS: [(u32, Act); 11] = [
    (0, Act::Codes),
    (50, Act::Letters),
    (170, Act::Alarm),
    (260, Act::Digest),
    (340, Act::Twice),
    (400, Act::Times),
    (500, Act::Outage),
    (640, Act::OutageOver),
    (740, Act::Throttled),
    (830, Act::Lost),
    (910, Act::Rest),
];

/// How much longer an outage may last in which no probe failed yet.
const LONGEST_OUTAGE: Duration = Duration::from_secs(20);

/// When an act begins.
pub(super) fn begins(act: Act, length: Duration) -> Duration {
    let found = ACTS.iter().find(|(_, one)| *one == act);
    found.map_or(length, |(share, _)| length * *share / 1_000)
}

/// Gives out each act once.
#[derive(Debug, Default)]
pub(super) struct Script {
    next: usize,
}

impl Script {
    /// The next act, if its time has come. An outage lasts until a probe of it failed, even where a
    /// busy machine takes its time, but no longer than [`LONGEST_OUTAGE`] more than it should.
    pub(super) fn due(&mut self, elapsed: Duration, length: Duration, probed: bool) -> Option<Act> {
        let (_, act) = ACTS.get(self.next)?;
        let begins = begins(*act, length);
        let waits = *act == Act::OutageOver && !probed && elapsed < begins + LONGEST_OUTAGE;
        if elapsed < begins || waits {
            return None;
        }
        self.next += 1;
        Some(*act)
    }

    /// Whether every act has begun.
    pub(super) fn is_over(&self) -> bool {
        self.next == ACTS.len()
    }
}

/// Something that comes again and again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drip {
    every: Duration,
    given: u32,
}

impl Drip {
    /// So many a second.
    pub(super) fn per_second(number: u32) -> Self {
        Self { every: Duration::from_secs(1) / number, given: 0 }
    }

    /// How many are due, this long after the first one, beyond those given out before.
    pub(super) fn due(&mut self, since_first: Duration) -> u32 {
        let all = u32::try_from(since_first.as_micros() / self.every.as_micros()).unwrap_or(u32::MAX);
        let due = all.saturating_sub(self.given);
        self.given = all;
        due
    }
}

/// How many letters should wait: `level` at first, then fewer and fewer, so that little is left when
/// nothing more is published.
pub(super) fn letters_wanted(level: f64, elapsed: Duration, length: Duration) -> u64 {
    const LEFT: f64 = 0.2;
    let (first, last) = (begins(Act::Letters, length), begins(Act::Rest, length));
    if elapsed < first || elapsed >= last {
        return 0;
    }
    let done = (elapsed - first).as_secs_f64() / (last - first).as_secs_f64();
    (level * (1.0 - (1.0 - LEFT) * done)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(40);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn every_act_comes_once_in_order() {
        let mut script = Script::default();
        assert_eq!(script.due(at(0), LENGTH, false), Some(Act::Codes));
        assert_eq!(script.due(at(1), LENGTH, false), None);
        let rest: Vec<Act> = std::iter::from_fn(|| script.due(LENGTH, LENGTH, true)).collect();
        assert_eq!(rest, ACTS[1..].iter().map(|(_, act)| *act).collect::<Vec<_>>());
        assert!(script.is_over());
        assert!(ACTS.is_sorted_by_key(|(share, _)| *share));
    }

    #[test]
    fn an_outage_lasts_until_a_probe_failed_but_not_for_ever() {
        let over = begins(Act::OutageOver, LENGTH);
        for (elapsed, probed, expected) in [
            (over, false, None),
            (over, true, Some(Act::OutageOver)),
            (over + LONGEST_OUTAGE, false, Some(Act::OutageOver)),
        ] {
            let mut script = Script::default();
            while script.next < ACTS.len() && ACTS[script.next].1 != Act::OutageOver {
                script.next += 1;
            }
            assert_eq!(script.due(elapsed, LENGTH, probed), expected, "{elapsed:?} {probed}");
        }
    }

    #[test]
    fn captions_fit_the_smallest_terminal() {
        for (_, act) in ACTS {
            assert!(act.caption().is_none_or(|text| text.chars().count() <= 71), "{act:?}");
        }
    }

    #[test]
    fn drips_are_even_and_none_is_missed() {
        let mut drip = Drip::per_second(4);
        let ms = Duration::from_millis;
        let given: Vec<u32> = [0, 100, 250, 600, 600, 2_000].map(|at| drip.due(ms(at))).to_vec();
        assert_eq!(given, [0, 0, 1, 1, 0, 6]);
    }

    #[test]
    fn letters_grow_fewer() {
        let wanted = |seconds| letters_wanted(1_000.0, at(seconds), LENGTH);
        assert_eq!((wanted(1), wanted(2), wanted(37)), (0, 1_000, 0));
        assert!(wanted(10) > wanted(20) && wanted(36) >= 200);
    }
}
