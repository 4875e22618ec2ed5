//! Keeping every subscription at work on a connection.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::{error, warn};

use super::acks::Acks;
use super::consume::{self, Ended, Subscription};
use super::link::{Link, Loss, Pauses};
use super::topology::Object;
use super::{Phase, Role, Shared, declare_over, lock};

/// Runs every subscription over this connection, also those that come later. Ends only by being
/// dropped, with all that it consumes.
pub(super) async fn consume_over(shared: &Arc<Shared>, link: &Arc<Link>) {
    let mut tasks = JoinSet::new();
    let mut begun = Vec::new();
    // What subscriptions leave behind: given-out messages can be settled while these are open.
    let mut kept = Vec::new();
    let mut known: Vec<Arc<Subscription>> = Vec::new();
    loop {
        for subscription in shared.new_subscriptions(&mut known) {
            let (tried, first_try) = oneshot::channel();
            begun.push(first_try);
            tasks.spawn(keep_consuming(shared.clone(), link.clone(), subscription, tried));
        }
        for first_try in begun.drain(..) {
            // An error means that the subscription has ended already.
            let _ = first_try.await;
        }
        shared.set_usable(Role::Consume, true);
        tokio::select! {
            () = shared.subscribed.notified() => {}
            Some(done) = tasks.join_next() => kept.extend(done.ok().flatten()),
        }
    }
}

impl Shared {
    /// The subscriptions that this connection doesn't know yet, without those that have ended.
    fn new_subscriptions(&self, known: &mut Vec<Arc<Subscription>>) -> Vec<Arc<Subscription>> {
        let mut all = lock(&self.subscriptions);
        all.retain(|subscription| !subscription.messages.is_closed());
        known.retain(|old| all.iter().any(|kept| Arc::ptr_eq(old, kept)));
        let new: Vec<_> =
            all.iter().filter(|new| !known.iter().any(|old| Arc::ptr_eq(old, new))).cloned().collect();
        known.extend(new.iter().cloned());
        new
    }
}

/// Counts a subscription as working for as long as it lives, however it ends.
struct Working<'a>(&'a watch::Sender<usize>);

impl<'a> Working<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// What has to stay open after a subscription's end, so that what it gave out can be settled.
type Kept = (Option<Link>, lapin::Channel);

/// Keeps one subscription at work, on this connection or, when a message came that can't be read,
/// on one of its own. The library gives up the connection over which such a message comes, so it
/// stalls its own queue until somebody takes it out, but no other. Returns what has to stay open.
async fn keep_consuming(
    shared: Arc<Shared>,
    link: Arc<Link>,
    subscription: Arc<Subscription>,
    tried: oneshot::Sender<()>,
) -> Option<Kept> {
    let _working = Working::new(&shared.working);
    let mut tried = Some(tried);
    let mut pauses = Pauses::new(shared.config.reconnect_max);
    let mut prefetch = subscription.prefetch;
    let mut losses = 0;
    loop {
        let phase = shared.phase.subscribe();
        if *phase.borrow() != Phase::Running || subscription.messages.is_closed() {
            return None;
        }
        let begun = Instant::now();
        let opened = open_consuming(&shared, &link, &subscription, prefetch, losses).await;
        drop(tried.take());
        let limit = shared.config.connect_timeout;
        let loss = match opened {
            Ok((own, consuming)) => {
                match consume::forward(consuming, subscription.clone(), phase, limit).await {
                    Ended::Done(channel) => return Some((own, channel)),
                    Ended::Lost(loss) => loss,
                }
            }
            Err(loss) => loss,
        };
        tell_interrupted(&subscription.queue, &loss);
        losses = losses.wrapping_add(1);
        if loss.unreadable {
            // Each loss counts against whatever else is in hand.
            prefetch = 1;
        }
        if begun.elapsed() > shared.config.reconnect_max {
            pauses.reset();
        }
        tokio::time::sleep(pauses.next(shared.chance.as_ref())).await;
        redeclare(&shared, &link, &subscription.queue).await;
    }
}

async fn open_consuming(
    shared: &Shared,
    link: &Link,
    subscription: &Subscription,
    prefetch: u16,
    losses: usize,
) -> Result<(Option<Link>, consume::Consuming), Loss> {
    let mut own = None;
    if shared.apart.load(Ordering::Relaxed) {
        let name = format!("{} consume {}", shared.config.prefix, subscription.queue);
        let opened = Link::open(&shared.config, &name, losses).await;
        own = Some(opened.map_err(|error| Loss::because(error.to_string()))?);
    }
    let limit = shared.config.connect_timeout;
    let acks = Acks::new(shared.writing_acks.clone());
    let opening = consume::open(own.as_ref().unwrap_or(link), subscription, prefetch, acks);
    match timeout(limit, opening).await {
        Ok(Ok(consuming)) => Ok((own, consuming)),
        Ok(Err(error)) => Err(Loss::of(&error)),
        Err(_) => Err(Loss::because(format!("no answer within {limit:?}"))),
    }
}

fn tell_interrupted(queue: &str, loss: &Loss) {
    let reason = loss.reason.as_str();
    if loss.unreadable {
        error!(queue, reason, "a message in this queue has properties that can't be read: take it out");
    } else {
        warn!(queue, reason, "consuming was interrupted");
    }
}

/// A consumer may have ended because its queue was deleted.
async fn redeclare(shared: &Shared, link: &Link, name: &str) {
    let objects: Vec<Object> =
        shared.objects.iter().filter(|object| object.is_of_queue(name)).cloned().collect();
    let _alone = shared.declaring.lock().await;
    let declared = timeout(shared.config.connect_timeout, declare_over(link, &objects)).await;
    if let Ok(Err(refusal)) = declared {
        error!(error = %refusal, "a queue can't be declared again");
    }
}
