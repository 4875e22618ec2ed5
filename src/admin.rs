//! The listener for metrics and health: `/metrics`, `/healthz`, `/readyz`; and for the console, where that
//! is switched on: `/console`.
//!
//! Health is this process's own loop and nothing else: a broker that is down must not make a
//! supervisor restart the workers. Readiness is whether work can be done now.

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

mod console;
mod server;

pub use console::{Console, Desk};

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
    console: Option<Console>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let router = router(handle.clone(), observed);
    match console {
        None => server::serve(listener, router, shutdown).await,
        Some(console) => {
            let (pages, beside) = console::start(console, handle);
            let served = server::serve(listener, router.merge(pages), shutdown);
            tokio::select! {
                () = served => {}
                () = beside => {}
            }
        }
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
mod tests;
