//! Nothing below the wire repeats a request: each has a path of its own, and a server that behaves
//! badly counts what it was sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const FINE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What a server does on each connection.
#[derive(Clone, Copy)]
enum Server {
    /// Answers so, whatever it is asked.
    Answers(&'static [u8]),
    /// Answers the first request and ends the idle connection so much later.
    ClosesIdle(Duration),
    /// Answers the first request and ends the connection when it has read the head of the second.
    ClosesOnTheSecond,
}

/// How often each path arrived, and over how many connections.
#[derive(Default)]
struct Seen {
    arrivals: HashMap<String, usize>,
    connections: usize,
}

type Shared = Arc<Mutex<Seen>>;

async fn serve(server: Server) -> (reqwest::Url, Shared) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let seen = Shared::default();
    let counted = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.lock().unwrap().connections += 1;
            tokio::spawn(converse(stream, server, counted.clone()));
        }
    });
    (url, seen)
}

async fn converse(mut stream: TcpStream, server: Server, seen: Shared) {
    if !arrived(&mut stream, &seen, true).await {
        return;
    }
    match server {
        Server::Answers(answer) => {
            stream.write_all(answer).await.unwrap();
            while arrived(&mut stream, &seen, true).await {
                stream.write_all(answer).await.unwrap();
            }
        }
        Server::ClosesIdle(pause) => {
            stream.write_all(FINE).await.unwrap();
            // A spin, because a timer is no finer than a millisecond.
            let begun = std::time::Instant::now();
            while begun.elapsed() < pause {
                tokio::task::yield_now().await;
            }
            let _ = stream.shutdown().await;
            // What was already on its way is counted, though it gets no answer.
            while arrived(&mut stream, &seen, true).await {}
        }
        Server::ClosesOnTheSecond => {
            stream.write_all(FINE).await.unwrap();
            // Most of a long body is then still unread, or not yet written.
            arrived(&mut stream, &seen, false).await;
        }
    }
}

/// Reads one request and counts it by its path; false at the end of the connection.
async fn arrived(stream: &mut TcpStream, seen: &Shared, whole: bool) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    *seen.lock().unwrap().arrivals.entry(path).or_default() += 1;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    !whole || stream.read_exact(&mut body).await.is_ok()
}

fn wire() -> HttpWire {
    let _ = rustls::crypto::ring::default_provider().install_default();
    HttpWire::new(Duration::from_secs(2), Duration::from_secs(10), None).unwrap()
}

async fn post(wire: &HttpWire, url: &reqwest::Url, path: &str, body: Bytes) -> WireAnswer {
    let request = WireRequest {
        method: reqwest::Method::POST,
        url: url.join(path).unwrap(),
        headers: Vec::new(),
        body,
    };
    match wire.send(request, Instant::now() + Duration::from_secs(10)).await {
        Sent::Answer(answer) => answer,
        Sent::TooLate => panic!("there was time"),
    }
}

fn small() -> Bytes {
    Bytes::from_static(b"{}")
}

fn arrivals(seen: &Shared, path: &str) -> usize {
    seen.lock().unwrap().arrivals.get(path).copied().unwrap_or(0)
}

/// A request on a connection that the other side is just closing.
#[tokio::test(flavor = "multi_thread")]
async fn a_keep_alive_race_sends_nothing_twice() {
    let (mut fresh, mut lost) = (0, 0);
    for pause_us in (0..600).step_by(2) {
        let (url, seen) = serve(Server::ClosesIdle(Duration::from_micros(pause_us))).await;
        let wire = wire();
        assert!(matches!(post(&wire, &url, "/first", small()).await, WireAnswer::Response { .. }));
        let answer = post(&wire, &url, "/second", small()).await;
        let counted = arrivals(&seen, "/second");
        match answer {
            WireAnswer::Response { .. } => {
                assert_eq!(counted, 1, "answered, {pause_us} us");
                fresh += 1;
            }
            WireAnswer::NotSent(cause) => assert_eq!(counted, 0, "{cause}, {pause_us} us"),
            WireAnswer::Lost(cause) => {
                assert!(counted <= 1, "{cause}, {pause_us} us: {counted} arrivals");
                lost += 1;
            }
        }
        assert_eq!(arrivals(&seen, "/first"), 1);
    }
    println!("{fresh} answered, {lost} lost");
}

#[tokio::test]
async fn a_connection_that_ends_within_a_request_sends_nothing_twice() {
    let long = Bytes::from(vec![b' '; 8 << 20]);
    for body in [small(), long] {
        let (url, seen) = serve(Server::ClosesOnTheSecond).await;
        let wire = wire();
        assert!(matches!(post(&wire, &url, "/first", small()).await, WireAnswer::Response { .. }));
        let length = body.len();
        let answer = post(&wire, &url, "/second", body).await;
        assert!(matches!(answer, WireAnswer::Lost(_)), "{length} bytes: {answer:?}");
        assert_eq!(arrivals(&seen, "/second"), 1, "{length} bytes");
        assert_eq!(seen.lock().unwrap().connections, 1, "the connection was used again");
    }
}

#[tokio::test]
async fn no_answer_leads_to_a_second_request() {
    let answers: [(Option<u16>, &[u8]); 5] = [
        (Some(503), b"HTTP/1.1 503 No\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n"),
        (Some(429), b"HTTP/1.1 429 No\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n"),
        (Some(302), b"HTTP/1.1 302 Go\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n"),
        (Some(308), b"HTTP/1.1 308 Go\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n"),
        // HTTP/2: SETTINGS, then RST_STREAM with REFUSED_STREAM for the first stream.
        (None, b"\0\0\0\x04\0\0\0\0\0\0\0\x04\x03\0\0\0\0\x01\0\0\0\x07"),
    ];
    for (expected, bytes) in answers {
        let (url, seen) = serve(Server::Answers(bytes)).await;
        let found = match post(&wire(), &url, "/one", small()).await {
            WireAnswer::Response { status, .. } => Some(status),
            WireAnswer::Lost(_) => None,
            WireAnswer::NotSent(cause) => panic!("{expected:?}: {cause}"),
        };
        assert_eq!(found, expected);
        let seen = seen.lock().unwrap();
        assert_eq!(seen.arrivals, HashMap::from([("/one".to_owned(), 1)]), "{expected:?}");
        assert_eq!(seen.connections, 1, "{expected:?}");
    }
}

/// Over HTTP/2 a refused stream may be sent again by the library; so a server that speaks it is
/// never told that we could.
#[tokio::test]
async fn http_2_is_never_offered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: reqwest::Url = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let sending = tokio::spawn(async move { post(&wire(), &url, "/one", small()).await });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut acceptor = rustls::server::Acceptor::default();
    let accepted = loop {
        let mut buffer = [0; 4096];
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(n > 0, "a greeting");
        acceptor.read_tls(&mut &buffer[..n]).unwrap();
        if let Some(accepted) = acceptor.accept().map_err(|(error, _)| error).unwrap() {
            break accepted;
        }
    };
    let offered: Vec<Vec<u8>> =
        accepted.client_hello().alpn().map(|names| names.map(<[u8]>::to_vec).collect()).unwrap_or_default();
    assert!(!offered.contains(&b"h2".to_vec()), "{offered:?}");
    drop(stream);
    let answer = sending.await.unwrap();
    assert!(matches!(answer, WireAnswer::NotSent(_)), "{answer:?}");
}
