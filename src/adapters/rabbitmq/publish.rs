//! Publishing with confirms that can be trusted.
//!
//! A confirm channel has one owner. One shared by several tasks, or used with a sliding window,
//! reports some unroutable messages as confirmed: the broker's returns are then handed to the wrong
//! confirms. So its owner works in strict batches: publish all, await every confirm, and only then
//! match what was returned, by route and message id. A batch of which a single confirm is missing
//! proves nothing about the others, and its channel can't be trusted any more.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::link::Link;
use super::names::Route;
use super::properties;
use crate::ports::{Outgoing, PublishError};

/// How many requests may wait beside those under way.
pub(super) const WAITING: usize = 1024;

/// The most bytes of bodies in one batch, save that one message always goes.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// A channel that was refused something is used at least this long: a queue that really is full would
/// otherwise cost one for each batch.
const LEAST_LIFE: Duration = Duration::from_secs(1);

/// What a publisher says while the broker holds it back.
pub(super) const BLOCKED: &str = "the broker blocks publishers (memory or disk alarm)";

/// A wish to publish, and who waits for the answer.
pub(super) struct Request {
    pub message: Outgoing,
    pub reply: oneshot::Sender<Result<(), PublishError>>,
}

/// The limits of a publisher.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub batch: usize,
    pub timeout: Duration,
}

/// Identifies a message among those of a batch. Not always one message, so whoever has the same
/// key as a returned one counts as returned too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    exchange: String,
    routing_key: String,
    message_id: Option<String>,
}

/// What the broker said to one message of a batch.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Ack,
    Nack,
    Nothing(String),
}

/// A message ready for the wire.
struct Parcel {
    exchange: ShortString,
    routing_key: ShortString,
    mandatory: bool,
    properties: BasicProperties,
    body: Bytes,
}

/// Who waits for what the broker says to a message.
struct Asker {
    /// `None` for a message that the broker never gives back.
    key: Option<Key>,
    reply: oneshot::Sender<Result<(), PublishError>>,
}

/// Opens a channel on which the broker confirms.
pub(super) async fn open(link: &Link) -> lapin::Result<Channel> {
    let channel = link.connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// Publishes what is asked for until the channel can't be trusted any more; says why.
pub(super) async fn serve(
    link: &Link,
    mut channel: Channel,
    requests: &mut mpsc::Receiver<Box<Request>>,
    prefix: &str,
    limits: Limits,
) -> String {
    let mut opened = Instant::now();
    loop {
        wait_until_unblocked(link).await;
        let Some(batch) = next_batch(requests, limits.batch).await else {
            return "nobody publishes any more".into();
        };
        let answered = publish_batch(link, &channel, batch, prefix, limits.timeout).await;
        let ended = match answered {
            Ok(Answered::Accepted) => continue,
            Ok(Answered::Refused) if opened.elapsed() < LEAST_LIFE => continue,
            Ok(Answered::Refused) => renew(&mut channel, link, limits.timeout).await,
            Err(reason) => Err(reason),
        };
        opened = Instant::now();
        if let Err(reason) = ended {
            // What could not be written yet is still in this connection. Leaving it now would only
            // leave a thread behind that waits to write it.
            wait_until_unblocked(link).await;
            return reason;
        }
    }
}

/// Goes on over another channel. To the broker a queue without a leader is like a full one, and a
/// channel that met it like that is refused for ever, by some versions, although others are not. No
/// confirm is outstanding between two batches, so none is lost.
async fn renew(channel: &mut Channel, link: &Link, limit: Duration) -> Result<(), String> {
    let fresh =
        timeout(limit, open(link)).await.map_err(|_| late(limit))?.map_err(|error| error.to_string())?;
    let old = std::mem::replace(channel, fresh);
    // An error means that it is gone already.
    let _ = timeout(limit, old.close(200, "OK".into())).await;
    Ok(())
}

async fn wait_until_unblocked(link: &Link) {
    let mut blocked = link.blocked.clone();
    // An error means that the connection has ended, so that nothing blocks it.
    let _ = blocked.wait_for(|blocked| !blocked).await;
}

/// Whatever waits, at least one, at most `most` messages or [`BATCH_BYTES`]. A request whose asker
/// has given up is dropped: it would only be published late.
async fn next_batch(requests: &mut mpsc::Receiver<Box<Request>>, most: usize) -> Option<Vec<Request>> {
    let first = loop {
        let request = requests.recv().await?;
        if !request.reply.is_closed() {
            break request;
        }
    };
    let mut bytes = first.message.body.len();
    let mut batch = vec![*first];
    while batch.len() < most && bytes < BATCH_BYTES {
        let Ok(request) = requests.try_recv() else { break };
        if !request.reply.is_closed() {
            bytes += request.message.body.len();
            batch.push(*request);
        }
    }
    Some(batch)
}

/// What the broker said to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answered {
    /// It took all of it.
    Accepted,
    /// It refused some.
    Refused,
}

/// Publishes a batch and answers every asker. `Err` when the channel can't be trusted any more.
async fn publish_batch(
    link: &Link,
    channel: &Channel,
    batch: Vec<Request>,
    prefix: &str,
    limit: Duration,
) -> Result<Answered, String> {
    let (parcels, askers): (Vec<Parcel>, Vec<Asker>) =
        batch.into_iter().filter_map(|request| pack(prefix, request)).unzip();
    let confirms = timeout(limit, join_all(parcels.into_iter().map(|parcel| send(channel, parcel)))).await;
    let (said, returned): (Vec<Said>, Vec<Option<Key>>) = match confirms {
        Ok(confirms) => confirms.into_iter().unzip(),
        Err(_) => {
            let reason = if *link.blocked.borrow() { BLOCKED.to_owned() } else { late(limit) };
            askers.iter().map(|_| (Said::Nothing(reason.clone()), None)).unzip()
        }
    };
    let trouble = said.iter().find_map(|said| match said {
        Said::Nothing(reason) => Some(reason.clone()),
        Said::Ack | Said::Nack => None,
    });
    let answered = if said.contains(&Said::Nack) { Answered::Refused } else { Answered::Accepted };
    let keys: Vec<Option<&Key>> = askers.iter().map(|asker| asker.key.as_ref()).collect();
    let results = judge(&keys, &said, &returned.into_iter().flatten().collect());
    for (asker, result) in askers.into_iter().zip(results) {
        // Nobody listening means that the asker gave up by itself.
        let _ = asker.reply.send(result);
    }
    trouble.map_or(Ok(answered), Err)
}

/// Publishes one message over a channel that confirms and nobody else uses.
pub(super) async fn publish_alone(
    link: &Link,
    channel: &Channel,
    prefix: &str,
    message: Outgoing,
    limit: Duration,
) -> Result<(), PublishError> {
    let (reply, answer) = oneshot::channel();
    let done = publish_batch(link, channel, vec![Request { message, reply }], prefix, limit).await;
    let unsaid = |_| Err(PublishError::Unconfirmed(done.err().unwrap_or_default()));
    answer.await.unwrap_or_else(unsaid)
}

/// What a publisher says that got no confirm in time.
pub(super) fn late(limit: Duration) -> String {
    format!("no confirm from the broker within {limit:?}")
}

/// Makes a request ready for the wire, or answers it at once where AMQP can't carry it.
fn pack(prefix: &str, request: Request) -> Option<(Parcel, Asker)> {
    let Request { message, reply } = request;
    match address(prefix, message) {
        Ok((parcel, key)) => Some((parcel, Asker { key, reply })),
        Err(error) => {
            // Nobody listening means that the asker gave up by itself.
            let _ = reply.send(Err(error));
            None
        }
    }
}

fn address(prefix: &str, message: Outgoing) -> Result<(Parcel, Option<Key>), PublishError> {
    let Outgoing { destination, body, properties } = message;
    let route = Route::to(prefix, destination).ok_or(PublishError::Unroutable)?;
    let message_id = route.mandatory.then(|| properties.message_id.clone());
    let properties =
        properties::to_amqp(properties).map_err(|unfit| PublishError::Unconfirmed(unfit.to_string()))?;
    let key = message_id.map(|message_id| Key {
        exchange: route.exchange.clone(),
        routing_key: route.routing_key.clone(),
        message_id,
    });
    // No queue can have a name that AMQP can't carry.
    let short = |text: String| ShortString::try_new(text).map_err(|_| PublishError::Unroutable);
    let (exchange, routing_key) = (short(route.exchange)?, short(route.routing_key)?);
    Ok((Parcel { exchange, routing_key, mandatory: route.mandatory, properties, body }, key))
}

/// Publishes one message and awaits what the broker says. All of a batch are begun by one task in
/// turn, so that the library numbers them in the order in which it writes them.
async fn send(channel: &Channel, parcel: Parcel) -> (Said, Option<Key>) {
    let Parcel { exchange, routing_key, mandatory, properties, body } = parcel;
    let options = BasicPublishOptions { mandatory, immediate: false };
    let confirm = match channel.basic_publish(exchange, routing_key, options, &body, properties).await {
        Ok(confirm) => {
            drop(body);
            confirm.await
        }
        Err(error) => Err(error),
    };
    match confirm {
        Ok(Confirmation::Ack(returned)) => (Said::Ack, returned.map(key_of)),
        Ok(Confirmation::Nack(returned)) => (Said::Nack, returned.map(key_of)),
        Ok(Confirmation::NotRequested) => (Said::Nothing("the channel does not confirm".into()), None),
        Err(error) => (Said::Nothing(error.to_string()), None),
    }
}

fn key_of(returned: BasicReturnMessage) -> Key {
    Key {
        exchange: returned.delivery.exchange.as_str().to_owned(),
        routing_key: returned.delivery.routing_key.as_str().to_owned(),
        message_id: returned.delivery.properties.message_id().as_ref().map(|id| id.as_str().to_owned()),
    }
}

/// The result of each message of a batch.
fn judge(keys: &[Option<&Key>], said: &[Said], returned: &HashSet<Key>) -> Vec<Result<(), PublishError>> {
    let whole = !said.iter().any(|said| matches!(said, Said::Nothing(_)));
    let came_back = |key: &Option<&Key>| key.is_some_and(|key| returned.contains(key));
    let one = |(key, said): (&Option<&Key>, &Said)| match said {
        Said::Nothing(reason) => Err(PublishError::Unconfirmed(reason.clone())),
        Said::Nack => Err(PublishError::Refused),
        Said::Ack if came_back(key) => Err(PublishError::Unroutable),
        Said::Ack if whole => Ok(()),
        Said::Ack => Err(PublishError::Unconfirmed("the confirms of its batch are incomplete".into())),
    };
    keys.iter().zip(said).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(routing_key: &str, id: Option<&str>) -> Key {
        Key {
            exchange: String::new(),
            routing_key: routing_key.into(),
            message_id: id.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn only_an_ack_of_a_whole_batch_without_a_return_is_success() {
        let unconfirmed = |text: &str| Err(PublishError::Unconfirmed(text.into()));
        let incomplete = || unconfirmed("the confirms of its batch are incomplete");
        let (a, b, c) = (key("q", Some("a")), key("q", Some("b")), key("gone", None));
        let cases = [
            (vec![Said::Ack, Said::Ack, Said::Ack], vec![], vec![Ok(()), Ok(()), Ok(())]),
            (
                vec![Said::Ack, Said::Nack, Said::Ack],
                vec![c.clone()],
                vec![Ok(()), Err(PublishError::Refused), Err(PublishError::Unroutable)],
            ),
            (
                vec![Said::Ack, Said::Ack, Said::Nothing("lost".into())],
                vec![a.clone()],
                vec![Err(PublishError::Unroutable), incomplete(), unconfirmed("lost")],
            ),
        ];
        for (said, returned, expected) in cases {
            let returned = returned.into_iter().collect();
            assert_eq!(judge(&[Some(&a), Some(&b), Some(&c)], &said, &returned), expected, "{said:?}");
        }
    }

    #[test]
    fn all_messages_with_the_key_of_a_returned_one_count_as_returned() {
        let (one, two) = (key("gone", None), key("gone", None));
        let results =
            judge(&[Some(&one), Some(&two), None], &[const { Said::Ack }; 3], &HashSet::from([one.clone()]));
        assert_eq!(results, [Err(PublishError::Unroutable), Err(PublishError::Unroutable), Ok(())]);
    }

    #[tokio::test]
    async fn a_batch_takes_what_waits_and_leaves_out_what_nobody_waits_for() {
        let (sender, mut requests) = mpsc::channel(16);
        let mut askers = Vec::new();
        for _ in 0..6 {
            let (reply, asker) = oneshot::channel();
            let message = Outgoing {
                destination: crate::ports::Destination::Delay(0),
                body: bytes::Bytes::new(),
                properties: crate::ports::Properties::default(),
            };
            sender.send(Box::new(Request { message, reply })).await.unwrap();
            askers.push(asker);
        }
        askers.remove(0);
        askers.remove(1);
        assert_eq!(next_batch(&mut requests, 3).await.unwrap().len(), 3);
        assert_eq!(next_batch(&mut requests, 3).await.unwrap().len(), 1);
        drop(sender);
        assert!(next_batch(&mut requests, 3).await.is_none());
    }
}
