//! Secrets are nowhere in what a run leaves behind: not in logs at their loudest, metrics, answers of
//! the admin listener, queues, the store, or what commands print. Device tokens and message bodies
//! are in no log either.

use std::time::Duration;

use paceline::simulator::FaultPlan;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use crate::support::jobs::{counted_job, exempt_job, notification, properties, user_job};
use crate::support::world::{CAMPAIGN_KEY, Options, PUSH_KEY, TOKEN, World, eventually};

mod echo;
mod evidence;

use evidence::{Evidence, Hidden};

/// Credentials of the accounts at the provider that sends them back, with characters that JSON and
/// URLs write in another way.
const ECHO_TOKEN: &str = "echo\"to/ken+that=nobody%may&see";
const ECHO_PUSH_KEY: &str = "echo-push\"key/that+nobody=may%see";
const ECHO_CAMPAIGN_KEY: &str = "echo-campaign\"key/that+nobody=may%see";
/// Passwords of broker and store, as they are and as they stand in an address.
const PASSWORD: &str = "pass/word+that=nobody%may see";
const PASSWORD_ENCODED: &str = "pass%2Fword%2Bthat%3Dnobody%25may%20see";
/// What somebody put into a payload.
const SMUGGLED: &str = "smuggled-credential-of-a-job";
/// A device and a text that go through everything.
const DEVICE: &str = "0123456789abcdef-device-of-somebody";
const CONTENT: &str = "Your secret code is 424242";

fn secrets() -> Vec<Hidden> {
    let mut hidden: Vec<Hidden> = [
        ("the token", TOKEN),
        ("the push key", PUSH_KEY),
        ("the campaign key", CAMPAIGN_KEY),
        ("the echoed token", ECHO_TOKEN),
        ("the echoed push key", ECHO_PUSH_KEY),
        ("the echoed campaign key", ECHO_CAMPAIGN_KEY),
        ("a password", PASSWORD),
        ("a password in an address", PASSWORD_ENCODED),
        ("a credential in a payload", SMUGGLED),
    ]
    .map(|(name, text)| Hidden::new(name, text))
    .into();
    for (workspace, key) in [("DEMO01_DEBUG", CAMPAIGN_KEY), ("DEMO02", ECHO_CAMPAIGN_KEY)] {
        hidden.push(Hidden::new("Basic authentication", &format!("{workspace}:{key}")));
    }
    for (workspace, campaign, key) in
        [("DEMO01_DEBUG", "Campaign u-1", PUSH_KEY), ("DEMO02", "answer-with-400;3", ECHO_PUSH_KEY)]
    {
        let signature = hex::encode(Sha256::digest(format!("{workspace}|{campaign}|{key}")));
        hidden.push(Hidden::new("a signature", &signature));
    }
    hidden
}

fn contents() -> Vec<Hidden> {
    vec![Hidden::new("a device", DEVICE), Hidden::new("a message's text", CONTENT)]
}

/// A job for one device with this in its text.
fn push(id: &str, account: &str, mark: &str) -> Value {
    let content = format!("{CONTENT} {mark}");
    json!({
        "transactionId": id, "account": account, "operation": "createMessage",
        "payload": {"application": "XXXXX-XXXXX", "notifications": [notification(&content, json!({"devices": [DEVICE]}))]},
    })
}

fn named_user_job(id: &str, name: &str) -> Value {
    let mut job = user_job(id);
    job["account"] = "echo-news".into();
    job["payload"]["campaignName"] = name.into();
    job["payload"]["payload"]["ANDROID"]["message"] = CONTENT.into();
    job
}

/// Jobs for the provider that sends everything back: each operation with each answer that ends it or
/// lets it be tried again, and pushes with those that pause the account.
fn echoed() -> Vec<Value> {
    let answers = ["200", "210", "400", "500", "503", "garbage"].iter().flat_map(|status| operations(status));
    let pauses = ["401", "429", "302"].iter().flat_map(|status| {
        let pushes = ["createMessage", "sendPush", "searchCampaigns"];
        operations(status).into_iter().filter(move |job| pushes.iter().any(|push| job["operation"] == *push))
    });
    answers.chain(pauses).collect()
}

/// A job of each operation that is answered so at first.
fn operations(status: &str) -> Vec<Value> {
    let mark = |number: usize| format!("answer-with-{status};{number}");
    let job = |account: &str, operation: &str, payload: Value| {
        let id = format!("{operation}-{status}");
        json!({"transactionId": id, "account": account, "operation": operation, "payload": payload})
    };
    let targeted = json!({
        "devices_filter": "A(\"XXXXX-XXXXX\", [\"iOS\", \"Android\"]) * T(\"Age\", GTE, 18)",
        "send_date": "now", "content": format!("{CONTENT} {}", mark(2)),
    });
    let update = json!({"campaign_id": "64a1", "request_id": mark(5), "updated_by": "a@b.example",
        "scheduling_details": {"expiry_time": "2099-04-30T22:00:00"}});
    vec![
        push(&format!("createMessage-{status}"), "echo-shop", &mark(1)),
        job("echo-shop", "createTargetedMessage", targeted),
        named_user_job(&format!("sendPush-{status}"), &mark(3)),
        job("echo-news", "searchCampaigns", json!({"request_id": mark(4), "limit": 1, "page": 1})),
        job("echo-news", "updateCampaign", update),
        job("echo-shop", "getMessageDetails", json!({"message": mark(6)})),
        job("echo-shop", "cancelMessage", json!({"message": mark(7)})),
    ]
}

/// Jobs that hold what they must not, or can't be read.
async fn publish_invalid(world: &mut World) {
    let mut with_auth = push("smuggler-1", "shop", "");
    with_auth["payload"]["auth"] = SMUGGLED.into();
    let mut with_signature = user_job("smuggler-2");
    with_signature["payload"]["signature"] = SMUGGLED.into();
    with_signature["payload"]["appId"] = SMUGGLED.into();
    let mut in_notification = push("smuggler-3", "shop", "");
    in_notification["payload"]["notifications"][0]["auth"] = SMUGGLED.into();
    let mut wrapped = push("smuggler-4", "shop", "");
    wrapped["payload"] = json!({"request": {"auth": SMUGGLED, "notifications": []}});
    let mut broken = push("invalid-5", "shop", "");
    broken["payload"]["notifications"][0]["send_date"] = CONTENT.into();
    for job in [with_auth, with_signature, in_notification, wrapped, broken] {
        let account = job["account"].as_str().expect("an account").to_owned();
        world.publish_raw(&account, job.to_string().as_bytes(), properties(), 1).await.unwrap();
    }
    let unreadable = format!("{{\"transactionId\": \"x\", \"{CONTENT}\": \"{DEVICE}");
    world.publish_raw("shop", unreadable.as_bytes(), properties(), 1).await.unwrap();
    world.publish_raw("shop", &[0xff, 0xfe, 0x00], properties(), 1).await.unwrap();
}

async fn add_output(evidence: &mut Evidence, name: &str, mut command: Command) -> Option<i32> {
    let output = command.output().await.expect("the command runs");
    evidence.add(format!("command {name}, output"), output.stdout);
    evidence.add(format!("command {name}, errors"), output.stderr);
    output.status.code()
}

/// What commands print, with the right configuration and with wrong ones.
async fn add_commands(evidence: &mut Evidence, world: &World, environment: &[(&'static str, &'static str)]) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let jobs = file(
        "jobs.jsonl",
        format!("{}\n{}\n{{\"auth\": \"{SMUGGLED}\"", push("c-1", "shop", ""), {
            let mut job = push("c-2", "shop", "");
            job["payload"]["auth"] = SMUGGLED.into();
            job
        }),
    );
    let right: [&[&str]; 9] = [
        &["config", "show"],
        &["config", "show", "--json"],
        &["config", "check"],
        &["status"],
        &["status", "--json"],
        &["topology"],
        &["topology", "--json"],
        &["validate", &jobs],
        &["validate", "--json", &jobs],
    ];
    for arguments in right {
        let mut command = world.command(arguments);
        command.envs(environment.iter().copied()).env("PACELINE_LOG", "trace");
        let status = add_output(evidence, &arguments.join(" "), command).await;
        assert!(status.is_some_and(|status| status < 2), "{arguments:?}: {status:?}");
    }
    let wrong: [(&str, &str, String); 7] = [
        (
            "PACELINE__QUEUE__URL",
            "login",
            format!("amqp://nobody:{PASSWORD_ENCODED}@{}/%2f", world.broker().address()),
        ),
        ("PACELINE__QUEUE__URL", "scheme", format!("http://tester:{PASSWORD_ENCODED}@127.0.0.1/")),
        ("PACELINE__QUEUE__URL", "port", format!("amqp://tester:{PASSWORD_ENCODED}@127.0.0.1:99999/")),
        ("PACELINE__QUEUE__URL", "down", format!("amqp://tester:{PASSWORD_ENCODED}@127.0.0.1:1/%2f")),
        (
            "PACELINE__STORE__URL",
            "login",
            format!("redis://nobody:{PASSWORD_ENCODED}@{}/0", world.redis.address()),
        ),
        (
            "PACELINE__STORE__URL",
            "database",
            format!("redis://tester:{PASSWORD_ENCODED}@{}/x", world.redis.address()),
        ),
        (
            "PACELINE__STORE__URL",
            "insecure",
            format!("rediss://tester:{PASSWORD_ENCODED}@127.0.0.1/0#insecure"),
        ),
    ];
    for (name, what, value) in wrong {
        for arguments in [["topology"], ["status"], ["worker"]] {
            if arguments == ["worker"] && what == "down" {
                continue; // It waits for the broker.
            }
            let mut command = world.command(&arguments);
            command.envs(environment.iter().copied()).env(name, &value).env("PACELINE_LOG", "trace");
            command.env("PACELINE__ADMIN__LISTEN", "off");
            if arguments == ["topology"] && name.contains("STORE") && what == "login" {
                continue; // It needs no store.
            }
            add_output(evidence, &format!("{arguments:?} with a wrong {what}"), command).await;
        }
    }
    let texts = [
        (
            "a token in the file",
            format!("[accounts.shop]\nprovider = \"pushwoosh\"\napi_token = \"{TOKEN}\"\n"),
        ),
        ("no TOML", format!("[queue]\nurl = \"amqp://tester:{PASSWORD_ENCODED}@h\nprefix = 1\n")),
        ("a list", format!("[queue]\nurl = [\"amqp://tester:{PASSWORD_ENCODED}@h\"]\n")),
        ("an unknown key", format!("[queue]\npassword = \"{PASSWORD}\"\n")),
        (
            "a credential as a name",
            format!("[accounts.shop]\nprovider = \"pushwoosh\"\napi_token = {{ plain = \"{TOKEN}\" }}\n"),
        ),
        (
            "an address with a credential",
            format!(
                "[accounts.shop]\nprovider = \"pushwoosh\"\napi_token = {{ env = \"PUSHWOOSH_TOKEN\" }}\nbase_url = \"https://u:{PASSWORD_ENCODED}@h\"\n"
            ),
        ),
    ];
    for (what, text) in texts {
        for arguments in [&["config", "check"][..], &["config", "show"], &["worker"]] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
            command.arg("--config").arg(file("wrong.toml", text.clone())).args(arguments);
            command.env("PUSHWOOSH_TOKEN", TOKEN);
            let status = add_output(evidence, &format!("{arguments:?} with {what}"), command).await;
            assert_eq!(status, Some(2), "{what}");
        }
    }
}

async fn add_admin(evidence: &mut Evidence, world: &World, worker: usize) {
    for path in ["/metrics", "/readyz", "/healthz", "/elsewhere"] {
        evidence.add(format!("admin {path}"), world.admin(worker, path).await.1);
    }
}

/// More accounts, at the provider that sends everything back.
fn accounts(echo: &str) -> &'static str {
    let text = format!(
        r#"
[accounts.echo-shop]
provider = "pushwoosh"
base_url = "{echo}"
api_token = {{ env = "ECHO_TOKEN" }}
application = "XXXXX-XXXXX"
requests_per_minute = 6000

[accounts.echo-news]
provider = "moengage"
base_url = "{echo}"
workspace_id = "DEMO02"
push_api_key = {{ env = "ECHO_PUSH_KEY" }}
campaign_api_key = {{ env = "ECHO_CAMPAIGN_KEY" }}
on_unknown = "resend"

[circuit]
pause = "1s"
pause_max = "1s"
credentials_pause = "1s"
throttle_pause = "1s"

[retry]
base = "1s"
cap = "1s"
"#
    );
    text.leak()
}

/// A world whose workers log in with passwords and log as loudly as they can.
async fn loud_world() -> (World, Vec<(&'static str, &'static str)>) {
    let more = accounts(&echo::start().await);
    let mut world = World::with(Options { more, ..Options::default() }).await;
    let user = format!("secretive-{}", world.prefix());
    world.broker().ctl(&["add_user", &user, PASSWORD]);
    world.broker().ctl(&["set_permissions", &user, ".*", ".*", ".*"]);
    let mut store = world.redis.connection().await;
    let mut acl = redis::cmd("ACL");
    acl.arg("SETUSER").arg(&user).arg("on").arg(format!(">{PASSWORD}")).arg("~*").arg("+@all");
    acl.exec_async(&mut store).await.expect("a user of the store");
    let queue = format!("amqp://{user}:{PASSWORD_ENCODED}@{}/%2f", world.broker().address());
    let store = format!("redis://{user}:{PASSWORD_ENCODED}@{}/0", world.redis.address());
    let environment: Vec<(&'static str, &'static str)> = vec![
        ("ECHO_TOKEN", ECHO_TOKEN),
        ("ECHO_PUSH_KEY", ECHO_PUSH_KEY),
        ("ECHO_CAMPAIGN_KEY", ECHO_CAMPAIGN_KEY),
        ("PACELINE__QUEUE__URL", queue.leak()),
        ("PACELINE__STORE__URL", store.leak()),
        ("PACELINE__LOG__FORMAT", "json"),
        ("PACELINE_LOG", "trace"),
        ("RUST_LOG", "trace"),
    ];
    world.set_environment(environment.clone());
    (world, environment)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_anything_that_a_run_leaves_behind_and_no_content_in_a_log() {
    let (mut world, environment) = loud_world().await;
    let mut evidence = Evidence::default();
    let faults =
        ["500*1", "hang-after*1", "429=1s*1", "garbage*1", "reset-after*1", "503*1", "cut*1", "401*1"];
    world.provider.set_faults(FaultPlan::parse(&faults).expect("a fault plan"));
    let worker = world.start_worker().await;
    publish_invalid(&mut world).await;
    let ours: Vec<Value> = (0..12)
        .flat_map(|n| {
            let id = format!("u-{n}");
            [
                push(&format!("p-{n}"), "shop", ""),
                counted_job(&format!("c-{n}"), "normal"),
                exempt_job(&format!("e-{n}")),
                user_job(&id),
            ]
        })
        .collect();
    world.publish(&ours).await;
    world.publish(&echoed()).await;
    // In the midst of it: messages wait in every kind of queue, claims are open.
    eventually("half of it has ended", || async {
        world
            .admin(worker, "/metrics")
            .await
            .1
            .lines()
            .filter(|line| line.starts_with("paceline_deliveries_settled_total"))
            .count()
            > 4
    })
    .await;
    add_admin(&mut evidence, &world, worker).await;
    world.kill_worker(worker).await;
    evidence.add_servers(&world).await;
    let worker = world.start_worker().await;
    world.wait_for_ends_within(ours.len() + 7 + echoed().len(), Duration::from_secs(180)).await;
    add_admin(&mut evidence, &world, worker).await;
    evidence.add_servers(&world).await;
    for (id, receipt) in world.receipts().iter().enumerate() {
        evidence.add(format!("receipt {id}"), receipt.to_string());
    }
    add_commands(&mut evidence, &world, &environment).await;
    evidence.add("log", world.whole_logs());
    // All kinds of it are there.
    for (start, least) in
        [("queue", 50), ("store", 90), ("receipt", 90), ("admin", 8), ("command", 60), ("log", 1)]
    {
        let count = evidence.count(start);
        assert!(count >= least, "only {count} pieces of {start}");
    }
    assert!(world.count("delivered") > 40 && world.count("dead") > 12, "{:?}", world.receipts());
    let mut leaks = evidence.leaks("", &secrets());
    leaks.extend(evidence.leaks("log", &contents()));
    leaks.extend(evidence.leaks("command", &contents()));
    assert!(
        leaks.is_empty(),
        "{} leaks, among them\n{}",
        leaks.len(),
        leaks.join("\n").chars().take(20_000).collect::<String>()
    );
    world.finish().await;
}
