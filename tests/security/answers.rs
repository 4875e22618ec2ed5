//! Answers without end, or that grow when unpacked: what is read of them is bounded, in bytes and in
//! time, and a push whose answer can't be read counts as one that may have gone out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use paceline::adapters::http::HttpWire;
use paceline::pipeline::decode::decode_body;
use paceline::ports::{MOST_ANSWER_BYTES, Sent, Wire, WireAnswer};
use paceline::providers::ALL;
use paceline::verdict::Verdict;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::CONFIG;

/// The longest time for one request here.
const REQUEST: Duration = Duration::from_secs(2);

/// What a server may send before it finds that nobody reads on: the cap, and what buffers hold.
const MOST_SENT: usize = MOST_ANSWER_BYTES + 16 * 1024 * 1024;

/// 64 KiB of zeros, packed. Members of this format may follow each other without end.
const PACKED: [u8; 96] = {
    let mut packed = [0; 96];
    let head = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 0xed, 0xc1, 1, 1, 0, 0, 0, 0x80, 0x90, 0xfe, 0xaf, 0xee, 8, 0x0a,
    ];
    let tail = [0x6a, 0xeb, 0x8e, 0x97, 0xd7, 0, 0, 1, 0];
    let mut index = 0;
    while index < head.len() {
        packed[index] = head[index];
        index += 1;
    }
    index = 0;
    while index < tail.len() {
        packed[87 + index] = tail[index];
        index += 1;
    }
    packed
};

/// How a hostile provider answers: what it sends first, then what it repeats for ever, so far apart.
#[derive(Clone)]
struct Hostile {
    first: &'static [u8],
    repeated: Vec<u8>,
    pause: Duration,
}

impl Hostile {
    fn new(first: &'static [u8], repeated: impl Into<Vec<u8>>) -> Self {
        Self { first, repeated: repeated.into(), pause: Duration::ZERO }
    }
}

/// A server for one connection, and how many bytes it could send. It stops at a gibibyte.
async fn serve(hostile: Hostile) -> (reqwest::Url, Arc<AtomicUsize>, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await;
        let mut next = hostile.first;
        while stream.write_all(next).await.is_ok() {
            if counted.fetch_add(next.len(), Ordering::SeqCst) > 1 << 30 {
                break;
            }
            next = &hostile.repeated;
            tokio::time::sleep(hostile.pause).await;
        }
        head
    });
    (url, sent, serving)
}

async fn read_head(stream: &mut TcpStream) -> String {
    let (mut head, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(n > 0, "a whole head");
        head.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Makes the request of an operation to this server, and gives the answer with its verdict.
async fn ask(operation: &str, url: &reqwest::Url) -> (WireAnswer, Verdict) {
    let samples = ALL.into_iter().flat_map(|provider| provider.samples());
    let of = |text: &&&str| serde_json::from_str::<Value>(text).expect("JSON")["operation"] == operation;
    let sample = samples.into_iter().find(of).expect("a sample of each operation");
    let job = decode_body(sample.as_bytes()).expect("a valid job");
    let gateway = &CONFIG.accounts[&job.account].gateway;
    let planned = gateway.plan(&job).expect("a valid job");
    let delivery = planned.into_iter().find_map(Result::ok).expect("a delivery");
    let mut request = gateway.request(&[&delivery]);
    request.url = url.join(request.url.path()).expect("a path");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let wire = HttpWire::new(Duration::from_secs(20), REQUEST, None).unwrap();
    let began = Instant::now();
    let Sent::Answer(answer) = wire.send(request, Instant::now() + Duration::from_secs(60)).await else {
        panic!("there was time")
    };
    assert!(began.elapsed() < REQUEST + Duration::from_secs(20), "{:?}", began.elapsed());
    let verdict = gateway.verdict(&[&delivery], &answer, false);
    (answer, verdict)
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"status_code\":200,\"x\":\"";

#[tokio::test]
async fn an_answer_without_end_is_cut_off_and_no_push_counts_as_done_for_it() {
    let cases = [
        ("createMessage", "unknown"),
        ("createTargetedMessage", "unknown"),
        ("sendPush", "unknown"),
        ("deleteMessage", "unknown"),
        ("cancelMessage", "unknown"),
        // Its success is the status alone.
        ("updateCampaign", "accepted"),
        // Reading again would bring the same.
        ("getMessageDetails", "refused"),
        ("getPushHistory", "refused"),
        ("searchCampaigns", "refused"),
    ];
    let operations: usize = ALL.into_iter().map(|provider| provider.operations().len()).sum();
    assert_eq!(cases.len(), operations);
    for (operation, expected) in cases {
        let (url, sent, serving) = serve(Hostile::new(OK, vec![b'a'; 64 * 1024])).await;
        let (answer, verdict) = ask(operation, &url).await;
        assert_eq!(verdict.label(), expected, "{operation}: {verdict:?}");
        match answer {
            WireAnswer::Response { status: 200, body, .. } => assert_eq!(body.len(), MOST_ANSWER_BYTES),
            other => panic!("{operation}: {other:?}"),
        }
        serving.await.unwrap();
        let sent = sent.load(Ordering::SeqCst);
        assert!(sent < MOST_SENT, "{operation}: {sent} bytes were taken");
    }
}

#[tokio::test]
async fn headers_without_end_are_cut_off_and_mean_that_a_push_may_have_gone_out() {
    let cases: [(&[u8], Vec<u8>); 5] = [
        (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n".repeat(1000)),
        (b"HTTP/1.1 200 OK\r\nx: ", vec![b'a'; 64 * 1024]),
        (b"HTTP/1.1 200 ", vec![b'a'; 64 * 1024]),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1000)),
        (b"", vec![b'\n'; 64 * 1024]),
    ];
    for (index, (first, repeated)) in cases.into_iter().enumerate() {
        let (url, sent, serving) =
            serve(Hostile { pause: Duration::from_millis(1), ..Hostile::new(first, repeated) }).await;
        let (answer, verdict) = ask("createMessage", &url).await;
        assert!(matches!(answer, WireAnswer::Lost(_)), "case {index}: {answer:?}");
        assert_eq!(verdict.label(), "unknown", "case {index}");
        serving.await.unwrap();
        println!("case {index}: {} bytes were taken", sent.load(Ordering::SeqCst));
    }
}

#[tokio::test]
async fn a_body_of_chunks_without_end_is_cut_off_as_any_other() {
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = |text: &[u8]| [format!("{:x}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat();
    let cases = [
        chunk(&vec![b'a'; 64 * 1024]),
        // Tiny ones with a long extension each: little body, much to read.
        [b"1;x=", &vec![b'y'; 1000][..], b"\r\na\r\n"].concat(),
        // A trailer that does not end.
        [&b"0\r\n"[..], &b"x: y\r\n".repeat(20_000)].concat(),
    ];
    for (index, repeated) in cases.into_iter().enumerate() {
        let (url, sent, serving) = serve(Hostile::new(CHUNKED, repeated)).await;
        let (answer, verdict) = ask("createMessage", &url).await;
        assert!(matches!(answer, WireAnswer::Response { status: 200, .. }), "case {index}: {answer:?}");
        assert_eq!(verdict.label(), "unknown", "case {index}");
        serving.await.unwrap();
        let sent = sent.load(Ordering::SeqCst);
        assert!(sent < MOST_SENT, "case {index}: {sent} bytes were taken");
    }
}

#[tokio::test]
async fn an_answer_that_drips_is_waited_for_no_longer_than_a_request_may_take() {
    for first in [OK, b"HTTP/1.1 200 OK\r\nx: y"] {
        let hostile = Hostile { pause: Duration::from_millis(50), ..Hostile::new(first, *b"a") };
        let (url, sent, serving) = serve(hostile).await;
        let (_, verdict) = ask("createMessage", &url).await;
        assert_eq!(verdict.label(), "unknown", "{verdict:?}");
        serving.await.unwrap();
        assert!(sent.load(Ordering::SeqCst) > first.len(), "it dripped");
    }
}

#[tokio::test]
async fn a_packed_answer_is_neither_asked_for_nor_unpacked() {
    const MEMBERS: usize = 10_000;
    let bomb = PACKED.repeat(MEMBERS);
    for encoding in ["gzip", "br", "zstd", "deflate"] {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n",
            bomb.len()
        );
        let (url, _, serving) = serve(Hostile::new(head.leak().as_bytes(), bomb.clone())).await;
        let (answer, verdict) = ask("createMessage", &url).await;
        let WireAnswer::Response { status: 200, body, .. } = answer else { panic!("{encoding}: {answer:?}") };
        assert!(body == bomb, "{encoding}: {} bytes of {}", body.len(), bomb.len());
        assert_eq!(verdict.label(), "unknown", "{encoding}");
        let asked = serving.await.unwrap().to_ascii_lowercase();
        assert!(!asked.contains("accept-encoding"), "{asked}");
    }
}
