//! A provider that sends back what it was told, credentials included, wherever an answer has room.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a request asks for, in its body: `answer-with-STATUS;NUMBER`. Only the first such request gets
/// that answer; every later one is a success.
const MARK: &str = "answer-with-";

/// Starts one and gives its address.
pub async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answered: Arc<Mutex<HashSet<String>>> = Arc::default();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(converse(stream, answered.clone()));
        }
    });
    url
}

async fn converse(mut stream: TcpStream, answered: Arc<Mutex<HashSet<String>>>) {
    while let Some((head, body)) = request(&mut stream).await {
        let mark = body.split_once(MARK).map(|(_, rest)| {
            rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == ';').collect::<String>()
        });
        let first = mark.as_ref().is_some_and(|mark| answered.lock().unwrap().insert(mark.clone()));
        let wanted = mark.as_deref().and_then(|mark| mark.split(';').next());
        let status = wanted.filter(|_| first).unwrap_or("200");
        let answer = answer(status, &told(&head, &body));
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Credentials first, so that no cutting spares them; then everything.
fn told(head: &str, body: &str) -> String {
    let header = |name: &str| {
        let mut lines = head.lines().filter(|line| line.to_ascii_lowercase().starts_with(name));
        lines.next().unwrap_or_default().to_owned()
    };
    let parsed: Value = serde_json::from_str(body).unwrap_or_default();
    let member = |place: &str| parsed.pointer(place).and_then(Value::as_str).unwrap_or_default();
    let credentials = [member("/request/auth"), member("/signature"), member("/appId")].join(" ");
    format!("{} {credentials} {} {body} {head}", header("authorization"), header("moe-appkey"))
}

fn answer(status: &str, told: &str) -> String {
    let (status, code) = match status {
        // A code of the provider's own under HTTP 200.
        "210" => ("200", 210),
        "garbage" => return whole("200", &format!("<html>{told}")),
        status => (status, status.parse().unwrap_or(200)),
    };
    let mut body = json!({
        "status_code": code, "status_message": told, "responseId": told, "message": told, "title": told,
        "response": {"Messages": [told], "UnknownDevices": {"x": [told]}, told: told, "page": [told]},
        "status": if code == 200 { "Success" } else { "Fail" }, "campaigns": [{"campaign_id": told}],
    });
    if code != 200 {
        body["error"] = json!({"code": told, "message": told, "target": told});
    }
    whole(status, &body.to_string())
}

fn whole(status: &str, body: &str) -> String {
    let echo: String = body.chars().filter(|c| c.is_ascii() && !c.is_control()).take(4_000).collect();
    format!(
        "HTTP/1.1 {status} {}\r\nx-echo: {echo}\r\nlocation: /{}\r\ncontent-length: {}\r\n\r\n{body}",
        // The reason phrase is the server's to choose, too.
        &echo[..echo.len().min(200)],
        &echo[..echo.len().min(200)].replace(' ', "+"),
        body.len()
    )
}

async fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            let length: usize = length.unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return Some((head, String::from_utf8_lossy(&bytes[end + 4..]).into_owned()));
            }
        }
        let n = stream.read(&mut buffer).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&buffer[..n]);
    }
}
