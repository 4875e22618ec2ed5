//! One run: a seed's world from its first job to its last receipt.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use paceline::config::{Config, Environment, load_text};
use paceline::job::AccountName;
use paceline::ports::{Place, Wire};
use paceline::providers;
use paceline::worker::{Manner, Ports, Stage, Worker};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::broker::{Broker, DeadLetter};
use super::chance::Dice;
use super::file::Disk;
use super::ground::{Ground, Kind};
use super::judge::Judge;
use super::kinds::{self as jobs, Published};
use super::life::{Chaos, Life, WallClock};
use super::mood::{Mood, Trouble};
use super::provider::{Network, Providers};
use super::store::{Store, Terms};

/// How long after that everything must have ended: the longest wait of the retry policy, with the
/// provider's duplicate window and a lease before it, several times over.
const PATIENCE: Duration = Duration::from_secs(6 * 3_600);

/// How far the store's clock may be from true time, in milliseconds: twice that is less than what is
/// kept free before the end of a provider's duplicate window.
const STORE_STEP_MS: u64 = 5_000;

fn configuration(mood: &Mood) -> String {
    let (shared, [pushwoosh, moengage]) = (mood.shared, mood.limits);
    format!(
        r#"
[worker]
request_timeout = "10s"
lease = "30s"

[accounts.shop]
provider = "pushwoosh"
api_token = {{ env = "TOKEN" }}
application = "AAAAA-BBBBB"
requests_per_minute = {pushwoosh}
notifications_per_request = {shared}

[accounts.news]
provider = "moengage"
data_center = "01"
workspace_id = "workspace-news"
push_api_key = {{ env = "KEY" }}
campaign_api_key = {{ env = "CAMPAIGNS" }}
requests_per_minute = {moengage}

[accounts.loud]
provider = "moengage"
data_center = "01"
workspace_id = "workspace-loud"
push_api_key = {{ env = "KEY" }}
requests_per_minute = {moengage}
on_unknown = "resend"
"#
    )
}

/// What a run came to.
#[derive(Debug, Clone, Copy)]
pub struct Tally {
    pub mood: &'static str,
    pub deliveries: usize,
    pub crashes: u64,
    pub lossy: bool,
    pub accepted_twice: usize,
    /// Messages that ended without being read.
    pub unread: usize,
    /// Dead letters that were published again.
    pub replayed: usize,
}

fn config(mood: &Mood) -> Config {
    let secrets = ["TOKEN", "KEY", "CAMPAIGNS"].map(|name| (name, "a-secret-of-the-simulation"));
    let environment = Environment::of(secrets);
    load_text(&configuration(mood), None, &environment, &providers::ALL).expect("a configuration").config
}

/// All that a run is about.
pub struct World {
    pub chaos: Arc<Chaos>,
    pub mood: Mood,
    config: Config,
    pub ground: Ground,
    pub providers: Arc<Providers>,
    /// The dead letters that a person published again.
    pub replayed: Mutex<Vec<DeadLetter>>,
    /// The hosts of the workers are on.
    hosts_up: watch::Sender<bool>,
}

/// Runs one seed; panics with what does not hold.
pub async fn run(seed: u64, kind: Kind) -> Tally {
    let dice = Arc::new(Dice::new(seed));
    let mood = Mood::draw(&dice, kind);
    let chaos = Chaos::new(dice.clone(), mood.odds);
    let config = config(&mood);
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
        providers: Providers::new(
            chaos.clone(),
            seed,
            &[("pushwoosh", mood.limits[0]), ("moengage", mood.limits[1])],
        ),
        chaos: chaos.clone(),
        mood: mood.clone(),
        config,
        replayed: Mutex::default(),
        hosts_up: watch::Sender::new(true),
    });
    let published = jobs::draw(&dice, &chaos, &mood);
    world.providers.misbehave(mood.mistakes[0]);
    let mut tasks = JoinSet::new();
    tasks.spawn(publish(world.clone(), messages_of(&published)));
    let workers = match kind {
        Kind::Servers => mood.workers[0] + dice.below(mood.workers[1] + 1 - mood.workers[0]),
        Kind::File => 1,
    };
    for _ in 0..workers {
        tasks.spawn(keep_worker(world.clone()));
    }
    tasks.spawn(trouble(world.clone()));
    sleep(mood.trouble).await;
    world.chaos.end();
    world.pause_all(false);
    world.providers.misbehave(&[]);
    world.quiet(seed).await;
    let tally = Judge::of(&world, seed, &published).judge();
    tasks.abort_all();
    world.ground.dissolve();
    tally
}

fn messages_of(published: &[Published]) -> Vec<jobs::Message> {
    published.iter().flat_map(Published::messages).collect()
}

async fn publish(world: Arc<World>, messages: Vec<jobs::Message>) {
    let span_ms = u64::try_from(world.mood.publishing.as_millis()).expect("a sane length");
    let most = 2 * span_ms / (messages.len() as u64 + 1);
    for (place, body, properties) in messages {
        world.chaos.travel(most).await;
        world.ground.put(&place, body, properties);
    }
}

/// A process that is started again whenever it died, and now and then told to drain.
async fn keep_worker(world: Arc<World>) {
    let mut hosts = world.hosts_up.subscribe();
    // The sender is the world's, which this holds.
    while hosts.wait_for(|up| *up).await.is_ok() {
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
        let death = death(&life, &mut died, world.hosts_up.subscribe());
        tokio::pin!(death);
        tokio::select! {
            biased;
            () = &mut death => {}
            () = orders => {
                tokio::select! {
                    biased;
                    () = &mut death => {}
                    ended = running => ended.expect("a worker never panics"),
                }
            }
        }
        world.chaos.travel(2_000).await;
        ways.end();
        world.chaos.travel(3_000).await;
    }
}

/// Returns when a process is dead: by itself, or because its host is off.
async fn death(life: &Life, died: &mut mpsc::UnboundedReceiver<()>, mut hosts_up: watch::Receiver<bool>) {
    tokio::select! {
        biased;
        _ = died.recv() => {}
        _ = hosts_up.wait_for(|up| !*up) => life.die(),
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
async fn trouble(world: Arc<World>) {
    let gap_ms = u64::try_from(world.mood.gap.as_millis()).expect("a sane length");
    while world.chaos.is_on() {
        world.chaos.travel(gap_ms).await;
        if !world.chaos.is_on() {
            return;
        }
        let trouble = *world.chaos.dice.pick(world.mood.troubles);
        match &world.ground {
            Ground::Servers { broker, store } => world.servers_fail(broker, store, trouble).await,
            Ground::File(_) => {}
        }
        world.others_fail(trouble).await;
    }
}

impl World {
    /// How long something is away this time: no longer than things go wrong.
    fn away(&self) -> Duration {
        let rest = self.mood.trouble.saturating_sub(self.chaos.elapsed());
        self.mood.draw_away(&self.chaos.dice).min(rest)
    }

    async fn servers_fail(&self, broker: &Arc<Broker>, store: &Arc<Store>, trouble: Trouble) {
        let dice = &self.chaos.dice;
        match trouble {
            Trouble::Cut => broker.cut_one(),
            Trouble::BrokerAway => broker.restart(self.away()).await,
            Trouble::StoreAway => store.restart(self.away()).await,
            Trouble::StoreRestarts => store.restart(dice.millis(300)).await,
            Trouble::StoreLoses if self.mood.lossy => store.lose(dice.in_thousand(500)),
            Trouble::StoreSaves => store.save(),
            Trouble::StoreLoses
            | Trouble::ProvidersMisbehave
            | Trouble::ProvidersRecover
            | Trouble::ClocksStep
            | Trouble::PersonPauses
            | Trouble::PersonResumes
            | Trouble::PersonStops
            | Trouble::PersonReplays
            | Trouble::HostsAway
            | Trouble::Nothing => {}
        }
    }

    async fn others_fail(&self, trouble: Trouble) {
        match trouble {
            Trouble::ProvidersMisbehave => {
                self.providers.misbehave(self.chaos.dice.pick::<&[&str]>(self.mood.mistakes));
            }
            Trouble::ProvidersRecover => self.providers.misbehave(&[]),
            Trouble::ClocksStep => self.step_clocks(),
            Trouble::PersonPauses => self.person(true),
            Trouble::PersonResumes => self.person(false),
            Trouble::PersonStops => self.stop_all().await,
            Trouble::PersonReplays => self.replay(),
            Trouble::HostsAway => {
                self.hosts_up.send_replace(false);
                sleep(self.away()).await;
                self.hosts_up.send_replace(true);
            }
            Trouble::Cut
            | Trouble::BrokerAway
            | Trouble::StoreAway
            | Trouble::StoreRestarts
            | Trouble::StoreLoses
            | Trouble::StoreSaves
            | Trouble::Nothing => {}
        }
    }

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

    /// A person pauses all accounts for a while.
    async fn stop_all(&self) {
        self.pause_all(true);
        sleep(self.away()).await;
        self.pause_all(false);
    }

    fn pause_all(&self, pauses: bool) {
        for account in self.config.accounts.keys() {
            self.ground.pause(account, pauses);
        }
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
