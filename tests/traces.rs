//! Traces, from a producer's message to a collector, with a real worker in between: built with the
//! feature `otlp`, so apart from the suite.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use paceline::ports::Properties;
use paceline::simulator::faults::FaultPlan;
use serde_json::{Value, json};

#[path = "traces/listener.rs"]
mod listener;
#[path = "traces/spans.rs"]
mod spans;
#[allow(dead_code, unused_imports, reason = "the suite uses all of it, these tests only some")]
mod support;

use listener::{Listener, Manner};
use spans::{attempts, attribute, below, parent_text, pointed_to};
use support::jobs::{counted_job, exempt_job, properties, user_job};
use support::world::{CAMPAIGN_KEY, Options, PUSH_KEY, TOKEN, World, eventually};

/// A credential of the collector.
const COLLECTORS: &str = "collector-key-that-nobody-may-see";
/// How long workers wait for the collector: longer than any test waits for them.
const PATIENCE: Duration = Duration::from_secs(240);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PRODUCER: &str = "b7ad6b7169203331";

fn producers() -> String {
    format!("00-{TRACE}-{PRODUCER}-01")
}

fn with_servers() -> Options {
    Options { embedded: false, ..Options::default() }
}

/// A world whose workers send their spans to `collector`, and whose requests pass by the listener.
async fn traced(options: Options, collector: &str) -> (World, Listener) {
    let mut world = World::with(options).await;
    let provider = Listener::start(Manner::PassesOn(world.provider.url())).await;
    world.set_environment(vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.to_owned().leak()),
        ("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer%20{COLLECTORS}").leak()),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", PATIENCE.as_millis().to_string().leak()),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("PACELINE__ACCOUNTS__SHOP__BASE_URL", provider.url().leak()),
        ("PACELINE__ACCOUNTS__NEWS__BASE_URL", provider.url().leak()),
    ]);
    (world, provider)
}

fn with_trace(headers: &[(&str, &str)]) -> Properties {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Properties { headers: headers.collect(), ..properties() }
}

async fn publish(world: &mut World, job: &Value, properties: Properties) {
    let account = job["account"].as_str().expect("an account").to_owned();
    world.publish_raw(&account, job.to_string().as_bytes(), properties, 1).await.expect("confirmed");
}

/// The `traceparent` of each receipt that comes to a queue, by delivery.
async fn traces_of_receipts(world: &World, queue: &str, receipts: usize) -> Vec<(String, Option<String>)> {
    let url = world.broker().url();
    let connection = lapin::Connection::connect(&url, Default::default()).await.expect("the broker is up");
    let channel = connection.create_channel().await.expect("a channel");
    let (options, none) = (BasicConsumeOptions { no_ack: true, ..Default::default() }, FieldTable::default());
    let mut receiving = channel.basic_consume(queue.into(), "".into(), options, none).await.expect("a queue");
    let mut found = Vec::new();
    while found.len() < receipts {
        let receipt = receiving.next().await.expect("the broker is up").expect("a receipt");
        let body: Value = serde_json::from_slice(&receipt.data).expect("JSON");
        let headers = receipt.properties.headers().clone().unwrap_or_default();
        let trace = headers.inner().get("traceparent").map(|value| match value {
            AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
            other => panic!("{other:?}"),
        });
        found.push((body["transactionId"].as_str().expect("an id").to_owned(), trace));
    }
    found
}

async fn led_to(world: &World, queue: &str) {
    let connection = lapin::Connection::connect(&world.broker().url(), Default::default()).await;
    let channel = connection.expect("the broker is up").create_channel().await.expect("a channel");
    let options = QueueDeclareOptions::durable();
    let declared = channel.queue_declare(queue.into(), options, FieldTable::default()).await;
    declared.expect("a queue");
    world.bind_to_receipts(&channel, queue).await;
}

/// Ends the worker and gives the spans that the collector has then.
async fn all_spans(world: &mut World, collector: &Listener) -> Vec<Span> {
    world.settle().await;
    let (status, _) = world.drain_worker(0).await;
    assert!(status.success(), "{status}\n{}", world.logs());
    spans::of(collector)
}

fn assert_nothing_secret_left(world: &World, collector: &Listener) {
    let logs = world.whole_logs();
    assert!(!logs.contains(COLLECTORS), "a log holds the collector's credential");
    for seen in collector.seen() {
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {COLLECTORS}").as_str()));
        let bytes = String::from_utf8_lossy(&seen.body).into_owned();
        for secret in [TOKEN, PUSH_KEY, CAMPAIGN_KEY, COLLECTORS, "device-", "user-", "text of"] {
            assert!(!bytes.contains(secret), "{secret:?} was exported");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_on_from_the_message_to_the_request_and_a_retry_points_to_the_attempt_before() {
    let collector = Listener::start(Manner::Takes).await;
    let (mut world, provider) = traced(with_servers(), &collector.url()).await;
    let queue = format!("traces-of-{}", world.prefix());
    led_to(&world, &queue).await;
    world.provider.set_faults(FaultPlan::parse(&["503*1"]).expect("a plan"));
    world.start_worker().await;
    let mut job = exempt_job("traced");
    job["payload"]["notifications"][0]["content"] = json!("text of a message");
    let named = with_trace(&[
        ("traceparent", &producers()),
        ("tracestate", "a=1,b=2"),
        // Not a producer's to say.
        ("paceline-attempt-trace", &producers()),
    ]);
    let message_id = named.message_id.clone();
    publish(&mut world, &job, named).await;
    let spans = all_spans(&mut world, &collector).await;

    let tried = attempts(&spans, "traced");
    assert_eq!((tried.len(), spans.len()), (2, 4), "{spans:#?}");
    let prefix = world.prefix();
    // An exempt delivery is sent from, and goes back to, the account's jobs.
    let jobs = format!("{prefix}.jobs:shop:{prefix}.jobs.shop");
    for (index, attempt) in tried.iter().enumerate() {
        assert_eq!(hex::encode(&attempt.trace_id), TRACE);
        assert_eq!(hex::encode(&attempt.parent_span_id), PRODUCER);
        assert_eq!(
            (attempt.name.as_str(), attempt.kind()),
            (format!("process {jobs}").as_str(), SpanKind::Consumer)
        );
        for (name, value) in [
            ("messaging.system", "rabbitmq"),
            ("messaging.destination.name", jobs.as_str()),
            ("messaging.operation.name", "process"),
            ("messaging.operation.type", "process"),
            ("messaging.message.id", message_id.as_deref().expect("an id")),
            ("paceline.account", "shop"),
            ("paceline.operation", "createMessage"),
            ("paceline.job.id", "traced"),
            ("paceline.attempt", ["1", "2"][index]),
            ("paceline.outcome", ["retried", "delivered"][index]),
        ] {
            assert_eq!(attribute(attempt, name).as_deref(), Some(value), "{name}");
        }
    }
    assert_eq!(
        pointed_to(tried[0]),
        Vec::<Vec<u8>>::new(),
        "a producer's word for an attempt is not believed"
    );
    assert_eq!(pointed_to(tried[1]), [tried[0].span_id.clone()]);
    assert_eq!(attribute(tried[0], "error.type").as_deref(), Some("failed"));
    assert_eq!(attribute(tried[1], "error.type"), None);
    let failed = |span: &Span| span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
    assert_eq!((failed(tried[0]), failed(tried[1])), (true, false));

    let requests = provider.seen();
    assert_eq!(requests.len(), 2);
    for (index, (attempt, request)) in tried.iter().zip(&requests).enumerate() {
        let [call] = below(&spans, attempt)[..] else { panic!("one request for an attempt: {spans:#?}") };
        assert_eq!((call.name.as_str(), call.kind()), ("POST", SpanKind::Client));
        assert_eq!(request.header("traceparent"), Some(parent_text(call).as_str()));
        assert_eq!(request.header("tracestate"), Some("a=1,b=2"));
        let port = provider.url().rsplit_once(':').expect("a port").1.to_owned();
        for (name, value) in [
            ("http.request.method", "POST"),
            ("url.full", format!("{}/json/1.3/createMessage", provider.url()).as_str()),
            ("server.address", "127.0.0.1"),
            ("server.port", port.as_str()),
            ("http.response.status_code", ["503", "200"][index]),
        ] {
            assert_eq!(attribute(call, name).as_deref(), Some(value), "{name}");
        }
        assert_eq!(attribute(call, "error.type").as_deref(), [Some("503"), None][index]);
        assert_eq!(failed(call), index == 0);
        assert!(call.links.is_empty());
    }
    let told = traces_of_receipts(&world, &queue, 1).await;
    assert_eq!(told, [("traced".to_owned(), Some(parent_text(tried[1])))]);
    assert!(spans::resources(&collector, "service.name").iter().all(|name| name == "paceline"));
    assert_nothing_secret_left(&world, &collector);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_a_trace_begins_one_for_all_its_attempts() {
    let collector = Listener::start(Manner::Takes).await;
    let (mut world, _provider) = traced(with_servers(), &collector.url()).await;
    world.provider.set_faults(FaultPlan::parse(&["moengage:503*2"]).expect("a plan"));
    world.start_worker().await;
    publish(&mut world, &user_job("bare"), properties()).await;
    publish(&mut world, &exempt_job("odd"), with_trace(&[("traceparent", "00-1-2-01")])).await;
    let spans = all_spans(&mut world, &collector).await;

    let bare = attempts(&spans, "bare");
    assert_eq!(bare.len(), 3, "{spans:#?}");
    assert!(bare.iter().all(|attempt| attempt.trace_id == bare[0].trace_id));
    let parents: Vec<_> = bare.iter().map(|attempt| attempt.parent_span_id.clone()).collect();
    assert_eq!(parents, [Vec::new(), bare[0].span_id.clone(), bare[0].span_id.clone()]);
    let links: Vec<_> = bare.iter().map(|attempt| pointed_to(attempt)).collect();
    assert_eq!(links, [vec![], vec![bare[0].span_id.clone()], vec![bare[1].span_id.clone()]]);
    // Its limit's queues: first that of its priority, then that of retries.
    let prefix = world.prefix();
    let names: Vec<&str> = bare.iter().map(|attempt| attempt.name.as_str()).collect();
    let (first, later) = (format!("process {prefix}.normal.news"), format!("process {prefix}.retry.news"));
    assert_eq!(names, [&first, &later, &later]);

    let [odd] = attempts(&spans, "odd")[..] else { panic!("one attempt: {spans:#?}") };
    assert!(odd.parent_span_id.is_empty() && odd.trace_id != bare[0].trace_id);
    assert_nothing_secret_left(&world, &collector);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_several_and_their_attempts_point_to_each_other() {
    let collector = Listener::start(Manner::Takes).await;
    // One request a second: what waits meanwhile shares the next one.
    let options = Options { shop: "requests_per_minute = 60", ..with_servers() };
    let (mut world, provider) = traced(options, &collector.url()).await;
    for n in 0..20 {
        let trace = format!("00-{:032x}-{:016x}-01", n + 1, n + 1);
        publish(&mut world, &counted_job(&format!("j-{n}"), "high"), with_trace(&[("traceparent", &trace)]))
            .await;
    }
    world.start_worker().await;
    let spans = all_spans(&mut world, &collector).await;

    let calls: Vec<&Span> = spans.iter().filter(|span| span.kind() == SpanKind::Client).collect();
    let sent: BTreeSet<_> =
        provider.seen().iter().map(|seen| seen.header("traceparent").map(str::to_owned)).collect();
    assert_eq!(sent, calls.iter().map(|call| Some(parent_text(call))).collect());
    assert!(calls.iter().any(|call| call.links.len() > 1), "nothing was shared: {calls:#?}");
    let tried: Vec<&Span> = (0..20).flat_map(|n| attempts(&spans, &format!("j-{n}"))).collect();
    assert_eq!(tried.len(), 20);
    for call in calls {
        let carried = match call.links.len() {
            0 => vec![call.parent_span_id.clone()],
            _ => pointed_to(call),
        };
        assert!(carried.contains(&call.parent_span_id), "it is below one of those that it carries");
        assert_eq!(attribute(call, "paceline.deliveries"), Some(carried.len().to_string()));
        let back = tried.iter().filter(|attempt| pointed_to(attempt).contains(&call.span_id)).count();
        assert_eq!(back, call.links.len());
    }
    assert_nothing_secret_left(&world, &collector);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_sampled_is_not_exported_and_still_carried_on() {
    let collector = Listener::start(Manner::Takes).await;
    let (mut world, provider) = traced(with_servers(), &collector.url()).await;
    world.start_worker().await;
    let unsampled = format!("00-{TRACE}-{PRODUCER}-00");
    publish(&mut world, &exempt_job("quiet"), with_trace(&[("traceparent", &unsampled)])).await;
    publish(&mut world, &exempt_job("loud"), with_trace(&[("traceparent", &producers())])).await;
    let spans = all_spans(&mut world, &collector).await;
    assert_eq!((attempts(&spans, "quiet").len(), attempts(&spans, "loud").len()), (0, 1));
    let mut flags: Vec<String> = provider
        .seen()
        .iter()
        .map(|seen| {
            let sent = seen.header("traceparent").expect("a traceparent");
            assert!(sent.contains(TRACE), "{sent}");
            sent[53..].to_owned()
        })
        .collect();
    flags.sort();
    assert_eq!(flags, ["00", "01"]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_on_a_file_are_traced_too() {
    let collector = Listener::start(Manner::Takes).await;
    let options = Options { embedded: true, ..Options::default() };
    let (mut world, provider) = traced(options, &collector.url()).await;
    world.start_worker().await;
    publish(&mut world, &exempt_job("e"), with_trace(&[("traceparent", &producers())])).await;
    let spans = all_spans(&mut world, &collector).await;
    let [attempt] = attempts(&spans, "e")[..] else { panic!("one attempt: {spans:#?}") };
    let queue = format!("{}.jobs.shop", world.prefix());
    assert_eq!(attempt.name, format!("process {queue}"));
    assert_eq!(attribute(attempt, "messaging.system").as_deref(), Some("paceline"));
    assert_eq!(attribute(attempt, "messaging.destination.name"), Some(queue));
    assert_eq!(hex::encode(&attempt.parent_span_id), PRODUCER);
    let [call] = below(&spans, attempt)[..] else { panic!("one request: {spans:#?}") };
    assert_eq!(provider.seen()[0].header("traceparent"), Some(parent_text(call).as_str()));
    world.finish().await;
}

/// A collector that is gone, and one that takes connections and never answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_does_not_answer_harms_nothing() {
    let hanging = Listener::start(Manner::Hangs).await;
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        format!("http://{}", listener.local_addr().expect("its address"))
    };
    for collector in [hanging.url(), gone.clone()] {
        let (mut world, _provider) = traced(with_servers(), &collector).await;
        world.start_worker().await;
        let jobs: Vec<Value> = (0..30).map(|n| exempt_job(&format!("j-{n}"))).collect();
        world.publish(&jobs).await;
        world.settle().await;
        assert_eq!(world.count("delivered"), 30);
        if collector == gone {
            eventually("it is told", || async { world.whole_logs().contains("takes no spans") }).await;
            world.publish(&[exempt_job("later")]).await;
            world.settle().await;
        }
        let (status, took) = world.drain_worker(0).await;
        assert!(status.success(), "{status}\n{}", world.logs());
        assert!(took < PATIENCE / 4, "the collector held the exit up for {took:?}");
        let told = world.whole_logs().matches("takes no spans").count();
        assert!(told <= 1, "told {told} times");
        world.finish().await;
    }
}
