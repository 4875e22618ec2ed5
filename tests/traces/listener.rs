//! A small HTTP server that remembers what was posted to it: a stand-in for a collector, or a look at what
//! passes on its way to the simulated providers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What becomes of a request.
#[derive(Clone)]
pub enum Manner {
    /// It is answered with an empty success.
    #[allow(dead_code, reason = "only the tests of traces have a collector")]
    Takes,
    /// It is passed on to this address, and its answer back.
    PassesOn(String),
    /// It is never answered.
    #[allow(dead_code, reason = "only the tests of traces have a collector")]
    Hangs,
}

/// A request as it was posted.
#[derive(Clone)]
pub struct Seen {
    /// The path.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Seen {
    /// The text of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a text"))
    }
}

/// A running one.
pub struct Listener {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Listener {
    /// Starts one.
    pub async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (manner, noted) = (manner.clone(), noted.clone());
                let answering = service_fn(move |request| answer(request, manner.clone(), noted.clone()));
                // A client that goes away ends its connection, and nothing else.
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answering));
            }
        });
        Self { address, seen }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was posted to it so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panicked with it").clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    manner: Manner,
    noted: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    let seen = Seen { path: head.uri.path().to_owned(), headers: head.headers, body };
    // Whoever only opens a connection ahead of a request posts nothing.
    if head.method == Method::POST {
        noted.lock().expect("no test panicked with it").push(seen.clone());
    }
    Ok(match manner {
        Manner::Takes => Response::new(Full::default()),
        Manner::PassesOn(to) => passed_on(head.method, seen, &to).await,
        Manner::Hangs => std::future::pending().await,
    })
}

async fn passed_on(method: Method, seen: Seen, to: &str) -> Response<Full<Bytes>> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut headers = seen.headers;
    for own in ["host", "content-length"] {
        headers.remove(own);
    }
    let url = format!("{to}{}", seen.path);
    let request = reqwest::Client::new().request(method, url).headers(headers).body(seen.body);
    let answer = request.send().await.expect("an answer");
    let mut response = Response::new(Full::default());
    *response.status_mut() = answer.status();
    for (name, value) in answer.headers().iter().filter(|(name, _)| name.as_str() != "content-length") {
        response.headers_mut().insert(name, value.clone());
    }
    *response.body_mut() = answer.bytes().await.expect("a whole answer").into();
    response
}
