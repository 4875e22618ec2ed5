//! One run: a seed's world from its first job to its last receipt.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use paceline::config::{Config, Environment, load_text};
use paceline::job::AccountName;
use paceline::ports::{Place, Wire};
use paceline::providers;
use paceline::worker::{Manner, Ports, Stage, Worker};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::broker::{Broker, DeadLetter};
use super::chance::Dice;
use super::file::Disk;
use super::ground::{Ground, Kind};
use super::judge::Judge;
use super::kinds::{self as jobs, Published};
use super::life::{Chaos, Life, Odds, WallClock};
use super::provider::{Network, Providers};
use super::store::{Store, Terms};

/// How long things go wrong.
const TROUBLE: Duration = Duration::from_secs(150);
/// How long after that everything must have ended: the longest wait of the retry policy, with the
/// provider's duplicate window and a lease before it, several times over.
const PATIENCE: Duration = Duration::from_secs(6 * 3_600);

/// How far the store's clock may be from true time, in milliseconds: twice that is less than what is
/// kept free before the end of a provider's duplicate window.
const STORE_STEP_MS: u64 = 5_000;

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
campaign_api_key = { env = "CAMPAIGNS" }
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
    /// Messages that ended without being read.
    pub unread: usize,
    /// Dead letters that were published again.
    pub replayed: usize,
}

fn config() -> Config {
    let secrets = ["TOKEN", "KEY", "CAMPAIGNS"].map(|name| (name, "a-secret-of-the-simulation"));
    let environment = Environment::of(secrets);
    load_text(CONFIGURATION, None, &environment, &providers::ALL).expect("a configuration").config
}

/// All that a run is about.
pub struct World {
    pub chaos: Arc<Chaos>,
    config: Config,
    pub ground: Ground,
    pub providers: Arc<Providers>,
    /// The dead letters that a person published again.
    pub replayed: Mutex<Vec<DeadLetter>>,
}

/// Runs one seed; panics with what does not hold.
pub async fn run(seed: u64, kind: Kind) -> Tally {
    let dice = Arc::new(Dice::new(seed));
    let lossy = kind == Kind::Servers && dice.in_thousand(200);
    let chaos = Chaos::new(dice.clone(), Odds::draw(&dice));
    let config = config();
    let places: Vec<Place> = config.accounts.values().flat_map(|account| account.places()).collect();
    let ground = match kind {
        Kind::Servers => Ground::Servers {
            broker: Broker::new(chaos.clone(), &places),
            store: Store::new(chaos.clone(), Terms::of(&config)),
        },
        Kind::File => Ground::File(Disk::new(chaos.clone(), &config)),
    };
    let world = Arc::new(World {
        ground,
        providers: Providers::new(chaos.clone(), seed, &[("pushwoosh", 30), ("moengage", 60)]),
        chaos: chaos.clone(),
        config,
        replayed: Mutex::default(),
    });
    let published = jobs::draw(&dice, &chaos);
    let mut tasks = JoinSet::new();
    tasks.spawn(publish(world.clone(), messages_of(&published)));
    let workers = match kind {
        Kind::Servers => 1 + dice.below(3),
        Kind::File => 1,
    };
    for _ in 0..workers {
        tasks.spawn(keep_worker(world.clone()));
    }
    tasks.spawn(trouble(world.clone(), lossy));
    sleep(TROUBLE).await;
    world.chaos.end();
    for account in world.config.accounts.keys() {
        world.ground.pause(account, false);
    }
    world.providers.misbehave(&[]);
    world.quiet(seed).await;
    let tally = Judge::of(&world, seed, &published, lossy).judge();
    tasks.abort_all();
    world.ground.dissolve();
    tally
}

fn messages_of(published: &[Published]) -> Vec<jobs::Message> {
    published.iter().flat_map(Published::messages).collect()
}

async fn publish(world: Arc<World>, messages: Vec<jobs::Message>) {
    let most = 2 * 60_000 / (messages.len() as u64 + 1);
    for (place, body, properties) in messages {
        world.chaos.travel(most).await;
        world.ground.put(&place, body, properties);
    }
}

/// A process that is started again whenever it died, and now and then told to drain.
async fn keep_worker(world: Arc<World>) {
    loop {
        let (life, mut died) = Life::new(world.chaos.clone());
        let ways = world.ground.connect(&life);
        let stage = watch::Sender::new(Stage::Running);
        let wire: Arc<dyn Wire> = Arc::new(Network {
            providers: world.providers.clone(),
            life: life.clone(),
            request_timeout: world.config.worker.request_timeout,
        });
        let ports = Ports {
            queue: ways.queue.clone(),
            publisher: ways.publisher.clone(),
            claims: ways.claims.clone(),
            permits: ways.permits.clone(),
            sightings: ways.sightings.clone(),
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
        ways.end();
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
        let what = dice.below(12);
        if let Ground::Servers { broker, store } = &world.ground {
            match what {
                0 => broker.cut_one(),
                1 => broker.restart(dice.millis(15_000)).await,
                2 => store.restart(dice.millis(15_000)).await,
                5 if lossy => store.lose(dice.in_thousand(500)),
                6 => store.save(),
                _ => {}
            }
        }
        match what {
            0..=2 | 6 => {}
            5 if lossy => {}
            3 => world.providers.misbehave(dice.pick::<&[&str]>(&MOODS)),
            4 => world.step_clocks(),
            7 => world.person(true),
            8 => world.person(false),
            9 | 10 => world.replay(),
            _ => world.providers.misbehave(&[]),
        }
    }
}

impl World {
    /// The hosts' wall clocks step by seconds, now and then by minutes; the store's clock stays
    /// within seconds of true time, whatever it shows from one moment to the next.
    fn step_clocks(&self) {
        let dice = &self.chaos.dice;
        let about = |most: u64| i64::try_from(dice.below(2 * most + 1)).expect("small") - most.cast_signed();
        let step = about(if dice.in_thousand(200) { 1_200_000 } else { 2_000 });
        self.chaos.wall_ahead_ms.fetch_add(step, Ordering::Relaxed);
        self.chaos.store_ahead_ms.store(about(STORE_STEP_MS), Ordering::Relaxed);
    }

    /// A person pauses an account, or resumes it.
    fn person(&self, pauses: bool) {
        let accounts: Vec<AccountName> = self.config.accounts.keys().cloned().collect();
        self.ground.pause(self.chaos.dice.pick(&accounts), pauses);
    }

    /// A person publishes a dead letter again, as it is; the publisher may try twice.
    fn replay(&self) {
        let mut replayed = self.replayed.lock().expect("nobody panics with it");
        let known = |letter: &DeadLetter| replayed.iter().any(|other| other.dead_id == letter.dead_id);
        let letters: Vec<_> =
            self.ground.dead_letters().into_iter().filter(|letter| !known(letter)).collect();
        if letters.is_empty() {
            return;
        }
        let letter = self.chaos.dice.pick(&letters).clone();
        let Some(account) = letter.properties.header("paceline-account") else { return };
        let place = Place::Jobs(AccountName::new(account).expect("an account's name"));
        let mut properties = letter.properties.clone();
        properties.set_header("paceline-replay", &letter.dead_id);
        for _ in 0..=self.chaos.dice.below(2) {
            self.ground.put(&place, letter.bytes.clone(), properties.clone());
        }
        replayed.push(letter);
    }

    /// Waits until nothing is left to do.
    async fn quiet(&self, seed: u64) {
        let deadline = self.chaos.elapsed() + PATIENCE;
        loop {
            let rest = self.ground.rest();
            if rest.waiting.is_empty() && rest.unsettled == 0 && rest.delayed == 0 {
                return;
            }
            assert!(self.chaos.elapsed() < deadline, "seed {seed}: it never ends: {rest:?}");
            sleep(Duration::from_secs(5)).await;
        }
    }
}
