//! What the store knows of a delivery.

use paceline::ports::History;
use paceline::verdict::Outcome;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Idle,
    Sending,
    Held,
}

#[derive(Debug, Clone)]
pub struct Live {
    pub phase: Phase,
    pub token: String,
    pub lease_ends: i64,
    /// Start of the attempt under way.
    pub attempt: Option<i64>,
    pub history: History,
    pub kept: Kept,
}

#[derive(Debug, Clone)]
pub struct Ended {
    pub token: String,
    pub instance: String,
    pub outcome: Outcome,
    pub kept: Kept,
}

/// What outlives one publishing.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// The last ends of earlier publishings, newest first.
    pub ends: Vec<(String, Outcome)>,
    /// The last replays seen, newest first.
    pub replays: Vec<String>,
    /// The last duplicates told, newest first, each with the end that it duplicates.
    pub duplicates: Vec<(String, Outcome)>,
}

impl Kept {
    /// The end of which a publishing was told to be the duplicate.
    pub fn duplicate_of(&self, instance: &str) -> Option<&Outcome> {
        self.duplicates.iter().find(|(known, _)| known == instance).map(|(_, outcome)| outcome)
    }

    pub fn note_duplicate(&mut self, instance: &str, of: &Outcome) {
        self.duplicates.insert(0, (instance.to_owned(), of.clone()));
        self.duplicates.truncate(8);
    }
}

impl Record {
    pub const fn kept(&self) -> &Kept {
        match self {
            Self::Live(Live { kept, .. }) | Self::Ended(Ended { kept, .. }) => kept,
        }
    }

    /// How a publishing ended, as far as that is known.
    pub fn end_of(&self, instance: &str) -> Option<&Outcome> {
        match self {
            Self::Ended(ended) if ended.instance == instance => Some(&ended.outcome),
            Self::Ended(_) | Self::Live(_) => {
                self.kept().ends.iter().find(|(known, _)| known == instance).map(|(_, outcome)| outcome)
            }
        }
    }

    /// What to keep when another publishing is claimed.
    pub fn to_keep(&self) -> Kept {
        let kept = self.kept().clone();
        match self {
            Self::Live(_) => kept,
            Self::Ended(ended) => {
                let last = (ended.instance.clone(), ended.outcome.clone());
                let others = kept.ends.into_iter().filter(|(instance, _)| *instance != ended.instance);
                Kept { ends: std::iter::once(last).chain(others).take(8).collect(), ..kept }
            }
        }
    }
}

#[derive(Debug, Clone)]
pub enum Record {
    Live(Live),
    Ended(Ended),
}
