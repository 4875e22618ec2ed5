use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use async_trait::async_trait;
use tokio::io::{AsyncWriteExt as _, BufReader};

use super::*;

/// A publisher that answers by script: what each account's messages meet, in order, then `Ok`.
#[derive(Default)]
struct Scripted {
    script: Mutex<BTreeMap<String, Vec<PublishError>>>,
    /// An account whose every message meets this.
    always: BTreeMap<&'static str, PublishError>,
    seen: Mutex<Vec<Outgoing>>,
    flying: Mutex<(usize, usize)>,
}

fn account(message: &Outgoing) -> String {
    match &message.destination {
        Destination::Jobs(account) => account.clone(),
        Destination::Place(_)
        | Destination::Delay(_)
        | Destination::Receipts { .. }
        | Destination::Reply { .. } => panic!("not a job: {:?}", message.destination),
    }
}

#[async_trait]
impl Publisher for Scripted {
    async fn publish(&self, message: Outgoing) -> Result<(), PublishError> {
        {
            let mut flying = self.flying.lock().unwrap();
            flying.0 += 1;
            flying.1 = flying.1.max(flying.0);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.flying.lock().unwrap().0 -= 1;
        let account = account(&message);
        self.seen.lock().unwrap().push(message);
        if let Some(error) = self.always.get(account.as_str()) {
            return Err(error.clone());
        }
        let mut script = self.script.lock().unwrap();
        let next =
            script.get_mut(&account).filter(|errors| !errors.is_empty()).map(|errors| errors.remove(0));
        next.map_or(Ok(()), Err)
    }
}

fn job(id: u32, account: &str) -> String {
    format!(r#"{{"transactionId":"t-{id}","account":"{account}","operation":"send","payload":{{}}}}"#)
}

fn options(check: bool) -> Options {
    Options { window: 4, timeout: Duration::from_secs(30), route: Route { check, account: None } }
}

async fn pumped(text: &str, publisher: &Scripted, options: &Options) -> Summary {
    let lines = Lines::new(BufReader::new(text.as_bytes()));
    let mut progress = Progress::Plain(Instant::now());
    pump(lines, publisher, options, &mut progress, std::future::pending()).await.unwrap()
}

fn unconfirmed() -> PublishError {
    PublishError::Unconfirmed("no connection".into())
}

#[tokio::test(start_paused = true)]
async fn lines_go_byte_for_byte_with_an_id_of_their_own() {
    let odd = r#" {"transactionId":"t-1", "account":"shop","operation":"send","payload":{"n":1.0}} "#;
    let publisher = Scripted::default();
    let summary = pumped(&format!("{odd}\r\n\n{}", job(2, "news")), &publisher, &options(true)).await;
    assert_eq!(summary, Summary { read: 2, published: 2, failed: 0, stopped_after_line: None });
    let seen = publisher.seen.lock().unwrap();
    assert_eq!((account(&seen[0]), account(&seen[1])), ("shop".into(), "news".into()));
    assert_eq!(seen[0].body, odd.as_bytes());
    let ids: BTreeSet<_> = seen.iter().map(|message| message.properties.message_id.clone()).collect();
    assert!(ids.len() == 2 && !ids.contains(&None), "{ids:?}");
    for message in seen.iter() {
        assert!(message.properties.timestamp.is_some());
        assert_eq!(message.properties.content_type.as_deref(), Some("application/json"));
    }
}

#[tokio::test(start_paused = true)]
async fn bad_lines_fail_and_the_others_go() {
    let long = "x".repeat(crate::job::MAX_JOB_BYTES + 1);
    let text = [&job(1, "shop"), "no json", &long, r#"{"account":"shop"}"#, &job(5, "gone"), &job(6, "shop")];
    let mut publisher = Scripted::default();
    publisher.always.insert("gone", PublishError::Unroutable);
    let summary = pumped(&text.join("\n"), &publisher, &options(true)).await;
    assert_eq!(summary, Summary { read: 6, published: 2, failed: 4, stopped_after_line: None });
    assert_eq!(publisher.seen.lock().unwrap().len(), 3, "an unroutable line is not tried again");
}

#[tokio::test(start_paused = true)]
async fn without_a_check_lines_go_as_they_are() {
    let text = ["no json", r#"{"account":"shop","unknown":1}"#].join("\n");
    let publisher = Scripted::default();
    let summary = pumped(&text, &publisher, &options(false)).await;
    assert_eq!((summary.published, summary.failed), (1, 1));
    let mut fallback = options(false);
    fallback.route.account = Some("news".into());
    let publisher = Scripted::default();
    let summary = pumped(&text, &publisher, &fallback).await;
    assert_eq!((summary.published, summary.failed), (2, 0));
    assert_eq!(account(&publisher.seen.lock().unwrap()[0]), "news");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_confirmed_is_published_again_under_the_same_id() {
    let publisher = Scripted::default();
    let errors = vec![unconfirmed(), PublishError::Refused, unconfirmed()];
    publisher.script.lock().unwrap().insert("shop".into(), errors);
    let summary = pumped(&job(1, "shop"), &publisher, &options(true)).await;
    assert_eq!((summary.published, summary.failed), (1, 0));
    let seen = publisher.seen.lock().unwrap();
    let ids: BTreeSet<_> = seen.iter().map(|message| message.properties.message_id.clone()).collect();
    assert_eq!((seen.len(), ids.len()), (4, 1));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_fails_its_own_lines_only() {
    let mut publisher = Scripted::default();
    publisher.always.insert("full", PublishError::Refused);
    let text: Vec<String> = (0..20).map(|n| job(n, if n % 2 == 0 { "full" } else { "shop" })).collect();
    let summary = pumped(&text.join("\n"), &publisher, &options(true)).await;
    assert_eq!(summary, Summary { read: 20, published: 10, failed: 10, stopped_after_line: None });
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_confirms_nothing_ends_the_reading() {
    let mut publisher = Scripted::default();
    publisher.always.insert("shop", unconfirmed());
    let text: Vec<String> = (0..1000).map(|n| job(n, "shop")).collect();
    let began = Instant::now();
    let summary = pumped(&text.join("\n"), &publisher, &options(true)).await;
    assert!(began.elapsed() < Duration::from_secs(35), "{:?}", began.elapsed());
    assert_eq!((summary.published, summary.failed), (0, summary.read));
    assert!(summary.stopped_after_line.is_some_and(|line| line <= 5), "{summary:?}");
    assert!(!summary.is_success());
}

#[tokio::test(start_paused = true)]
async fn no_more_than_the_window_is_under_way() {
    let publisher = Scripted::default();
    let text: Vec<String> = (0..50).map(|n| job(n, "shop")).collect();
    let summary = pumped(&text.join("\n"), &publisher, &options(true)).await;
    assert_eq!((summary.published, publisher.flying.lock().unwrap().1), (50, 4));
}

#[tokio::test(start_paused = true)]
async fn a_stop_awaits_what_is_under_way() {
    let publisher = Scripted::default();
    let (mut pipe, end) = tokio::io::duplex(1 << 16);
    pipe.write_all(format!("{}\n{}\n", job(1, "shop"), job(2, "shop")).as_bytes()).await.unwrap();
    let lines = Lines::new(BufReader::new(end));
    let stop = tokio::time::sleep(Duration::from_millis(5));
    let mut progress = Progress::Plain(Instant::now());
    let summary = pump(lines, &publisher, &options(true), &mut progress, stop).await.unwrap();
    assert_eq!(summary, Summary { read: 2, published: 2, failed: 0, stopped_after_line: Some(2) });
    assert!(summary.as_text().contains("stopped after line 2"));
    assert!(!summary.is_success());
}
