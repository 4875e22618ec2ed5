//! The way of a delivery, step by step, in the order of the modules below:
//!
//! ```text
//! decode → classify → permit → claim → send → (provider's verdict) → settle
//! ```
//!
//! Decisions only: every function here is pure. [`crate::worker`] takes the steps and does the
//! effects; [`envelope`] is what a delivery carries from queue to queue between them.

pub mod claim;
pub mod classify;
pub mod decode;
pub mod envelope;
pub mod permit;
pub mod send;
pub mod settle;
pub mod suspect;
pub mod trace;
pub mod trail;

#[cfg(test)]
pub(crate) mod testing {
    //! Small makers for the tables of the modules beside it.

    use std::sync::Arc;

    use jiff::Timestamp;
    use tokio::time::Instant;

    use crate::job::{
        AccountName, Class, Delivery, DeliveryId, Instance, Job, Line, Priority, TransactionId,
    };
    use crate::pipeline::envelope::Envelope;
    use crate::ports::{Claim, History};

    /// An envelope of a message in second 100.
    pub(crate) fn envelope(message_id: &str) -> Envelope {
        Envelope {
            instance: Instance::of(message_id, 0),
            internal: true,
            message_id: Some(message_id.into()),
            published_at: Timestamp::from_second(100).unwrap(),
            reply: None,
            trace: Vec::new(),
            attempted: None,
            replay: None,
            remembered: History::default(),
            alone: false,
            counted: false,
            crashes: 0,
            trail: Default::default(),
            outcome: None,
            due: None,
            label: None,
        }
    }

    /// A claim on the delivery `t` of the account `shop`.
    pub(crate) fn claim(write_by: Instant) -> Claim {
        Claim {
            account: AccountName::new("shop").unwrap(),
            line: Line::MAIN,
            id: DeliveryId::from(&TransactionId::new("t").unwrap()),
            instance: Instance::of("m", 0),
            token: "k".into(),
            history: History::default(),
            claimed_ms: 0,
            probe: false,
            write_by,
        }
    }

    /// A delivery of the account `shop`.
    pub(crate) fn delivery(id: &str, class: Class) -> Delivery {
        let id = TransactionId::new(id).unwrap();
        Delivery {
            id: DeliveryId::from(&id),
            job: Arc::new(Job {
                transaction_id: id,
                account: AccountName::new("shop").unwrap(),
                operation: "createMessage".into(),
                payload: Default::default(),
                priority: Priority::Normal,
                not_before: None,
                expires_at: None,
                meta: None,
            }),
            class,
            batch: None,
        }
    }
}
