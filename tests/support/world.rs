//! The whole system for one test: RabbitMQ, Redis, the simulated providers, worker processes, and
//! a producer that remembers what it published.
//!
//! [`World::finish`] asserts conservation: every published delivery has exactly one end and its
//! receipt, nothing is left in a queue, no claim is left open, and the provider accepted nothing
//! twice. A world that is dropped without it fails the test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use paceline::ports::{LADDER_SECONDS, Place, Properties, PublishError};
use paceline::simulator::{Simulator, SimulatorConfig};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::jobs::{places, places_beside};
use super::rabbitmq::{self, Broker};

mod brokers;
mod configuration;
mod elapsing;
pub mod embedded;
mod endings;
mod inside;
mod network;
mod producer;
mod receipts;
mod servers;
mod watch;

pub use brokers::NODES;
use brokers::UsedBroker;
pub use network::Network;
pub use producer::Producer;
use receipts::Receipts;
use servers::Store;
pub use watch::{eventually, get, signal};

/// The credential of the account `shop`; no log, queue or answer may hold it.
pub const TOKEN: &str = "pw-token-that-nobody-may-see";
/// The push key of the account `news`; no log, queue or answer may hold it.
pub const PUSH_KEY: &str = "mo-key-that-nobody-may-see";
/// The campaign key of the account `news`; no log, queue or answer may hold it.
pub const CAMPAIGN_KEY: &str = "campaign-key-of-the-tests";

/// The most receipts that are taken in at once.
const RECEIPTS_AT_ONCE: u16 = 2_000;

/// How a world differs from the usual one.
pub struct Options {
    /// One file in the place of broker and store, and one worker at a time.
    pub embedded: bool,
    /// A broker of its own, for tests that break it.
    pub own_broker: bool,
    /// A cluster of brokers of its own.
    pub cluster: bool,
    /// Proxies between the workers and each of their servers.
    pub proxied: bool,
    /// What is added to the workers' address of the broker, such as `?heartbeat=2`.
    pub broker_query: &'static str,
    /// More keys of `[accounts.shop]`.
    pub shop: &'static str,
    /// More keys of `[accounts.news]`.
    pub news: &'static str,
    /// Whether workers run with short times; else with their defaults.
    pub short_times: bool,
    /// More sections; those named here must not be among the usual ones. `{provider}` stands for the
    /// providers' address.
    pub more: &'static str,
    /// The accounts of MoEngage among them.
    pub more_accounts: &'static [&'static str],
    /// Variables of the workers' environment.
    pub env: &'static [(&'static str, &'static str)],
    /// What the simulator differs in.
    pub simulator: SimulatorConfig,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            embedded: embedded::is_without_servers(),
            own_broker: false,
            cluster: false,
            proxied: false,
            broker_query: "",
            shop: "requests_per_minute = 6000",
            news: "",
            short_times: true,
            more: "",
            more_accounts: &[],
            env: &[],
            simulator: SimulatorConfig::default(),
        }
    }
}

/// A worker process.
pub struct WorkerProcess {
    child: Child,
    /// Where its admin listener is.
    pub admin: String,
    /// What it logs.
    pub log: PathBuf,
}

impl WorkerProcess {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("a running worker")
    }
}

/// The whole system for one test.
pub struct World {
    broker: UsedBroker,
    network: Option<Network>,
    /// In the place of both, where there are no servers.
    file: Option<embedded::File>,
    /// The store.
    pub redis: Store,
    /// The providers.
    pub provider: Simulator,
    /// The workers that were started and not yet ended.
    pub workers: Vec<WorkerProcess>,
    folder: TempDir,
    env: &'static [(&'static str, &'static str)],
    prefix: String,
    producer: Producer,
    places: Vec<Place>,
    receipts: Receipts,
    expected: usize,
    logs: Vec<PathBuf>,
    finished: bool,
    /// How many deliveries may be accepted twice, once any may.
    twice_allowed: Option<usize>,
    letters_taken: usize,
    letters_untold: usize,
}

impl World {
    /// A usual world, without workers yet.
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    /// A world with differences.
    pub async fn with(options: Options) -> Self {
        let broker = UsedBroker::of(&options);
        let redis = if options.embedded { Store::none() } else { Store::start().await };
        let provider = Simulator::start(options.simulator.clone()).await.expect("the simulator starts");
        let prefix = rabbitmq::unique_prefix();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = broker.urls().join(",");
        let direct = if options.embedded {
            [embedded::address(), embedded::address(), provider.url()]
        } else {
            [url.clone(), redis.url(), provider.url()]
        };
        let network = if options.proxied { Some(Network::before(&direct).await) } else { None };
        let addresses = network.as_ref().map_or(direct.clone(), |network| network.through(&direct));
        let text = configuration::of(&options, &prefix, &addresses);
        std::fs::write(folder.path().join("paceline.toml"), text).expect("the configuration is written");
        let places: Vec<Place> = places().into_iter().chain(places_beside(options.more_accounts)).collect();
        let file = options.embedded.then(|| embedded::File::of(folder.path()));
        let producer = match &file {
            Some(_) => Producer::File(embedded::producer(&folder.path().join("paceline.toml"))),
            None => Producer::connect(&url, &prefix, &places).await,
        };
        let receipts = Receipts::at(format!("receipts-of-{prefix}"));
        let world = Self {
            broker,
            network,
            file,
            redis,
            provider,
            workers: Vec::new(),
            folder,
            env: options.env,
            prefix,
            producer,
            places,
            receipts,
            expected: 0,
            logs: Vec::new(),
            finished: false,
            twice_allowed: None,
            letters_taken: 0,
            letters_untold: 0,
        };
        if world.file.is_none() {
            let channel = world.channel().await.expect("the broker is up");
            world.receipts.bind(&channel, &world.receipts_exchange()).await;
        }
        world
    }

    /// The broker; of a cluster the first node.
    pub fn broker(&self) -> &Broker {
        self.broker.nodes()[0]
    }

    /// The nodes of the cluster, in the order in which the workers' configuration names them.
    pub fn nodes(&self) -> [&Broker; NODES] {
        self.broker.nodes().try_into().ok().expect("a world with a cluster")
    }

    /// The network between the workers and their servers.
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("a world with proxies")
    }

    /// The prefix of this world's names.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("paceline.toml")
    }

    /// A command of the binary with this world's configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        command
            .arg("--config")
            .arg(self.config_file())
            .args(arguments)
            .env("PUSHWOOSH_TOKEN", TOKEN)
            .env("MOENGAGE_PUSH_KEY", PUSH_KEY)
            .env("MOENGAGE_CAMPAIGN_KEY", CAMPAIGN_KEY)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Starts a worker and waits until it is ready.
    pub async fn start_worker(&mut self) -> usize {
        let index = self.launch_worker().await;
        let url = format!("http://{}/readyz", self.workers[index].admin);
        eventually("the worker is ready", || async {
            get(&url).await.is_some_and(|(status, _)| status == 200)
        })
        .await;
        index
    }

    /// Starts a worker without waiting.
    pub async fn launch_worker(&mut self) -> usize {
        let log = self.folder.path().join(format!("worker-{}.log", self.logs.len()));
        let file = std::fs::File::create(&log).expect("a log file");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let admin = format!("127.0.0.1:{port}");
        let child = self
            .command(&["worker"])
            .env("PACELINE__ADMIN__LISTEN", &admin)
            .envs(self.env.iter().copied())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the worker starts");
        self.logs.push(log.clone());
        self.workers.push(WorkerProcess { child, admin, log });
        self.workers.len() - 1
    }

    /// Publishes jobs, with confirms; remembers how many deliveries are to end.
    pub async fn publish(&mut self, jobs: &[Value]) {
        let sent = jobs.iter().map(|job| {
            let account = job["account"].as_str().expect("an account").to_owned();
            self.producer.offer(account, job.to_string().into_bytes(), super::jobs::properties())
        });
        for sent in futures_util::future::join_all(sent).await {
            sent.expect("the job is confirmed");
        }
        self.expected += jobs.iter().map(deliveries_of).sum::<usize>();
    }

    /// Publishes a body as it is; the caller says how many ends it will have.
    pub async fn publish_raw(
        &mut self,
        account: &str,
        body: &[u8],
        properties: Properties,
        ends: usize,
    ) -> Result<(), PublishError> {
        self.producer.offer(account.to_owned(), body.to_vec(), properties).await?;
        self.expected += ends;
        Ok(())
    }

    /// How many deliveries are to end.
    pub fn published(&self) -> usize {
        self.expected
    }

    /// Says that so many more deliveries are to end, which somebody else published.
    pub fn expect_more(&mut self, ends: usize) {
        self.expected += ends;
    }

    /// Says that so many dead letters were taken out.
    #[allow(dead_code, reason = "most measurements take none out")]
    pub fn letters_taken(&mut self, letters: usize) {
        self.letters_taken += letters;
    }

    /// The producer, to publish beside what the test does; it says with [`World::expect_more`] how
    /// many deliveries are to end.
    #[allow(dead_code, reason = "a measurement uses it")]
    pub fn producer(&self) -> Producer {
        self.producer.clone()
    }

    /// Waits until so many distinct ends were told, over the whole test.
    pub async fn wait_for_ends(&mut self, ends: usize) {
        self.wait_for_ends_within(ends, Duration::from_secs(120)).await;
    }

    /// The same with a deadline.
    pub async fn wait_for_ends_within(&mut self, ends: usize, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.receipts.len() < ends {
            assert!(
                Instant::now() < deadline,
                "{} of {ends} ends after {patience:?}\n{}",
                self.receipts.len(),
                self.logs()
            );
            // Whoever waits for the first ends does not take in all that come meanwhile.
            let missing = u16::try_from(ends - self.receipts.len()).unwrap_or(u16::MAX);
            self.collect_some(missing.clamp(20, RECEIPTS_AT_ONCE)).await;
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until everything published has ended.
    pub async fn settle(&mut self) {
        self.wait_for_ends(self.expected).await;
    }

    /// The receipts so far, one for each end.
    pub fn receipts(&self) -> Vec<&Value> {
        self.receipts.iter().collect()
    }

    /// How many receipts have a status.
    pub fn count(&self, status: &str) -> usize {
        self.receipts.iter().filter(|receipt| receipt["status"] == status).count()
    }

    /// The receipts of one delivery.
    pub fn receipts_of(&self, id: &str) -> Vec<&Value> {
        self.receipts.iter().filter(|receipt| receipt["transactionId"] == id).collect()
    }

    /// What a worker serves at a path of its admin listener.
    pub async fn admin(&self, worker: usize, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.workers[worker].admin);
        get(&url).await.expect("the admin listener answers")
    }

    /// All dead letters, left where they are, as (headers, body).
    pub async fn dead_letters(&self) -> Vec<(BTreeMap<String, String>, Vec<u8>)> {
        if let Some(file) = &self.file {
            return file.dead_letters();
        }
        let channel = self.channel().await.expect("the broker is up");
        brokers::dead_letters(&channel, &format!("{}.dead", self.prefix)).await
    }

    /// How many messages wait in each queue that must be empty at the end.
    pub async fn depths(&self) -> Vec<(String, u64)> {
        if let Some(file) = &self.file {
            return file.depths();
        }
        let places: Vec<Place> = std::iter::once(Place::Due).chain(self.places.iter().cloned()).collect();
        let depths = self.producer.depths(&places).await;
        let mut found: Vec<(String, u64)> = places
            .iter()
            .zip(depths)
            .map(|(place, depth)| (format!("{place:?}"), depth.expect("a depth")))
            .collect();
        let channel = self.channel().await.expect("the broker is up");
        for seconds in LADDER_SECONDS {
            let name = format!("{}.delay.{}", self.prefix, seconds * 1_000);
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let queue =
                channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await.unwrap();
            found.push((name, u64::from(queue.message_count())));
        }
        found
    }

    /// Drains the workers and asserts that nothing was lost, doubled or left behind.
    pub async fn finish(mut self) {
        self.come_to_rest().await;
        assert_eq!(self.receipts.len(), self.expected, "each delivery has exactly one end\n{}", self.logs());
        self.assert_one_delivery_for_each_id();
        let left = self.left_behind().await;
        assert!(left.is_empty(), "left behind: {left:?}\n{}", self.logs());
        self.assert_dead_letters_match().await;
        self.assert_no_open_claims().await;
        let twice = self.provider.summary().accepted_twice;
        assert!(twice.len() <= self.twice_allowed.unwrap_or(0), "accepted twice: {twice:?}\n{}", self.logs());
        self.assert_no_secrets();
        self.finished = true;
    }

    /// Waits until everything has ended, ends the workers, and takes in what they told last.
    pub async fn come_to_rest(&mut self) {
        self.settle().await;
        self.drain_all().await;
        // A copy of a message (its confirm was lost, or its worker's time to drain was over) may come
        // to its end later than its delivery. It waits in a queue, or went back there from a worker.
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.stays_empty().await && Instant::now() < deadline {
            self.start_worker().await;
            while !self.left_behind().await.is_empty() && Instant::now() < deadline {
                sleep(Duration::from_millis(100)).await;
            }
            self.drain_all().await;
        }
        self.collect_all().await;
    }

    /// Whether nothing waits. One look proves nothing: what leaves a delay queue is in none for a moment.
    async fn stays_empty(&self) -> bool {
        let until = Instant::now() + Duration::from_secs(1);
        while self.left_behind().await.is_empty() {
            if Instant::now() >= until {
                return true;
            }
            sleep(Duration::from_millis(50)).await;
        }
        false
    }

    async fn drain_all(&mut self) {
        while !self.workers.is_empty() {
            let (status, _) = self.drain_worker(0).await;
            assert!(status.success(), "a worker ended with {status}: {}", self.logs());
        }
    }

    async fn left_behind(&self) -> Vec<(String, u64)> {
        self.producer.connected().await;
        self.depths().await.into_iter().filter(|(_, depth)| *depth > 0).collect()
    }

    /// Says that so many deliveries may be accepted twice: those under way when the store lost its
    /// data, where the provider does not know them again, and those of an account that asks for it.
    /// Nothing else is forgiven. From now on a receipt that repeats may tell another message code; how
    /// many deliveries it are may be said later.
    pub fn may_be_taken_twice(&mut self, deliveries: usize) {
        *self.twice_allowed.get_or_insert(0) += deliveries;
    }

    /// How many receipts came again.
    #[allow(dead_code, reason = "a measurement uses it")]
    pub fn repeats(&self) -> usize {
        self.receipts.repeats()
    }

    fn assert_one_delivery_for_each_id(&self) {
        let mut delivered = BTreeSet::new();
        let mut again = Vec::new();
        for receipt in self.receipts.iter().filter(|receipt| receipt["status"] == "delivered") {
            let id = (receipt["account"].to_string(), receipt["transactionId"].to_string());
            if !delivered.insert(id.clone()) {
                again.push(id);
            }
        }
        assert!(again.len() <= self.twice_allowed.unwrap_or(0), "delivered twice: {again:?}");
    }

    async fn assert_dead_letters_match(&self) {
        let letters = self.dead_letters().await;
        let ids: BTreeSet<_> =
            letters.iter().map(|(headers, _)| headers["paceline-dead-id"].clone()).collect();
        let dead = self.count("dead") - self.letters_taken;
        assert_eq!(ids.len() - self.letters_untold, dead, "each dead receipt has its dead letter");
    }

    /// When each dead letter was written of which no receipt tells.
    #[allow(dead_code, reason = "a measurement uses it")]
    pub async fn untold_letters(&self) -> Vec<String> {
        let told: BTreeSet<_> = self.receipts.named().map(|(name, _)| name.as_str()).collect();
        let letters = self.dead_letters().await;
        let untold = letters.iter().filter(|(headers, _)| {
            !told.contains(format!("{}:receipt", headers["paceline-dead-id"]).as_str())
        });
        untold.map(|(headers, _)| headers["paceline-dead-at"].clone()).collect()
    }

    /// Says that so many dead letters have no receipt: their deliveries ended otherwise after the store
    /// lost its data between letter and receipt.
    #[allow(dead_code, reason = "a measurement uses it")]
    pub fn letters_untold(&mut self, letters: usize) {
        self.letters_untold += letters;
    }

    async fn assert_no_open_claims(&self) {
        if let Some(file) = &self.file {
            assert!(file.open_claims().is_empty(), "left open: {:?}\n{}", file.open_claims(), self.logs());
            return;
        }
        let mut connection = self.redis.connection().await;
        let keys: Vec<String> =
            ::redis::cmd("KEYS").arg("*:c:*").query_async(&mut connection).await.expect("KEYS");
        let state = "return (cmsgpack.unpack(redis.call('GET', KEYS[1])))";
        for key in keys {
            let asked = ::redis::cmd("EVAL").arg(state).arg(1).arg(&key).to_owned();
            let state: String = asked.query_async(&mut connection).await.expect("EVAL");
            assert_eq!(state, "e", "{key} is left open\n{}", self.logs());
        }
    }

    fn assert_no_secrets(&self) {
        let logs = self.logs();
        for secret in [TOKEN, PUSH_KEY, CAMPAIGN_KEY] {
            assert!(!logs.contains(secret), "a log holds a credential");
            for receipt in self.receipts.iter() {
                assert!(!receipt.to_string().contains(secret), "a receipt holds a credential");
            }
        }
    }

    /// The last lines of every worker's log.
    pub fn logs(&self) -> String {
        self.logs.iter().map(|log| format!("--- {}\n{}", log.display(), tail(log))).collect()
    }

    /// The whole text of every worker's log.
    pub fn whole_logs(&self) -> String {
        self.logs.iter().map(|log| std::fs::read_to_string(log).unwrap_or_default()).collect()
    }

    async fn channel(&self) -> lapin::Result<lapin::Channel> {
        self.broker.channel().await
    }

    /// Leads every receipt of this world to a queue.
    #[allow(dead_code, reason = "a measurement uses it")]
    pub async fn bind_to_receipts(&self, channel: &lapin::Channel, queue: &str) {
        receipts::bind(channel, queue, &self.receipts_exchange()).await;
    }

    fn receipts_exchange(&self) -> String {
        format!("{}.receipts", self.prefix)
    }

    /// Takes in receipts; a broker that is down has none for now.
    pub async fn collect(&mut self) {
        self.collect_some(RECEIPTS_AT_ONCE).await;
    }

    async fn collect_some(&mut self, most: u16) -> Option<u32> {
        let forgiving = self.twice_allowed.is_some();
        if let Some(file) = &mut self.file {
            self.receipts.take_from(file, forgiving);
            return Some(0);
        }
        self.receipts.fetch(&self.broker, most, forgiving).await
    }

    async fn collect_all(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(300);
        while self.collect_some(RECEIPTS_AT_ONCE).await != Some(0) {
            assert!(Instant::now() < deadline, "receipts wait, and can't be taken in\n{}", self.logs());
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !self.finished && !std::thread::panicking() {
            panic!("a world must be finished, so that conservation is checked");
        }
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

fn deliveries_of(job: &Value) -> usize {
    job["payload"]["notifications"].as_array().map_or(1, Vec::len)
}

fn tail(log: &PathBuf) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n") + "\n"
}
