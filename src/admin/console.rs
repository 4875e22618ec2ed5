//! The console: a page on the admin listener for whoever is on call, and its interface for programs.
//! Off unless a token is configured.
//!
//! Reading order: `access` who may use it, `guard` what stands before every request, `history` what was
//! seen before, `overview` what is shown, `works` what is done with dead letters. The page lies beside
//! them; whatever comes from a job reaches it as text alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router, middleware};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::config::{Config, ConsoleConfig};
use crate::metrics::Handle;
use crate::ports::{DeadLetters, Publisher};
use crate::status::{Left, Picture, Wish, pause_note};

use access::Access;
use history::{History, Sample};
use works::{Refused, Works};

mod access;
mod guard;
mod history;
mod overview;
mod works;

/// What was seen is shown again for so long, whoever asks.
const FRESH: Duration = Duration::from_millis(1_500);

/// How often is looked while nobody asks, for the charts.
const EVERY: Duration = Duration::from_secs(15);

/// The longest time to look, or to pause an account: below a connection's life.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long a wrong token is thought about.
const WRONG: Duration = Duration::from_millis(500);

/// How long a request waits for the end of the work that it began.
const LOOKED_AT: Duration = Duration::from_secs(3);

/// The largest body of a request, in bytes.
const MOST_BODY: usize = 64 * 1024;

/// What the console asks of the program around it.
#[async_trait]
pub trait Desk: Send + Sync {
    /// Looks once at everything.
    ///
    /// # Errors
    /// When the store refuses the address or lacks a right, or the file can't be used.
    async fn look(&self) -> anyhow::Result<Picture>;
    /// Pauses or resumes an account for all workers, and says what is paused then; `None` where there is
    /// no such account.
    ///
    /// # Errors
    /// When the store can't be used.
    async fn fulfil(&self, wish: Wish, account: &str) -> anyhow::Result<Option<Vec<Left>>>;
    /// The configuration that is in force.
    fn config(&self) -> Arc<Config>;
    /// The dead letters.
    ///
    /// # Errors
    /// When the file can't be used.
    fn letters(&self) -> anyhow::Result<Arc<dyn DeadLetters>>;
    /// Publishes what is replayed.
    fn publisher(&self) -> Arc<dyn Publisher>;
}

/// The console, switched on.
pub struct Console {
    /// Its token, and where it keeps what it drops.
    pub config: ConsoleConfig,
    /// What it asks.
    pub desk: Arc<dyn Desk>,
}

/// What the handlers share.
struct Shared {
    access: Access,
    desk: Arc<dyn Desk>,
    handle: Handle,
    /// One look at a time: several pages must not multiply the questions to broker and store.
    seen: Mutex<Seen>,
    /// Whether somebody changed since what was seen.
    is_outdated: AtomicBool,
    works: Works,
    /// Where dead letters that are dropped are kept.
    dropped: Option<PathBuf>,
}

#[derive(Default)]
struct Seen {
    history: History,
    last: Option<Look>,
}

struct Look {
    at: Instant,
    picture: Picture,
    /// Whether work on dead letters was under way: until it ends, their queue looks shorter than it is.
    was_read: bool,
}

/// The console's part of the listener, and what goes on beside it, for ever.
pub(super) fn start(console: Console, handle: Handle) -> (Router, impl Future<Output = ()> + Send + use<>) {
    let Console { config, desk } = console;
    let shared = Arc::new(Shared {
        access: Access::new(&config.token),
        desk,
        handle,
        seen: Mutex::default(),
        is_outdated: AtomicBool::new(false),
        works: Works::new(),
        dropped: config.dropped,
    });
    (router(shared.clone()), keep_looking(shared))
}

async fn keep_looking(shared: Arc<Shared>) {
    loop {
        // What is wrong is said to whoever asks.
        let _ = timeout(PATIENCE, shared.overview(EVERY)).await;
        sleep(EVERY).await;
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let known = middleware::from_fn_with_state(shared.clone(), guard::known);
    let inner = Router::new()
        .route("/console/api/overview", get(show))
        .route("/console/api/pause", post(pause))
        .route("/console/api/resume", post(resume))
        .route("/console/api/dead", post(begin))
        .route("/console/api/dead/{work}", get(far))
        .route("/console/api/dead/{work}/stop", post(stop))
        .route("/console/api/{*rest}", any(nothing))
        .route_layer(known);
    Router::new()
        .route("/console", get(page))
        .route("/console/", get(page))
        .route("/console/page.css", get(style))
        .route("/console/page.js", get(script))
        .route("/console/session", post(sign_in))
        .route("/console/session/end", post(sign_out))
        .route("/console/{*rest}", any(nothing))
        .merge(inner)
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .layer(middleware::from_fn(guard::headers))
        .with_state(shared)
}

async fn page() -> Response {
    asset("text/html; charset=utf-8", include_str!("console/page.html"))
}

async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("console/page.css"))
}

async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("console/page.js"))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn nothing() -> Response {
    refused(StatusCode::NOT_FOUND, "there is nothing here")
}

/// An answer that says what is wrong.
fn refused(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "error": text }))).into_response()
}

/// A body that is no JSON, or not of this form.
fn unread(unreadable: &JsonRejection) -> Response {
    refused(unreadable.status(), &unreadable.body_text())
}

#[derive(Deserialize)]
struct SignIn {
    token: String,
}

async fn sign_in(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Body<SignIn>) -> Response {
    if !guard::is_own(&headers) {
        return guard::foreign();
    }
    let body = match body {
        Ok(Json(body)) => body,
        Err(unreadable) => return unread(&unreadable),
    };
    match shared.access.sign_in(&body.token, Instant::now()) {
        Ok(id) => {
            tracing::info!("somebody signed in to the console");
            guard::with_cookie(&headers, Some(&id))
        }
        Err(why) => {
            tracing::warn!("a wrong token was shown to the console");
            sleep(WRONG).await;
            guard::denied(why)
        }
    }
}

async fn sign_out(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if !guard::is_own(&headers) {
        return guard::foreign();
    }
    if let Some(id) = guard::session(&headers) {
        shared.access.end(id);
    }
    guard::with_cookie(&headers, None)
}

async fn show(State(shared): State<Arc<Shared>>) -> Response {
    match timeout(PATIENCE, shared.overview(FRESH)).await {
        Ok(Ok(value)) => Json(value).into_response(),
        Ok(Err(error)) => refused(StatusCode::SERVICE_UNAVAILABLE, &format!("{error:#}")),
        Err(_) => refused(StatusCode::SERVICE_UNAVAILABLE, "no answer from broker or store in time"),
    }
}

impl Shared {
    /// What is seen, at most so old.
    async fn overview(&self, fresh: Duration) -> anyhow::Result<Value> {
        let mut seen = self.seen.lock().await;
        let Seen { history, last } = &mut *seen;
        if self.is_outdated.swap(false, Ordering::AcqRel) {
            *last = None;
        }
        if last.as_ref().is_none_or(|look| look.at.elapsed() >= fresh) {
            let before = self.works.under_way().is_some();
            let picture = self.desk.look().await?;
            let now = Instant::now();
            history.add(Sample::of(&picture, self.handle.ends(), now));
            overview::remember(history, &picture);
            let was_read = before || self.works.under_way().is_some();
            *last = Some(Look { at: now, picture, was_read });
        }
        let Some(Look { picture, was_read, .. }) = last else { return Ok(Value::Null) };
        let mut all = overview::overview(picture, history, Instant::now());
        all["lettersUnderWay"] = json!(self.works.under_way());
        all["deadLettersAreRead"] = json!(*was_read);
        all["canDrop"] = json!(self.dropped.is_some());
        Ok(all)
    }
}

#[derive(Deserialize)]
struct Named {
    account: String,
}

type Body<T> = Result<Json<T>, JsonRejection>;

async fn pause(State(shared): State<Arc<Shared>>, named: Body<Named>) -> Response {
    fulfil(&shared, Wish::Pause, named).await
}

async fn resume(State(shared): State<Arc<Shared>>, named: Body<Named>) -> Response {
    fulfil(&shared, Wish::Resume, named).await
}

async fn fulfil(shared: &Shared, wish: Wish, named: Body<Named>) -> Response {
    let account = match &named {
        Ok(Json(named)) => named.account.as_str(),
        Err(unreadable) => return unread(unreadable),
    };
    match timeout(PATIENCE, shared.desk.fulfil(wish, account)).await {
        Ok(Ok(Some(left))) => {
            tracing::info!(account, ?wish, "a person asked for it in the console");
            // What was seen before is no longer so.
            shared.is_outdated.store(true, Ordering::Release);
            let notes = left.iter().map(|(limit, pause)| pause_note(account, limit.as_deref(), *pause));
            let at = Timestamp::now();
            Json(json!({ "account": account, "paused": notes.collect::<Vec<_>>(), "at": at })).into_response()
        }
        Ok(Ok(None)) => refused(StatusCode::NOT_FOUND, "there is no such account"),
        Ok(Err(error)) => refused(StatusCode::SERVICE_UNAVAILABLE, &format!("{error:#}")),
        Err(_) => refused(StatusCode::SERVICE_UNAVAILABLE, "no answer from the store in time"),
    }
}

/// Begins work on dead letters, and waits for its end for a moment. A `POST` also where it only looks:
/// a broker hands the letters out meanwhile.
async fn begin(State(shared): State<Arc<Shared>>, wish: Body<works::Wish>) -> Response {
    let wish = match wish {
        Ok(Json(wish)) => wish,
        Err(unreadable) => return unread(&unreadable),
    };
    match shared.works.begin(shared.desk.clone(), shared.dropped.clone(), wish) {
        Ok(id) => told(&shared, id, LOOKED_AT).await,
        Err(Refused::Wish(text)) => refused(StatusCode::UNPROCESSABLE_ENTITY, text),
        Err(Refused::Busy(work)) => {
            let error = "somebody is at work on the dead letters; one piece of work is done at a time";
            (StatusCode::CONFLICT, Json(json!({ "error": error, "underWay": work }))).into_response()
        }
    }
}

/// How far it is.
async fn far(State(shared): State<Arc<Shared>>, Path(id): Path<u64>) -> Response {
    told(&shared, id, Duration::ZERO).await
}

async fn stop(State(shared): State<Arc<Shared>>, Path(id): Path<u64>) -> Response {
    if !shared.works.stop(id) {
        return refused(StatusCode::NOT_FOUND, "that is not under way");
    }
    told(&shared, id, LOOKED_AT).await
}

async fn told(shared: &Shared, id: u64, patience: Duration) -> Response {
    match shared.works.wait(id, patience).await {
        Some((work, true)) => Json(work).into_response(),
        Some((work, false)) => (StatusCode::ACCEPTED, Json(work)).into_response(),
        None => refused(StatusCode::NOT_FOUND, "nothing is known of that"),
    }
}

#[cfg(test)]
mod tests;
