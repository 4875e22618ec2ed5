//! What may be sent, and until when.
//!
//! [`Cargo`] is the only thing the worker hands to the wire, and it can't be made without a claim
//! for each delivery and, for counted ones, a permit. Both are consumed by it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::job::{Class, Delivery};
use crate::ports::{Claim, Permit};

/// A delivery with its claim, on its way to the provider. `T` is what the worker keeps with it.
#[derive(Debug)]
pub struct Claimed<T> {
    /// What the worker keeps with it: the message in hand.
    pub parcel: T,
    /// The right to send it and to end it.
    pub claim: Claim,
    /// The rest of the provider's duplicate window, for a resend.
    pub within: Option<Duration>,
}

/// The right to make a request, by the provider's limits.
#[derive(Debug)]
enum Licence {
    /// It uses up no limit.
    Exempt,
    /// It uses up this permit.
    Counted(Permit),
}

/// Deliveries that may go out in one request.
#[derive(Debug)]
pub struct Cargo<T> {
    claimed: Vec<Claimed<T>>,
    licence: Licence,
}

impl<T: AsRef<Delivery>> Cargo<T> {
    /// One exempt delivery; gives it back when it is not exempt.
    pub fn exempt(claimed: Claimed<T>) -> Result<Self, Box<Claimed<T>>> {
        match claimed.parcel.as_ref().class {
            Class::Exempt => Ok(Self { claimed: vec![claimed], licence: Licence::Exempt }),
            Class::Counted(_) => Err(Box::new(claimed)),
        }
    }

    /// Deliveries that share one permit.
    pub fn counted(claimed: Vec<Claimed<T>>, permit: Permit) -> Self {
        Self { claimed, licence: Licence::Counted(permit) }
    }

    /// The deliveries, in the order in which the request carries them.
    pub fn deliveries(&self) -> Vec<&Delivery> {
        self.claimed.iter().map(|claimed| claimed.parcel.as_ref()).collect()
    }

    /// The first of them; `None` never comes, since an empty cargo is never made.
    pub fn first(&self) -> Option<&Delivery> {
        self.claimed.first().map(|claimed| claimed.parcel.as_ref())
    }

    /// What the worker keeps with each of them, in the same order.
    pub fn parcels(&self) -> impl Iterator<Item = &T> {
        self.claimed.iter().map(|claimed| &claimed.parcel)
    }

    /// Whether an earlier attempt of one of them may have been taken. Such a one goes alone.
    pub fn after_unknown(&self) -> bool {
        self.claimed.iter().any(|claimed| claimed.claim.history.unresolved_ms.is_some())
    }

    /// Whether the request uses up the provider's limit.
    pub const fn is_counted(&self) -> bool {
        match self.licence {
            Licence::Exempt => false,
            Licence::Counted(_) => true,
        }
    }

    /// When the permit's slot opened, for the delay that the limiter's bound rests on.
    pub const fn slot(&self) -> Option<Instant> {
        match &self.licence {
            Licence::Exempt => None,
            Licence::Counted(permit) => Some(permit.opens),
        }
    }

    /// The last moment at which the request may be written: no later than the permit's slot, the
    /// leases, the provider's duplicate window and the expiry of any delivery in it allow.
    pub fn write_by(&self, now: Instant, wall: Timestamp) -> Instant {
        let slot = match &self.licence {
            Licence::Exempt => None,
            Licence::Counted(permit) => Some(permit.closes),
        };
        let per_delivery = self.claimed.iter().map(|claimed| {
            let expiry = claimed.parcel.as_ref().job.expires_at.map(|at| now + until(wall, at));
            let window = claimed.within.map(|rest| now + rest);
            [expiry, window].into_iter().flatten().fold(claimed.claim.write_by, Instant::min)
        });
        // An empty cargo is never made; `now` would then forbid the write.
        per_delivery.chain(slot).min().unwrap_or(now)
    }

    /// Ends the way out: the permit is spent, the claims are to be settled.
    pub fn into_claimed(self) -> Vec<Claimed<T>> {
        self.claimed
    }
}

/// The time from `now` to `at`, zero when that has passed; bounded so that it can be added to an
/// instant whatever a producer wrote.
pub fn until(now: Timestamp, at: Timestamp) -> Duration {
    const A_YEAR_MS: i64 = 366 * 86_400 * 1_000;
    let milliseconds = at.as_millisecond().saturating_sub(now.as_millisecond()).clamp(0, A_YEAR_MS);
    Duration::from_millis(milliseconds.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::job::Pool;

    struct Parcel(Delivery);
    impl AsRef<Delivery> for Parcel {
        fn as_ref(&self) -> &Delivery {
            &self.0
        }
    }

    fn claimed(
        class: Class,
        lease: u64,
        within: Option<u64>,
        expires_at: Option<i64>,
        now: Instant,
    ) -> Claimed<Parcel> {
        let mut delivery = crate::pipeline::testing::delivery("t", class);
        if let Some(at) = expires_at {
            let mut job = (*delivery.job).clone();
            job.expires_at = Some(Timestamp::from_second(at).unwrap());
            delivery.job = Arc::new(job);
        }
        let claim = crate::pipeline::testing::claim(now + Duration::from_secs(lease));
        Claimed { parcel: Parcel(delivery), claim, within: within.map(Duration::from_secs) }
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_bound_decides() {
        let now = Instant::now();
        let wall = Timestamp::from_second(1_000).unwrap();
        let permit = |seconds| Permit { opens: now, closes: now + Duration::from_secs(seconds) };
        let counted = Class::Counted(Pool::main("p"));
        // (lease, slot, window, expiry) -> seconds from now
        let cases = [
            (40, 1, None, None, 1),
            (40, 99, None, None, 40),
            (40, 99, Some(30), None, 30),
            (40, 99, Some(30), Some(1_020), 20),
            (40, 99, None, Some(900), 0),
        ];
        for (lease, slot, within, expiry, expected) in cases {
            let cargo = Cargo::counted(vec![claimed(counted, lease, within, expiry, now)], permit(slot));
            assert_eq!(cargo.write_by(now, wall) - now, Duration::from_secs(expected));
        }
        let exempt = Cargo::exempt(claimed(Class::Exempt, 40, None, None, now)).ok().unwrap();
        assert_eq!(exempt.write_by(now, wall) - now, Duration::from_secs(40));
    }

    #[tokio::test(start_paused = true)]
    async fn a_counted_delivery_can_not_pass_as_exempt() {
        let now = Instant::now();
        assert!(Cargo::exempt(claimed(Class::Counted(Pool::main("p")), 40, None, None, now)).is_err());
    }
}
