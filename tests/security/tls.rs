//! TLS to the broker, the store and a provider, with certificates of a CA of the test's own.

use std::process::Stdio;
use std::sync::Once;
use std::time::Duration;

use serde_json::Value;

use crate::support::jobs::{counted_job, exempt_job, user_job};
use crate::support::tls::{Authority, Front};
use crate::support::world::{Options, TOKEN, World, eventually};

/// The password of the users whom workers log in as.
const PASSWORD: &str = "tls-password-that-nobody-may-see";

/// A variable of the workers' environment, for the rest of the test process.
fn variable(name: &'static str, value: String) -> (&'static str, &'static str) {
    (name, value.leak())
}

/// The ways to the three servers, as workers take them.
struct Ways {
    broker: Front,
    store: Front,
    provider: Front,
}

impl Ways {
    /// To the servers' own listeners for TLS, and to the provider by one that stands before it.
    async fn encrypted(world: &World) -> Self {
        let store = format!("127.0.0.1:{}", world.redis.open_tls().await);
        let identity = Authority::ours().certify("127.0.0.1");
        let provider = world.provider.url().replace("http://", "");
        Self {
            broker: Front::open(&world.broker().tls_address()).await,
            store: Front::open(&store).await,
            provider: Front::tls(&provider, &identity).await,
        }
    }

    fn all(&self) -> [&Front; 3] {
        [&self.broker, &self.store, &self.provider]
    }

    /// The environment of a worker that takes these ways; `host` is how it calls the machine.
    fn environment(&self, host: &str) -> Vec<(&'static str, &'static str)> {
        let [broker, store, provider] = self.all().map(Front::port);
        let provider = format!("https://{host}:{provider}");
        vec![
            variable("PACELINE__QUEUE__URL", format!("amqps://tester:{PASSWORD}@{host}:{broker}/%2f")),
            variable("PACELINE__STORE__URL", format!("rediss://tester:{PASSWORD}@{host}:{store}/0")),
            variable("PACELINE__ACCOUNTS__SHOP__BASE_URL", provider.clone()),
            variable("PACELINE__ACCOUNTS__NEWS__BASE_URL", provider),
        ]
    }

    fn assert_nothing_in_clear(&self) {
        // How the protocols begin without TLS, and what must not be seen.
        let words: [&[u8]; 7] =
            [b"AMQP", b"PLAIN", b"EVAL", b"HTTP", PASSWORD.as_bytes(), TOKEN.as_bytes(), b"device-"];
        for (index, way) in self.all().into_iter().enumerate() {
            for word in words {
                assert!(!way.heard(word), "way {index} has {:?} in clear", String::from_utf8_lossy(word));
            }
        }
    }
}

/// A world whose servers know the user `tester`.
async fn world() -> World {
    let world = World::new().await;
    // All worlds share the broker.
    static USER: Once = Once::new();
    USER.call_once(|| {
        world.broker().ctl(&["add_user", "tester", PASSWORD]);
        world.broker().ctl(&["set_permissions", "tester", ".*", ".*", ".*"]);
    });
    let mut connection = world.redis.connection().await;
    let mut user = redis::cmd("ACL");
    user.arg("SETUSER").arg("tester").arg("on").arg(format!(">{PASSWORD}")).arg("~*").arg("+@all");
    user.exec_async(&mut connection).await.expect("a user of the store");
    world
}

/// Writes a CA's certificate beside the configuration and gives the variables that name it.
fn trusting(world: &World, authority: &Authority) -> Vec<(&'static str, &'static str)> {
    let folder = world.config_file().parent().expect("a folder").to_owned();
    std::fs::write(folder.join("ca.pem"), authority.certificate()).expect("the CA is written");
    // Relative to the configuration file.
    ["QUEUE", "STORE", "WORKER"]
        .map(|section| variable(format!("PACELINE__{section}__CA_FILE").leak(), "ca.pem".into()))
        .into()
}

/// Runs a worker that is expected to end by itself, and gives its exit status and its output.
async fn refused(world: &World, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = world.command(&["worker"]);
    command.env("PACELINE__ADMIN__LISTEN", "off").envs(environment.iter().copied()).stdin(Stdio::null());
    let output = tokio::time::timeout(Duration::from_secs(60), command.output()).await;
    let output = output.expect("the worker ends by itself").expect("the worker runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn jobs(name: &str) -> Vec<Value> {
    let of = |n: usize| {
        let id = format!("{name}-{n}");
        [
            exempt_job(&format!("{id}-e")),
            counted_job(&format!("{id}-c"), "normal"),
            user_job(&format!("{id}-u")),
        ]
    };
    (0..5).flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_delivered_over_tls_with_a_private_ca_and_nothing_goes_in_clear() {
    let mut world = world().await;
    let ways = Ways::encrypted(&world).await;
    let mut environment = ways.environment("127.0.0.1");
    environment.extend(trusting(&world, Authority::ours()));
    world.set_environment(environment);
    world.start_worker().await;
    world.publish(&jobs("tls")).await;
    world.settle().await;
    assert_eq!(world.count("delivered"), 15, "{:?}", world.receipts());
    for way in ways.all() {
        assert!(way.heard_bytes() > 500, "a way was not taken");
    }
    ways.assert_nothing_in_clear();
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_certificate_is_not_trusted_is_told_nothing_and_ends_the_start() {
    let world = world().await;
    let ways = Ways::encrypted(&world).await;
    let plain = [world.broker().url(), world.redis.url()];
    // Each case: how the worker calls the machine, whether it trusts the right CA, what stands in
    // the log for the broker and for the store.
    let cases = [
        (
            "127.0.0.1",
            false,
            ["of no CA that is trusted", "queue.ca_file"],
            ["of no CA that is trusted", "store.ca_file"],
        ),
        ("localhost", true, ["for another host", "queue.url"], ["for another host", "store.url"]),
    ];
    for (host, right_ca, broker, store) in cases {
        let mut environment = ways.environment(host);
        environment.extend(trusting(&world, if right_ca { Authority::ours() } else { Authority::strange() }));
        for (index, expected) in [broker, store].into_iter().enumerate() {
            // The other server is reached in clear, so that only one is at fault.
            let mut environment = environment.clone();
            let (name, url) =
                [("PACELINE__STORE__URL", &plain[1]), ("PACELINE__QUEUE__URL", &plain[0])][index];
            environment.push((name, url.as_str()));
            let (status, log) = refused(&world, &environment).await;
            assert_eq!(status, Some(1), "{log}");
            assert!(expected.iter().all(|part| log.contains(part)), "{host}, {index}: {log}");
            assert!(!log.contains(PASSWORD), "{log}");
        }
    }
    ways.assert_nothing_in_clear();
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_told_nothing_where_the_address_asks_for_it() {
    let world = world().await;
    let broker = Front::open(&world.broker().address()).await;
    let store = Front::open(&world.redis.address()).await;
    let ca = trusting(&world, Authority::ours());
    let urls = [
        format!("amqps://tester:{PASSWORD}@127.0.0.1:{}/%2f", broker.port()),
        format!("rediss://tester:{PASSWORD}@127.0.0.1:{}/0", store.port()),
    ];
    let mut command = world.command(&["topology"]);
    command.envs(ca.iter().copied()).env("PACELINE__QUEUE__URL", &urls[0]);
    let output = command.output().await.expect("the command runs");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let mut command = world.command(&["status"]);
    command.envs(ca.iter().copied()).env("PACELINE__STORE__URL", &urls[1]);
    let output = command.output().await.expect("the command runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains(PASSWORD), "{said}");
    for way in [broker, store] {
        assert!(way.heard_bytes() > 0, "a way was not taken");
        for word in [&b"AMQP"[..], b"AUTH", b"HELLO", PASSWORD.as_bytes()] {
            assert!(!way.heard(word), "{:?} in clear", String::from_utf8_lossy(word));
        }
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_goes_to_a_provider_whose_certificate_is_not_trusted_and_none_is_lost() {
    let more = "[circuit]\nfailures = 3\npause = \"1s\"\npause_max = \"1s\"\n[retry]\nbase = \"1s\"\ncap = \"1s\"\nattempts = 4";
    let mut world = World::with(Options { more, ..Options::default() }).await;
    let upstream = world.provider.url().replace("http://", "");
    let way = Front::tls(&upstream, &Authority::strange().certify("127.0.0.1")).await;
    let mut environment = trusting(&world, Authority::ours());
    let url = format!("https://127.0.0.1:{}", way.port());
    environment.push(variable("PACELINE__ACCOUNTS__SHOP__BASE_URL", url.clone()));
    environment.push(variable("PACELINE__ACCOUNTS__NEWS__BASE_URL", url));
    world.set_environment(environment);
    let worker = world.start_worker().await;
    world.publish(&jobs("provider")).await;
    eventually("the log says what is wrong", || async {
        let log = world.whole_logs();
        log.contains("of no CA that is trusted") && log.contains("worker.ca_file")
    })
    .await;
    let open = |account: &str| format!("paceline_circuit_state{{account=\"{account}\"}} 2");
    eventually("the account's circuit opens", || async {
        world.admin(worker, "/metrics").await.1.contains(&open("shop"))
    })
    .await;
    way.show(&Authority::ours().certify("other.example"));
    eventually("the log says what is wrong now", || async {
        world.whole_logs().contains("for another host")
    })
    .await;
    assert_eq!(world.provider.summary().counts.requests, 0);
    assert!(!way.heard(TOKEN.as_bytes()) && !way.heard(b"POST"), "a request in clear");
    way.show(&Authority::ours().certify("127.0.0.1"));
    world.settle().await;
    assert_eq!(world.count("delivered"), 15, "{:?}", world.receipts());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_servers_show_a_strange_certificate_is_not_ready_until_they_mend_it() {
    let mut world = world().await;
    let right = Authority::ours().certify("127.0.0.1");
    let strange = Authority::strange().certify("127.0.0.1");
    let broker = Front::tls(&world.broker().address(), &right).await;
    let store = Front::tls(&world.redis.address(), &right).await;
    let mut environment = trusting(&world, Authority::ours());
    let (to_broker, to_store) = (broker.port(), store.port());
    environment.push(variable(
        "PACELINE__QUEUE__URL",
        format!("amqps://tester:{PASSWORD}@127.0.0.1:{to_broker}/%2f"),
    ));
    environment
        .push(variable("PACELINE__STORE__URL", format!("rediss://tester:{PASSWORD}@127.0.0.1:{to_store}/0")));
    world.set_environment(environment);
    let worker = world.start_worker().await;
    for (way, dependency, key) in [(&broker, "broker", "queue.ca_file"), (&store, "store", "store.ca_file")] {
        way.show(&strange);
        eventually("the worker is not ready", || async {
            let (status, body) = world.admin(worker, "/readyz").await;
            status == 503 && body.contains(&format!("\"{dependency}\":false"))
        })
        .await;
        eventually("the log says why", || async { world.whole_logs().contains(key) }).await;
        world.publish(&[exempt_job(&format!("through-{dependency}"))]).await;
        way.show(&right);
        eventually("the worker is ready", || async { world.admin(worker, "/readyz").await.0 == 200 }).await;
        world.settle().await;
    }
    assert_eq!(world.count("delivered"), 2);
    assert!(!world.whole_logs().contains(PASSWORD));
    world.finish().await;
}
