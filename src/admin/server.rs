//! The sockets of the admin listener, each bounded: whoever can reach them must not harm the worker.
//!
//! - A connection serves one request, whose head comes within [`HEAD_WITHIN`] and is at most
//!   [`MOST_HEAD`] large; it ends within [`CONNECTION_WITHIN`], whatever its client does.
//! - There are at most [`MOST_CONNECTIONS`]: with one more, the oldest is cut. A true scrape or
//!   probe is over within milliseconds and a console's request within seconds, so the oldest of so many is
//!   one that only sits there, and the newest always gets an answer.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::PATIENCE;

/// The most connections at once: far more than scrapers and probes open.
pub(super) const MOST_CONNECTIONS: usize = 128;

/// The longest time for a request's head.
pub(super) const HEAD_WITHIN: Duration = Duration::from_secs(5);

/// The largest head of a request, in bytes; a scraper's has some hundred.
pub(super) const MOST_HEAD: usize = 16 * 1024;

/// The longest life of a connection: a head, an answer that waits for broker and store, and time to
/// read it.
pub(super) const CONNECTION_WITHIN: Duration = Duration::from_secs(20);

/// The pause after an accept that failed (out of file descriptors, most likely).
const BREATH: Duration = Duration::from_millis(100);

/// Serves until `shutdown` ends, then gives requests in progress [`PATIENCE`] to end too.
pub(super) async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let mut connections = Connections::default();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.tasks.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.add(stream, router.clone()),
                Err(error) => {
                    tracing::debug!(%error, "the admin listener could not accept a connection");
                    sleep(BREATH).await;
                }
            },
        }
    }
    drop(listener);
    // Whoever has no answer by then gets none.
    let _ = timeout(PATIENCE, async { while connections.tasks.join_next().await.is_some() {} }).await;
    connections.tasks.shutdown().await;
}

/// The connections that are open, the oldest first.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    by_age: VecDeque<AbortHandle>,
}

impl Connections {
    fn add(&mut self, stream: TcpStream, router: Router) {
        self.by_age.retain(|connection| !connection.is_finished());
        while self.by_age.len() >= MOST_CONNECTIONS {
            self.by_age.pop_front().iter().for_each(AbortHandle::abort);
        }
        self.by_age.push_back(self.tasks.spawn(converse(stream, router)));
    }
}

async fn converse(stream: TcpStream, router: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(MOST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(CONNECTION_WITHIN, served).await {
        Ok(Ok(())) => {}
        // What a client does to its own connection is no event for an operator.
        Ok(Err(error)) => tracing::debug!(%error, "a connection to the admin listener failed"),
        Err(_) => tracing::debug!("a connection to the admin listener took too long"),
    }
}
