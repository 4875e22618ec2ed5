//! What goes wrong, and how it ends. At most one lasting trouble at a time for each part of the
//! system; those of different parts meet each other.

use std::collections::BTreeMap;
use std::time::Duration;

use paceline::simulator::FaultPlan;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};

use crate::support::proxy::{Cut, Flow, Proxy};
use crate::support::world::{World, signal};
use crate::verdicts::Loss;

/// A part of the system that something can be wrong with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Workers,
    Broker,
    Store,
    Providers,
    Network,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    WorkerKilled,
    WorkerStopped,
    WorkerDrained,
    BrokerKilled,
    BrokerRestarted,
    BrokerClosedConnections,
    BrokerOutOfMemory,
    StoreKilled,
    StoreHung,
    StoreLostItsData,
    ProviderAway,
    ProviderSlow,
    ProviderHung,
    ProviderReset,
    ProviderGarbled,
    ProviderThrottled,
    ProviderFailed,
    ProviderRefusedCredentials,
    NetworkSlow,
    NetworkCut,
    NetworkGone,
    NetworkGoneOneWay,
    NetworkRefusing,
}

impl Trouble {
    const ALL: [Self; 23] = [
        Self::WorkerKilled,
        Self::WorkerStopped,
        Self::WorkerDrained,
        Self::BrokerKilled,
        Self::BrokerRestarted,
        Self::BrokerClosedConnections,
        Self::BrokerOutOfMemory,
        Self::StoreKilled,
        Self::StoreHung,
        Self::StoreLostItsData,
        Self::ProviderAway,
        Self::ProviderSlow,
        Self::ProviderHung,
        Self::ProviderReset,
        Self::ProviderGarbled,
        Self::ProviderThrottled,
        Self::ProviderFailed,
        Self::ProviderRefusedCredentials,
        Self::NetworkSlow,
        Self::NetworkCut,
        Self::NetworkGone,
        Self::NetworkGoneOneWay,
        Self::NetworkRefusing,
    ];

    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WorkerKilled => "a worker killed",
            Self::WorkerStopped => "a worker that stood still",
            Self::WorkerDrained => "a worker drained and replaced",
            Self::BrokerKilled => "the broker killed",
            Self::BrokerRestarted => "the broker restarted",
            Self::BrokerClosedConnections => "connections closed by the broker",
            Self::BrokerOutOfMemory => "the broker's memory alarm",
            Self::StoreKilled => "the store killed",
            Self::StoreHung => "the store hung",
            Self::StoreLostItsData => "the store's data lost",
            Self::ProviderAway => "providers away",
            Self::ProviderSlow => "providers slow",
            Self::ProviderHung => "providers hung, before or after accepting",
            Self::ProviderReset => "connections reset by providers, before or after accepting",
            Self::ProviderGarbled => "answers of providers garbled or cut",
            Self::ProviderThrottled => "providers throttled",
            Self::ProviderFailed => "providers failed, before or after accepting",
            Self::ProviderRefusedCredentials => "credentials refused",
            Self::NetworkSlow => "a slow network to broker, store or providers",
            Self::NetworkCut => "connections to broker, store or providers cut",
            Self::NetworkGone => "a network that swallows everything",
            Self::NetworkGoneOneWay => "a network that swallows all answers",
            Self::NetworkRefusing => "connections to broker, store or providers refused",
        }
    }

    const fn part(self) -> Part {
        match self {
            Self::WorkerKilled | Self::WorkerStopped | Self::WorkerDrained => Part::Workers,
            Self::BrokerKilled
            | Self::BrokerRestarted
            | Self::BrokerClosedConnections
            | Self::BrokerOutOfMemory => Part::Broker,
            Self::StoreKilled | Self::StoreHung | Self::StoreLostItsData => Part::Store,
            Self::ProviderAway
            | Self::ProviderSlow
            | Self::ProviderHung
            | Self::ProviderReset
            | Self::ProviderGarbled
            | Self::ProviderThrottled
            | Self::ProviderFailed
            | Self::ProviderRefusedCredentials => Part::Providers,
            Self::NetworkSlow
            | Self::NetworkCut
            | Self::NetworkGone
            | Self::NetworkGoneOneWay
            | Self::NetworkRefusing => Part::Network,
        }
    }
}

/// How long connections may take to be cut, before others are let through.
const CUT: Duration = Duration::from_millis(50);

/// How a lasting trouble ends.
enum Remedy {
    Continue(u32),
    Unblock,
    Thaw,
    Calm,
    /// The network before the server of this number.
    Pass(usize),
}

/// What is wrong now, and what was.
pub struct Troubles {
    rng: StdRng,
    lasting: BTreeMap<Part, (Instant, Remedy)>,
    /// How often each came.
    pub counts: BTreeMap<Trouble, usize>,
    /// When the store lost its data, by the simulator's clock.
    pub losses: Vec<Loss>,
}

impl Troubles {
    /// Drawn from a seed.
    pub fn new(seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { rng, lasting: BTreeMap::new(), counts: BTreeMap::new(), losses: Vec::new() }
    }

    /// How long until the next one.
    pub fn next_pause(&mut self) -> Duration {
        self.millis(2_000..5_000)
    }

    /// Brings on one, in a part where nothing else is wrong.
    pub async fn strike(&mut self, world: &mut World) -> Option<Trouble> {
        let free: Vec<Trouble> =
            Trouble::ALL.into_iter().filter(|one| !self.lasting.contains_key(&one.part())).collect();
        if free.is_empty() {
            return None;
        }
        let trouble = free[self.rng.random_range(0..free.len())];
        *self.counts.entry(trouble).or_default() += 1;
        if let Some((time, remedy)) = self.bring(world, trouble).await {
            self.lasting.insert(trouble.part(), (Instant::now() + time, remedy));
        }
        Some(trouble)
    }

    /// Ends what has lasted long enough; all of it where `all`.
    pub async fn end(&mut self, world: &World, all: bool) {
        let now = Instant::now();
        let over: Vec<Part> = self
            .lasting
            .iter()
            .filter(|(_, (until, _))| all || *until <= now)
            .map(|(part, _)| *part)
            .collect();
        for (_, remedy) in over.iter().filter_map(|part| self.lasting.remove(part)) {
            match remedy {
                Remedy::Continue(pid) => signal(pid, "-CONT"),
                Remedy::Unblock => world.broker().unblock_publishers(),
                Remedy::Thaw => world.redis.thaw(),
                Remedy::Calm => world.provider.set_faults(FaultPlan::default()),
                Remedy::Pass(server) => {
                    let proxy = world.network().all()[server];
                    // What was held back arrives nowhere: a request that comes seconds late is none
                    // of the faults that a limit can bear.
                    proxy.cut(Cut::Reset);
                    sleep(CUT).await;
                    proxy.pass();
                }
            }
        }
    }

    async fn bring(&mut self, world: &mut World, trouble: Trouble) -> Option<(Duration, Remedy)> {
        match trouble {
            Trouble::WorkerKilled => {
                world.kill_worker(self.any_worker(world)).await;
                world.launch_worker().await;
                None
            }
            Trouble::WorkerStopped => {
                let pid = world.workers[self.any_worker(world)].pid();
                signal(pid, "-STOP");
                Some((self.millis(1_000..15_000), Remedy::Continue(pid)))
            }
            Trouble::WorkerDrained => {
                world.launch_worker().await;
                let others = world.workers.len() - 1;
                let (status, _) = world.drain_worker(self.rng.random_range(0..others)).await;
                assert!(status.success(), "a worker ended with {status}: {}", world.logs());
                None
            }
            Trouble::BrokerKilled => {
                world.broker().kill9();
                sleep(self.millis(0..5_000)).await;
                world.broker().start();
                None
            }
            Trouble::BrokerRestarted => {
                world.broker().stop();
                world.broker().start();
                None
            }
            Trouble::BrokerClosedConnections => {
                world.broker().close_all_connections();
                None
            }
            Trouble::BrokerOutOfMemory => {
                world.broker().block_publishers();
                Some((self.millis(1_000..8_000), Remedy::Unblock))
            }
            Trouble::StoreKilled => {
                world.redis.kill();
                sleep(self.millis(0..5_000)).await;
                world.redis.restart().await;
                None
            }
            Trouble::StoreHung => {
                world.redis.freeze();
                Some((self.millis(500..8_000), Remedy::Thaw))
            }
            Trouble::StoreLostItsData => {
                let begun = world.provider.now();
                world.redis.restart_empty().await;
                world.may_be_taken_twice(0);
                self.losses.push(Loss { begun, over: world.provider.now() });
                None
            }
            Trouble::ProviderAway => {
                world.provider.refuse_connections(self.millis(1_000..8_000));
                None
            }
            Trouble::ProviderSlow => self.misbehave(world, &["latency=1s..4s@50%"]),
            Trouble::ProviderHung => self.misbehave(world, &["hang-before@10%", "hang-after@10%"]),
            Trouble::ProviderReset => self.misbehave(world, &["reset-before@20%", "reset-after@20%"]),
            Trouble::ProviderGarbled => self.misbehave(world, &["garbage@20%", "cut@20%"]),
            Trouble::ProviderThrottled => self.misbehave(world, &["429=2s@20%"]),
            Trouble::ProviderFailed => {
                self.misbehave(world, &["503@20%", "500@10%", "502@10%", "500-after@10%", "504-after@10%"])
            }
            Trouble::ProviderRefusedCredentials => self.misbehave(world, &["401@50%"]),
            Trouble::NetworkSlow => {
                // Within the limiter's jitter: what is held back longer may exceed a limit.
                let (least, most) = (Duration::from_millis(10), Duration::from_millis(60));
                self.disturb(world, |proxy| proxy.delay(least, most))
            }
            Trouble::NetworkCut => {
                let how = if self.rng.random_bool(0.5) { Cut::Reset } else { Cut::Close };
                world.network().all()[self.rng.random_range(0..3)].cut(how);
                None
            }
            Trouble::NetworkGone => self.disturb(world, |proxy| proxy.flow(Flow::Stopped, Flow::Stopped)),
            Trouble::NetworkGoneOneWay => self.disturb(world, |proxy| proxy.flow(Flow::FREE, Flow::Stopped)),
            Trouble::NetworkRefusing => self.disturb(world, |proxy| {
                proxy.refuse();
                proxy.cut(Cut::Reset);
            }),
        }
    }

    fn misbehave(&mut self, world: &World, faults: &[&str]) -> Option<(Duration, Remedy)> {
        world.provider.set_faults(FaultPlan::parse(faults).expect("faults in their text form"));
        Some((self.millis(1_000..8_000), Remedy::Calm))
    }

    /// Between the workers and one of their servers.
    fn disturb(&mut self, world: &World, how: impl Fn(&Proxy)) -> Option<(Duration, Remedy)> {
        let server = self.rng.random_range(0..3);
        how(world.network().all()[server]);
        Some((self.millis(1_000..10_000), Remedy::Pass(server)))
    }

    fn any_worker(&mut self, world: &World) -> usize {
        self.rng.random_range(0..world.workers.len())
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range))
    }
}
