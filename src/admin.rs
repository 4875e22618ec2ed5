//! The listener for metrics and health: `/metrics`, `/healthz`, `/readyz`.
//!
//! Health is this process's own loop and nothing else: a broker that is down must not make a
//! supervisor restart the workers. Readiness is whether work can be done now.

use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::metrics::Handle;

/// How long a broker or store that does not answer may keep a scrape or probe waiting.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Whether work can be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether the broker can be used.
    pub broker: bool,
    /// Whether the store can be used.
    pub store: bool,
    /// Whether the worker is ending.
    pub draining: bool,
}

impl Readiness {
    /// Whether all is well.
    pub const fn is_ready(self) -> bool {
        self.broker && self.store && !self.draining
    }
}

/// What the listener asks of the worker.
#[async_trait]
pub trait Observed: Send + Sync {
    /// Whether the worker's own loop runs. Asks nobody else.
    fn alive(&self) -> bool;
    /// Whether work can be done now.
    async fn ready(&self) -> Readiness;
    /// Brings the gauges up to date that are only known by asking (depths, ages, use of limits).
    async fn refresh(&self);
}

/// Listens at `admin.listen`.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("admin.listen: can't listen at {address}; another port or \"off\" is possible")
    })
}

/// Serves until `shutdown` ends, then gives requests in progress [`PATIENCE`] to end too.
pub async fn serve(
    listener: TcpListener,
    handle: Handle,
    observed: Arc<dyn Observed>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let (ending, ended) = tokio::sync::oneshot::channel();
    let stop = async move {
        shutdown.await;
        // The receiver lives until this function ends.
        let _ = ending.send(());
    };
    let server = axum::serve(listener, router(handle, observed)).with_graceful_shutdown(stop).into_future();
    tokio::select! {
        served = server => served.context("admin.listen: the listener failed"),
        () = async { let _ = ended.await; tokio::time::sleep(PATIENCE).await } => Ok(()),
    }
}

struct Shared {
    handle: Handle,
    observed: Arc<dyn Observed>,
    /// One refresh at a time: several scrapers must not multiply the questions to the broker.
    refreshing: Mutex<()>,
}

fn router(handle: Handle, observed: Arc<dyn Observed>) -> Router {
    let shared = Arc::new(Shared { handle, observed, refreshing: Mutex::new(()) });
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(shared)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    if let Ok(_alone) = shared.refreshing.try_lock()
        && timeout(PATIENCE, shared.observed.refresh()).await.is_err()
    {
        tracing::warn!(
            "gauges could not be brought up to date within {PATIENCE:?}; the last values are given"
        );
    }
    let kind = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    ([kind], shared.handle.render()).into_response()
}

async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    let alive = shared.observed.alive();
    (status(alive), Json(json!({ "alive": alive }))).into_response()
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let Ok(readiness) = timeout(PATIENCE, shared.observed.ready()).await else {
        let body = json!({ "ready": false, "detail": "no answer from broker or store in time" });
        return (status(false), Json(body)).into_response();
    };
    let Readiness { broker, store, draining } = readiness;
    let ready = readiness.is_ready();
    let body = json!({ "ready": ready, "broker": broker, "store": store, "draining": draining });
    (status(ready), Json(body)).into_response()
}

const fn status(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::*;

    struct Fake {
        alive: AtomicBool,
        readiness: Option<Readiness>,
        refreshed: AtomicU32,
        stuck: bool,
    }

    const READY: Readiness = Readiness { broker: true, store: true, draining: false };

    impl Fake {
        fn new(readiness: Option<Readiness>, stuck: bool) -> Arc<Self> {
            let (alive, refreshed) = (AtomicBool::new(true), AtomicU32::new(0));
            Arc::new(Self { alive, readiness, refreshed, stuck })
        }
    }

    #[async_trait]
    impl Observed for Fake {
        fn alive(&self) -> bool {
            self.alive.load(Ordering::SeqCst)
        }
        async fn ready(&self) -> Readiness {
            match self.readiness {
                Some(readiness) => readiness,
                None => std::future::pending().await,
            }
        }
        async fn refresh(&self) {
            self.refreshed.fetch_add(1, Ordering::SeqCst);
            if self.stuck {
                std::future::pending::<()>().await;
            }
        }
    }

    struct Server {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        task: tokio::task::JoinHandle<anyhow::Result<()>>,
    }

    async fn start(observed: Arc<Fake>) -> Server {
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let task = tokio::spawn(serve(listener, crate::metrics::tests_handle(), observed, shutdown));
        Server { address, stop, task }
    }

    async fn get_path(address: SocketAddr, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    #[tokio::test]
    async fn readiness_says_what_is_missing() {
        let cases = [
            (READY, 200),
            (Readiness { broker: false, ..READY }, 503),
            (Readiness { store: false, ..READY }, 503),
            (Readiness { draining: true, ..READY }, 503),
        ];
        for (readiness, expected) in cases {
            let server = start(Fake::new(Some(readiness), false)).await;
            let (status, body) = get_path(server.address, "/readyz").await;
            assert_eq!(status, expected, "{readiness:?}");
            let body: Value = serde_json::from_str(&body).unwrap();
            let Readiness { broker, store, draining } = readiness;
            let expected =
                json!({ "ready": expected == 200, "broker": broker, "store": store, "draining": draining });
            assert_eq!(body, expected);
        }
    }

    #[tokio::test]
    async fn health_is_the_loop_alone() {
        let fake = Fake::new(None, true);
        let server = start(fake.clone()).await;
        assert_eq!(get_path(server.address, "/healthz").await, (200, r#"{"alive":true}"#.into()));
        fake.alive.store(false, Ordering::SeqCst);
        assert_eq!(get_path(server.address, "/healthz").await, (503, r#"{"alive":false}"#.into()));
        assert_eq!(get_path(server.address, "/elsewhere").await.0, 404);
    }

    #[tokio::test]
    async fn what_does_not_answer_keeps_nobody_waiting_for_long() {
        let server = start(Fake::new(None, true)).await;
        let began = tokio::time::Instant::now();
        let (ready, metrics) =
            tokio::join!(get_path(server.address, "/readyz"), get_path(server.address, "/metrics"));
        assert_eq!((ready.0, metrics.0), (503, 200));
        assert!(began.elapsed() < PATIENCE * 2, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn metrics_are_refreshed_for_each_scrape() {
        let fake = Fake::new(Some(READY), false);
        let server = start(fake.clone()).await;
        for scrape in 1..=2 {
            let (status, body) = get_path(server.address, "/metrics").await;
            assert_eq!((status, fake.refreshed.load(Ordering::SeqCst)), (200, scrape));
            assert!(body.contains("# TYPE paceline_dead_letters gauge"), "{body}");
        }
    }

    #[tokio::test]
    async fn the_listener_ends_even_with_a_connection_left_open() {
        let server = start(Fake::new(Some(READY), false)).await;
        let mut idle = TcpStream::connect(server.address).await.unwrap();
        idle.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
        server.stop.send(()).unwrap();
        let ended = timeout(PATIENCE * 3, server.task).await.unwrap().unwrap();
        assert!(ended.is_ok());
    }

    #[tokio::test]
    async fn an_address_in_use_is_named_with_its_key() {
        let taken = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = format!("{:#}", bind(address).await.err().unwrap());
        assert!(error.contains("admin.listen") && error.contains(&address.to_string()), "{error}");
    }
}
