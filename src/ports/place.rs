//! Queues, by their use; an adapter knows their names.

use crate::job::{AccountName, Line, Priority};

/// A queue of paceline's, by its use; the adapter knows its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// An account's incoming jobs.
    Jobs(AccountName),
    /// An account's counted deliveries that were tried before, for one of its limits: picked first.
    Retry(AccountName, Line),
    /// An account's counted deliveries, for one of its limits, by urgency.
    Lane(AccountName, Line, Priority),
    /// Where the delay ladder ends, for all accounts.
    Due,
    /// The dead letters, for all accounts.
    Dead,
}

impl Place {
    /// All queues of an account with these limits.
    pub fn of_account(account: &AccountName, lines: &[Line]) -> Vec<Self> {
        let waiting = lines.iter().flat_map(|line| {
            let lanes = Priority::ALL.map(|lane| Self::Lane(account.clone(), line.clone(), lane));
            std::iter::once(Self::Retry(account.clone(), line.clone())).chain(lanes)
        });
        std::iter::once(Self::Jobs(account.clone())).chain(waiting).collect()
    }

    /// What it is called within its account, or at all if it belongs to none: `jobs`, `retry`,
    /// `high`, `retry.campaigns`.
    pub fn label(&self) -> String {
        match self {
            Self::Jobs(_) => "jobs".to_owned(),
            Self::Retry(_, line) => format!("retry{}", line.suffix()),
            Self::Lane(_, line, priority) => format!("{}{}", priority.as_str(), line.suffix()),
            Self::Due => "due".to_owned(),
            Self::Dead => "dead".to_owned(),
        }
    }

    /// The queue of an account with this [`Place::label`].
    pub fn of_label(account: AccountName, label: &str) -> Option<Self> {
        let (word, suffix) = label.split_at(label.find('.').unwrap_or(label.len()));
        let line = Line::of_suffix(suffix)?;
        match word {
            "jobs" if line == Line::MAIN => Some(Self::Jobs(account)),
            "retry" => Some(Self::Retry(account, line)),
            word => {
                let lane = Priority::ALL.into_iter().find(|lane| lane.as_str() == word)?;
                Some(Self::Lane(account, line, lane))
            }
        }
    }

    /// The limit for which deliveries wait in it; the main one where they wait for none.
    pub fn line(&self) -> Line {
        match self {
            Self::Retry(_, line) | Self::Lane(_, line, _) => line.clone(),
            Self::Jobs(_) | Self::Due | Self::Dead => Line::MAIN,
        }
    }

    /// The account whose queue it is; `None` for those of all accounts.
    pub const fn account(&self) -> Option<&AccountName> {
        match self {
            Self::Jobs(name) | Self::Retry(name, _) | Self::Lane(name, _, _) => Some(name),
            Self::Due | Self::Dead => None,
        }
    }
}

/// The waits of the delay ladder, in seconds, shortest first. One queue each, for the whole
/// prefix: a quorum queue costs memory and restart time, so there are few, and a long wait takes
/// several of them in turn.
pub const LADDER_SECONDS: [u64; 10] = [1, 2, 5, 10, 30, 60, 300, 1800, 7200, 43200];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Pool;

    #[test]
    fn labels_name_the_queues_of_an_account_and_nothing_else() {
        let shop = AccountName::new("shop").unwrap();
        let lines = [Line::MAIN, Pool::beside("campaigns").line()];
        let places = Place::of_account(&shop, &lines);
        let labels: Vec<String> = places.iter().map(Place::label).collect();
        let expected = ["jobs", "retry", "high", "normal", "low"];
        assert_eq!(labels[..5], expected);
        assert_eq!(labels[5..], expected[1..].iter().map(|of| format!("{of}.campaigns")).collect::<Vec<_>>());
        for (place, label) in places.into_iter().zip(labels) {
            assert_eq!(Place::of_label(shop.clone(), &label), Some(place), "{label}");
        }
        for label in ["", "due", "dead", "High", "retry.", "high.a.b", "jobs.campaigns", ".campaigns"] {
            assert_eq!(Place::of_label(shop.clone(), label), None, "{label:?}");
        }
    }
}
