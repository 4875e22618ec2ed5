//! Over real sockets, with a real client.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

fn client() -> reqwest::Client {
    // Several crates bring a TLS provider; whoever comes first installs it, later calls say so.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .retry(reqwest::retry::never())
        .timeout(Duration::from_secs(20))
        .build()
        .unwrap()
}

async fn start(faults: &[&str]) -> Simulator {
    let faults = FaultPlan::parse(faults).unwrap();
    Simulator::start(SimulatorConfig { faults, ..SimulatorConfig::default() }).await.unwrap()
}

fn message(id: &str) -> Value {
    let notification = json!({"send_date": "now", "content": "hi", "users": ["u"], "transactionId": id});
    json!({"request": {"auth": "token", "application": "APP", "notifications": [notification]}})
}

async fn push(client: &reqwest::Client, url: &str, id: &str) -> reqwest::Result<reqwest::Response> {
    let url = format!("{url}/json/1.3/createMessage");
    client.post(url).body(message(id).to_string()).send().await
}

fn outcomes(simulator: &Simulator) -> Vec<DeliveryOutcome> {
    simulator.ledger().iter().flat_map(|entry| entry.deliveries.iter().map(|d| d.outcome)).collect()
}

/// The text of an error and of all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[tokio::test]
async fn both_providers_answer_on_one_port() {
    let simulator = start(&[]).await;
    let client = client();
    let answer = push(&client, &simulator.url(), "a").await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap()["status_code"], 200);
    let url = format!("{}/v2/transaction/sendpush", simulator.url());
    let answer = client.post(url).body("{}").send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["status"], "Fail");
    let warm_up = client.head(simulator.url()).send().await.unwrap();
    assert_eq!(warm_up.status(), 404);
    let providers: Vec<Option<String>> = simulator.ledger().into_iter().map(|entry| entry.provider).collect();
    assert_eq!(providers, [Some("pushwoosh".into()), Some("moengage".into())]);
    simulator.stop().await;
}

#[tokio::test]
async fn resets_are_resets() {
    for (fault, outcome) in
        [("reset-before", DeliveryOutcome::NotReached), ("reset-after", DeliveryOutcome::Accepted)]
    {
        let simulator = start(&[fault]).await;
        let error = push(&client(), &simulator.url(), "a").await.unwrap_err();
        assert!(chain(&error).contains("reset"), "{fault}: {}", chain(&error));
        assert!(!error.is_connect() && !error.is_timeout(), "{fault}");
        assert_eq!(outcomes(&simulator), [outcome], "{fault}");
        assert_eq!(push(&client(), &simulator.url(), "b").await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn a_reset_hits_only_its_own_connection() {
    let simulator = start(&["hang-before", "reset-before"]).await;
    let url = simulator.url();
    let hanging = tokio::spawn(async move { push(&client(), &url, "a").await.map(|_| ()) });
    arrivals(&simulator, 1).await;
    push(&client(), &simulator.url(), "b").await.unwrap_err();
    assert!(!hanging.is_finished());
    hanging.abort();
}

async fn arrivals(simulator: &Simulator, n: usize) {
    until(|| simulator.ledger().len() >= n, "arrivals").await;
}

async fn until(condition: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn hangs_last_until_the_client_gives_up() {
    for (fault, outcome) in
        [("hang-before", DeliveryOutcome::NotReached), ("hang-after", DeliveryOutcome::Accepted)]
    {
        let simulator = start(&[fault]).await;
        let url = format!("{}/json/1.3/createMessage", simulator.url());
        let request = client().post(url).body(message("a").to_string());
        let error = request.timeout(Duration::from_millis(300)).send().await.unwrap_err();
        assert!(error.is_timeout() && !error.is_connect(), "{fault}: {}", chain(&error));
        assert_eq!(outcomes(&simulator), [outcome], "{fault}");
    }
}

#[tokio::test]
async fn a_cut_body_has_its_status_and_no_end() {
    let simulator = start(&["cut"]).await;
    let answer = push(&client(), &simulator.url(), "a").await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.content_length().unwrap() > 20);
    let error = answer.bytes().await.unwrap_err();
    assert!(error.is_body() || error.is_decode(), "{}", chain(&error));
    assert_eq!(outcomes(&simulator), [DeliveryOutcome::Accepted]);
}

#[tokio::test]
async fn garbage_is_no_json_under_200() {
    let simulator = start(&["garbage"]).await;
    let answer = push(&client(), &simulator.url(), "a").await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).is_err());
}

#[tokio::test]
async fn statuses_are_given_with_their_headers() {
    let simulator = start(&["429=30s", "503", "401", "500-after"]).await;
    let client = client();
    let mut found = Vec::new();
    for id in ["a", "b", "c", "d"] {
        let answer = push(&client, &simulator.url(), id).await.unwrap();
        let wait = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        found.push((answer.status().as_u16(), wait));
    }
    assert_eq!(found, [(429, Some("30".to_owned())), (503, None), (401, None), (500, None)]);
    assert_eq!(outcomes(&simulator)[2..], [DeliveryOutcome::NotReached, DeliveryOutcome::Accepted]);
}

#[tokio::test]
async fn latency_delays_the_answer_and_not_the_arrival() {
    let simulator = start(&["latency=400ms"]).await;
    let begin = Instant::now();
    push(&client(), &simulator.url(), "a").await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(400));
    let arrival = Duration::from_micros(simulator.ledger()[0].at_us);
    assert!(arrival + Duration::from_millis(400) <= simulator.shared.now());
}

#[tokio::test]
async fn refused_connections_are_refused_for_the_time_and_old_ones_reset() {
    let simulator = start(&["hang-before"]).await;
    let client = client();
    let url = simulator.url();
    let hanging = tokio::spawn(async move { push(&self::client(), &url, "a").await.map(|_| ()) });
    arrivals(&simulator, 1).await;
    simulator.refuse_connections(Duration::from_secs(60));
    let error = hanging.await.unwrap().unwrap_err();
    assert!(!error.is_timeout(), "{}", chain(&error));
    let error = push(&client, &simulator.url(), "b").await.unwrap_err();
    assert!(error.is_connect(), "{}", chain(&error));
    simulator.refuse_connections(Duration::ZERO);
    let deadline = Instant::now() + Duration::from_secs(10);
    while push(&client, &simulator.url(), "c").await.is_err() {
        assert!(Instant::now() < deadline, "it never came back");
    }
    assert_eq!(simulator.ledger().len(), 2, "what was refused did not arrive");
}

/// What a port's earlier connections leave behind for a minute must not keep it from being used again.
#[tokio::test]
async fn connections_can_be_refused_again_and_again() {
    let simulator = start(&[]).await;
    let client = client();
    for round in 0..3 {
        simulator.refuse_connections(Duration::from_millis(10));
        let url = format!("{}/json/1.3/createMessage", simulator.url());
        let deadline = Instant::now() + Duration::from_secs(10);
        // Then it is the simulator that ends the connection, and remembers it.
        let last = || client.post(&url).header("connection", "close").body(message("a").to_string()).send();
        while last().await.is_err() {
            assert!(Instant::now() < deadline, "it never came back, round {round}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_request_that_does_not_arrive_whole_is_not_in_the_ledger() {
    let simulator = start(&[]).await;
    let mut stream = TcpStream::connect(simulator.address()).await.unwrap();
    stream
        .write_all(
            b"POST /json/1.3/createMessage HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{\"request\":",
        )
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    // Reset or closed: either way there is no answer of status 200.
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
    push(&client(), &simulator.url(), "a").await.unwrap();
    assert_eq!(simulator.ledger().len(), 1);
}

#[tokio::test]
async fn stopping_frees_the_port_and_ends_what_hangs() {
    let simulator = start(&["hang-before"]).await;
    let (address, url) = (simulator.address(), simulator.url());
    let hanging = tokio::spawn(async move { push(&client(), &url, "a").await.map(|_| ()) });
    arrivals(&simulator, 1).await;
    simulator.stop().await;
    assert!(!hanging.await.unwrap().unwrap_err().is_timeout());
    let again = Simulator::start(SimulatorConfig { listen: address, ..SimulatorConfig::default() }).await;
    let again = again.unwrap();
    let taken = Simulator::start(SimulatorConfig { listen: address, ..SimulatorConfig::default() }).await;
    assert_eq!(taken.err().map(|error| error.kind()), Some(io::ErrorKind::AddrInUse));
    again.stop().await;
}

struct Control {
    client: reqwest::Client,
    base: String,
}

impl Control {
    async fn call(&self, method: Method, path: &str, body: &str) -> (u16, Value) {
        let url = format!("{}/_simulator/{path}", self.base);
        let answer = self.client.request(method, url).body(body.to_owned()).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }
}

#[tokio::test]
async fn everything_can_be_controlled_over_http() {
    let simulator = start(&[]).await;
    let control = Control { client: client(), base: simulator.url() };
    let faults = r#"{"faults":["pushwoosh:503*2","cut@0%"],"latency":"1ms..2ms"}"#;
    assert_eq!(control.call(Method::PUT, "faults", faults).await.0, 200);
    assert_eq!(push(&control.client, &control.base, "a").await.unwrap().status(), 503);
    let (_, left) = control.call(Method::GET, "faults", "").await;
    assert_eq!(left, json!({"faults": ["pushwoosh:503*1", "cut@0"], "latency": "1ms..2ms"}));
    control.call(Method::PUT, "faults", "{}").await;
    let limits = r#"{"pushwoosh":{"requests":2,"throttling":"body"},"moengage":{"requests":"unlimited"}}"#;
    let (status, limits) = control.call(Method::PUT, "limits", limits).await;
    assert_eq!(
        (status, &limits["pushwoosh"]["requests"], &limits["moengage"]["requests"]),
        (200, &json!(2), &json!("unlimited"))
    );
    for id in ["b", "b", "c"] {
        push(&control.client, &control.base, id).await.unwrap();
    }
    let (_, page) = control.call(Method::GET, "ledger?since=1&limit=2", "").await;
    assert_eq!((page["entries"].as_array().unwrap().len(), &page["next"]), (2, &json!(3)));
    assert_eq!(page["entries"][0]["deliveries"][0]["outcome"], "accepted");
    let (_, summary) = control.call(Method::GET, "summary", "").await;
    assert_eq!(
        (&summary["requests"], &summary["throttled"], &summary["accepted"]),
        (&json!(4), &json!(2), &json!(1))
    );
    assert_eq!(summary["accounts"][0]["most_in_window"], 4);
    assert_eq!(serde_json::from_value::<Summary>(summary).unwrap(), simulator.summary());
    control.call(Method::DELETE, "ledger", "").await;
    assert!(simulator.ledger().is_empty());
}

#[tokio::test]
async fn limits_of_several_windows_are_changed_over_http() {
    let simulator = start(&[]).await;
    let control = Control { client: client(), base: simulator.url() };
    let change =
        r#"{"moengage":{"pools":{"campaigns":"1/1s,2/1h"}},"pushwoosh":{"targeted_duplicate_window":"1h"}}"#;
    let (status, limits) = control.call(Method::PUT, "limits", change).await;
    assert_eq!((status, &limits["moengage"]["pools"]["campaigns"]), (200, &json!("1/1s,2/1h")));
    assert_eq!(limits["pushwoosh"]["targeted_duplicate_window"], "1h");
    let url = format!("{}/core-services/v1/campaigns/none", control.base);
    let mut statuses = Vec::new();
    for _ in 0..2 {
        let request = control.client.patch(&url).basic_auth("W", Some("key")).header("MOE-APPKEY", "W");
        let body = r#"{"request_id":"1","updated_by":"a@example.com"}"#;
        statuses.push(request.body(body).send().await.unwrap().status().as_u16());
    }
    assert_eq!(statuses[0], 404);
    let (_, summary) = control.call(Method::GET, "summary", "").await;
    let pools = &summary["accounts"][0]["pools"];
    assert_eq!(
        pools[1],
        json!({
            "pool": "campaigns", "most_in_window": 2, "window_seconds": 3600.0, "limit": 2,
        })
    );
    assert_eq!(serde_json::from_value::<Summary>(summary).unwrap(), simulator.summary());
}

#[tokio::test]
async fn a_message_is_scheduled_looked_at_and_deleted_over_http() {
    let simulator = start(&["pushwoosh/deleteMessage:503"]).await;
    let client = client();
    let call = async |operation: &str, mut request: Value| {
        request["auth"] = json!("token");
        let url = format!("{}/json/1.3/{operation}", simulator.url());
        let body = json!({"request": request}).to_string();
        let answer = client.post(url).body(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let scheduled = json!({"send_date": "2999-01-31 10:00", "content": "hi", "users": ["u"]});
    let (_, sent) = call("createMessage", json!({"application": "APP", "notifications": [scheduled]})).await;
    let about = || json!({"message": sent["response"]["Messages"][0]});
    let (_, details) = call("getMessageDetails", about()).await;
    assert_eq!(details["response"]["message"]["status"], "waiting");
    let created = details["response"]["message"]["created"].as_str().unwrap().replace(' ', "T") + "Z";
    let age = jiff::Timestamp::now().duration_since(created.parse().unwrap());
    assert!((0..60).contains(&age.as_secs()), "{details}");
    assert_eq!(call("deleteMessage", about()).await.0, 503);
    assert_eq!(
        call("deleteMessage", about()).await,
        (200, json!({"status_code": 200, "status_message": "OK"}))
    );
    assert_eq!(call("getMessageDetails", about()).await.1["status_code"], 210);
    let counts = simulator.summary().counts;
    assert_eq!((counts.accepted, counts.done, counts.refused, counts.counted), (1, 2, 1, 1));
}

#[tokio::test]
async fn control_answers_what_it_does_not_understand() {
    let simulator = start(&[]).await;
    let control = Control { client: client(), base: simulator.url() };
    for (method, path, body, status) in [
        (Method::GET, "nothing", "", 404),
        (Method::POST, "summary", "", 405),
        (Method::GET, "ledger?since=x", "", 400),
        (Method::GET, "ledger?from=1", "", 400),
        (Method::PUT, "faults", r#"{"fault":[]}"#, 422),
        (Method::PUT, "faults", r#"{"faults":["oops"]}"#, 422),
        (Method::PUT, "faults", r#"{"latency":"2s..1s"}"#, 422),
        (Method::PUT, "faults", r#"{"down":"soon"}"#, 422),
        (Method::PUT, "limits", r#"{"pushwoosh":{"requests":1},"nobody":{}}"#, 422),
        (Method::PUT, "limits", r#"{"moengage":{"pools":{"campaigns":"10"}}}"#, 422),
        (Method::PUT, "limits", r#"{"pushwoosh":{"requests":1,"pools":{"campaigns":"10/1s"}}}"#, 422),
    ] {
        let (found, value) = control.call(method, path, body).await;
        assert_eq!(found, status, "{path} {body}");
        assert!(value["error"].is_string(), "{value}");
    }
    assert_eq!(simulator.rules("pushwoosh").unwrap().requests, Some(600), "all or nothing");
}

#[tokio::test]
async fn going_down_over_http_is_answered_first() {
    let simulator = start(&[]).await;
    let control = Control { client: client(), base: simulator.url() };
    assert_eq!(control.call(Method::PUT, "faults", r#"{"down":"60s"}"#).await.0, 200);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !matches!(push(&client(), &control.base, "a").await, Err(error) if error.is_connect()) {
        assert!(Instant::now() < deadline, "it never went down");
    }
}
