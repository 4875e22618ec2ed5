//! What a worker holds: a message in hand, and the one delivery in it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::job::{AccountName, Delivery, DeliveryId, Line};
use crate::pipeline::decode;
use crate::pipeline::envelope::{Envelope, Label};
use crate::pipeline::permit::Waiting;
use crate::pipeline::settle::Subject;
use crate::pipeline::{claim, classify};
use crate::ports::{ClaimRequest, Message, Place, Properties, Purpose, Ticket};
use crate::telemetry::{Attempt, Facts};
use crate::worker::account::AccountState;
use crate::worker::suspect::Watch;

/// A message in hand; clones settle the same message.
#[derive(Clone)]
pub struct Hand {
    /// The body as it came.
    pub body: Bytes,
    /// Its properties.
    pub properties: Arc<Properties>,
    /// The queue it came from.
    pub place: Place,
    /// How often the queue gave it out before.
    pub redeliveries: u32,
    /// When it came.
    pub received: Instant,
    /// Settles it.
    pub ticket: Arc<dyn Ticket>,
    /// A suspect's handling, which ends with the last of its clones.
    pub(super) watch: Option<Arc<Watch>>,
}

impl From<Message> for Hand {
    fn from(message: Message) -> Self {
        let Message { body, properties, place, redeliveries, received, ticket } = message;
        let (properties, ticket) = (properties.into(), ticket.into());
        Self { body, properties, place, redeliveries, received, ticket, watch: None }
    }
}

impl Hand {
    /// The account whose queue it came from.
    pub fn account(&self) -> Option<&AccountName> {
        self.place.account()
    }
}

/// A delivery in hand. It is moved from step to step, so what it holds stays in one place.
#[derive(Clone)]
pub struct Parcel(Box<Contents>);

/// What a parcel holds.
#[derive(Clone)]
pub struct Contents {
    /// Its message.
    pub hand: Hand,
    /// What travels with it.
    pub envelope: Envelope,
    /// The delivery.
    pub delivery: Delivery,
    /// Its account.
    pub account: Arc<AccountState>,
    /// Fences the next claim on it; see [`ClaimRequest::token`].
    pub token: String,
    /// How often in a row its request missed its time.
    pub late: u32,
    /// The trace of the attempt that is under way.
    pub attempt: Attempt,
}

impl From<Contents> for Parcel {
    fn from(contents: Contents) -> Self {
        Self(Box::new(contents))
    }
}

impl Parcel {
    /// What it holds, taken apart.
    pub fn contents(self) -> Contents {
        *self.0
    }
}

impl Deref for Parcel {
    type Target = Contents;

    fn deref(&self) -> &Contents {
        &self.0
    }
}

impl DerefMut for Parcel {
    fn deref_mut(&mut self) -> &mut Contents {
        &mut self.0
    }
}

impl Contents {
    /// The wish for a claim on it.
    pub fn wish(&self, purpose: Purpose) -> ClaimRequest {
        claim::request(&self.delivery, &self.envelope, purpose, &self.token)
    }

    /// Begins an attempt, after so many requests before it. What its messages say from now on goes on
    /// from it.
    pub fn begin_attempt(&mut self, prefix: &str, requests: u32) {
        let facts = Facts {
            prefix,
            place: &self.hand.place,
            envelope: &self.envelope,
            delivery: &self.delivery,
            requests,
        };
        self.attempt = Attempt::start(&facts);
        if let Some(span) = self.attempt.context() {
            self.envelope.remember_attempt(&span);
        }
    }

    /// What its message says of it beside its body.
    pub fn label(&self) -> Label {
        let job = &self.delivery.job;
        Label {
            id: self.delivery.id.clone(),
            job: job.transaction_id.clone(),
            operation: job.operation.clone(),
            reads: self.reads(),
        }
    }

    /// What receipts and dead letters say of it.
    pub fn subject(&self) -> Subject<'_> {
        let job = &self.delivery.job;
        Subject {
            account: &job.account,
            operation: Some(&job.operation),
            id: Some(&self.delivery.id),
            job_id: Some(&job.transaction_id),
            envelope: &self.envelope,
            meta: job.meta.as_ref(),
        }
    }

    /// The limit that it waits for.
    pub fn line(&self) -> Line {
        classify::line(&self.delivery)
    }

    /// Whether its operation only reads.
    pub fn reads(&self) -> bool {
        self.account.gateway().reads(&self.delivery)
    }

    /// The job with this one delivery in it, as a body.
    pub fn body(&self) -> Bytes {
        decode::encode(&self.delivery.job).into()
    }
}

impl AsRef<Delivery> for Parcel {
    fn as_ref(&self) -> &Delivery {
        &self.delivery
    }
}

impl Waiting for Parcel {
    fn account(&self) -> &AccountName {
        &self.delivery.job.account
    }

    fn id(&self) -> &DeliveryId {
        &self.delivery.id
    }

    fn batch(&self) -> Option<&Arc<str>> {
        // One with an attempt of unknown outcome behind it is resent alone: what a suppressed
        // duplicate answers is not documented, so positions in the answer could shift.
        let alone = self.envelope.alone || self.envelope.remembered.unresolved_ms.is_some();
        if alone { None } else { self.delivery.batch.as_ref() }
    }

    fn bytes(&self) -> usize {
        self.hand.body.len()
    }
}
