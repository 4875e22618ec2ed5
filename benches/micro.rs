//! What each pure step of a job's way costs: `cargo bench --bench micro`.
//!
//! Each with what it should cost, said beside it: an order of magnitude for one job of about 600 bytes on one
//! processor of a small machine. A step that costs ten times as much has grown by accident.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use divan::{Bencher, counter::BytesCount};
use jiff::Timestamp;
use paceline::config::{Config, Environment, Weights, load_text};
use paceline::job::{AccountName, Delivery, DeliveryId, Job, TransactionId};
use paceline::pipeline::classify;
use paceline::pipeline::decode::{decode_body, encode};
use paceline::pipeline::envelope::Envelope;
use paceline::pipeline::permit::{Lane, Lanes, Waiting};
use paceline::pipeline::settle::{self, Ending, Subject};
use paceline::ports::{Chance, Place, Properties, WireAnswer};
use paceline::providers::pushwoosh::filter;
use paceline::providers::{ALL, Gateway};
use paceline::verdict::Acceptance;
use serde_json::{Value, json};

fn main() {
    divan::main();
}

struct Always;

impl Chance for Always {
    fn unit(&self) -> f64 {
        0.5
    }

    fn unique(&self) -> String {
        "0b5b9a4e-5d0c-4b3e-9d51-1f2f3a4b5c6d".to_owned()
    }
}

fn config() -> Config {
    let text = r#"
[accounts.shop]
provider = "pushwoosh"
api_token = { env = "TOKEN" }
application = "XXXXX-XXXXX"
"#;
    load_text(text, None, &Environment::of([("TOKEN", "any")]), &ALL).expect("a configuration").config
}

fn gateway() -> Arc<dyn Gateway> {
    config().accounts.values().next().expect("an account").gateway.clone()
}

fn account() -> AccountName {
    AccountName::new("shop").expect("a name")
}

/// A job with so many notifications, each for so many devices.
fn body(notifications: usize, devices: usize) -> Vec<u8> {
    let devices: Vec<String> = (0..devices).map(|n| format!("{n:064}")).collect();
    let notification = json!({
        "send_date": "now", "content": "Your parcel is on its way and comes today.", "devices": devices,
        "title": "Your order", "data": {"order": "A-1047", "screen": "order/status"},
    });
    let job = json!({
        "transactionId": "order-1047-shipped", "account": "shop", "operation": "createMessage", "priority": "high",
        "payload": {"notifications": vec![notification; notifications]},
    });
    job.to_string().into_bytes()
}

fn job(notifications: usize, devices: usize) -> Job {
    decode_body(&body(notifications, devices)).expect("a job")
}

fn delivery() -> Delivery {
    gateway().plan(&job(1, 3)).expect("a plan").remove(0).expect("a delivery")
}

fn properties() -> Properties {
    Properties {
        message_id: Some("0b5b9a4e-5d0c-4b3e-9d51-1f2f3a4b5c6d".to_owned()),
        ..Properties::default()
    }
}

fn envelope() -> Envelope {
    Envelope::read(&properties(), Timestamp::UNIX_EPOCH, &Always)
}

/// By the byte: some 2 to 5 µs for a job of one notification and three devices.
#[divan::bench(args = [(1, 3), (1, 1_000), (1_000, 3)])]
fn decode(bencher: Bencher<'_, '_>, (notifications, devices): (usize, usize)) {
    let body = body(notifications, devices);
    bencher.counter(BytesCount::of_slice(&body)).bench(|| decode_body(black_box(&body)));
}

/// A fraction of decoding, since nothing is copied but the text: what a lane or a delay queue is given.
#[divan::bench]
fn write_again(bencher: Bencher<'_, '_>) {
    let job = job(1, 3);
    bencher.bench(|| encode(black_box(&job)));
}

/// Rules of the operation and the split into deliveries: about twice as much as decoding.
#[divan::bench(args = [(1, 3), (1, 1_000), (1_000, 3)])]
fn validate_and_plan(bencher: Bencher<'_, '_>, (notifications, devices): (usize, usize)) {
    let (gateway, job) = (gateway(), job(notifications, devices));
    bencher.bench(|| gateway.plan(black_box(&job)));
}

/// Under a microsecond: some comparisons.
#[divan::bench]
fn classify_route(bencher: Bencher<'_, '_>) {
    let (delivery, envelope, from) = (delivery(), envelope(), Place::Jobs(account()));
    bencher.bench(|| classify::route(black_box(&delivery), &envelope, &from, 1, Timestamp::UNIX_EPOCH));
}

/// Under a microsecond: a few header lookups, an id copied.
#[divan::bench]
fn read_envelope(bencher: Bencher<'_, '_>) {
    let properties = properties();
    bencher.bench(|| Envelope::read(black_box(&properties), Timestamp::UNIX_EPOCH, &Always));
}

/// One copy of its members and one text: less than decoding.
#[divan::bench]
fn build_request(bencher: Bencher<'_, '_>) {
    let (gateway, delivery) = (gateway(), delivery());
    bencher.bench(|| gateway.request(black_box(&[&delivery])));
}

/// A small JSON text read: one or two microseconds.
#[divan::bench]
fn judge_answer(bencher: Bencher<'_, '_>) {
    let (gateway, delivery) = (gateway(), delivery());
    let body =
        br#"{"status_code":200,"status_message":"OK","response":{"Messages":["AAAA-AAAAAAAA-AAAAAAAA"]}}"#;
    let answer = WireAnswer::Response { status: 200, headers: Vec::new(), body: Bytes::from_static(body) };
    bencher.bench(|| gateway.verdict(black_box(&[&delivery]), &answer, false));
}

/// Two texts of times, one of a receipt: about a microsecond.
#[divan::bench]
fn write_receipt(bencher: Bencher<'_, '_>) {
    let (delivery, envelope, account) = (delivery(), envelope(), account());
    let subject = Subject {
        account: &account,
        operation: Some("createMessage"),
        id: Some(&delivery.id),
        job_id: Some(&delivery.job.transaction_id),
        envelope: &envelope,
        meta: None,
    };
    let accepted =
        Acceptance { message_code: Some("AAAA-AAAAAAAA-AAAAAAAA".to_owned()), ..Acceptance::default() };
    let outcome = Ending::delivered(1, accepted).at(Timestamp::UNIX_EPOCH);
    bencher.bench(|| settle::receipts(black_box(&subject), &outcome));
}

/// By the character: less than a microsecond for a condition.
#[divan::bench(args = [1, 50])]
fn parse_filter(bencher: Bencher<'_, '_>, conditions: usize) {
    let one = r#"T("City", EQ, "Berlin") + T("Level", GTE, 5)"#;
    let text = vec![format!("({one})"); conditions].join(" * ");
    filter::parse(&text).expect("a filter");
    bencher.counter(BytesCount::of_str(&text)).bench(|| filter::parse(black_box(&text)));
}

/// What stands in a lane.
struct Standing {
    account: AccountName,
    id: DeliveryId,
    batch: Arc<str>,
}

impl Waiting for Standing {
    fn account(&self) -> &AccountName {
        &self.account
    }

    fn id(&self) -> &DeliveryId {
        &self.id
    }

    fn batch(&self) -> Option<&Arc<str>> {
        Some(&self.batch)
    }

    fn bytes(&self) -> usize {
        600
    }
}

/// What a permit carries, chosen from a full lane: by the delivery carried, about a hundred nanoseconds.
#[divan::bench(args = [1, 100])]
fn fill_permit(bencher: Bencher<'_, '_>, carried: usize) {
    let weights = Weights { lower_every: 10, normal_per_low: 4 };
    let batch: Arc<str> = "envelope".into();
    let standing = |n: usize| Standing {
        account: account(),
        id: (&TransactionId::new(&format!("job-{n}")).expect("an id")).into(),
        batch: batch.clone(),
    };
    bencher
        .with_inputs(|| {
            let mut lanes = Lanes::new(weights);
            (0..carried.max(2)).for_each(|n| lanes.push(Lane::Normal, standing(n)));
            lanes
        })
        .bench_refs(|lanes| lanes.pick(|_| true, |_| carried));
}

/// The least there is to compare with: the same body as a tree of JSON values, and nothing checked.
#[divan::bench]
fn floor_read_json(bencher: Bencher<'_, '_>) {
    let body = body(1, 3);
    bencher.bench(|| serde_json::from_slice::<Value>(black_box(&body)));
}
