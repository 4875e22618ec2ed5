//! Publishing until the broker has confirmed it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::ports::{Outgoing, PublishError, Publisher};

/// Waits between tries: the first one, doubling with jitter, up to the last.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Publishes one message until the broker confirms it, refuses it for good, or time is up. Every
/// try carries the same message id: one that was not confirmed may have arrived.
///
/// # Errors
/// What the last try met.
pub async fn publish_steadily(
    publisher: &dyn Publisher,
    message: Outgoing,
    patience: Duration,
) -> Result<(), PublishError> {
    let began = Instant::now();
    let mut waits = backon::BackoffBuilder::build(
        backon::ExponentialBuilder::default()
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LAST_WAIT)
            .with_jitter()
            .without_max_times(),
    );
    loop {
        let result = publisher.publish(message.clone()).await;
        let Err(error) = &result else { return result };
        let wait = waits.next().unwrap_or_default();
        if !may_help(error) || began.elapsed() + wait >= patience {
            return result;
        }
        sleep(wait).await;
    }
}

/// Whether publishing again may help.
const fn may_help(error: &PublishError) -> bool {
    match error {
        PublishError::Unroutable => false,
        PublishError::Refused | PublishError::Unconfirmed(_) => true,
    }
}
