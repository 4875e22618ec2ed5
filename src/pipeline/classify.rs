//! From a job to its deliveries, and from a delivery to the way it takes.
//!
//! What a delivery is and whether it counts is the provider's knowledge; which queue follows from
//! that is decided here, by pure functions.

use jiff::Timestamp;

use crate::job::{AccountName, Class, Delivery, Finding, Job, Line};
use crate::pipeline::envelope::Envelope;
use crate::ports::Place;
use crate::providers::{Gateway, Planned};

const SOURCE: &str = "paceline job format";

/// Checks what the account and the message add to the job format, then lets the provider plan.
/// `Err` for what makes the whole job invalid.
pub fn plan(
    gateway: &dyn Gateway,
    account: &AccountName,
    job: &Job,
    envelope: &Envelope,
    prefix: &str,
) -> Result<Planned, Vec<Finding>> {
    let mut findings = Vec::new();
    if job.account != *account {
        findings.push(Finding::new(
            "/account",
            "another account than the routing key",
            format!("{account}, the account whose queue it came to"),
            SOURCE,
        ));
    }
    if names_our_queue(envelope, prefix) {
        findings.push(Finding::new(
            "",
            "a reply_to that names a queue of paceline's own",
            format!("a queue that does not begin with {prefix}."),
            SOURCE,
        ));
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let planned = gateway.plan(job)?;
    if planned.is_empty() {
        return Err(vec![Finding::new("/payload", "nothing to send", "at least one delivery", SOURCE)]);
    }
    Ok(planned)
}

/// Whether the receipts would go to a queue of paceline's own, where they must never arrive.
pub fn names_our_queue(envelope: &Envelope, prefix: &str) -> bool {
    envelope.reply.as_ref().is_some_and(|reply| is_ours(&reply.queue, prefix))
}

fn is_ours(queue: &str, prefix: &str) -> bool {
    queue.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The way a delivery takes from the queue in which it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Its time has passed.
    Expired,
    /// Not before this moment; then it goes to the place given.
    Later(Timestamp, Place),
    /// Waits for a permit in another queue.
    Forward(Place),
    /// Waits for a permit, and is already where it should wait.
    Wait,
    /// Sent at once.
    Send,
}

/// Whether a delivery takes a permit: it counts by itself, or the provider throttled it though it
/// should not.
pub fn is_counted(delivery: &Delivery, envelope: &Envelope) -> bool {
    match delivery.class {
        Class::Counted(_) => true,
        Class::Exempt => envelope.counted,
    }
}

/// Where a delivery waits for its (first) permit, or is sent from when it needs none.
pub fn home(delivery: &Delivery, envelope: &Envelope) -> Place {
    let account = delivery.job.account.clone();
    if !is_counted(delivery, envelope) {
        return Place::Jobs(account);
    }
    Place::Lane(account, line(delivery), delivery.job.priority)
}

/// The limit that a delivery waits for, and whose health it shares. One that counts only because the
/// provider throttled it belongs to the main limit.
pub fn line(delivery: &Delivery) -> Line {
    match delivery.class {
        Class::Counted(pool) => pool.line(),
        Class::Exempt => Line::MAIN,
    }
}

/// Where a delivery that was tried before waits to be tried again: resends must fall inside the
/// provider's duplicate window, so counted ones are picked before all others.
pub fn home_of_retry(delivery: &Delivery, envelope: &Envelope) -> Place {
    let account = delivery.job.account.clone();
    if is_counted(delivery, envelope) { Place::Retry(account, line(delivery)) } else { Place::Jobs(account) }
}

/// Decides the way of one delivery, one of `pieces` in its message.
pub fn route(delivery: &Delivery, envelope: &Envelope, from: &Place, pieces: usize, now: Timestamp) -> Route {
    let job = &delivery.job;
    if job.expires_at.is_some_and(|at| at <= now) {
        return Route::Expired;
    }
    if let Some(at) = job.not_before.filter(|at| *at > now) {
        // One that expires before it may be sent is told so as early as that is known.
        let wake = job.expires_at.map_or(at, |end| end.min(at));
        return Route::Later(wake, home(delivery, envelope));
    }
    let counted = is_counted(delivery, envelope);
    match from {
        // A message is settled once, so each delivery of a job with several gets a message of its own.
        Place::Jobs(_) if counted || pieces > 1 => Route::Forward(home(delivery, envelope)),
        Place::Jobs(_) => Route::Send,
        Place::Retry(..) | Place::Lane(..) if counted => Route::Wait,
        // The configuration changed since it was put there: it is exempt now.
        Place::Retry(..) | Place::Lane(..) => Route::Send,
        Place::Due | Place::Dead => Route::Forward(home(delivery, envelope)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::job::{DeliveryId, Pool, Priority, TransactionId};
    use crate::pipeline::testing::envelope;

    fn delivery(class: Class, not_before: Option<i64>, expires_at: Option<i64>) -> Delivery {
        let id = TransactionId::new("t").unwrap();
        let time = |seconds: Option<i64>| seconds.map(|s| Timestamp::from_second(s).unwrap());
        Delivery {
            id: DeliveryId::from(&id),
            job: Arc::new(Job {
                transaction_id: id,
                account: AccountName::new("shop").unwrap(),
                operation: "op".into(),
                payload: Default::default(),
                priority: Priority::Low,
                not_before: time(not_before),
                expires_at: time(expires_at),
                meta: None,
            }),
            class,
            batch: None,
        }
    }

    #[test]
    fn every_way_of_a_delivery() {
        let shop = AccountName::new("shop").unwrap();
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let (jobs, retry, low) = (
            Place::Jobs(shop.clone()),
            Place::Retry(shop.clone(), Line::MAIN),
            Place::Lane(shop.clone(), Line::MAIN, Priority::Low),
        );
        let counted = Class::Counted(Pool::main("p"));
        // (class, not before, expires, throttled before, from, pieces) at second 100
        let cases = [
            (counted, None, None, false, &jobs, 1, Route::Forward(low.clone())),
            (counted, None, None, false, &jobs, 3, Route::Forward(low.clone())),
            (counted, None, None, false, &low, 1, Route::Wait),
            (counted, None, None, false, &retry, 1, Route::Wait),
            (Class::Exempt, None, None, false, &jobs, 1, Route::Send),
            (Class::Exempt, None, None, false, &jobs, 2, Route::Forward(jobs.clone())),
            (Class::Exempt, None, None, true, &jobs, 1, Route::Forward(low.clone())),
            (Class::Exempt, None, None, true, &low, 1, Route::Wait),
            (Class::Exempt, None, None, false, &low, 1, Route::Send),
            (counted, None, Some(100), false, &jobs, 1, Route::Expired),
            (counted, Some(200), Some(99), false, &low, 1, Route::Expired),
            (counted, Some(100), None, false, &low, 1, Route::Wait),
            (counted, Some(101), None, false, &jobs, 1, Route::Later(at(101), low.clone())),
            (Class::Exempt, Some(101), None, false, &jobs, 1, Route::Later(at(101), jobs.clone())),
            (counted, Some(300), Some(200), false, &jobs, 1, Route::Later(at(200), low.clone())),
        ];
        for (class, not_before, expires_at, throttled, from, pieces, expected) in cases {
            let envelope = Envelope { counted: throttled, ..envelope("i") };
            let delivery = delivery(class, not_before, expires_at);
            assert_eq!(
                route(&delivery, &envelope, from, pieces, at(100)),
                expected,
                "{class:?} {not_before:?} {expires_at:?} {from:?}"
            );
        }
    }

    #[test]
    fn a_reply_queue_of_our_own_is_told_apart() {
        for (queue, expected) in
            [("paceline", true), ("paceline.dead", true), ("paceline-replies", false), ("mine", false)]
        {
            assert_eq!(is_ours(queue, "paceline"), expected, "{queue}");
        }
    }
}
