//! What sort of run a seed gives. Faults that meet by chance alone in one run of a thousand meet in
//! every tenth where limits, loads, odds and lengths are drawn to suit them.

use std::time::Duration;

use super::chance::Dice;
use super::ground::Kind;
use super::kinds::Sort;
use super::life::Odds;

/// What goes wrong outside the workers.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    /// One worker loses its connection to the broker.
    Cut,
    BrokerAway,
    StoreAway,
    /// The store restarts at once: nothing is lost, but its limiter can't know that.
    StoreRestarts,
    /// The store's data is gone, or older; only in a run whose store loses data.
    StoreLoses,
    StoreSaves,
    ProvidersMisbehave,
    ProvidersRecover,
    ClocksStep,
    PersonPauses,
    PersonResumes,
    /// A person pauses all accounts for a while.
    PersonStops,
    PersonReplays,
    /// All workers' hosts are off for a while.
    HostsAway,
    Nothing,
}

use Trouble::{
    BrokerAway, ClocksStep, Cut, HostsAway, Nothing, PersonPauses, PersonReplays, PersonResumes, PersonStops,
    ProvidersMisbehave, ProvidersRecover, StoreAway, StoreLoses, StoreRestarts, StoreSaves,
};

/// A run's sort, with all that is drawn for it.
#[derive(Debug, Clone)]
pub struct Mood {
    pub name: &'static str,
    pub odds: Odds,
    /// The store loses data.
    pub lossy: bool,
    /// So many workers, up to so many.
    pub workers: [u64; 2],
    /// Requests a minute: of Pushwoosh's account, of each of MoEngage's.
    pub limits: [u32; 2],
    /// The most notifications in one request.
    pub shared: u32,
    /// From so many jobs on, up to so many more.
    pub jobs: [u64; 2],
    /// Of these sorts, each as often as it stands here.
    pub sorts: &'static [Sort],
    /// How long producers publish.
    pub publishing: Duration,
    /// How long things go wrong.
    pub trouble: Duration,
    /// The longest time between two troubles, each as often as it stands here.
    pub gap: Duration,
    pub troubles: &'static [Trouble],
    /// What the providers themselves get wrong, by turns; the first from the beginning.
    pub mistakes: &'static [&'static [&'static str]],
    /// The shortest and the longest time for which a server is away, a person pauses all accounts, or
    /// all hosts are off.
    pub away: [Duration; 2],
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

impl Mood {
    /// The mood of a run.
    pub fn draw(dice: &Dice, kind: Kind) -> Self {
        let usual = Self::usual(dice, kind);
        match dice.below(100) {
            0..20 => usual.saturated(dice, kind),
            20..36 => usual.standing_still(dice),
            36..46 => usual.minutes_long(dice),
            46..49 => usual.a_day_long(dice),
            _ => usual,
        }
    }

    /// A bit of everything.
    fn usual(dice: &Dice, kind: Kind) -> Self {
        Self {
            name: "usual",
            lossy: kind == Kind::Servers && dice.in_thousand(200),
            odds: Odds::draw(dice),
            workers: [1, 3],
            limits: [30, 60],
            shared: 20,
            jobs: [5, 35],
            sorts: &Sort::MIXED,
            publishing: MINUTE,
            trouble: 150 * SECOND,
            gap: 20 * SECOND,
            troubles: &[
                Cut,
                BrokerAway,
                StoreAway,
                ProvidersMisbehave,
                ClocksStep,
                StoreLoses,
                StoreSaves,
                PersonPauses,
                PersonResumes,
                PersonReplays,
                PersonReplays,
                ProvidersRecover,
            ],
            mistakes: &[
                &[],
                &["503@30%", "500@10%"],
                &["429=20s@10%"],
                &["hang-after@10%", "reset-after@10%", "reset-before@10%"],
                &["garbage@10%", "cut@10%", "latency=1s..15s@30%"],
                &["500-after@20%", "502@30%"],
                &["401@40%"],
            ],
            away: [Duration::ZERO, 15 * SECOND],
        }
    }

    /// Limits far below the load, and a limiter that forgets what it granted again and again: the store
    /// restarts or loses its data, or the one process that has the file dies.
    fn saturated(self, dice: &Dice, kind: Kind) -> Self {
        // Each death of the process that has the file costs a new one: fewer jobs, lower limits.
        let (highest, crash, jobs) = match kind {
            Kind::Servers => (16, dice.below(3), [30, 40]),
            Kind::File => (8, 5, [12, 18]),
        };
        let limit = || 4 + u32::try_from(dice.below(highest - 4)).expect("small");
        Self {
            name: "saturated",
            lossy: kind == Kind::Servers && dice.in_thousand(500),
            odds: Odds { crash, ..self.odds.a_quarter() },
            limits: [limit(), limit()],
            shared: 1,
            jobs,
            sorts: &[Sort::Counted, Sort::Counted, Sort::User, Sort::Loud, Sort::Targeted],
            publishing: 10 * SECOND,
            gap: 12 * SECOND,
            troubles: &[StoreRestarts, StoreRestarts, StoreLoses, StoreLoses, StoreSaves, Cut, Nothing],
            ..self
        }
    }

    /// Processes that stand still for longer than their lease, while others take over, and then go on.
    fn standing_still(self, dice: &Dice) -> Self {
        Self {
            name: "standing still",
            lossy: false,
            odds: Odds { freeze: dice.below(3), stall_after: 50 + dice.below(100), ..self.odds.a_quarter() },
            workers: [3, 4],
            limits: [120, 600],
            jobs: [20, 25],
            mistakes: &[&["latency=2s..9s@80%"]],
            sorts: &[
                Sort::User,
                Sort::User,
                Sort::User,
                Sort::User,
                Sort::User,
                Sort::Campaign,
                Sort::Loud,
                Sort::Counted,
                Sort::Several,
                Sort::Targeted,
            ],
            publishing: 30 * SECOND,
            trouble: 240 * SECOND,
            ..self
        }
    }

    /// Answers that are lost, and then nothing goes on for longer than Pushwoosh recognises a
    /// `createMessage`.
    fn minutes_long(self, dice: &Dice) -> Self {
        Self {
            name: "minutes long",
            lossy: false,
            odds: Odds { reply_lost: 200 + dice.below(400), ..self.odds.a_quarter() },
            sorts: &[Sort::Counted, Sort::Exempt, Sort::Several, Sort::Targeted],
            trouble: 40 * MINUTE,
            gap: 2 * MINUTE,
            troubles: &[
                HostsAway,
                HostsAway,
                PersonStops,
                StoreAway,
                BrokerAway,
                PersonReplays,
                ProvidersMisbehave,
                ClocksStep,
            ],
            away: [2 * MINUTE, 12 * MINUTE],
            ..self
        }
    }

    /// The same for the day during which it recognises a `createTargetedMessage`.
    fn a_day_long(self, dice: &Dice) -> Self {
        Self {
            name: "a day long",
            lossy: false,
            odds: Odds { reply_lost: 500 + dice.below(300), ..self.odds.a_quarter() },
            workers: [1, 2],
            jobs: [5, 15],
            sorts: &[Sort::Targeted],
            trouble: 24 * HOUR + 30 * MINUTE,
            gap: 2 * MINUTE,
            troubles: &[HostsAway],
            away: [24 * HOUR - 10 * MINUTE, 24 * HOUR + 20 * MINUTE],
            ..self
        }
    }

    /// How long something is away this time.
    pub fn draw_away(&self, dice: &Dice) -> Duration {
        let [least, most] = self.away;
        least + dice.millis(u64::try_from((most - least).as_millis()).expect("a sane length"))
    }
}
