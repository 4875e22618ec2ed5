//! One run: a seed's world from its first job to its last receipt, and what must hold of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use paceline::config::{Config, Environment, load_text};
use paceline::ports::{Place, Wire};
use paceline::providers;
use paceline::simulator::DeliveryOutcome;
use paceline::worker::{Manner, Ports, Stage, Worker};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::broker::{Broker, DeadLetter, Port, Receipt};
use super::chance::Dice;
use super::kinds::{self as jobs, Published};
use super::life::{Chaos, Life, Odds, WallClock};
use super::provider::{Network, Providers};
use super::store::Store;

/// How long things go wrong.
const TROUBLE: Duration = Duration::from_secs(150);
/// How long after that everything must have ended: the longest wait of the retry policy, with the
/// provider's duplicate window and a lease before it, several times over.
const PATIENCE: Duration = Duration::from_secs(6 * 3_600);

const CONFIGURATION: &str = r#"
[worker]
request_timeout = "10s"
lease = "30s"

[accounts.shop]
provider = "pushwoosh"
api_token = { env = "TOKEN" }
application = "AAAAA-BBBBB"
requests_per_minute = 30

[accounts.news]
provider = "moengage"
data_center = "01"
workspace_id = "workspace-news"
push_api_key = { env = "KEY" }
requests_per_minute = 60

[accounts.loud]
provider = "moengage"
data_center = "01"
workspace_id = "workspace-loud"
push_api_key = { env = "KEY" }
requests_per_minute = 60
on_unknown = "resend"
"#;

/// What the providers themselves get wrong, by turns.
const MOODS: [&[&str]; 7] = [
    &[],
    &["503@30%", "500@10%"],
    &["429=20s@10%"],
    &["hang-after@10%", "reset-after@10%", "reset-before@10%"],
    &["garbage@10%", "cut@10%", "latency=1s..15s@30%"],
    &["500-after@20%", "502@30%"],
    &["401@40%"],
];

/// What a run came to.
#[derive(Debug, Clone, Copy)]
pub struct Tally {
    pub deliveries: usize,
    pub crashes: u64,
    pub lossy: bool,
    pub accepted_twice: usize,
    /// Deliveries that ended without being read.
    pub unread: usize,
}

fn config() -> Config {
    let environment =
        Environment::of([("TOKEN", "token-of-the-simulation"), ("KEY", "key-of-the-simulation")]);
    load_text(CONFIGURATION, None, &environment, &providers::ALL).expect("a configuration").config
}

struct World {
    chaos: Arc<Chaos>,
    config: Config,
    broker: Arc<Broker>,
    store: Arc<Store>,
    providers: Arc<Providers>,
}

/// Runs one seed; panics with what does not hold.
pub async fn run(seed: u64) -> Tally {
    let dice = Arc::new(Dice::new(seed));
    let lossy = dice.in_thousand(200);
    let chaos = Chaos::new(dice.clone(), Odds::draw(&dice));
    let config = config();
    let places: Vec<Place> = config.accounts.values().flat_map(|account| account.places()).collect();
    let world = Arc::new(World {
        broker: Broker::new(chaos.clone(), &places),
        store: Store::new(chaos.clone(), config.clone()),
        providers: Providers::new(chaos.clone(), seed, &[("pushwoosh", 30), ("moengage", 60)]),
        chaos: chaos.clone(),
        config,
    });
    let published = jobs::draw(&dice, &chaos);
    let mut tasks = JoinSet::new();
    tasks.spawn(publish(world.clone(), messages_of(&published, &dice)));
    for _ in 0..=dice.below(3) {
        tasks.spawn(keep_worker(world.clone()));
    }
    tasks.spawn(trouble(world.clone(), lossy));
    sleep(TROUBLE).await;
    world.chaos.end();
    world.providers.misbehave(&[]);
    world.quiet(seed).await;
    if std::env::var("DBG").is_ok() {
        for r in world.broker.receipts() {
            eprintln!("{} {}", r.name, r.body);
        }
        eprintln!("{:?}", world.broker.rest());
    }
    let tally = world.judge(seed, &published, lossy);
    tasks.abort_all();
    tally
}

fn messages_of(published: &[Published], dice: &Arc<Dice>) -> Vec<jobs::Message> {
    published.iter().flat_map(|job| job.messages(dice)).collect()
}

async fn publish(world: Arc<World>, messages: Vec<jobs::Message>) {
    let most = 2 * 60_000 / (messages.len() as u64 + 1);
    for (place, body, properties) in messages {
        world.chaos.travel(most).await;
        world.broker.put(&place, body, properties);
    }
}

/// A process that is started again whenever it died, and now and then told to drain.
async fn keep_worker(world: Arc<World>) {
    loop {
        let (life, mut died) = Life::new(world.chaos.clone());
        let link = world.broker.connect(life.clone());
        let stage = watch::Sender::new(Stage::Running);
        let store = Arc::new(world.store.connect(life.clone()));
        let wire: Arc<dyn Wire> = Arc::new(Network {
            providers: world.providers.clone(),
            life: life.clone(),
            request_timeout: world.config.worker.request_timeout,
        });
        let ports = Ports {
            queue: Arc::new(Port(link.clone())),
            publisher: Arc::new(Port(link.clone())),
            claims: store.clone(),
            permits: store.clone(),
            sightings: store,
            wire,
            clock: Arc::new(WallClock(world.chaos.clone())),
            chance: world.chaos.dice.clone(),
        };
        let manner = Manner {
            prefix: "paceline".to_owned(),
            worker: world.config.worker.clone(),
            limiter: world.config.limiter,
            retry: world.config.retry,
            circuit: world.config.circuit,
        };
        let worker = Worker::new(ports, manner, &world.config.accounts, stage.subscribe());
        let running = tokio::spawn(worker.run());
        let orders = drain_orders(&world, &stage);
        tokio::select! {
            biased;
            _ = died.recv() => {}
            () = orders => {
                tokio::select! {
                    biased;
                    _ = died.recv() => {}
                    ended = running => ended.expect("a worker never panics"),
                }
            }
        }
        world.chaos.travel(2_000).await;
        link.end();
        world.chaos.travel(3_000).await;
    }
}

/// Tells it to drain, once, at a time of its own; never while all is well.
async fn drain_orders(world: &World, stage: &watch::Sender<Stage>) {
    world.chaos.travel(200_000).await;
    if !world.chaos.is_on() {
        std::future::pending::<()>().await;
    }
    stage.send_replace(Stage::Draining);
}

/// What goes wrong outside the workers.
async fn trouble(world: Arc<World>, lossy: bool) {
    while world.chaos.is_on() {
        world.chaos.travel(20_000).await;
        if !world.chaos.is_on() {
            return;
        }
        let dice = &world.chaos.dice;
        match dice.below(8) {
            0 => world.broker.cut_one(),
            1 => world.broker.restart(dice.millis(15_000)).await,
            2 => world.store.restart(dice.millis(15_000)).await,
            3 => world.providers.misbehave(dice.pick::<&[&str]>(&MOODS)),
            4 => {
                let step = i64::try_from(dice.below(4_000)).expect("small") - 2_000;
                world.chaos.wall_ahead_ms.fetch_add(step, std::sync::atomic::Ordering::Relaxed);
            }
            5 if lossy => world.store.lose(dice.in_thousand(500)),
            6 => world.store.save(),
            _ => world.providers.misbehave(&[]),
        }
    }
}

impl World {
    /// Waits until nothing is left to do.
    async fn quiet(&self, seed: u64) {
        let deadline = self.chaos.elapsed() + PATIENCE;
        loop {
            let rest = self.broker.rest();
            if rest.waiting.is_empty() && rest.unsettled == 0 && rest.delayed == 0 {
                return;
            }
            assert!(self.chaos.elapsed() < deadline, "seed {seed}: it never ends: {rest:?}");
            sleep(Duration::from_secs(5)).await;
        }
    }

    fn judge(&self, seed: u64, published: &[Published], lossy: bool) -> Tally {
        let ends = Ends::of(&self.broker.receipts(), &self.broker.dead_letters());
        let taken = self.taken();
        for job in published {
            for id in &job.deliveries {
                self.judge_delivery(seed, job, id, &ends, &taken, lossy);
            }
        }
        let known: BTreeSet<&str> =
            published.iter().flat_map(|job| job.deliveries.iter().map(String::as_str)).collect();
        for (_, id) in taken.keys() {
            assert!(
                known.contains(id.as_str()),
                "seed {seed}: the provider got {id}, which nobody published"
            );
        }
        let open = self.store.unfinished();
        let open: Vec<_> = open
            .into_iter()
            .filter(|(account, id)| !ends.of_delivery(account, id).iter().any(|end| end.unread))
            .collect();
        assert!(
            open.is_empty() || lossy,
            "seed {seed}: claims were left open: {:?}",
            open.iter().map(|(account, id)| (account, id, ends.of_delivery(account, id))).collect::<Vec<_>>()
        );
        let summary = self.providers.engine().summary();
        for account in &summary.accounts {
            let (most, limit) = (account.most_in_window, account.limit);
            assert!(
                limit.is_some_and(|limit| most <= limit as usize),
                "seed {seed}: {most} requests in a window of {limit:?}"
            );
        }
        Tally {
            deliveries: known.len(),
            crashes: self.chaos.crashes(),
            lossy,
            accepted_twice: taken.values().filter(|times| **times > 1).count(),
            unread: ends.0.values().filter(|ends| ends.iter().any(|end| end.unread)).count(),
        }
    }

    /// How often the providers took each delivery, by account and id.
    fn taken(&self) -> BTreeMap<(String, String), usize> {
        let page = self.providers.engine().ledger().page(0, usize::MAX);
        let mut taken = BTreeMap::new();
        for entry in page.entries {
            let provider = entry.provider.clone().unwrap_or_default();
            for delivery in entry.deliveries {
                if let (DeliveryOutcome::Accepted, Some(id)) = (delivery.outcome, delivery.id) {
                    let id = id.strip_prefix("Campaign ").unwrap_or(&id).to_owned();
                    *taken.entry((provider.clone(), id)).or_default() += 1;
                }
            }
        }
        taken
    }

    fn judge_delivery(
        &self,
        seed: u64,
        job: &Published,
        id: &str,
        ends: &Ends,
        taken: &BTreeMap<(String, String), usize>,
        lossy: bool,
    ) {
        let case = format!("seed {seed}, {} {id}", job.account);
        let provider = if job.account == "shop" { "pushwoosh" } else { "moengage" };
        let times = taken.get(&(provider.to_owned(), id.to_owned())).copied().unwrap_or(0);
        let found = ends.of_delivery(job.account, id);
        assert!(!found.is_empty(), "{case}: no receipt; all of its job: {:?}", ends.of_job(job));
        assert!(times <= 1 || lossy || job.account == "loud", "{case}: taken {times} times: {found:?}");
        if found.iter().any(|end| end.unread) {
            // Such an end asks no claim: another copy of the message may end for itself.
            return;
        }
        let names = found.len();
        // One end for each publishing; a loss of the store's data may add some.
        let publishings = usize::try_from(job.times).expect("few");
        assert!(
            names <= publishings || lossy,
            "{case}: {names} ends for {publishings} publishings: {found:?}"
        );
        assert!(names >= publishings, "{case}: {names} ends for {publishings} publishings: {found:?}");
        let said = |status: &str| found.iter().any(|end| end.status == status);
        let reason = |word: &str| found.iter().any(|end| end.reason.as_deref() == Some(word));
        if said("delivered") && job.body["operation"] != "getMessageDetails" {
            assert!(times > 0, "{case}: told delivered, and the provider never took it");
        }
        if times > 0 && !lossy {
            let told = said("delivered") || reason("uncertain");
            assert!(told, "{case}: the provider took it, and its receipts say {found:?}");
        }
        assert!(!job.invalid || (reason("invalid") && times == 0), "{case}: {found:?}");
        if !lossy {
            let blocking = found
                .iter()
                .filter(|end| end.status == "delivered" || end.reason.as_deref() == Some("uncertain"));
            assert!(
                blocking.count() <= 1
                    || job.account == "shop" && job.body["operation"] == "getMessageDetails",
                "{case}: ended twice: {found:?}"
            );
        }
    }
}

/// One end, however often its receipt was repeated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    name: String,
    status: String,
    reason: Option<String>,
    code: Option<String>,
    /// It was ended without being read, because it brought workers down again and again.
    unread: bool,
}

/// Account and id of the one delivery in a dead letter, or of its job.
fn id_of(letter: &DeadLetter) -> (String, String) {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let notifications = &letter.body["payload"]["notifications"];
    let own = if notifications[1].is_null() { text(&notifications[0]["transactionId"]) } else { None };
    let id = own.or_else(|| text(&letter.body["transactionId"]));
    (text(&letter.body["account"]).unwrap_or_default(), id.unwrap_or_default())
}

struct Ends(BTreeMap<(String, String), BTreeSet<End>>);

impl Ends {
    fn of(receipts: &[Receipt], letters: &[DeadLetter]) -> Self {
        let mut ends: BTreeMap<_, BTreeSet<End>> = BTreeMap::new();
        for receipt in receipts {
            let text = |key: &str| receipt.body[key].as_str().map(str::to_owned);
            let account = text("account").unwrap_or_default();
            // An unreadable job is known by what its receipt could read of it.
            let id = text("transactionId").or_else(|| text("jobId")).unwrap_or_default();
            let status = text("status").unwrap_or_default();
            let end = End {
                name: receipt.name.clone(),
                status,
                reason: text("reason"),
                code: text("messageCode"),
                unread: false,
            };
            ends.entry((account, id)).or_default().insert(end);
        }
        // What brought workers down again and again ends without being read: its receipt names nothing,
        // its letter does. A crash between letter and receipt may leave a letter of each kind.
        let mut untold = Vec::new();
        for letter in letters {
            let name = format!("{}:receipt", letter.dead_id);
            let Some(receipt) = receipts.iter().find(|receipt| receipt.name == name) else {
                untold.push(letter);
                continue;
            };
            if receipt.body["transactionId"].is_null() {
                let (status, reason) = ("dead".to_owned(), Some(letter.reason.clone()));
                ends.entry(id_of(letter)).or_default().insert(End {
                    name,
                    status,
                    reason,
                    code: None,
                    unread: true,
                });
            }
        }
        for letter in untold {
            let told =
                ends.get(&id_of(letter)).is_some_and(|ends| ends.iter().any(|end| end.status == "dead"));
            assert!(told, "no receipt for a dead letter: {letter:?}");
        }
        Self(ends)
    }

    /// All that is told of a job's deliveries.
    fn of_job(&self, job: &Published) -> Vec<(&(String, String), &BTreeSet<End>)> {
        let id = job.body["transactionId"].as_str().unwrap_or_default();
        self.0.iter().filter(|((_, name), _)| name.split('#').next() == Some(id)).collect()
    }

    /// Those of a delivery, and those of its whole job.
    fn of_delivery(&self, account: &str, id: &str) -> Vec<End> {
        let job = id.split_once('#').map(|(job, _)| job);
        let names = std::iter::once(id).chain(job);
        names
            .filter_map(|name| self.0.get(&(account.to_owned(), name.to_owned())))
            .flatten()
            .cloned()
            .collect()
    }
}
