//! The broker objects: what there has to be, and how it is declared.
//!
//! The declarations are those that RabbitMQ 3.10 and 4.x accept alike. A queue's arguments can't
//! be changed once it exists, so they are fixed here; what an operator may tune is done with
//! policies at the broker.

use std::fmt;
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};
use serde::Serialize;
use tokio::time::timeout;

use super::link::LinkError;
use super::names;
use crate::ports::{LADDER_SECONDS, Place};

/// How often a queue gives a message out again before it dead-letters it. High, because the broker
/// also counts drains and crashes that are no fault of the message; poison is the worker's to judge.
const DELIVERY_LIMIT: i64 = 10_000;

/// The longest time for one declaration. Making a quorum queue takes some 0.1 s; a cluster without
/// a majority may not answer at all.
const LONGEST: Duration = Duration::from_secs(30);

/// One thing at the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "object", rename_all = "lowercase")]
pub enum Object {
    /// A durable exchange.
    Exchange {
        /// Its name.
        name: String,
        /// How it routes.
        kind: Routing,
    },
    /// A durable queue.
    Queue {
        /// Its name.
        name: String,
        /// Its arguments.
        arguments: Vec<(&'static str, Argument)>,
    },
    /// A way from an exchange to a queue.
    Binding {
        /// The exchange.
        exchange: String,
        /// The queue.
        queue: String,
        /// The key that takes this way.
        routing_key: String,
    },
}

impl Object {
    /// Whether it is the queue of this name, or leads to it.
    pub(super) fn is_of_queue(&self, wanted: &str) -> bool {
        match self {
            Self::Exchange { .. } => false,
            Self::Queue { name, .. } => name == wanted,
            Self::Binding { queue, .. } => queue == wanted,
        }
    }
}

/// How an exchange routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Routing {
    /// By the whole key.
    Direct,
    /// By patterns of the key's words.
    Topic,
}

/// The value of a queue's argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Argument {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange { name, .. } => write!(f, "exchange {name}"),
            Self::Queue { name, .. } => write!(f, "queue {name}"),
            Self::Binding { exchange, queue, routing_key } => {
                write!(f, "binding of queue {queue} to exchange {exchange} by key {routing_key}")
            }
        }
    }
}

/// Why the broker objects could not be declared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeclareError {
    /// Something of that name exists, but is not what paceline needs.
    #[error(
        "{object} exists at the broker with other arguments ({detail}); \
         empty and delete it, so that it is made anew, or choose another queue.prefix"
    )]
    Mismatch {
        /// What.
        object: String,
        /// The broker's words.
        detail: String,
    },
    /// The broker's user may not declare it.
    #[error(
        "the broker refuses access to {object} ({detail}); give the user of queue.url the rights to \
         configure, write and read whatever begins with queue.prefix, and to write to amq.default"
    )]
    Forbidden {
        /// What.
        object: String,
        /// The broker's words.
        detail: String,
    },
    /// The broker does not let this user in.
    #[error("the broker refuses the login ({0}); check user, password and virtual host in queue.url")]
    Login(String),
    /// An address can't be read. It is not shown, because it may hold a password.
    #[error("queue.url can't be read: {0}")]
    Address(String),
    /// A node shows a certificate that can't be trusted. It was told nothing.
    #[error("no connection to the broker: {0}")]
    Certificate(String),
    /// No node of the broker can be reached.
    #[error("the broker can't be reached: {0}")]
    Unreachable(String),
    /// The connection broke, or the broker refused for another reason.
    #[error("{object} could not be declared: {detail}")]
    Failed {
        /// What.
        object: String,
        /// What happened.
        detail: String,
    },
}

impl DeclareError {
    /// Whether trying again can't help until somebody changes something.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Mismatch { .. }
            | Self::Forbidden { .. }
            | Self::Login(_)
            | Self::Address(_)
            | Self::Certificate(_) => true,
            Self::Unreachable(_) | Self::Failed { .. } => false,
        }
    }
}

impl From<LinkError> for DeclareError {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Address(detail) => Self::Address(detail),
            LinkError::Login(detail) => Self::Login(detail),
            LinkError::Certificate(detail) => Self::Certificate(detail),
            LinkError::Unreachable(detail) => Self::Unreachable(detail),
        }
    }
}

/// Every broker object that accounts with these queues need, in an order in which it can be declared.
pub fn topology(prefix: &str, places: &[Place]) -> Vec<Object> {
    let mut objects = shared(prefix);
    objects.extend(places.iter().flat_map(|place| for_place(prefix, place)));
    objects
}

fn shared(prefix: &str) -> Vec<Object> {
    let jobs = Object::Exchange { name: names::jobs_exchange(prefix), kind: Routing::Direct };
    let receipts = Object::Exchange { name: names::receipts_exchange(prefix), kind: Routing::Topic };
    let mut objects = vec![jobs, receipts, dead(prefix), work(prefix, &Place::Due)];
    objects.extend(LADDER_SECONDS.iter().map(|seconds| delay(prefix, *seconds)));
    objects
}

fn for_place(prefix: &str, place: &Place) -> Vec<Object> {
    let queue = work(prefix, place);
    let Place::Jobs(account) = place else { return vec![queue] };
    let binding = Object::Binding {
        exchange: names::jobs_exchange(prefix),
        queue: names::queue(prefix, place),
        routing_key: account.to_string(),
    };
    vec![queue, binding]
}

fn dead(prefix: &str) -> Object {
    Object::Queue {
        name: names::queue(prefix, &Place::Dead),
        arguments: vec![quorum(), ("x-delivery-limit", Argument::Number(DELIVERY_LIMIT))],
    }
}

fn work(prefix: &str, place: &Place) -> Object {
    let mut arguments = vec![quorum(), ("x-delivery-limit", Argument::Number(DELIVERY_LIMIT))];
    arguments.extend(dead_lettering(names::queue(prefix, &Place::Dead)));
    Object::Queue { name: names::queue(prefix, place), arguments }
}

fn delay(prefix: &str, seconds: u64) -> Object {
    let wait = i64::try_from(seconds * 1000).unwrap_or(i64::MAX);
    let mut arguments = vec![quorum(), ("x-message-ttl", Argument::Number(wait))];
    arguments.extend(dead_lettering(names::queue(prefix, &Place::Due)));
    Object::Queue { name: names::delay_queue(prefix, seconds), arguments }
}

fn quorum() -> (&'static str, Argument) {
    ("x-queue-type", Argument::Text("quorum".into()))
}

/// Dead-lettering that loses nothing needs all four: at-least-once falls back to at-most-once
/// without `reject-publish`, and a target that might be missing would stall the queue, so it is a
/// fixed queue of our own, by the default exchange.
fn dead_lettering(target: String) -> [(&'static str, Argument); 4] {
    [
        ("x-overflow", Argument::Text("reject-publish".into())),
        ("x-dead-letter-exchange", Argument::Text(String::new())),
        ("x-dead-letter-routing-key", Argument::Text(target)),
        ("x-dead-letter-strategy", Argument::Text("at-least-once".into())),
    ]
}

/// Declares objects one after another. The first that is refused ends it: the broker closes the
/// channel at a refusal.
pub(super) async fn declare_all(channel: &Channel, objects: &[Object]) -> Result<(), DeclareError> {
    for object in objects {
        let declared = timeout(LONGEST, declare_one(channel, object)).await;
        let late = |_| DeclareError::Failed {
            object: object.to_string(),
            detail: format!("no answer from the broker within {LONGEST:?}"),
        };
        declared.map_err(late)?.map_err(|error| refusal(object, &error))?;
    }
    Ok(())
}

async fn declare_one(channel: &Channel, object: &Object) -> lapin::Result<()> {
    match object {
        Object::Exchange { name, kind } => {
            let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
            channel.exchange_declare(short(name)?, exchange_kind(*kind), options, FieldTable::default()).await
        }
        Object::Queue { name, arguments } => {
            let options = QueueDeclareOptions { durable: true, ..Default::default() };
            channel.queue_declare(short(name)?, options, table(arguments)).await.map(|_| ())
        }
        Object::Binding { exchange, queue, routing_key } => {
            let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
            channel.queue_bind(short(queue)?, short(exchange)?, short(routing_key)?, options, arguments).await
        }
    }
}

/// A name as AMQP carries it: an error, not a panic, for one over 255 bytes.
pub(super) fn short(text: &str) -> lapin::Result<ShortString> {
    ShortString::try_new(text)
        .map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidInput, "longer than 255 bytes").into())
}

fn exchange_kind(kind: Routing) -> ExchangeKind {
    match kind {
        Routing::Direct => ExchangeKind::Direct,
        Routing::Topic => ExchangeKind::Topic,
    }
}

fn table(arguments: &[(&'static str, Argument)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
        };
        table.insert((*name).into(), value);
    }
    table
}

fn refusal(object: &Object, error: &lapin::Error) -> DeclareError {
    const ACCESS_REFUSED: u16 = 403;
    const PRECONDITION_FAILED: u16 = 406;
    let (object, detail) = (object.to_string(), error.to_string());
    match reply_code(error) {
        Some(PRECONDITION_FAILED) => DeclareError::Mismatch { object, detail },
        Some(ACCESS_REFUSED) => DeclareError::Forbidden { object, detail },
        Some(_) | None => DeclareError::Failed { object, detail },
    }
}

/// The AMQP reply code with which the broker refused something.
pub(super) fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{AccountName, Line, Pool};

    fn arguments_of(objects: &[Object], wanted: &str) -> Vec<(&'static str, Argument)> {
        objects
            .iter()
            .find_map(|object| match object {
                Object::Queue { name, arguments } if name == wanted => Some(arguments.clone()),
                Object::Queue { .. } | Object::Exchange { .. } | Object::Binding { .. } => None,
            })
            .unwrap()
    }

    fn places() -> Vec<Place> {
        let lines = [Line::MAIN, Pool::beside("campaigns").line()];
        Place::of_account(&AccountName::new("shop").unwrap(), &lines)
    }

    fn text(text: &str) -> Argument {
        Argument::Text(text.into())
    }

    #[test]
    fn the_names_are_those_of_the_contract() {
        let names: Vec<String> = topology("p", &places()).iter().map(ToString::to_string).collect();
        let expected = [
            "exchange p.jobs",
            "exchange p.receipts",
            "queue p.dead",
            "queue p.due",
            "queue p.delay.1000",
            "queue p.delay.2000",
            "queue p.delay.5000",
            "queue p.delay.10000",
            "queue p.delay.30000",
            "queue p.delay.60000",
            "queue p.delay.300000",
            "queue p.delay.1800000",
            "queue p.delay.7200000",
            "queue p.delay.43200000",
            "queue p.jobs.shop",
            "binding of queue p.jobs.shop to exchange p.jobs by key shop",
            "queue p.retry.shop",
            "queue p.high.shop",
            "queue p.normal.shop",
            "queue p.low.shop",
            "queue p.retry.shop.campaigns",
            "queue p.high.shop.campaigns",
            "queue p.normal.shop.campaigns",
            "queue p.low.shop.campaigns",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn each_kind_of_queue_has_its_arguments() {
        let objects = topology("p", &places());
        let letters = |target| {
            vec![
                ("x-overflow", text("reject-publish")),
                ("x-dead-letter-exchange", text("")),
                ("x-dead-letter-routing-key", text(target)),
                ("x-dead-letter-strategy", text("at-least-once")),
            ]
        };
        let limited = [("x-queue-type", text("quorum")), ("x-delivery-limit", Argument::Number(10_000))];
        let work = [limited.to_vec(), letters("p.dead")].concat();
        for name in ["p.jobs.shop", "p.retry.shop", "p.high.shop", "p.low.shop.campaigns", "p.due"] {
            assert_eq!(arguments_of(&objects, name), work, "{name}");
        }
        assert_eq!(arguments_of(&objects, "p.dead"), limited);
        let waits = [("x-queue-type", text("quorum")), ("x-message-ttl", Argument::Number(1_800_000))];
        assert_eq!(arguments_of(&objects, "p.delay.1800000"), [waits.to_vec(), letters("p.due")].concat());
    }

    #[test]
    fn only_what_a_person_must_mend_is_final() {
        let named = || ("queue q".to_owned(), "d".to_owned());
        let ((a, b), (c, d), (e, f)) = (named(), named(), named());
        let cases = [
            (DeclareError::Mismatch { object: a, detail: b }, true),
            (DeclareError::Forbidden { object: c, detail: d }, true),
            (DeclareError::Login("d".into()), true),
            (DeclareError::Address("d".into()), true),
            (DeclareError::Unreachable("d".into()), false),
            (DeclareError::Failed { object: e, detail: f }, false),
        ];
        for (error, expected) in cases {
            assert_eq!(error.is_final(), expected, "{error}");
        }
    }
}
