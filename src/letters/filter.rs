//! Which letters are meant.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Facts;

/// Which letters are meant: those that meet every part that is given. The default means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Dead ids.
    pub ids: BTreeSet<String>,
    /// Accounts.
    pub accounts: Vec<String>,
    /// Operations.
    pub operations: Vec<String>,
    /// Words of reasons.
    pub reasons: Vec<String>,
    /// Died before this moment.
    pub before: Option<Timestamp>,
    /// Died after this moment.
    pub after: Option<Timestamp>,
    /// A part of the detail, whatever its capitals.
    pub detail: Option<String>,
}

impl Filter {
    /// The letters of these ids.
    pub fn of_ids(ids: impl IntoIterator<Item = String>) -> Self {
        Self { ids: ids.into_iter().collect(), ..Self::default() }
    }

    /// Whether a letter is meant. One that does not tell when it died is of no age.
    pub fn means(&self, facts: &Facts) -> bool {
        let named =
            |wanted: &[String], found: &str| wanted.is_empty() || wanted.iter().any(|one| one == found);
        (self.ids.is_empty() || self.ids.contains(&facts.dead_id))
            && named(&self.accounts, &facts.account)
            && named(&self.operations, &facts.operation)
            && named(&self.reasons, &facts.reason)
            && self.before.is_none_or(|bound| facts.dead_at.is_some_and(|at| at < bound))
            && self.after.is_none_or(|bound| facts.dead_at.is_some_and(|at| at > bound))
            && self.detail.as_ref().is_none_or(|part| contains(&facts.detail, part))
    }
}

fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

/// Letters for tests.
#[cfg(test)]
pub(super) mod testing {
    use bytes::Bytes;

    use crate::ports::{Letter, LetterTag, Properties};

    /// A letter as a worker writes it, with some headers replaced.
    pub fn letter(body: &str, headers: &[(&str, &str)]) -> Letter {
        let mut properties = Properties { message_id: Some("m".into()), ..Properties::default() };
        for (name, value) in [
            ("paceline-dead-id", "0123456789abcdef0123456789abcdef"),
            ("paceline-account", "shop"),
            ("paceline-reason", "rejected"),
            ("paceline-detail", "Application not found"),
            ("paceline-dead-at", "2026-11-28T06:00:00Z"),
        ] {
            properties.set_header(name, value);
        }
        for (name, value) in headers {
            properties.set_header(name, *value);
        }
        Letter { tag: LetterTag(1), body: Bytes::from(body.to_owned()), properties }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<Timestamp> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn every_part_that_is_given_must_be_met() {
        let body = r#"{"transactionId":"t","operation":"createMessage","payload":{}}"#;
        let facts = Facts::of(&testing::letter(body, &[]));
        let own = || Filter::of_ids([facts.dead_id.clone()]);
        let list = |one: &str| vec!["other".to_owned(), one.to_owned()];
        let none = Filter::default;
        let cases = [
            (none(), true),
            (own(), true),
            (Filter::of_ids(["f".repeat(32)]), false),
            (Filter { accounts: list("shop"), ..none() }, true),
            (Filter { accounts: list("news"), ..none() }, false),
            (Filter { operations: list("createMessage"), ..none() }, true),
            (Filter { operations: list("sendPush"), ..none() }, false),
            (Filter { reasons: list("rejected"), ..none() }, true),
            (Filter { reasons: list("invalid"), ..none() }, false),
            (Filter { before: at("2026-11-28T06:00:01Z"), ..none() }, true),
            (Filter { before: at("2026-11-28T06:00:00Z"), ..none() }, false),
            (Filter { after: at("2026-11-28T05:59:59Z"), ..none() }, true),
            (Filter { after: at("2026-11-28T06:00:00Z"), ..none() }, false),
            (Filter { detail: Some("application NOT".into()), ..none() }, true),
            (Filter { detail: Some("user".into()), ..none() }, false),
            (Filter { accounts: list("news"), ..own() }, false),
        ];
        for (filter, expected) in cases {
            assert_eq!(filter.means(&facts), expected, "{filter:?}");
        }
        let timeless = Facts { dead_at: None, ..facts };
        for filter in [
            Filter { before: at("2100-01-01T00:00:00Z"), ..none() },
            Filter { after: at("2000-01-01T00:00:00Z"), ..none() },
        ] {
            assert!(!filter.means(&timeless), "{filter:?}");
        }
        assert!(none().means(&timeless));
    }
}
