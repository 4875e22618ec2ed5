//! Which messages may have brought a worker down, and when that is proved.
//!
//! The broker counts a crash, a lost connection and a drain against everything that was unacked,
//! so its count only *suspects* a message. A suspect is handled with nothing else under way, and
//! the store counts each such handling before it begins and takes it back when it ended quietly:
//! what remains are crashes of its own.

use sha2::{Digest, Sha256};

use crate::job::AccountName;

/// So many deliveries without a settlement make a message suspect.
const SUSPECT_AFTER: u32 = 3;

/// So many handlings alone that did not end prove it.
const PROVEN_AFTER: u32 = 3;

/// Whether a message is to be handled alone: by the broker's count since it was last published, and
/// the count that it carries from before (it waited for a holder that may have been its own crash).
pub const fn is_suspect(redeliveries: u32, carried: u32) -> bool {
    redeliveries.saturating_add(carried) >= SUSPECT_AFTER
}

/// What to do with a suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Handle it, with nothing else under way.
    Alone,
    /// End it as poison.
    Bury,
    /// End it as poison without reading it: reading it may be what kills.
    BuryUnread,
}

/// Decides by how many handlings alone have begun, this one included.
pub const fn treatment(times: u32) -> Treatment {
    if times <= PROVEN_AFTER {
        Treatment::Alone
    } else if times == PROVEN_AFTER + 1 {
        Treatment::Bury
    } else {
        Treatment::BuryUnread
    }
}

/// The same for every redelivery and every hop of a message, another for any other message.
pub fn fingerprint(account: Option<&AccountName>, message_id: Option<&str>, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(account.map_or("", AccountName::as_str).as_bytes());
    match message_id {
        Some(id) => hash.update([b"\0id\0", id.as_bytes()].concat()),
        None => hash.update([b"\0body\0", body].concat()),
    }
    hex::encode(&hash.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_crashes_suspect_and_three_alone_prove() {
        for (redeliveries, carried, expected) in
            [(0, 0, false), (2, 0, false), (3, 0, true), (1, 2, true), (u32::MAX, 1, true)]
        {
            assert_eq!(is_suspect(redeliveries, carried), expected, "{redeliveries} + {carried}");
        }
        for (times, expected) in [
            (1, Treatment::Alone),
            (3, Treatment::Alone),
            (4, Treatment::Bury),
            (5, Treatment::BuryUnread),
            (99, Treatment::BuryUnread),
        ] {
            assert_eq!(treatment(times), expected, "{times}");
        }
    }

    #[test]
    fn messages_are_told_apart() {
        let shop = AccountName::new("shop").unwrap();
        let prints = [
            fingerprint(Some(&shop), Some("m"), b"x"),
            fingerprint(Some(&shop), Some("n"), b"x"),
            fingerprint(Some(&shop), None, b"x"),
            fingerprint(Some(&shop), None, b"y"),
            fingerprint(None, None, b"x"),
        ];
        let distinct: std::collections::HashSet<_> = prints.iter().collect();
        assert_eq!(distinct.len(), prints.len());
        assert_eq!(fingerprint(Some(&shop), Some("m"), b"x"), fingerprint(Some(&shop), Some("m"), b"y"));
    }
}
