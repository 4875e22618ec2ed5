//! What things are called at the broker.

use crate::ports::{Destination, LADDER_SECONDS, Place};

/// The exchange that producers publish jobs to.
pub fn jobs_exchange(prefix: &str) -> String {
    format!("{prefix}.jobs")
}

/// The exchange that receipts are published to.
pub fn receipts_exchange(prefix: &str) -> String {
    format!("{prefix}.receipts")
}

/// The queue of a place. Account names hold no dot, so no two places share a name.
pub fn queue(prefix: &str, place: &Place) -> String {
    match place {
        Place::Jobs(account) => format!("{prefix}.jobs.{account}"),
        Place::Retry(account, line) => format!("{prefix}.retry.{account}{}", line.suffix()),
        Place::Lane(account, line, priority) => {
            format!("{prefix}.{}.{account}{}", priority.as_str(), line.suffix())
        }
        Place::Due => format!("{prefix}.due"),
        Place::Dead => format!("{prefix}.dead"),
    }
}

/// The delay queue of a wait in seconds. The wait is part of the name, because a queue's wait
/// can't be changed once it exists.
pub fn delay_queue(prefix: &str, seconds: u64) -> String {
    format!("{prefix}.delay.{}", seconds * 1000)
}

/// Where a message is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The exchange; empty for the default one, which routes by queue name.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// Whether the broker has to give the message back when no queue takes it.
    pub mandatory: bool,
}

impl Route {
    /// The route of a destination; `None` for a rung that the ladder doesn't have.
    pub fn to(prefix: &str, destination: Destination) -> Option<Self> {
        let direct = |queue: String| Self { exchange: String::new(), routing_key: queue, mandatory: true };
        match destination {
            Destination::Place(place) => Some(direct(queue(prefix, &place))),
            Destination::Delay(rung) => {
                LADDER_SECONDS.get(rung).map(|seconds| direct(delay_queue(prefix, *seconds)))
            }
            Destination::Receipts { routing_key } => {
                Some(Self { exchange: receipts_exchange(prefix), routing_key, mandatory: false })
            }
            Destination::Reply { queue } => Some(direct(queue)),
            Destination::Jobs(account) => {
                Some(Self { exchange: jobs_exchange(prefix), routing_key: account, mandatory: true })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{AccountName, Line, Pool, Priority};

    #[test]
    fn every_destination_has_its_route() {
        let shop = || AccountName::new("shop").unwrap();
        let campaigns = || Pool::beside("campaigns").line();
        let lane = |line, priority| Destination::Place(Place::Lane(shop(), line, priority));
        let cases = [
            (Destination::Place(Place::Jobs(shop())), "", "p.jobs.shop", true),
            (Destination::Place(Place::Retry(shop(), Line::MAIN)), "", "p.retry.shop", true),
            (Destination::Place(Place::Retry(shop(), campaigns())), "", "p.retry.shop.campaigns", true),
            (lane(Line::MAIN, Priority::High), "", "p.high.shop", true),
            (lane(Line::MAIN, Priority::Normal), "", "p.normal.shop", true),
            (lane(campaigns(), Priority::Low), "", "p.low.shop.campaigns", true),
            (Destination::Place(Place::Due), "", "p.due", true),
            (Destination::Place(Place::Dead), "", "p.dead", true),
            (Destination::Delay(0), "", "p.delay.1000", true),
            (Destination::Delay(9), "", "p.delay.43200000", true),
            (
                Destination::Receipts { routing_key: "shop.createMessage.dead".into() },
                "p.receipts",
                "shop.createMessage.dead",
                false,
            ),
            (Destination::Reply { queue: "theirs".into() }, "", "theirs", true),
            (Destination::Jobs("shop".into()), "p.jobs", "shop", true),
        ];
        for (destination, exchange, routing_key, mandatory) in cases {
            let expected = Route { exchange: exchange.into(), routing_key: routing_key.into(), mandatory };
            assert_eq!(Route::to("p", destination.clone()), Some(expected), "{destination:?}");
        }
        assert_eq!(Route::to("p", Destination::Delay(LADDER_SECONDS.len())), None);
    }
}
