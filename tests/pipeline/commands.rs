//! The commands, as a person runs them.

use std::path::Path;
use std::process::Output;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use serde_json::Value;

use crate::support::jobs::{counted_job, exempt_job};
use crate::support::world::{World, eventually, get, signal};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/jobs.jsonl");

async fn run(world: &World, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        world.command(arguments).output().await.expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("the file is written");
    file.to_str().expect("UTF-8").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
pub async fn publish_names_bad_lines_and_sends_the_others() {
    let mut world = World::new().await;
    world.start_worker().await;
    let folder = tempfile::tempdir().unwrap();
    let mut stranger = exempt_job("stranger");
    stranger["account"] = "nobody".into();
    let lines = [
        exempt_job("p-1").to_string(),
        "{broken".into(),
        stranger.to_string(),
        counted_job("p-2", "low").to_string(),
    ];
    let file = write(folder.path(), "jobs.jsonl", &lines.join("\n"));
    let (status, stdout, stderr) = run(&world, &["publish", &file]).await;
    assert_eq!(status, Some(1), "{stdout}{stderr}");
    assert!(stderr.contains("line 2") && stderr.contains("line 3"), "{stderr}");
    assert!(!stderr.contains("line 1") && !stderr.contains("line 4"), "{stderr}");
    world.expect_more(2);
    world.settle().await;
    assert_eq!(world.count("delivered"), 2);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn the_sample_jobs_end_as_they_should() {
    let mut world = World::new().await;
    let (status, stdout, stderr) = run(&world, &["validate", "--json", SAMPLES]).await;
    assert_eq!(status, Some(1), "one sample is a mistake on purpose: {stdout}{stderr}");
    let invalid: Vec<Value> = stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(invalid.iter().any(|told: &Value| told.to_string().contains("send_date")), "{stdout}");
    world.start_worker().await;
    let (status, stdout, stderr) = run(&world, &["publish", "--json", SAMPLES]).await;
    assert_eq!(status, Some(0), "{stdout}{stderr}");
    world.expect_more(15);
    world.settle().await;
    let ends = ["delivered", "duplicate", "expired", "dead"].map(|status| world.count(status));
    assert_eq!(ends, [11, 1, 1, 2]);
    let unknown = &world.receipts_of("order-7")[0]["unknownDevices"];
    assert_eq!(unknown, &serde_json::json!(["unknown-778899"]));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_agrees_with_the_samples() {
    let world = World::new().await;
    let (status, stdout, stderr) = run(&world, &["schema"]).await;
    assert_eq!(status, Some(0), "{stderr}");
    let schema: Value = serde_json::from_str(&stdout).expect("JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a JSON Schema of 2020-12");
    for line in std::fs::read_to_string(SAMPLES).unwrap().lines() {
        let job: Value = serde_json::from_str(line).unwrap();
        let fits = validator.is_valid(&job);
        assert_eq!(fits, job["transactionId"] != "mistaken", "{line}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topology_is_printed_and_a_foreign_object_is_refused_by_name() {
    let world = World::new().await;
    let (status, stdout, stderr) = run(&world, &["topology"]).await;
    assert_eq!(status, Some(0), "{stderr}");
    for name in ["jobs", "jobs.shop", "receipts", "dead", "high.news", "due", "delay.1000"] {
        assert!(stdout.contains(&format!("{}.{name}", world.prefix())), "no {name} in {stdout}");
    }
    // A queue of another kind under a name that is needed.
    let connection =
        lapin::Connection::connect(&world.broker().url(), lapin::ConnectionProperties::default())
            .await
            .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let other = format!("{}x", world.prefix());
    let queue = format!("{other}.due");
    channel
        .queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default())
        .await
        .unwrap();
    for command in ["topology", "worker"] {
        let output = world
            .command(&[command])
            .env("PACELINE__QUEUE__PREFIX", &other)
            .env("PACELINE__ADMIN__LISTEN", "off")
            .output();
        let output = output.await.unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{command} went on");
        assert!(stderr.contains(&queue) && stderr.contains("other arguments"), "{command}: {stderr}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_names_the_key_and_the_file() {
    let world = World::new().await;
    let file = world.config_file();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("[store]", "[store]\ndedupe_tll = \"1d\"")).unwrap();
    let (status, _, stderr) = run(&world, &["config", "check"]).await;
    assert_eq!(status, Some(2));
    for part in ["store.dedupe_tll", "paceline.toml", "dedupe_ttl"] {
        assert!(stderr.contains(part), "no {part} in: {stderr}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simulate_serves_until_it_is_told_to_stop_and_sums_up() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("out");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut child = world
        .command(&["simulate", "--listen", &address])
        .stdout(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let url = format!("http://{address}/_simulator/summary");
    eventually("the simulator answers", || async {
        get(&url).await.is_some_and(|(status, _)| status == 200)
    })
    .await;
    signal(child.id().unwrap(), "-TERM");
    assert!(child.wait().await.unwrap().success());
    let text = std::fs::read_to_string(log).unwrap();
    assert!(text.contains("accepted twice"), "{text}");
    world.finish().await;
}
