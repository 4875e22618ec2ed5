//! One connection to the broker, and the pauses between attempts to get one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures_util::StreamExt;
use lapin::tcp::{AMQPUriTcpExt, RustlsConnectorConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::lifeline::{Knot, Lifeline};
use super::topology::reply_code;
use crate::adapters::tls;
use crate::config::{QueueConfig, Roots, Secret};
use crate::ports::Chance;

/// Seconds between heartbeats where the address doesn't set `heartbeat`: a silent peer is given up
/// after twice that. RabbitMQ's own default of 60 would leave an OTP waiting for two minutes.
const HEARTBEAT_SECONDS: u16 = 10;

/// How often the state of a connection is looked at, should it end without an event.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The longest wait for the broker's answer to a polite end. One that blocks a connection reads
/// nothing from it, and so never answers.
pub(super) const GOODBYE: Duration = Duration::from_secs(2);

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkError {
    /// An address can't be read.
    Address(String),
    /// The broker does not let this user in.
    Login(String),
    /// A node shows a certificate that can't be trusted. It was told nothing.
    Certificate(String),
    /// No node answers.
    Unreachable(String),
}

impl std::fmt::Display for LinkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(detail) => write!(f, "an address can't be read: {detail}"),
            Self::Login(detail) => write!(f, "login refused: {detail}"),
            Self::Certificate(detail) | Self::Unreachable(detail) => write!(f, "{detail}"),
        }
    }
}

impl std::error::Error for LinkError {}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loss {
    pub reason: String,
    /// Whether something came that the library can't read, such as a message whose properties are
    /// no UTF-8. It gives up the whole connection then, and will again when the message comes back.
    pub unreadable: bool,
}

impl Loss {
    pub fn of(error: &lapin::Error) -> Self {
        let unreadable = matches!(error.kind(), lapin::ErrorKind::ParsingError(_));
        Self { reason: error.to_string(), unreadable }
    }

    pub fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), unreadable: false }
    }
}

/// A connection, and what becomes of it.
pub(super) struct Link {
    pub connection: Connection,
    /// Whether the broker holds back publishers (memory or disk alarm).
    pub blocked: watch::Receiver<bool>,
    ended: watch::Receiver<Option<Loss>>,
    gone: Arc<AtomicBool>,
    watcher: JoinHandle<()>,
    lifeline: Lifeline,
}

impl Link {
    /// Connects to the first node that answers, beginning with the one of this number: whoever lost a
    /// connection begins with another, since a node that lets us in may still be unable to serve.
    pub async fn open(config: &QueueConfig, name: &str, first: usize) -> Result<Self, LinkError> {
        let mut failure = LinkError::Address("there is none".into());
        for url in in_turn(&config.urls, first) {
            match Self::to_node(url, config, name).await {
                Ok(link) => return Ok(link),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn to_node(url: &Secret, config: &QueueConfig, name: &str) -> Result<Self, LinkError> {
        let limit = config.connect_timeout;
        let uri = parse(url)?;
        let node = format!("{}:{}", uri.authority.host, uri.authority.port);
        if uri.scheme == AMQPScheme::AMQPS {
            // An error means that the process has chosen its provider already, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let options = ConnectionProperties::default().with_connection_name(name.into());
        let lifeline = Lifeline::default();
        match timeout(limit, connect(uri, limit, config.ca.clone(), options, lifeline.knot())).await {
            Ok(Ok(connection)) => Ok(Self::over(connection, lifeline)),
            Ok(Err(error)) => Err(failure(&node, &error)),
            Err(_) => Err(LinkError::Unreachable(format!("{node}: no connection within {limit:?}"))),
        }
    }

    fn over(connection: Connection, lifeline: Lifeline) -> Self {
        let (blocked_tx, blocked) = watch::channel(false);
        let (ended_tx, ended) = watch::channel(None);
        let events = connection.events_listener();
        let status = connection.status().clone();
        let watcher = tokio::spawn(async move {
            let mut events = Box::pin(events);
            let mut loss = Loss::because("the connection was closed");
            // Errors of a single channel are told here too, so that only the state says what ended.
            while status.connected() {
                match timeout(LOOK_AGAIN, events.next()).await {
                    Ok(Some(Event::ConnectionBlocked(_))) => {
                        blocked_tx.send_modify(|blocked| *blocked = true)
                    }
                    Ok(Some(Event::ConnectionUnblocked)) => {
                        blocked_tx.send_modify(|blocked| *blocked = false)
                    }
                    Ok(Some(Event::Error(error))) => loss = Loss::of(&error),
                    Ok(Some(_)) | Err(_) => {}
                    Ok(None) => break,
                }
            }
            ended_tx.send_replace(Some(loss));
        });
        Self { connection, blocked, ended, gone: Arc::default(), watcher, lifeline }
    }

    /// Returns when the connection has ended, with the reason.
    pub async fn ended(&self) -> Loss {
        let mut ended = self.ended.clone();
        let loss = ended.wait_for(Option::is_some).await.ok().and_then(|loss| loss.clone());
        loss.unwrap_or_else(|| Loss::because("the connection ended"))
    }

    /// Becomes true when this connection is given up. The library marks what came over it a moment
    /// later only.
    pub fn gone(&self) -> Arc<AtomicBool> {
        self.gone.clone()
    }

    /// Ends the connection in good order, if the broker still listens.
    pub async fn close(&self) {
        self.gone.store(true, Ordering::Release);
        self.watcher.abort();
        // Without an answer the broker sees the connection break, with the same effect.
        let _ = timeout(GOODBYE, self.connection.close(200, "OK".into())).await;
        self.lifeline.cut();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Release);
        self.watcher.abort();
    }
}

/// Connects over TCP within `limit`: the library's own connecting thread knows no time limit, and
/// would outlive the caller's by minutes where packets vanish.
async fn connect(
    uri: AMQPUri,
    limit: Duration,
    ca: Option<Roots>,
    options: ConnectionProperties,
    knot: Knot,
) -> lapin::Result<Connection> {
    let runtime = lapin::runtime::default_runtime()?;
    let dialling = runtime.clone();
    let dial = async move |uri: AMQPUri, _| {
        let encrypted = uri.scheme == AMQPScheme::AMQPS;
        let host = uri.authority.host.clone();
        let stream = async {
            let stream = AMQPUri { scheme: AMQPScheme::AMQP, ..uri }.connect_async(&dialling).await?;
            match &stream {
                AsyncTcpStream::Plain(tcp) => knot.tie(tcp.get_ref())?,
                // That scheme gives no other kind.
                _ => return Err(std::io::ErrorKind::Unsupported.into()),
            }
            if !encrypted {
                return Ok(stream);
            }
            let trusting =
                RustlsConnectorConfig::default().with_parsable_certificates(tls::trusted(ca.as_ref()));
            stream.into_rustls(&trusting.connector_with_no_client_auth()?, &host).await
        };
        let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        Ok(timeout(limit, stream).await.map_err(late).flatten()?)
    };
    Connection::connector(uri, runtime, dial, options).await
}

const KEYS: tls::Keys = tls::Keys { ca: "queue.ca_file", address: "queue.url" };

/// All nodes, beginning with the one of this number; numbers go round.
fn in_turn(urls: &[Secret], first: usize) -> impl Iterator<Item = &Secret> {
    let (before, from) = urls.split_at(first % urls.len().max(1));
    from.iter().chain(before)
}

fn failure(node: &str, error: &lapin::Error) -> LinkError {
    if let lapin::ErrorKind::IOError(io) = error.kind()
        && let Some(refusal) = tls::refusal(&**io, KEYS)
    {
        return LinkError::Certificate(format!("{node}: {refusal}"));
    }
    const ACCESS_REFUSED: u16 = 403;
    const NOT_ALLOWED: u16 = 530;
    match reply_code(error) {
        Some(ACCESS_REFUSED | NOT_ALLOWED) => LinkError::Login(format!("{node}: {error}")),
        Some(_) | None => LinkError::Unreachable(format!("{node}: {error}")),
    }
}

/// Reads an address. What is wrong with it is told without showing any of it.
fn parse(url: &Secret) -> Result<AMQPUri, LinkError> {
    let wrong = |what: &str| LinkError::Address(what.to_owned());
    let address = url::Url::parse(url.expose()).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(address.scheme(), "amqp" | "amqps") {
        return Err(wrong("it must begin with amqp:// or amqps://"));
    }
    let form =
        "it must have the form amqp://USER:PASSWORD@HOST:PORT/VHOST, special characters percent-encoded";
    let mut uri: AMQPUri = url.expose().parse().map_err(|_| wrong(form))?;
    if let Some(url::Host::Ipv6(host)) = address.host() {
        // The library takes an IPv6 address for none at all, and would connect to localhost.
        uri.authority.host = host.to_string();
    }
    uri.query.heartbeat = uri.query.heartbeat.or(Some(HEARTBEAT_SECONDS));
    Ok(uri)
}

/// The pauses between attempts: growing, with full jitter, without end.
pub(super) struct Pauses {
    longest: Duration,
    ceilings: ExponentialBackoff,
}

impl Pauses {
    /// The first pause's upper bound.
    const FIRST: Duration = Duration::from_millis(300);
    /// The least pause: never a busy loop.
    const LEAST: Duration = Duration::from_millis(100);

    pub fn new(longest: Duration) -> Self {
        let longest = longest.max(Self::LEAST);
        let ceilings = ExponentialBuilder::new()
            .with_min_delay(Self::FIRST.min(longest))
            .with_max_delay(longest)
            .with_factor(2.0)
            .without_max_times()
            .build();
        Self { longest, ceilings }
    }

    /// How long to wait before the next attempt.
    pub fn next(&mut self, chance: &dyn Chance) -> Duration {
        let ceiling = self.ceilings.next().unwrap_or(self.longest);
        ceiling.mul_f64(chance.unit()).max(Self::LEAST)
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        *self = Self::new(self.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Always(f64);

    impl Chance for Always {
        fn unit(&self) -> f64 {
            self.0
        }
        fn unique(&self) -> String {
            unreachable!("no pause needs a unique text")
        }
    }

    #[test]
    fn pauses_grow_to_their_bound_and_begin_anew() {
        let millis = |pauses: &mut Pauses, unit: f64, n: usize| -> Vec<u128> {
            (0..n).map(|_| pauses.next(&Always(unit)).as_millis()).collect()
        };
        let mut pauses = Pauses::new(Duration::from_secs(5));
        assert_eq!(millis(&mut pauses, 1.0, 7), [300, 600, 1200, 2400, 4800, 5000, 5000]);
        pauses.reset();
        assert_eq!(millis(&mut pauses, 0.5, 3), [150, 300, 600]);
        assert_eq!(millis(&mut pauses, 0.0, 2), [100, 100]);
        assert_eq!(millis(&mut Pauses::new(Duration::ZERO), 1.0, 2), [100, 100]);
    }

    #[test]
    fn nodes_take_turns_in_being_the_first() {
        let urls = ["a", "b", "c"].map(Secret::new);
        let order = |first| in_turn(&urls, first).map(Secret::expose).collect::<String>();
        assert_eq!([0, 1, 2, 3, 7].map(order), ["abc", "bca", "cab", "abc", "bca"]);
        assert_eq!(in_turn(&[], 5).count(), 0);
    }

    #[test]
    fn addresses_are_read() {
        let cases = [
            ("amqp://127.0.0.1:5673/%2f", "127.0.0.1", 5673, "/"),
            ("amqp://u:p@host/v", "host", 5672, "v"),
            ("amqps://u:p@host.example/", "host.example", 5671, ""),
            ("amqp://u:p@[::1]:5680/%2f", "::1", 5680, "/"),
        ];
        for (url, host, port, vhost) in cases {
            let uri = parse(&Secret::new(url)).unwrap();
            assert_eq!((uri.authority.host.as_str(), uri.authority.port), (host, port), "{url}");
            assert_eq!((uri.vhost.as_str(), uri.query.heartbeat), (vhost, Some(HEARTBEAT_SECONDS)), "{url}");
        }
        let own = parse(&Secret::new("amqp://h/%2f?heartbeat=30")).unwrap();
        assert_eq!(own.query.heartbeat, Some(30));
    }

    #[test]
    fn a_wrong_address_is_not_shown() {
        for url in ["s3cret", "s3cret:x", "http://u:s3cret@h/", "amqp://u:s3cret@h:99999/", "amqp:s3cret"] {
            let error = parse(&Secret::new(url)).unwrap_err();
            assert!(matches!(error, LinkError::Address(_)), "{url}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
