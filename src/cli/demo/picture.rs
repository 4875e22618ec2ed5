//! What there is to see at one moment of the demo. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// All of it.
#[derive(Debug, Clone)]
pub(super) struct Picture {
    pub(super) seed: u64,
    /// How long a provider's minute lasts.
    pub(super) minute: Duration,
    /// Since the beginning.
    pub(super) elapsed: Duration,
    /// How long it is meant to take.
    pub(super) length: Duration,
    /// What is being shown now.
    pub(super) showing: String,
    /// In the order in which they are shown.
    pub(super) accounts: Vec<AccountPicture>,
    /// Oldest first.
    pub(super) events: Vec<Event>,
    /// Over all accounts.
    pub(super) totals: Totals,
    /// Deliveries that a provider took more than once.
    pub(super) twice: u64,
}

#[derive(Debug, Clone)]
pub(super) struct AccountPicture {
    pub(super) name: String,
    pub(super) provider: &'static str,
    /// The most requests of a provider's minute.
    pub(super) limit: u32,
    /// Counted requests that arrived in the last minute, as the provider counts.
    pub(super) used: usize,
    /// The most of them in any minute so far.
    pub(super) most: usize,
    /// Deliveries that the provider took, in steps of time, oldest first.
    pub(super) sends: Vec<u32>,
    /// Deliveries that it took in the last second.
    pub(super) per_second: u32,
    /// Deliveries in a counted request lately.
    pub(super) per_request: f64,
    pub(super) lanes: Vec<Lane>,
    pub(super) health: Health,
}

/// Deliveries that wait in one lane: in its queue, and in the worker's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) name: &'static str,
    pub(super) waiting: u64,
}

/// Whether an account's requests go out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Health {
    /// They do.
    #[default]
    Well,
    /// The circuit is open for so long.
    Open(Duration),
    /// One request at a time tries whether the provider works again.
    Probing,
    /// The provider asked for a pause, so long from now.
    Throttled(Duration),
    /// Its credential is refused, receipts are, or a person paused it: none is part of the show.
    Stopped(&'static str),
}

/// What an event is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Something new is shown.
    Act,
    /// It went as it should.
    Good,
    /// Something goes wrong outside paceline.
    Trouble,
    /// A delivery ended without being delivered, for a good reason.
    Ended,
}

impl Mark {
    /// A word for programs.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Act => "act",
            Self::Good => "good",
            Self::Trouble => "trouble",
            Self::Ended => "ended",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Since the beginning.
    pub(super) at: Duration,
    pub(super) mark: Mark,
    pub(super) text: String,
}

/// What became of the deliveries so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) published: u64,
    pub(super) delivered: u64,
    pub(super) duplicate: u64,
    pub(super) expired: u64,
    /// By reason.
    pub(super) dead: BTreeMap<String, u64>,
}

impl Totals {
    /// Both together.
    #[must_use]
    pub(super) fn plus(mut self, other: &Self) -> Self {
        self.published += other.published;
        self.delivered += other.delivered;
        self.duplicate += other.duplicate;
        self.expired += other.expired;
        for (reason, number) in &other.dead {
            *self.dead.entry(reason.clone()).or_default() += number;
        }
        self
    }

    pub(super) fn dead(&self) -> u64 {
        self.dead.values().sum()
    }

    /// Deliveries that came to an end.
    pub(super) fn ended(&self) -> u64 {
        self.delivered + self.duplicate + self.expired + self.dead()
    }

    /// Deliveries that did not.
    pub(super) fn open(&self) -> u64 {
        self.published.saturating_sub(self.ended())
    }
}
