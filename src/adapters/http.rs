//! The wire to the providers, over reqwest and HTTP/1.1.
//!
//! Two properties that the promises rest on:
//! - **One attempt.** No layer below repeats or redirects a request: each attempt pays for its own
//!   permit.
//! - **Nothing late.** The body is a stream whose first poll checks the deadline. Over HTTP/1.1 it
//!   is polled with the connection open and before a byte of the request is flushed; an error there
//!   ends the request with nothing written. So a slow connect costs a slot, never a late request.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::adapters::tls;
use crate::config::Roots;
use crate::ports::{ANSWER_HEADERS, MOST_ANSWER_BYTES, Sent, Wire, WireAnswer, WireRequest};

/// How long an idle connection is kept: shorter than the keep-alive of usual load balancers (60 s),
/// so that a request seldom meets a connection that the other side just closed.
const IDLE: Duration = Duration::from_secs(30);

const KEYS: tls::Keys = tls::Keys { ca: "worker.ca_file", address: "the account's address" };

/// The wire over reqwest.
pub struct HttpWire {
    client: reqwest::Client,
    /// The longest time from the start of a request to its whole answer.
    request_timeout: Duration,
}

/// All that is the same whomever it trusts.
fn plain_client(connect_timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("paceline/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .retry(reqwest::retry::never())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        // What is read is capped; an answer that grows when unpacked would pass the cap.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .tcp_nodelay(true)
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(IDLE)
}

/// A client that trusts the system's CAs and those of `ca`, which a key names.
pub(crate) fn client(
    connect_timeout: Duration,
    ca: Option<&Roots>,
    keys: tls::Keys,
) -> Result<reqwest::Client, reqwest::Error> {
    let added = ca.into_iter().flat_map(Roots::certificates);
    let added = added.map(|der| reqwest::Certificate::from_der(der)).collect::<Result<Vec<_>, _>>()?;
    let trusting_the_system = plain_client(connect_timeout).tls_certs_merge(added.clone()).build();
    trusting_the_system.or_else(|error| {
        tracing::warn!(%error, "of the system's CAs none can be used: only those of {} are trusted", keys.ca);
        plain_client(connect_timeout).tls_certs_only(added).build()
    })
}

impl HttpWire {
    /// A client with its own connections, which trusts the system's CAs and those of `ca`. A system
    /// without any is no error: what speaks plain HTTP (a simulator, the demo) needs none, and an HTTPS
    /// provider is then refused with a text that says so. The process must have installed a rustls
    /// provider.
    ///
    /// # Errors
    /// When the client can't be set up.
    pub fn new(
        connect_timeout: Duration,
        request_timeout: Duration,
        ca: Option<&Roots>,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self { client: client(connect_timeout, ca, KEYS)?, request_timeout })
    }

    fn begin(
        &self,
        request: WireRequest,
        write_by: Instant,
    ) -> impl Future<Output = reqwest::Result<reqwest::Response>> + use<> {
        let length = request.body.len();
        let mut builder = self
            .client
            .request(request.method, request.url)
            .timeout(self.request_timeout)
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .header(reqwest::header::CONTENT_LENGTH, length);
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        let body = reqwest::Body::wrap(PunctualBody { bytes: Some(request.body), write_by });
        builder.body(body).send()
    }
}

async fn read(response: reqwest::Response) -> WireAnswer {
    let status = response.status().as_u16();
    let read = |name: &str| Some((name.to_owned(), response.headers().get(name)?.to_str().ok()?.to_owned()));
    let headers = ANSWER_HEADERS.into_iter().filter_map(read).collect();
    WireAnswer::Response { status, headers, body: read_capped(response).await }
}

/// Reads an answer's body as far as it comes, up to [`MOST_ANSWER_BYTES`]. The status is known by
/// then, so a body cut short is still an answer: one that can't be read is the verdict's to judge.
pub(crate) async fn read_capped(mut response: reqwest::Response) -> Bytes {
    let mut body = BytesMut::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = MOST_ANSWER_BYTES - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == MOST_ANSWER_BYTES {
            break;
        }
    }
    body.freeze()
}

#[async_trait]
impl Wire for HttpWire {
    async fn send(&self, request: WireRequest, write_by: Instant) -> Sent {
        match self.begin(request, write_by).await {
            Ok(response) => Sent::Answer(read(response).await),
            Err(error) => judge(&error),
        }
    }

    async fn warm_up(&self, url: &reqwest::Url) {
        // Whatever it answers, the connection is open; a failure shows again at the next request.
        let request = self.client.head(url.clone()).timeout(self.request_timeout);
        if let Ok(response) = request.send().await {
            read_capped(response).await;
        }
    }
}

/// Tells a request that was never processed from one that may have been.
///
/// Only what is sure counts as not sent: the deadline check of our own body, a connection that
/// could not be opened, and a connection that hyper found closed before it wrote the request.
fn judge(error: &reqwest::Error) -> Sent {
    let late = chain(error).any(|cause| cause.is::<TooLate>());
    if late {
        return Sent::TooLate;
    }
    let unwritten =
        chain(error).any(|cause| cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled));
    if error.is_connect() || error.is_builder() || unwritten {
        return Sent::Answer(WireAnswer::NotSent(describe(error, KEYS)));
    }
    Sent::Answer(WireAnswer::Lost(describe(error, KEYS)))
}

/// The causes of an error, without its URL: a path may hold a campaign's id.
pub(crate) fn describe(error: &reqwest::Error, keys: tls::Keys) -> String {
    if let Some(refusal) = tls::refusal(error, keys) {
        return format!("connect failed: {refusal}");
    }
    let kind = if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "connect failed"
    } else {
        "connection failed"
    };
    let root = chain(error).last().map(ToString::to_string).unwrap_or_default();
    // reqwest's own errors print the URL; the innermost cause is the socket's or hyper's.
    if error.source().is_none() { kind.to_owned() } else { format!("{kind}: {root}") }
}

fn chain(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(Some(error as &(dyn StdError + 'static)), |cause| (*cause).source())
}

/// The write was forbidden: its time had passed.
#[derive(Debug)]
struct TooLate;

impl fmt::Display for TooLate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was not written: its time had passed")
    }
}

impl StdError for TooLate {}

/// A body of known length whose first poll checks the deadline.
struct PunctualBody {
    bytes: Option<Bytes>,
    write_by: Instant,
}

impl Body for PunctualBody {
    type Data = Bytes;
    type Error = TooLate;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TooLate>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        if Instant::now() > self.write_by {
            return Poll::Ready(Some(Err(TooLate)));
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod once;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// What a server does with each connection after it has read a request head.
    #[derive(Clone, Copy)]
    enum Server {
        Answers,
        ClosesAfterReading,
        AnswersHalf,
        Hangs,
    }

    /// A server that counts the bytes it was sent, over all connections.
    async fn serve(behaviour: Server) -> (reqwest::Url, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let seen = Arc::new(AtomicUsize::new(0));
        let counted = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, behaviour, counted.clone()));
            }
        });
        (url, seen)
    }

    async fn converse(mut stream: TcpStream, behaviour: Server, seen: Arc<AtomicUsize>) {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
            seen.fetch_add(n, Ordering::SeqCst);
            match behaviour {
                Server::Answers => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                }
                Server::AnswersHalf => {
                    stream.write_all(b"HTTP/1.1 503 No\r\ncontent-length: 9\r\n\r\nha").await.unwrap();
                    return;
                }
                Server::ClosesAfterReading => return,
                Server::Hangs => {}
            }
        }
    }

    fn wire() -> HttpWire {
        let _ = rustls::crypto::ring::default_provider().install_default();
        HttpWire::new(Duration::from_secs(2), Duration::from_millis(400), None).unwrap()
    }

    fn request(url: &reqwest::Url) -> WireRequest {
        WireRequest {
            method: reqwest::Method::POST,
            url: url.clone(),
            headers: Vec::new(),
            body: Bytes::from_static(b"{}"),
        }
    }

    fn in_time() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn an_answer_comes_back_whole() {
        let (url, _) = serve(Server::Answers).await;
        let Sent::Answer(WireAnswer::Response { status, body, .. }) =
            wire().send(request(&url), in_time()).await
        else {
            panic!("no response");
        };
        assert_eq!((status, &body[..]), (200, &b"ok"[..]));
    }

    #[tokio::test]
    async fn nothing_is_written_after_the_deadline() {
        let (url, seen) = serve(Server::Answers).await;
        let wire = wire();
        let late = || Instant::now() - Duration::from_millis(1);
        assert_eq!(wire.send(request(&url), late()).await, Sent::TooLate);
        assert!(matches!(wire.send(request(&url), in_time()).await, Sent::Answer(_)));
        let one_request = seen.load(Ordering::SeqCst);
        // Now a connection is open: late again, then in time again.
        assert_eq!(wire.send(request(&url), late()).await, Sent::TooLate);
        assert!(matches!(wire.send(request(&url), in_time()).await, Sent::Answer(_)));
        assert_eq!(seen.load(Ordering::SeqCst), 2 * one_request, "a late request left bytes on the wire");
    }

    #[tokio::test]
    async fn a_refused_connection_is_not_sent() {
        let url = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap()
        };
        let answer = wire().send(request(&url), in_time()).await;
        assert!(matches!(answer, Sent::Answer(WireAnswer::NotSent(_))), "{answer:?}");
    }

    #[tokio::test]
    async fn what_may_have_been_processed_is_lost_and_never_repeated() {
        for behaviour in [Server::ClosesAfterReading, Server::Hangs] {
            let (url, seen) = serve(behaviour).await;
            let answer = wire().send(request(&url), in_time()).await;
            assert!(matches!(answer, Sent::Answer(WireAnswer::Lost(_))), "{answer:?}");
            let once = seen.load(Ordering::SeqCst);
            assert!(once < 400, "{once} bytes: the request was repeated");
        }
    }

    #[tokio::test]
    async fn a_body_cut_short_keeps_its_status() {
        let (url, _) = serve(Server::AnswersHalf).await;
        let answer = wire().send(request(&url), in_time()).await;
        assert!(matches!(answer, Sent::Answer(WireAnswer::Response { status: 503, .. })), "{answer:?}");
    }
}
