//! What follows from the store's answer to a wish for a claim.
//!
//! The decision is pure. Two rules meet here: a delivery that may have been taken already is sent
//! again only where the provider recognises it, and it ends only as `delivered` or `uncertain`.

use std::time::Duration;

use jiff::Timestamp;

use crate::job::Delivery;
use crate::pipeline::classify::line;
use crate::pipeline::envelope::Envelope;
use crate::ports::{Claim, ClaimRequest, Purpose};
use crate::providers::Repeat;
use crate::verdict::DeadReason;

/// Kept free before the end of a provider's duplicate window: for the way to the provider, and for
/// its clock running differently from ours.
pub const WINDOW_MARGIN: Duration = Duration::from_secs(15);

/// What to do with a delivery whose claim is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send it; `within` bounds how long from now the request may still be written.
    Send {
        /// The rest of the provider's duplicate window, for a resend.
        within: Option<Duration>,
    },
    /// End it as expired.
    Expire,
    /// End it as dead.
    Bury(DeadReason, String),
}

/// Decides what to do with a delivery whose claim is ours.
pub fn step(claim: &Claim, delivery: &Delivery, repeat: Repeat, now: Timestamp) -> Step {
    let expired = delivery.job.expires_at.is_some_and(|at| at <= now);
    let unresolved = claim.history.unresolved_ms.filter(|_| repeat != Repeat::Harmless);
    match unresolved {
        None if expired => Step::Expire,
        None => Step::Send { within: None },
        Some(since_ms) => resend(repeat, claim.claimed_ms.saturating_sub(since_ms), expired),
    }
}

/// An earlier attempt may have been taken: `age_ms` is how long ago the first such one began, by
/// the store's clock.
fn resend(repeat: Repeat, age_ms: i64, expired: bool) -> Step {
    let uncertain = |why: &str| {
        Step::Bury(DeadReason::Uncertain, format!("an earlier request may have been accepted, and {why}"))
    };
    if expired {
        return uncertain("its time to be sent has passed");
    }
    match repeat {
        Repeat::Harmless | Repeat::Always => Step::Send { within: None },
        Repeat::Never => uncertain("the provider has no means to recognise a second one"),
        Repeat::Within(window) => {
            let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0));
            match window.checked_sub(age.saturating_add(WINDOW_MARGIN)) {
                Some(rest) if !rest.is_zero() => Step::Send { within: Some(rest) },
                Some(_) | None => uncertain("the time in which the provider recognises a second one is over"),
            }
        }
    }
}

/// The wish for a claim on a delivery.
pub fn request(delivery: &Delivery, envelope: &Envelope, purpose: Purpose, token: &str) -> ClaimRequest {
    ClaimRequest {
        account: delivery.job.account.clone(),
        line: line(delivery),
        id: delivery.id.clone(),
        instance: envelope.instance.clone(),
        purpose,
        remembered: envelope.remembered,
        replay: envelope.replay.clone(),
        token: token.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::History;

    #[test]
    fn what_pushes_nothing_may_expire_although_an_attempt_is_unresolved() {
        let now = Timestamp::from_second(100).unwrap();
        let history = History { unresolved_ms: Some(1), ..History::default() };
        let claim = Claim { history, ..crate::pipeline::testing::claim(tokio::time::Instant::now()) };
        let expiring = |at: i64| {
            let mut delivery = crate::pipeline::testing::delivery("t", crate::job::Class::Exempt);
            let mut job = (*delivery.job).clone();
            job.expires_at = Some(Timestamp::from_second(at).unwrap());
            delivery.job = job.into();
            delivery
        };
        assert_eq!(step(&claim, &expiring(100), Repeat::Harmless, now), Step::Expire);
        assert_eq!(step(&claim, &expiring(101), Repeat::Harmless, now), Step::Send { within: None });
        assert!(matches!(step(&claim, &expiring(100), Repeat::Always, now), Step::Bury(..)));
    }

    #[test]
    fn a_resend_happens_only_where_the_provider_recognises_it() {
        let window = Repeat::Within(Duration::from_secs(300));
        let send = |seconds| Step::Send { within: Some(Duration::from_secs(seconds)) };
        let cases = [
            (window, 0, false, Some(send(285))),
            (window, 284_000, false, Some(send(1))),
            (window, 285_000, false, None),
            (window, 900_000, false, None),
            (window, -5, false, Some(send(285))),
            (window, 0, true, None),
            (Repeat::Always, i64::MAX, false, Some(Step::Send { within: None })),
            (Repeat::Always, 0, true, None),
            (Repeat::Never, 0, false, None),
        ];
        for (repeat, age_ms, expired, expected) in cases {
            let step = resend(repeat, age_ms, expired);
            match expected {
                Some(expected) => assert_eq!(step, expected, "{repeat:?} {age_ms}"),
                None => {
                    assert!(
                        matches!(step, Step::Bury(DeadReason::Uncertain, _)),
                        "{repeat:?} {age_ms}: {step:?}"
                    )
                }
            }
        }
    }
}
