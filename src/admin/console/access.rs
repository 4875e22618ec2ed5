//! Who may use the console: whoever knows the token, and for some hours whoever has signed in with it.
//!
//! Tokens and session ids are compared by hashes under a key that is made by chance in each process, so
//! that the time a comparison takes says nothing of them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::config::Secret;

/// How long a session lasts.
pub(super) const SESSION: Duration = Duration::from_secs(8 * 60 * 60);

/// The most sessions; with one more the oldest ends.
const MOST_SESSIONS: usize = 64;

/// So many wrong tokens within [`WITHIN`], and none is looked at until that time is over.
const MOST_WRONG: usize = 10;
const WITHIN: Duration = Duration::from_secs(60);

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// It is not the token.
    Wrong,
    /// Too many were wrong; after this time one is looked at again.
    TooMany(Duration),
}

type Hash = [u8; 32];

/// The token, and the sessions that began with it.
pub(super) struct Access {
    key: Hash,
    token: Hash,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// With the moment of their end, the oldest first.
    sessions: VecDeque<(Hash, Instant)>,
    /// When wrong tokens came, the oldest first.
    wrong: VecDeque<Instant>,
}

impl Access {
    pub(super) fn new(token: &Secret) -> Self {
        let key = rand::random();
        Self { key, token: hashed(&key, token.expose()), state: Mutex::default() }
    }

    /// Begins a session; its id is nowhere else.
    pub(super) fn sign_in(&self, token: &str, now: Instant) -> Result<String, Denied> {
        self.check(token, now)?;
        let id = hex::encode(rand::random::<Hash>());
        let mut state = self.state();
        if state.sessions.len() >= MOST_SESSIONS {
            state.sessions.pop_front();
        }
        state.sessions.push_back((hashed(&self.key, &id), now + SESSION));
        Ok(id)
    }

    /// Whether it is the token.
    pub(super) fn check(&self, token: &str, now: Instant) -> Result<(), Denied> {
        let is_right = equal(&hashed(&self.key, token), &self.token);
        let mut state = self.state();
        state.wrong.retain(|at| now.duration_since(*at) < WITHIN);
        if state.wrong.len() >= MOST_WRONG {
            let oldest = state.wrong.front().map_or(Duration::ZERO, |at| now.duration_since(*at));
            return Err(Denied::TooMany(WITHIN.saturating_sub(oldest)));
        }
        if is_right {
            return Ok(());
        }
        state.wrong.push_back(now);
        Err(Denied::Wrong)
    }

    /// Whether a session of this id lasts.
    pub(super) fn is_session(&self, id: &str, now: Instant) -> bool {
        let id = hashed(&self.key, id);
        let mut state = self.state();
        state.sessions.retain(|(_, end)| *end > now);
        state.sessions.iter().any(|(known, _)| equal(known, &id))
    }

    /// Ends a session.
    pub(super) fn end(&self, id: &str) {
        let id = hashed(&self.key, id);
        self.state().sessions.retain(|(known, _)| !equal(known, &id));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; were it so, each of its parts would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hashed(key: &Hash, text: &str) -> Hash {
    Sha256::new().chain_update(key).chain_update(text).finalize().into()
}

/// Looks at every byte, wherever the first difference is.
fn equal(one: &Hash, other: &Hash) -> bool {
    one.iter().zip(other).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn access() -> Access {
        Access::new(&Secret::new(TOKEN))
    }

    #[test]
    fn only_the_token_begins_a_session_and_only_its_id_is_known() {
        let (access, now) = (access(), Instant::now());
        for wrong in ["", "0123456789abcde", "0123456789abcdef0", "0123456789ABCDEF"] {
            assert_eq!(access.sign_in(wrong, now), Err(Denied::Wrong), "{wrong}");
        }
        let id = access.sign_in(TOKEN, now).unwrap();
        let other = access.sign_in(TOKEN, now).unwrap();
        assert!(id.len() == 64 && id != other);
        for (id, expected) in [(id.as_str(), true), (&other, true), ("", false), (TOKEN, false)] {
            assert_eq!(access.is_session(id, now), expected, "{id}");
        }
        access.end(&id);
        assert!(!access.is_session(&id, now) && access.is_session(&other, now));
    }

    #[test]
    fn sessions_end_by_time_and_are_bounded() {
        let (access, now) = (access(), Instant::now());
        let first = access.sign_in(TOKEN, now).unwrap();
        assert!(access.is_session(&first, now + SESSION - Duration::from_secs(1)));
        assert!(!access.is_session(&first, now + SESSION));
        let all: Vec<String> = (0..MOST_SESSIONS + 3).map(|_| access.sign_in(TOKEN, now).unwrap()).collect();
        let standing = all.iter().map(|id| access.is_session(id, now));
        assert_eq!(standing.filter(|stands| *stands).count(), MOST_SESSIONS);
        assert!(!access.is_session(&all[2], now) && access.is_session(&all[3], now));
    }

    #[test]
    fn after_many_wrong_tokens_none_is_looked_at_for_a_while() {
        let (access, now) = (access(), Instant::now());
        let id = access.sign_in(TOKEN, now).unwrap();
        for _ in 0..MOST_WRONG {
            assert_eq!(access.check("wrong", now), Err(Denied::Wrong));
        }
        let later = now + Duration::from_secs(20);
        assert_eq!(access.check(TOKEN, later), Err(Denied::TooMany(Duration::from_secs(40))));
        assert!(access.is_session(&id, later), "who is in stays in");
        assert_eq!(access.check(TOKEN, now + WITHIN), Ok(()));
    }
}
