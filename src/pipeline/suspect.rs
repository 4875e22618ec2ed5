//! Which messages may have brought a worker down, and when that is proved.
//!
//! The broker counts a crash, a lost connection and a drain against everything that was unacked,
//! so its count only *suspects* a message. The store counts each handling of a suspect before it
//! begins, and takes it back when it ended quietly: what remains are deaths of processes.
//!
//! A suspect is first handled together with everything else, and counted so: a lost connection,
//! which makes suspects of all that was in hand, kills no process, and must not make hundreds of
//! messages wait for each other. One that processes died with is from then on handled with nothing
//! else under way: what remains of that count are crashes of its own.

use sha2::{Digest, Sha256};

use crate::job::{AccountName, Instance};

/// So many deliveries without a settlement make a message suspect.
const SUSPECT_AFTER: u32 = 3;

/// So many processes that died with a suspect in hand isolate it. Not one: every process that is killed
/// holds innocents.
const ISOLATED_AFTER: u32 = 2;

/// So many handlings alone that did not end prove it.
const PROVEN_AFTER: u32 = 3;

/// Whether a message is suspected: by the broker's count since it was last published, and
/// the count that it carries from before (it waited for a holder that may have been its own crash).
pub const fn is_suspect(redeliveries: u32, carried: u32) -> bool {
    redeliveries.saturating_add(carried) >= SUSPECT_AFTER
}

/// What is done with a suspect; each is counted by itself, so that what a delivery does is not taken
/// for what its body does, nor what others do for either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Leading it on its usual way, together with others.
    Together,
    /// Reading it, with nothing else under way.
    Read,
    /// Leading what was read to its end, with nothing else under way.
    Lead,
}

/// What to do with a suspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Lead it on its usual way.
    Together,
    /// Take the step, with nothing else under way.
    Alone,
    /// End it as poison: reading it is safe.
    Bury,
    /// End it as poison without reading it: reading it is what kills.
    BuryUnread,
}

/// Decides by how many handlings have begun with this step and not ended quietly, this one included.
///
/// A message that can be read is ended by what was read, through the claims of its deliveries: it may
/// have copies that end otherwise. One that can't be read has no copy that any worker got to an end.
pub const fn treatment(step: Step, times: u32) -> Treatment {
    match step {
        Step::Together if times <= ISOLATED_AFTER => Treatment::Together,
        Step::Together => Treatment::Alone,
        Step::Read | Step::Lead if times <= PROVEN_AFTER => Treatment::Alone,
        Step::Read => Treatment::BuryUnread,
        Step::Lead => Treatment::Bury,
    }
}

/// The same for every redelivery and every hop of a message, another for any other message or step.
pub fn fingerprint(
    step: Step,
    account: Option<&AccountName>,
    name: Option<&Instance>,
    body: &[u8],
) -> String {
    let mut hash = Sha256::new();
    hash.update(account.map_or("", AccountName::as_str).as_bytes());
    match step {
        Step::Together => hash.update(b"\0together"),
        Step::Read => hash.update(b"\0read"),
        Step::Lead => hash.update(b"\0lead"),
    }
    match name {
        Some(name) => hash.update([b"\0name\0", name.as_str().as_bytes()].concat()),
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
        for (step, times, expected) in [
            (Step::Together, 1, Treatment::Together),
            (Step::Together, 2, Treatment::Together),
            (Step::Together, 3, Treatment::Alone),
            (Step::Together, 99, Treatment::Alone),
            (Step::Read, 1, Treatment::Alone),
            (Step::Read, 3, Treatment::Alone),
            (Step::Read, 4, Treatment::BuryUnread),
            (Step::Read, 99, Treatment::BuryUnread),
            (Step::Lead, 1, Treatment::Alone),
            (Step::Lead, 3, Treatment::Alone),
            (Step::Lead, 4, Treatment::Bury),
            (Step::Lead, 99, Treatment::Bury),
        ] {
            assert_eq!(treatment(step, times), expected, "{step:?} {times}");
        }
    }

    #[test]
    fn messages_and_steps_are_told_apart() {
        let shop = AccountName::new("shop").unwrap();
        let [m, n] = ["m/0", "m/1"].map(Instance::from_header);
        let prints = [
            fingerprint(Step::Together, Some(&shop), Some(&m), b"x"),
            fingerprint(Step::Read, Some(&shop), Some(&m), b"x"),
            fingerprint(Step::Lead, Some(&shop), Some(&m), b"x"),
            fingerprint(Step::Read, Some(&shop), Some(&n), b"x"),
            fingerprint(Step::Read, Some(&shop), None, b"x"),
            fingerprint(Step::Read, Some(&shop), None, b"y"),
            fingerprint(Step::Read, None, None, b"x"),
        ];
        let distinct: std::collections::HashSet<_> = prints.iter().collect();
        assert_eq!(distinct.len(), prints.len());
        assert_eq!(prints[0], fingerprint(Step::Together, Some(&shop), Some(&m), b"y"));
    }
}
