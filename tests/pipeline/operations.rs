//! Each operation from publish to receipt.

use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use paceline::ports::Properties;
use paceline::simulator::{FaultPlan, Rules};
use serde_json::{Value, json};

use crate::support::jobs::{counted_job, exempt_job, notification, properties, user_job};
use crate::support::world::{Options, World, eventually};

fn job(account: &str, operation: &str, id: &str, payload: Value) -> Value {
    json!({"transactionId": id, "account": account, "operation": operation, "payload": payload})
}

/// A world with a worker.
async fn working() -> World {
    let mut world = World::new().await;
    world.start_worker().await;
    world
}

/// Publishes one job and waits for the receipt of its only delivery.
async fn outcome(world: &mut World, job: Value) -> Value {
    let id = job["transactionId"].as_str().unwrap().to_owned();
    world.publish(&[job]).await;
    world.settle().await;
    let receipts = world.receipts_of(&id);
    assert_eq!(receipts.len(), 1, "{id}\n{}", world.logs());
    receipts[0].clone()
}

async fn delivered(world: &mut World, job: Value) -> Value {
    let receipt = outcome(world, job).await;
    assert_eq!(receipt["status"], "delivered", "{receipt}");
    receipt
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// A message that waits at the provider until 2099; its code.
async fn scheduled(world: &mut World, id: &str) -> String {
    let later = notification("Happy New Year", json!({"users": ["u"], "send_date": "2098-12-31 23:00"}));
    let receipt = delivered(world, job("shop", "createMessage", id, json!({"notifications": [later]}))).await;
    text(&receipt["messageCode"]).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
pub async fn create_message_tells_unknown_devices_and_that_there_is_no_code() {
    let mut world = working().await;
    let few = notification("Your code is 123456", json!({"devices": ["known-1", "unknown-1"]}));
    let receipt =
        delivered(&mut world, job("shop", "createMessage", "few", json!({"notifications": [few]}))).await;
    assert_eq!(receipt["messageCode"], "CODE_NOT_AVAILABLE");
    assert_eq!(receipt["unknownDevices"], json!(["unknown-1"]));
    assert_eq!(receipt["attempts"], 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn create_targeted_message_shares_the_limit_and_is_sent_once() {
    let mut world = working().await;
    let payload = json!({
        "devices_filter": "A(\"XXXXX-XXXXX\", [\"iOS\", \"Android\"]) * T(\"Age\", GTE, 18)",
        "send_date": "now", "content": "Hi",
    });
    let first =
        delivered(&mut world, job("shop", "createTargetedMessage", "targeted", payload.clone())).await;
    assert!(first["messageCode"].is_string(), "{first}");
    world.publish(&[job("shop", "createTargetedMessage", "targeted", payload.clone())]).await;
    let mut broken = payload;
    broken["devices_filter"] = "A(\"XXXXX-XXXXX\" + ".into();
    world.publish(&[job("shop", "createTargetedMessage", "broken", broken)]).await;
    world.settle().await;
    assert_eq!(world.count("duplicate"), 1);
    let refused = world.receipts_of("broken")[0];
    assert_eq!((&refused["status"], &refused["reason"]), (&json!("dead"), &json!("invalid")));
    assert!(text(&refused["detail"]).contains("/payload/devices_filter"), "{refused}");
    let ledger = world.provider.ledger();
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert!(ledger[0].counted && ledger[0].operation == "createTargetedMessage", "{ledger:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn delete_message_takes_away_what_is_scheduled_and_nothing_else() {
    let mut world = working().await;
    let code = scheduled(&mut world, "new-year").await;
    let delete = |id: &str| job("shop", "deleteMessage", id, json!({"message": code}));
    let gone = delivered(&mut world, delete("delete-1")).await;
    assert_eq!(gone["messageCode"], code.as_str());
    let again = outcome(&mut world, delete("delete-2")).await;
    assert_eq!((&again["status"], &again["reason"]), (&json!("dead"), &json!("rejected")), "{again}");
    assert!(text(&again["detail"]).len() > 5, "{again}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn cancel_message_stops_what_is_not_finished() {
    let mut world = working().await;
    let code = scheduled(&mut world, "new-year").await;
    let cancelled =
        delivered(&mut world, job("shop", "cancelMessage", "cancel", json!({"message": code}))).await;
    assert_eq!(cancelled["messageCode"], code.as_str());
    let counted = world.provider.ledger().iter().filter(|entry| entry.counted).count();
    assert_eq!(counted, 1, "only createMessage uses up the limit");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn get_message_details_puts_the_answer_into_the_receipt_and_the_reply() {
    let mut world = working().await;
    let code = scheduled(&mut world, "new-year").await;
    let connection =
        lapin::Connection::connect(&world.broker().url(), lapin::ConnectionProperties::default())
            .await
            .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = format!("details-of-{}", world.prefix());
    let options = QueueDeclareOptions::default();
    channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await.unwrap();
    let body = job("shop", "getMessageDetails", "details", json!({"message": code})).to_string();
    let reply = Properties { reply_to: Some(queue.clone()), ..properties() };
    world.publish_raw("shop", body.as_bytes(), reply, 1).await.unwrap();
    world.settle().await;

    let receipt = world.receipts_of("details")[0];
    assert_eq!(receipt["status"], "delivered", "{receipt}");
    let message = &receipt["response"]["response"]["message"];
    assert_eq!(
        (&message["code"], &message["content"]["default"]),
        (&json!(code), &json!("Happy New Year")),
        "{receipt}"
    );
    let got =
        channel.basic_get(queue.as_str().into(), BasicGetOptions { no_ack: true }).await.unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&got.data).unwrap(), *receipt);
    assert!(kept_of(&world, "details").await < 600, "the answer is not kept once it is told");
    world.finish().await;
}

/// How many bytes the store keeps of an ended delivery of the account shop.
async fn kept_of(world: &World, id: &str) -> usize {
    let mut connection = world.redis.connection().await;
    let keys: Vec<String> =
        ::redis::cmd("KEYS").arg(format!("*:c:*{id}")).query_async(&mut connection).await.unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    ::redis::cmd("STRLEN").arg(&keys[0]).query_async(&mut connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
pub async fn get_push_history_is_read_page_by_page() {
    let mut world = working().await;
    for n in 0..12 {
        scheduled(&mut world, &format!("m-{n}")).await;
    }
    let first =
        delivered(&mut world, job("shop", "getPushHistory", "page-1", json!({"limitMessages": 10}))).await;
    let rows = first["response"]["response"]["rows"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 10);
    let last = rows[9]["id"].clone();
    let next = json!({"limitMessages": 10, "lastNotificationID": last});
    let second = delivered(&mut world, job("shop", "getPushHistory", "page-2", next)).await;
    assert_eq!(second["response"]["response"]["rows"].as_array().unwrap().len(), 2, "{second}");
    world.finish().await;
}

/// A push to everybody, which makes a campaign; the campaign's id.
async fn campaign(world: &mut World, id: &str) -> String {
    let mut push = user_job(id);
    push["payload"]["targetAudience"] = "All Users".into();
    push["payload"].as_object_mut().unwrap().remove("targetUserAttributes");
    let receipt = delivered(world, push).await;
    text(&receipt["response"]["cid"]).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
pub async fn campaigns_are_made_updated_and_found() {
    let mut world = working().await;
    let mut later = user_job("later");
    later["payload"]["targetAudience"] = "All Users".into();
    later["payload"].as_object_mut().unwrap().remove("targetUserAttributes");
    later["payload"]["campaignDelivery"] =
        json!({"type": "later", "date": "12/31/2098", "time": "08:00 AM", "timezone": "Europe/Berlin"});
    let id = text(&delivered(&mut world, later).await["response"]["cid"]).to_owned();
    campaign(&mut world, "other").await;
    let update = json!({
        "campaign_id": id, "request_id": "r-1", "updated_by": "on-call@news.example",
        "basic_details": {"name": "Renamed"},
    });
    let updated = delivered(&mut world, job("news", "updateCampaign", "update", update.clone())).await;
    assert_eq!(updated["messageCode"], id.as_str());
    let search = json!({"request_id": "r-2", "limit": 15, "page": 1, "campaign_fields": {"id": id}});
    let found = delivered(&mut world, job("news", "searchCampaigns", "search", search)).await;
    let list = found["response"].as_array().unwrap();
    assert_eq!(list.len(), 1, "{found}");
    assert_eq!(list[0]["basic_details"]["name"], "Renamed", "{found}");
    let mut unknown = update;
    unknown["campaign_id"] = "no/such campaign".into();
    let refused = outcome(&mut world, job("news", "updateCampaign", "unknown", unknown)).await;
    assert_eq!((&refused["status"], &refused["reason"]), (&json!("dead"), &json!("rejected")), "{refused}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_backlog_of_campaign_calls_holds_up_no_push() {
    // A worker holds fewer messages of a queue than there are campaign calls.
    let env = &[("PACELINE__WORKER__LANE_PREFETCH", "10")];
    let mut world = World::with(Options { env, ..Options::default() }).await;
    world.start_worker().await;
    let search = |n: usize| {
        let payload = json!({"request_id": format!("r-{n}"), "limit": 1, "page": 1});
        job("news", "searchCampaigns", &format!("search-{n}"), payload)
    };
    let backlog: Vec<Value> = (0..30).map(search).collect();
    world.publish(&backlog).await;
    world.wait_for_ends(1).await;
    let pushes: Vec<Value> = (0..20).map(|n| user_job(&format!("push-{n}"))).collect();
    world.publish(&pushes).await;
    let of = |world: &World, operation: &str| {
        world.receipts().iter().filter(|receipt| receipt["operation"] == operation).count()
    };
    while of(&world, "sendPush") < 20 {
        let told = world.receipts().len();
        world.wait_for_ends(told + 1).await;
    }
    let searched = of(&world, "searchCampaigns");
    assert!(searched < 15, "{searched} of 30 campaign calls were made before 20 pushes");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_refused_campaign_key_pauses_campaign_calls_and_no_push() {
    let more = "[circuit]\ncredentials_pause = \"2s\"";
    let mut world = World::with(Options { more, ..Options::default() }).await;
    let worker = world.start_worker().await;
    let documented = world.provider.rules("moengage").unwrap();
    let strict =
        Rules { campaign_credentials: Some(vec!["DEMO01_DEBUG:another-key".into()]), ..documented.clone() };
    world.provider.set_rules("moengage", strict).unwrap();
    let search = json!({"request_id": "r-1", "limit": 1, "page": 1});
    world.publish(&[job("news", "searchCampaigns", "search", search)]).await;
    let paused = "paceline_account_paused{account=\"news\",cause=\"credentials\"} 1";
    eventually("the campaign calls are paused", || async {
        world.admin(worker, "/metrics").await.1.contains(paused)
    })
    .await;
    for n in 0..3 {
        delivered_among(&mut world, user_job(&format!("push-{n}"))).await;
    }
    assert!(world.receipts_of("search").is_empty(), "nothing is dead-lettered for it");
    world.provider.set_rules("moengage", documented).unwrap();
    world.settle().await;
    assert_eq!(world.receipts_of("search")[0]["status"], "delivered");
    world.finish().await;
}

/// Publishes a job and waits for its end while others are still open.
async fn delivered_among(world: &mut World, job: Value) {
    let id = job["transactionId"].as_str().unwrap().to_owned();
    world.publish(&[job]).await;
    let told = world.receipts().len();
    world.wait_for_ends(told + 1).await;
    assert_eq!(world.receipts_of(&id)[0]["status"], "delivered", "{}", world.logs());
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_look_up_that_the_provider_refuses_or_throttles_holds_up_no_push() {
    let more = "[circuit]\ncredentials_pause = \"2s\"";
    let mut world = World::with(Options { more, ..Options::default() }).await;
    let worker = world.start_worker().await;
    let history = |id: &str| job("shop", "getPushHistory", id, json!({"limitMessages": 10}));
    for (fault, cause) in [("401@1", "credentials"), ("429=20s@1", "throttled")] {
        world.provider.set_faults(FaultPlan::parse(&[&format!("pushwoosh/getPushHistory:{fault}")]).unwrap());
        world.publish(&[history(cause)]).await;
        let paused = format!("paceline_account_paused{{account=\"shop\",cause=\"{cause}\"}} 1");
        eventually("the look-ups are paused", || async {
            world.admin(worker, "/metrics").await.1.contains(&paused)
        })
        .await;
        let before = std::time::Instant::now();
        delivered_among(&mut world, exempt_job(&format!("otp-{cause}"))).await;
        delivered_among(&mut world, counted_job(&format!("counted-{cause}"), "high")).await;
        assert!(world.receipts_of(cause).is_empty(), "the look-up waits");
        assert!(before.elapsed() < std::time::Duration::from_secs(15), "{:?}", before.elapsed());
        world.provider.set_faults(FaultPlan::default());
    }
    world.settle().await;
    let (_, metrics) = world.admin(worker, "/metrics").await;
    let counted = "operation=\"getPushHistory\",class=\"counted\"";
    assert!(!metrics.contains(counted), "a look-up uses up no limit:\n{metrics}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn what_was_read_is_told_once_with_its_answer_although_its_message_comes_twice() {
    let mut world = working().await;
    let body = job("shop", "getPushHistory", "twice", json!({"limitMessages": 10})).to_string();
    let properties = properties();
    for ends in [1, 0] {
        world.publish_raw("shop", body.as_bytes(), properties.clone(), ends).await.unwrap();
        world.settle().await;
    }
    let receipts = world.receipts_of("twice");
    assert_eq!(receipts.len(), 1);
    assert!(receipts[0]["response"]["response"]["rows"].is_array(), "{}", receipts[0]);
    assert_eq!(world.provider.ledger().len(), 1, "read once");
    world.finish().await;
}
