//! The provider of this measurement: takes every request, answers at once, and notes when it came.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::sleep;

const ANSWER: &str =
    r#"{"status_code":200,"status_message":"OK","response":{"Messages":["AAAA-AAAAAAAA-AAAAAAAA"]}}"#;

/// The longest time for all that is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// What stands before a delivery's id in a request.
const ID: &[u8] = br#""transactionId":""#;

/// The sink.
#[derive(Clone)]
pub struct Sink {
    /// Its address.
    pub url: String,
    arrived: Arc<Mutex<HashMap<String, Instant>>>,
}

impl Sink {
    /// Begins to listen.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let sink = Self { url, arrived: Arc::default() };
        tokio::spawn(sink.clone().listen(listener));
        sink
    }

    async fn listen(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let sink = self.clone();
            stream.set_nodelay(true).expect("a socket");
            tokio::spawn(async move {
                let service = service_fn(move |request| sink.clone().take(request));
                // A program that was ended leaves its connections.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    async fn take(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        if let Ok(body) = request.into_body().collect().await {
            let (body, now) = (body.to_bytes(), Instant::now());
            let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
            for id in ids_of(&body) {
                assert!(arrived.insert(id, now).is_none(), "no job is sent twice");
            }
        }
        Ok(Response::new(Full::new(Bytes::from_static(ANSWER.as_bytes()))))
    }

    /// How many came.
    fn count(&self) -> usize {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until so many have come.
    pub async fn wait_for(&self, jobs: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.count() < jobs {
            assert!(Instant::now() < deadline, "{} of {jobs} arrived", self.count());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// When this one came.
    pub fn arrival(&self, id: &str) -> Option<Instant> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    /// When they came, in order.
    pub fn arrivals(&self) -> Vec<Instant> {
        let arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let mut arrivals: Vec<Instant> = arrived.values().copied().collect();
        arrivals.sort_unstable();
        arrivals
    }
}

/// Jobs a second of the middle eight tenths of these, which are in order.
pub fn rate(arrivals: &[Instant]) -> f64 {
    let (first, last) = (arrivals.len() / 10, arrivals.len() * 9 / 10);
    (last - first) as f64 / (arrivals[last] - arrivals[first]).as_secs_f64()
}

/// The ids of the deliveries in a request. Where one is long, an id may stand at its end, so all is read.
fn ids_of(body: &[u8]) -> impl Iterator<Item = String> {
    let begins = body.windows(ID.len()).enumerate().filter(|(_, part)| *part == ID);
    begins.filter_map(|(at, _)| {
        let rest = &body[at + ID.len()..];
        let length = rest.iter().position(|byte| *byte == b'"')?;
        Some(String::from_utf8_lossy(&rest[..length]).into_owned())
    })
}
