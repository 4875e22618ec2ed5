//! The producers of the README, as they stand there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use lapin::options::BasicGetOptions;
use paceline::adapters::rabbitmq::RabbitMq;
use paceline::adapters::system::SystemChance;
use paceline::pipeline::decode::decode_body;
use paceline::ports::Queue as _;

use crate::support::jobs::places;
use crate::support::rabbitmq::{self, Broker};

/// Every producer: its file, and the word behind the fence of its block in the README.
const PRODUCERS: [(&str, &str); 5] = [
    ("python/publish.py", "python"),
    ("node/publish.mjs", "javascript"),
    ("go/publish.go", "go"),
    ("java/Publish.java", "java"),
    ("rust/publish.rs", "rust"),
];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/producers").join(name)
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_readme_shows_every_producer_as_it_is() {
    let readme = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    for (name, word) in PRODUCERS {
        let block = format!("```{word}\n{}```\n", text(&file(name)));
        assert!(readme.contains(&block), "the README does not show deploy/producers/{name} as it is");
    }
}

#[test]
fn the_job_of_every_producer_is_the_same_and_valid() {
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    for (name, _) in PRODUCERS {
        let source = squeezed(&text(&file(name))).replace(['"', ' '], "");
        for part in [
            "transactionId:order-7,account:shop,operation:createMessage,payload:{",
            "notifications:[{send_date:now,content:Yourorderisonitsway,devices:[0f7c1c3a]}]",
            "paceline.jobs",
        ] {
            assert!(source.contains(part), "no {part} in {name}");
        }
    }
}

/// Python's, with Debian's package of its client, which `make test` installs.
fn python(script: &Path, url: &str) -> Output {
    Command::new("/usr/bin/python3").arg(script).env("AMQP_URL", url).output().expect("Python runs")
}

/// Rust's, an example of this package: `cargo test` has built it, one test alone has not.
fn rust(url: &str) -> Output {
    Command::new(env!("CARGO"))
        .args(["run", "--locked", "--quiet", "--example", "producer"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("AMQP_URL", url)
        .output()
        .expect("cargo runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_at_hand_publish_a_valid_job_persistently_with_a_name_of_its_own() {
    let broker = Broker::shared();
    let config = rabbitmq::config(&broker.url(), "paceline");
    let declared = RabbitMq::start(config, &places(), Arc::new(SystemChance));
    declared.started().await.expect("the broker objects are declared");
    let connection =
        lapin::Connection::connect(&broker.url(), lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let mut names = Vec::new();
    for output in [python(&file("python/publish.py"), &broker.url()), rust(&broker.url())] {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let options = BasicGetOptions { no_ack: true };
        let got = channel.basic_get("paceline.jobs.shop".into(), options).await.unwrap();
        let message = got.expect("the job is in the queue when the producer has ended");
        let job = decode_body(&message.data).unwrap_or_else(|bad| panic!("{:?}", bad.findings));
        assert_eq!((job.transaction_id.as_str(), job.account.as_str()), ("order-7", "shop"));
        assert_eq!(*message.properties.delivery_mode(), Some(2), "persistent");
        let content_type = message.properties.content_type().as_ref().map(ToString::to_string);
        assert_eq!(content_type.as_deref(), Some("application/json"));
        names.push(message.properties.message_id().as_ref().expect("a message_id").to_string());
    }
    assert_ne!(names[0], names[1]);
    // Mandatory: an account that nobody configured is an error, and no job is lost unseen.
    let folder = tempfile::tempdir().unwrap();
    let stranger = folder.path().join("publish.py");
    let script = text(&file("python/publish.py")).replace("\"shop\"", "\"nobody\"");
    std::fs::write(&stranger, script).unwrap();
    let output = python(&stranger, &broker.url());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("Unroutable"), "{said}");
    declared.close().await;
}
