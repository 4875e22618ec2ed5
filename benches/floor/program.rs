//! The floors: the least programs that do a worker's work, by the same libraries.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use redis::aio::MultiplexedConnection;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// As many as a worker takes from a job queue by default.
const PREFETCH: u16 = 256;

/// As long as a worker's claims last by default, roughly.
const LEASE_MS: u64 = 60_000;
const DEDUPE_MS: u64 = 7 * 24 * 3_600 * 1_000;

/// How much of a worker's work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Floor {
    /// Consume, POST, ack.
    A,
    /// The same with a claim and a completion in the store.
    B,
    /// The same with a confirmed receipt.
    C,
}

/// The variable that makes this program a floor.
pub const FLOOR: &str = "PACELINE_BENCH_FLOOR";

impl Floor {
    /// The one that this process is to be.
    pub fn asked_for() -> Option<Self> {
        match std::env::var(FLOOR).ok()?.as_str() {
            "a" => Some(Self::A),
            "b" => Some(Self::B),
            "c" => Some(Self::C),
            other => panic!("{FLOOR}={other}"),
        }
    }

    /// Its letter.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::C => "c",
        }
    }
}

/// Where it works, told by variables.
struct Floors {
    floor: Floor,
    channel: Channel,
    receipts: String,
    store: MultiplexedConnection,
    http: reqwest::Client,
    provider: String,
}

fn told(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is set by the measurement"))
}

/// Works until it is killed.
pub async fn run(floor: Floor) {
    // As every program with rustls below it has to.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let connection = Connection::connect(&told("FLOOR_BROKER"), ConnectionProperties::default())
        .await
        .expect("the broker");
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.expect("a prefetch");
    let store = redis::Client::open(told("FLOOR_STORE")).expect("an address");
    let floors = Arc::new(Floors {
        floor,
        channel: channel.clone(),
        receipts: told("FLOOR_RECEIPTS"),
        store: store.get_multiplexed_async_connection().await.expect("the store"),
        http: reqwest::Client::builder().http1_only().tcp_nodelay(true).no_proxy().build().expect("a client"),
        provider: format!("{}/json/1.3/createMessage", told("FLOOR_PROVIDER")),
    });
    let mut consumer = channel
        .basic_consume(
            told("FLOOR_QUEUE").as_str().into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("a consumer");
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery.expect("a delivery");
        tokio::spawn(work(floors.clone(), delivery));
    }
}

#[derive(Deserialize)]
struct Job<'a> {
    #[serde(rename = "transactionId")]
    id: &'a str,
    #[serde(borrow)]
    payload: Payload<'a>,
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    notifications: Vec<&'a RawValue>,
}

async fn work(floors: Arc<Floors>, delivery: Delivery) {
    let job: Job<'_> = serde_json::from_slice(&delivery.data).expect("a job");
    let key = format!("floor:{}", job.id);
    let keeps_claims = floors.floor != Floor::A;
    let mut store = floors.store.clone();
    if keeps_claims {
        let _: () = redis::cmd("SET")
            .arg(&key)
            .arg("sending")
            .arg("NX")
            .arg("PX")
            .arg(LEASE_MS)
            .query_async(&mut store)
            .await
            .expect("a claim");
    }
    post(&floors, &job).await;
    if keeps_claims {
        let _: () = redis::cmd("SET")
            .arg(&key)
            .arg("delivered")
            .arg("PX")
            .arg(DEDUPE_MS)
            .query_async(&mut store)
            .await
            .expect("a completion");
    }
    if floors.floor == Floor::C {
        tell(&floors, &job).await;
    }
    delivery.acker.ack(BasicAckOptions::default()).await.expect("an ack");
}

async fn post(floors: &Floors, job: &Job<'_>) {
    // The id goes into the notification, as the provider wants it.
    let notification = job.payload.notifications[0].get();
    let opened = notification.trim_end().strip_suffix('}').expect("an object");
    let body = format!(
        r#"{{"request":{{"auth":"token","application":"XXXXX-XXXXX","notifications":[{opened},"transactionId":"{}"}}]}}}}"#,
        job.id
    );
    let answer = floors
        .http
        .post(&floors.provider)
        .header("content-type", "application/json")
        .timeout(Duration::from_secs(30))
        .body(body)
        .send()
        .await
        .expect("an answer");
    assert!(answer.status().is_success());
    answer.bytes().await.expect("its body");
}

async fn tell(floors: &Floors, job: &Job<'_>) {
    let now = jiff::Timestamp::now().to_string();
    let receipt = json!({
        "transactionId": job.id, "jobId": job.id, "account": "shop", "operation": "createMessage",
        "status": "delivered", "reason": null, "detail": null, "attempts": 1,
        "messageCode": "AAAA-AAAAAAAA-AAAAAAAA", "unknownDevices": null, "response": null,
        "publishedAt": now, "settledAt": now, "meta": null,
    });
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/json".into())
        .with_message_id(format!("shop:{}", job.id).into());
    let confirmed = floors
        .channel
        .basic_publish(
            floors.receipts.as_str().into(),
            "shop.createMessage.delivered".into(),
            BasicPublishOptions::default(),
            receipt.to_string().as_bytes(),
            properties,
        )
        .await
        .expect("a publish")
        .await
        .expect("a confirm");
    assert!(matches!(confirmed, Confirmation::Ack(None)), "{confirmed:?}");
}
