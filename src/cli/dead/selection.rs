//! Which letters are meant.

use std::time::Duration;

use jiff::Timestamp;

use crate::cli::Failure;
use crate::letters::Filter;
use crate::verdict::DeadReason;

/// Parts that a letter must meet, all of those that are given.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Selection {
    /// Of this account. May be repeated
    #[arg(long, value_name = "ACCOUNT")]
    account: Vec<String>,
    /// Of this operation; "unknown" where the body names none. May be repeated
    #[arg(long, value_name = "OPERATION")]
    operation: Vec<String>,
    /// Of this reason. May be repeated
    #[arg(long, value_name = "REASON", value_parser = reasons())]
    reason: Vec<String>,
    /// That died longer ago than this (10m, 7d)
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// That died within this time (10m, 7d)
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    newer_than: Option<Duration>,
    /// With this text in their detail, whatever its capitals
    #[arg(long, value_name = "TEXT")]
    detail: Option<String>,
}

fn reasons() -> clap::builder::PossibleValuesParser {
    DeadReason::ALL.map(DeadReason::as_str).into()
}

impl Selection {
    pub(super) fn filter(&self, now: Timestamp) -> Filter {
        // A time before all times is before every letter.
        let ago = |time: Duration| now.checked_sub(time).unwrap_or(Timestamp::MIN);
        Filter {
            ids: Default::default(),
            accounts: self.account.clone(),
            operations: self.operation.clone(),
            reasons: self.reason.clone(),
            before: self.older_than.map(ago),
            after: self.newer_than.map(ago),
            detail: self.detail.clone(),
        }
    }

    fn is_empty(&self) -> bool {
        self.filter(Timestamp::UNIX_EPOCH) == Filter::default()
    }
}

/// The letters that a command takes out.
#[derive(Debug, clap::Args)]
pub(super) struct Chosen {
    /// Their ids, as `dead list` shows them
    #[arg(value_name = "ID", conflicts_with = "all")]
    ids: Vec<String>,
    /// All that match
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    selection: Selection,
}

impl Chosen {
    pub(super) fn filter(&self, now: Timestamp) -> Result<Filter, Failure> {
        if self.ids.is_empty() && !self.all {
            let all = if self.selection.is_empty() {
                "--all means every one"
            } else {
                "--all means all that match"
            };
            return Err(Failure::Usage(format!("which dead letters? Name their ids; {all}")));
        }
        Ok(Filter { ids: self.ids.iter().cloned().collect(), ..self.selection.filter(now) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(ids: &[&str], all: bool, account: &[&str]) -> Chosen {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Chosen {
            ids: owned(ids),
            all,
            selection: Selection { account: owned(account), ..Selection::default() },
        }
    }

    #[test]
    fn nothing_is_taken_that_was_not_named() {
        for (chosen, part) in [
            (chosen(&[], false, &[]), Some("every one")),
            (chosen(&[], false, &["shop"]), Some("all that match")),
            (chosen(&[], true, &["shop"]), None),
            (chosen(&["a"], false, &[]), None),
        ] {
            match (chosen.filter(Timestamp::UNIX_EPOCH), part) {
                (Ok(filter), None) => assert_eq!(filter.ids.len(), chosen.ids.len()),
                (Err(Failure::Usage(text)), Some(part)) => assert!(text.contains(part), "{text}"),
                (other, _) => panic!("{chosen:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn ages_are_counted_back_from_now() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let of = |older, newer| {
            let selection = Selection { older_than: older, newer_than: newer, ..Selection::default() };
            let filter = selection.filter(now);
            (filter.before.map(Timestamp::as_second), filter.after.map(Timestamp::as_second))
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(of(seconds(60), None), (Some(999_940), None));
        assert_eq!(of(None, seconds(7)), (None, Some(999_993)));
        assert_eq!(of(seconds(u64::MAX / 4), None).0, Some(Timestamp::MIN.as_second()));
    }
}
