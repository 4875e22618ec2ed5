//! A job's content reaches a request's body, and nothing else of it: whatever stands in a job, the
//! request goes to the same host, method and path, with the same headers and no query. The one value
//! that belongs into a path (the id of a campaign) stays within its segment.

use std::collections::BTreeMap;
use std::time::Duration;

use paceline::adapters::http::HttpWire;
use paceline::job::Delivery;
use paceline::pipeline::decode::decode_body;
use paceline::ports::{Wire, WireRequest};
use paceline::providers::ALL;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::CONFIG;

/// What could change the meaning of an address, a header or a request.
const HOSTILE: [&str; 30] = [
    "..",
    ".",
    "../search",
    "/../",
    "a/../../admin",
    "..\\..\\admin",
    "%2e%2e",
    "%2e%2e%2fsearch",
    "%252e%252e",
    "%00",
    "%",
    "%zz",
    "//evil.example/",
    "http://evil.example/",
    "@evil.example",
    ":80",
    "a?b=c",
    "?b=c&d=e",
    "a#b",
    "#",
    "a;b=c",
    "a b",
    "a\tb",
    "a\r\nX-Evil: 1\r\n\r\nGET /evil HTTP/1.1",
    "\n",
    "\0",
    "Grüße",
    "\u{202e}\u{2028}\u{feff}",
    "\u{ff0e}\u{ff0e}\u{ff0f}",
    "{x}[y]|^`\"<>'",
];

/// The requests of a job, each delivery by itself; none for an invalid one.
fn requests(job: &Value) -> Vec<(Delivery, WireRequest)> {
    let Ok(job) = decode_body(job.to_string().as_bytes()) else { return Vec::new() };
    let Some(account) = CONFIG.accounts.get(&job.account) else { return Vec::new() };
    let planned = account.gateway.plan(&job).unwrap_or_default();
    planned
        .into_iter()
        .flatten()
        .map(|delivery| {
            let request = account.gateway.request(&[&delivery]);
            let warm = account.gateway.warm_up_url(&delivery);
            assert_eq!((warm.host_str(), warm.path()), (request.url.host_str(), "/"), "the way ahead");
            (delivery, request)
        })
        .collect()
}

fn samples() -> Vec<Value> {
    let texts = ALL.into_iter().flat_map(|provider| provider.samples());
    texts.map(|text| serde_json::from_str(text).expect("a sample is JSON")).collect()
}

/// The places of all values inside a value, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut visit = |name: &str, value: &Value| {
        let place = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        places(value, &place, found);
        found.push(place);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| visit(name, value)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| visit(&index.to_string(), item));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Everything of a request but its body and the id in its path.
fn frame(request: &WireRequest, id: Option<&str>) -> (String, String, Vec<(String, Vec<u8>)>) {
    let url = &request.url;
    assert!(url.query().is_none() && url.fragment().is_none() && url.username().is_empty(), "{url}");
    let mut segments: Vec<&str> = url.path_segments().expect("a path").collect();
    if let Some(id) = id {
        let segment = segments.pop().expect("a segment");
        let decoded = percent_decode_str(segment).decode_utf8().expect("UTF-8");
        assert_eq!(decoded, id, "the id is the whole last segment of {url}");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
        assert!(segment.bytes().all(plain) && ![".", ".."].contains(&segment), "{url}");
    }
    let headers = request.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    (format!("{} {}", request.method, url.origin().ascii_serialization()), segments.join("/"), headers)
}

/// The id that a delivery puts into its path.
fn id(delivery: &Delivery) -> Option<&str> {
    let update = delivery.job.operation == "updateCampaign";
    let id = delivery.job.payload.get("campaign_id").and_then(Value::as_str);
    id.filter(|_| update)
}

/// Every request that a spoilt sample leads to, beside what the sample itself leads to.
fn spoilt(mut check: impl FnMut(&str, &(Delivery, WireRequest), &(Delivery, WireRequest))) {
    for sample in samples() {
        let proper = requests(&sample);
        let proper = proper.first().unwrap_or_else(|| panic!("a sample is valid: {sample}"));
        let mut found = Vec::new();
        places(&sample, "", &mut found);
        for place in found {
            for hostile in HOSTILE {
                let of =
                    |old: &Value| [hostile.to_owned(), format!("{}{hostile}", old.as_str().unwrap_or("x"))];
                for text in of(sample.pointer(&place).expect("a place")) {
                    let mut job = sample.clone();
                    *job.pointer_mut(&place).expect("a place") = text.into();
                    for request in &requests(&job) {
                        check(&place, request, proper);
                    }
                }
            }
        }
    }
}

#[test]
fn nothing_in_a_job_changes_more_of_a_request_than_its_body() {
    let mut reached: BTreeMap<String, usize> = BTreeMap::new();
    spoilt(|place, (delivery, request), (proper_delivery, proper)| {
        // An operation or account that was replaced by another valid one is another job.
        assert_eq!(delivery.job.operation, proper_delivery.job.operation);
        assert_eq!(
            frame(request, id(delivery)),
            frame(proper, id(proper_delivery)),
            "{place}: {}",
            delivery.job.operation
        );
        let body: Value = serde_json::from_slice(&request.body).expect("the body is one JSON value");
        let credentials = ["/request/auth", "/appId", "/auth"];
        let proper: Value = serde_json::from_slice(&proper.body).expect("JSON");
        for credential in credentials {
            assert_eq!(body.pointer(credential), proper.pointer(credential), "{place}");
        }
        *reached.entry(delivery.job.operation.clone()).or_default() += 1;
    });
    let operations = ALL.into_iter().flat_map(|provider| provider.operations());
    for operation in operations {
        let count = reached.get(*operation).copied().unwrap_or_default();
        assert!(count >= 20, "{operation}: only {count} spoilt jobs led to a request");
    }
}

/// What a server reads of one request, its head and its body as it came.
async fn on_the_wire(request: WireRequest) -> (String, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut request = request;
    let port = listener.local_addr().unwrap().port();
    request.url.set_scheme("http").unwrap();
    request.url.set_host(Some("127.0.0.1")).unwrap();
    request.url.set_port(Some(port)).unwrap();
    let length = request.body.len();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            let n = stream.read(&mut buffer).await.unwrap();
            bytes.extend_from_slice(&buffer[..n]);
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
            if n == 0 || end.is_some_and(|end| bytes.len() >= end + 4 + length) {
                break;
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        (String::from_utf8(bytes[..end].to_vec()).expect("a head in ASCII"), bytes[end + 4..].to_vec())
    });
    let _ = rustls::crypto::ring::default_provider().install_default();
    let wire = HttpWire::new(Duration::from_secs(20), Duration::from_secs(20), None).unwrap();
    wire.send(request, Instant::now() + Duration::from_secs(60)).await;
    serving.await.unwrap()
}

#[tokio::test]
async fn a_hostile_id_is_one_segment_of_one_request_on_the_wire_too() {
    let mut different: BTreeMap<String, WireRequest> = BTreeMap::new();
    spoilt(|_, (_, request), _| {
        different.entry(format!("{} {}", request.method, request.url)).or_insert_with(|| request.clone());
    });
    assert!(different.len() > 30, "{} addresses", different.len());
    for request in different.into_values() {
        let (method, path, body) =
            (request.method.clone(), request.url.path().to_owned(), request.body.clone());
        let names: Vec<String> = request.headers.iter().map(|(name, _)| name.to_string()).collect();
        let (head, rest) = on_the_wire(request).await;
        let mut lines = head.split("\r\n");
        assert_eq!(lines.next(), Some(format!("{method} {path} HTTP/1.1").as_str()));
        let ours = ["accept", "content-length", "content-type", "host", "user-agent"];
        for line in lines {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            assert!(ours.contains(&name.as_str()) || names.contains(&name), "a header {name:?} in {head}");
        }
        assert_eq!(rest, body, "one request and nothing behind it");
    }
}
