//! The way to the collector: OTLP's HTTP client over the one that providers are asked with.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

use super::first;
use crate::adapters::http;
use crate::adapters::tls::Keys;
use crate::config::{Environment, Roots};

const CERTIFICATES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const KEYS: Keys = Keys { ca: CERTIFICATES[1], address: "OTEL_EXPORTER_OTLP_ENDPOINT" };

/// How long a batch may take if nothing else is said, by the standard.
const USUAL_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time to open a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// A collector, and whether it took the last batch.
pub(super) struct Collector {
    client: reqwest::Client,
    timeout: Duration,
    /// Batches are made on a thread outside of the runtime; the way to the network needs it.
    runtime: Handle,
    well: AtomicBool,
}

impl fmt::Debug for Collector {
    /// The exporter asks for it; nothing of it is for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

impl Collector {
    /// A collector as the environment describes it, reached by the runtime that this is called in.
    ///
    /// # Errors
    /// When the file of its CAs can't be used, or the client can't be set up.
    pub(super) fn new(environment: &Environment) -> anyhow::Result<Self> {
        let roots = match first(environment, CERTIFICATES) {
            None => None,
            Some((name, file)) => {
                let read = Roots::read(file.as_ref(), file);
                Some(read.map_err(|problem| anyhow::anyhow!("{name}: {problem}"))?)
            }
        };
        let milliseconds = first(environment, TIMEOUTS).and_then(|(_, text)| text.parse().ok());
        let timeout = milliseconds.map_or(USUAL_TIMEOUT, Duration::from_millis);
        let client = http::client(CONNECT.min(timeout), roots.as_ref(), KEYS)
            .context("the HTTP client can't be set up")?;
        Ok(Self { client, timeout, runtime: Handle::current(), well: AtomicBool::new(true) })
    }

    /// Tells people when it stops taking batches, and when it takes them again.
    fn tell(&self, problem: Option<&str>) {
        let was_well = self.well.swap(problem.is_none(), Ordering::Relaxed);
        match problem {
            Some(problem) if was_well => tracing::warn!(
                problem,
                "the collector takes no spans; deliveries go on, and spans are dropped until it does"
            ),
            None if !was_well => tracing::info!("the collector takes spans again"),
            Some(_) | None => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let exchange = exchange(self.client.clone(), request, self.timeout);
        let answer = match self.runtime.spawn(exchange).await {
            Ok(answer) => answer,
            // The runtime ends, and with it the process.
            Err(ended) => return Err(ended.into()),
        };
        match &answer {
            Ok(response) if response.status().is_success() => self.tell(None),
            Ok(response) => self.tell(Some(&format!("it answers {}", response.status()))),
            Err(problem) => self.tell(Some(problem)),
        }
        answer.map_err(HttpError::from)
    }
}

/// Makes a request, once. An error is told without the address.
async fn exchange(
    client: reqwest::Client,
    request: Request<Bytes>,
    timeout: Duration,
) -> Result<Response<Bytes>, String> {
    let described = |error: reqwest::Error| http::describe(&error, KEYS);
    let (head, body) = request.into_parts();
    let request = client.request(head.method, head.uri.to_string()).headers(head.headers).body(body);
    let response = request.timeout(timeout).send().await.map_err(described)?;
    let status = response.status();
    let mut answer = Response::new(http::read_capped(response).await);
    *answer.status_mut() = status;
    Ok(answer)
}
