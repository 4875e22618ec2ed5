use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::server::{CONNECTION_WITHIN, HEAD_WITHIN, MOST_CONNECTIONS, MOST_HEAD};
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
    task: tokio::task::JoinHandle<()>,
}

async fn start(observed: Arc<Fake>) -> Server {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { stopped.await.unwrap_or_default() };
    let task = tokio::spawn(serve(listener, crate::metrics::tests_handle(), observed, None, shutdown));
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
    timeout(PATIENCE * 3, server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_named_with_its_key() {
    let taken = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = format!("{:#}", bind(address).await.err().unwrap());
    assert!(error.contains("admin.listen") && error.contains(&address.to_string()), "{error}");
}

/// What comes back on a connection until its end.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // One that is cut ends with an error, after what came before.
    let _ = timeout(CONNECTION_WITHIN * 2, stream.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn connections_that_only_sit_there_keep_nobody_out_and_are_bounded() {
    let server = start(Fake::new(Some(READY), false)).await;
    let mut idle = Vec::new();
    for n in 0..MOST_CONNECTIONS * 3 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // Every second one is in the midst of its head.
        if n % 2 == 0 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nx: ").await.unwrap();
        }
        idle.push(stream);
        if n % 64 == 0 {
            assert_eq!(get_path(server.address, "/healthz").await.0, 200, "behind {n} idle connections");
        }
    }
    assert_eq!(get_path(server.address, "/healthz").await.0, 200);
    // The oldest were cut to make room, the newest are still there.
    let open = |stream: &mut TcpStream| {
        let mut byte = [0];
        matches!(stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    for stream in &idle {
        let _ = timeout(Duration::from_millis(1), stream.readable()).await;
    }
    let standing = idle.iter_mut().map(open).filter(|open| *open).count();
    assert!((1..=MOST_CONNECTIONS).contains(&standing), "{standing} stand");
}

#[tokio::test]
async fn a_head_that_comes_drop_by_drop_is_not_waited_for() {
    let server = start(Fake::new(Some(READY), false)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let began = tokio::time::Instant::now();
    stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    while began.elapsed() < HEAD_WITHIN * 4 && stream.write_all(b"x: y\r\n").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(began.elapsed() >= HEAD_WITHIN && began.elapsed() < HEAD_WITHIN * 3, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_huge_head_is_refused_without_being_kept() {
    let server = start(Fake::new(Some(READY), false)).await;
    // More than the buffers of any socket hold.
    let huge = "a".repeat(MOST_HEAD * 1_000);
    let heads = [
        format!("GET /{huge}"),
        format!("GET /healthz HTTP/1.1\r\nx: {huge}"),
        format!("GET /healthz HTTP/1.1\r\n{}", "x: y\r\n".repeat(huge.len() / 6)),
    ];
    for head in heads {
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let sending = tokio::spawn(async move {
            let taken = writing.write_all(head.as_bytes()).await.is_ok();
            (taken, writing)
        });
        let mut bytes = Vec::new();
        // It is cut, whether the refusal still comes through or not.
        let _ = timeout(CONNECTION_WITHIN * 2, reading.read_to_end(&mut bytes)).await.unwrap();
        let answer = String::from_utf8_lossy(&bytes).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert!(!sending.await.unwrap().0, "all of it was taken");
    }
    assert_eq!(get_path(server.address, "/healthz").await.0, 200);
}

#[tokio::test]
async fn a_connection_serves_one_request_and_no_body_is_waited_for() {
    let server = start(Fake::new(Some(READY), false)).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let twice = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2);
    stream.write_all(twice.as_bytes()).await.unwrap();
    assert_eq!(rest(stream).await.matches("HTTP/1.1 200").count(), 1);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        .await
        .unwrap();
    assert!(rest(stream).await.starts_with("HTTP/1.1 405"));
}
