//! Dead letters, as a person works on them.

use std::path::Path;
use std::process::Stdio;

use paceline::ports::Properties;
use serde_json::{Value, json};

use crate::support::jobs::{counted_job, exempt_job};
use crate::support::world::{World, eventually};

/// What mends a delivery that the simulated provider refused.
const MEND: &str = "/payload/notifications/0/content=\"mended\"";

async fn dead(world: &World, arguments: &[&str]) -> (Option<i32>, String, String) {
    let arguments: Vec<&str> = std::iter::once("dead").chain(arguments.iter().copied()).collect();
    let output = world.command(&arguments).output().await.expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The answer of a command that succeeds.
async fn told(world: &World, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let (status, stdout, stderr) = dead(world, &arguments).await;
    assert_eq!(status, Some(0), "{stdout}{stderr}");
    serde_json::from_str(&stdout).expect("JSON")
}

/// A job that the simulated provider refuses until its content is mended.
fn refused(id: &str) -> Value {
    let mut job = exempt_job(id);
    job["payload"]["notifications"][0]["content"] = "faulty".into();
    job
}

async fn bury(world: &mut World, ids: impl Iterator<Item = String>) {
    let jobs: Vec<Value> = ids.map(|id| refused(&id)).collect();
    for some in jobs.chunks(500) {
        world.publish(some).await;
    }
    world.settle().await;
}

fn id_of(listing: &Value, delivery: &str) -> String {
    let letters = listing["letters"].as_array().expect("letters");
    let found = letters.iter().find(|letter| letter["transactionId"] == delivery);
    found.unwrap_or_else(|| panic!("no {delivery} in {listing}"))["deadId"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
pub async fn letters_are_listed_by_page_shown_masked_and_dropped_into_a_file() {
    let mut world = World::new().await;
    world.start_worker().await;
    bury(&mut world, (0..5).map(|n| format!("r-{n}"))).await;
    let mut invalid = counted_job("broken", "normal");
    invalid["payload"]["notifications"][0]["send_date"] = "tomorrow".into();
    world.publish(&[invalid]).await;
    world.settle().await;

    let all = told(&world, &["list"]).await;
    assert_eq!((&all["total"], &all["matched"], &all["next"]), (&json!(6), &json!(6), &Value::Null));
    assert_eq!((&all["groups"][0]["reason"], &all["groups"][0]["count"]), (&json!("rejected"), &json!(5)));
    let some =
        told(&world, &["list", "--reason", "invalid", "--account", "shop", "--detail", "SEND_DATE"]).await;
    assert_eq!((&some["total"], &some["matched"]), (&json!(6), &json!(1)));
    assert_eq!(told(&world, &["list", "--older-than", "1d"]).await["matched"], 0);

    let (mut paged, mut after) = (Vec::new(), String::new());
    loop {
        let mut arguments = vec!["list", "--limit", "2"];
        if !after.is_empty() {
            arguments.extend(["--after", &after]);
        }
        let page = told(&world, &arguments).await;
        paged.extend(page["letters"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        after = next.to_owned();
    }
    assert_eq!(Value::from(paged.clone()), all["letters"]);
    let first = paged[0]["deadId"].as_str().unwrap();
    assert_eq!(told(&world, &["list", "--after", first]).await["letters"].as_array().unwrap(), &paged[1..]);

    let (status, text, _) = dead(&world, &["list", "--limit", "1"]).await;
    assert_eq!(status, Some(0));
    for part in ["6 dead letters", "COUNT", "rejected", "createMessage", first, "more: --after"] {
        assert!(text.contains(part), "no {part} in {text}");
    }

    let id = id_of(&all, "r-3");
    let (status, text, _) = dead(&world, &["show", &id]).await;
    assert_eq!(status, Some(0));
    for part in [id.as_str(), "r-3", "rejected", "attempts", "faulty", "[masked]"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(!text.contains("device-r-3"), "a device token is shown: {text}");
    assert_eq!(told(&world, &["show", &id]).await["attempts"], 1);
    assert_eq!(dead(&world, &["show", "none"]).await.0, Some(1));

    let kept = world.config_file().with_file_name("dropped.jsonl");
    let file = kept.to_str().unwrap();
    assert_eq!(dead(&world, &["drop", "--all"]).await.0, Some(2), "nobody can be asked");
    assert_eq!(dead(&world, &["drop", "--yes"]).await.0, Some(2), "nothing was named");
    let dropped = told(&world, &["drop", "--all", "--reason", "rejected", "--yes", "--file", file]).await;
    assert_eq!(dropped["dropped"], 5);
    assert_eq!(lines(&kept).len(), 5);
    assert!(lines(&kept).iter().any(|line| line["job"].to_string().contains("device-r-3")), "whole letters");
    // The file is not written over, and nothing is taken out that can't be kept.
    let broken = id_of(&all, "broken");
    assert_eq!(dead(&world, &["drop", &broken, "--yes", "--file", file]).await.0, Some(1));
    let left = told(&world, &["list"]).await;
    assert_eq!((&left["total"], id_of(&left, "broken")), (&json!(1), broken));
    world.letters_taken(5);
    world.finish().await;
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("the file");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_refused_delivery_is_mended_replayed_and_delivered() {
    let mut world = World::new().await;
    world.start_worker().await;
    bury(&mut world, (0..4).map(|n| format!("m-{n}"))).await;
    let listing = told(&world, &["list"]).await;
    let (one, other) = (id_of(&listing, "m-0"), id_of(&listing, "m-1"));

    let dry = told(&world, &["replay", "--all", "--dry-run", "--set", MEND]).await;
    assert_eq!((&dry["replayed"], &dry["groups"][0]["count"]), (&json!(4), &json!(4)));
    assert_eq!(told(&world, &["list"]).await["total"], 4, "a dry run takes nothing out");

    // As it is it is refused again, under another id.
    let again = told(&world, &["replay", &one]).await;
    assert_eq!(again["replayed"], 1);
    world.expect_more(1);
    world.letters_taken(1);
    world.settle().await;
    assert_eq!(world.count("dead"), 5);
    let listing = told(&world, &["list"]).await;
    assert_ne!(id_of(&listing, "m-0"), one);

    let mended = told(&world, &["replay", &other, "--set", MEND]).await;
    assert_eq!(mended["replayed"], 1);
    world.expect_more(1);
    world.letters_taken(1);
    world.settle().await;
    assert_eq!(world.count("delivered"), 1);

    let rest =
        told(&world, &["replay", "--all", "--reason", "rejected", "--set", MEND, "--rate", "500"]).await;
    assert_eq!(rest["replayed"], 3);
    world.expect_more(3);
    world.letters_taken(3);
    world.settle().await;
    assert_eq!((world.count("delivered"), told(&world, &["list"]).await["total"].clone()), (4, json!(0)));
    let missing = dead(&world, &["replay", &other]).await;
    assert_eq!(missing.0, Some(1), "it is gone: {missing:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn what_would_end_at_once_again_stays() {
    let mut world = World::new().await;
    world.start_worker().await;
    let mut invalid = exempt_job("invalid");
    invalid["payload"]["notifications"][0]["send_date"] = "tomorrow".into();
    world.publish(&[invalid]).await;
    world.publish_raw("shop", b"{no job", Properties::default(), 1).await.unwrap();
    bury(&mut world, std::iter::once("sound".to_owned())).await;
    let listing = told(&world, &["list"]).await;
    let (invalid, sound) = (id_of(&listing, "invalid"), id_of(&listing, "sound"));
    for (arguments, part) in [
        (vec!["replay", &invalid], "would be invalid"),
        (vec!["replay", &sound, "--set", "/priority=\"urgent\""], "/priority"),
        (vec!["replay", &sound, "--set", "/transactionId=\"other\""], "may not touch"),
        (vec!["replay", &sound, "--set", "/account=\"news\""], "may not touch"),
        (vec!["replay", &sound, "--set", "/expiresAt=\"2020-01-01T00:00:00Z\""], "has passed"),
        (vec!["replay", &sound, "--unset", "/notBefore"], "nothing to change"),
        (vec!["replay", "--all", "--operation", "unknown"], "would be invalid"),
    ] {
        let (status, stdout, stderr) = dead(&world, &arguments).await;
        assert_eq!(status, Some(1), "{arguments:?}: {stdout}{stderr}");
        assert!(stderr.contains(part), "{arguments:?}: no {part} in {stderr}");
        assert!(stdout.contains("0 replayed, 1 stay"), "{arguments:?}: {stdout}");
    }
    assert_eq!(dead(&world, &["replay", &sound, "--set", "/priority=high"]).await.0, Some(2));
    assert_eq!(told(&world, &["list"]).await["total"], 3);
    let now = "/payload/notifications/0/send_date=\"now\"";
    assert_eq!(told(&world, &["replay", &invalid, "--set", now]).await["replayed"], 1);
    world.expect_more(1);
    world.letters_taken(1);
    world.settle().await;
    assert_eq!(world.count("delivered"), 1);
    world.finish().await;
}

/// What an interrupted replay leaves behind: the letter was published and is published once more, with
/// the same names.
#[tokio::test(flavor = "multi_thread")]
pub async fn a_replay_that_comes_twice_is_sent_once_and_told_alike() {
    let mut world = World::new().await;
    world.start_worker().await;
    bury(&mut world, (0..40).map(|n| format!("t-{n}"))).await;
    let letters = world.dead_letters().await;
    let copies = |mended: bool| {
        let copy = move |(headers, body): &(std::collections::BTreeMap<String, String>, Vec<u8>)| {
            let mut job: Value = serde_json::from_slice(body).unwrap();
            if mended {
                job["payload"]["notifications"][0]["content"] = "mended".into();
            }
            let id = headers["paceline-dead-id"].clone();
            let mut properties = Properties { message_id: Some(id.clone()), ..Properties::default() };
            properties.set_header("paceline-replay", id);
            (job.to_string().into_bytes(), properties)
        };
        letters.iter().map(copy).collect::<Vec<_>>()
    };
    // Both at once, and once more after the end. Every second one is not mended, and dies again.
    for round in 0..3 {
        for (index, (with, without)) in copies(true).into_iter().zip(copies(false)).enumerate() {
            let (body, properties) = if index % 2 == 0 { with } else { without };
            let ends = usize::from(round == 0);
            world.publish_raw("shop", &body, properties, ends).await.unwrap();
        }
        if round > 0 {
            world.settle().await;
        }
    }
    // Behind all copies in the same queue.
    world.publish(&[exempt_job("last")]).await;
    world.settle().await;
    assert_eq!((world.count("delivered"), world.count("dead")), (21, 60));
    assert_eq!(world.count("duplicate"), 0, "a copy is not another publishing");
    let accepted = world.provider.summary().counts;
    assert_eq!((accepted.accepted, accepted.suppressed), (21, 0), "each was sent once");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn a_replay_that_is_killed_twice_loses_and_doubles_nothing() {
    const LETTERS: usize = 2_000;
    let mut world = World::new().await;
    world.start_worker().await;
    bury(&mut world, (0..LETTERS).map(|n| format!("k-{n}"))).await;
    world.expect_more(LETTERS);
    world.letters_taken(LETTERS);
    for killed in 1..=2 {
        // At this rate all of them would take forty seconds.
        let mut replay = world
            .command(&["dead", "replay", "--all", "--set", MEND, "--rate", "50"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        world.wait_for_ends(LETTERS + killed * 100).await;
        assert_eq!(replay.try_wait().unwrap(), None, "it was to be killed before its end");
        replay.kill().await.unwrap();
    }
    let last = told(&world, &["replay", "--all", "--set", MEND, "--rate", "100000"]).await;
    assert_eq!((&last["stay"], &last["failed"]), (&json!(0), &json!(0)), "{last}");
    world.settle().await;
    assert_eq!(world.count("delivered"), LETTERS);
    assert_eq!(world.provider.summary().counts.suppressed, 0, "the provider was never asked twice");
    assert_eq!(told(&world, &["list"]).await["total"], 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
pub async fn two_replays_at_once_lose_and_double_nothing() {
    const LETTERS: usize = 200;
    let mut world = World::new().await;
    world.start_worker().await;
    bury(&mut world, (0..LETTERS).map(|n| format!("b-{n}"))).await;
    world.expect_more(LETTERS);
    world.letters_taken(LETTERS);
    let arguments = ["replay", "--all", "--set", MEND, "--rate", "500"];
    let (one, other) = tokio::join!(told(&world, &arguments), told(&world, &arguments));
    let replayed = |told: &Value| told["replayed"].as_u64().unwrap();
    // A letter of which it was lost that it was taken out is published again, which harms nobody.
    assert!(replayed(&one) + replayed(&other) >= LETTERS as u64, "{one} {other}");
    world.settle().await;
    assert_eq!(world.count("delivered"), LETTERS);
    eventually("no letter is left", || async { world.dead_letters().await.is_empty() }).await;
    world.finish().await;
}
