//! Runs the demo: starts the system, publishes by the script, looks, draws, and sums up.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::jobs::{Kind, Sample, Writer};
use super::meter::Meter;
use super::output::Output;
use super::picture::{AccountPicture, Picture};
use super::script::{self, Act, Drip, Script};
use super::setting::{NEWS, SHOP, Setting, usual};
use super::story::{Receipt, Story};
use super::summary::{self, Account, Summary};
use super::watch::{Heard, Lookout, Overheard, Sight};
use crate::app;
use crate::cli::Failure;
use crate::job::AccountName;
use crate::ports::{Destination, Outgoing, Properties, Publisher};
use crate::simulator::{Entry, Fault, FaultPlan, FaultRule, Simulator};
use crate::worker::{Ports, Stage, Worker};

/// How often the picture is drawn.
const FRAME: Duration = Duration::from_millis(110);

/// How long after its time the demo waits for what still waits; a machine that is busy with other
/// work takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Jobs that are published at once: each waits for its confirm.
const AT_ONCE: usize = 64;

/// How many urgent messages overtake the others.
const ALARMS: usize = 30;

/// How long the scheduled job waits.
const SCHEDULED: Duration = Duration::from_secs(2);

/// How long after the first one the same job is published again: by then it is delivered.
const AGAIN: Duration = Duration::from_millis(800);

/// The pause that the second provider asks for.
const SLOW_DOWN: Duration = Duration::from_secs(2);

/// How many seconds' worth of letters wait at first.
const BACKLOG_SECONDS: f64 = 7.0;

/// Most letters that are published in one step, so that others are not kept waiting behind them.
const LETTERS_AT_ONCE: u64 = 150;

/// Which providers the accounts belong to, in the order in which they are shown.
const ACCOUNTS: [(&str, &str); 2] = [(SHOP, "pushwoosh"), (NEWS, "moengage")];

/// Everything that runs.
pub(super) struct System {
    setting: Setting,
    simulator: Simulator,
    stage: watch::Sender<Stage>,
    worker: JoinHandle<()>,
    /// For what must not wait behind letters, and for letters.
    urgent: Producer,
    letters: Producer,
    no_more: CancellationToken,
    confirmed: mpsc::UnboundedReceiver<anyhow::Result<Confirmed>>,
    heard: mpsc::UnboundedReceiver<Heard>,
    sight: watch::Receiver<Sight>,
    signals: Signals,
}

impl System {
    /// Starts it, with queue and store in `file`.
    pub(super) async fn start(setting: Setting, file: &Path) -> anyhow::Result<Self> {
        let signals = Signals::listen()?;
        let simulator =
            Simulator::start(setting.simulator()).await.context("the simulated providers can't start")?;
        let config = setting.config(file, &simulator.url())?;
        let ports = app::ports(&config).await?;
        let (hearing, heard) = mpsc::unbounded_channel();
        let publisher: Arc<dyn Publisher> =
            Arc::new(Overheard { inner: ports.publisher.clone(), heard: hearing });
        let (queue, claims, permits) = (ports.queue.clone(), ports.claims.clone(), ports.permits.clone());
        let (stage, asked) = watch::channel(Stage::Running);
        let ports = Ports { publisher: publisher.clone(), ..ports };
        let worker = Worker::new(ports, app::manner(&config), &config.accounts, asked);
        let (looking, sight) = watch::channel(Sight::new());
        let lookout = Lookout { queue, claims, permits, worker: worker.clone(), config };
        tokio::spawn(lookout.watch(looking));
        let (confirming, confirmed) = mpsc::unbounded_channel();
        let no_more = CancellationToken::new();
        Ok(Self {
            setting,
            simulator,
            stage,
            worker: tokio::spawn(worker.run()),
            urgent: Producer::start(publisher.clone(), confirming.clone(), no_more.clone()),
            letters: Producer::start(publisher, confirming, no_more.clone()),
            no_more,
            confirmed,
            heard,
            sight,
            signals,
        })
    }
}

/// How many deliveries of an account the queue has confirmed.
type Confirmed = (&'static str, u64);

/// A producer: publishes what it is given, and says what was confirmed.
struct Producer {
    samples: mpsc::UnboundedSender<Sample>,
    task: JoinHandle<()>,
}

impl Producer {
    fn start(
        publisher: Arc<dyn Publisher>,
        confirmed: mpsc::UnboundedSender<anyhow::Result<Confirmed>>,
        end: CancellationToken,
    ) -> Self {
        let (samples, given) = mpsc::unbounded_channel();
        Self { samples, task: tokio::spawn(produce(publisher, given, confirmed, end)) }
    }

    fn give(&self, sample: Sample) {
        // It ends only with the demo.
        let _ = self.samples.send(sample);
    }
}

/// Publishes until the end is asked for; then only waits for what is under way.
async fn produce(
    publisher: Arc<dyn Publisher>,
    mut given: mpsc::UnboundedReceiver<Sample>,
    confirmed: mpsc::UnboundedSender<anyhow::Result<Confirmed>>,
    end: CancellationToken,
) {
    let mut flying = FuturesUnordered::new();
    let mut ended = false;
    loop {
        tokio::select! {
            biased;
            Some(result) = flying.next(), if !flying.is_empty() => {
                // Nobody listens any more when the demo is over.
                let _ = confirmed.send(result);
            }
            () = end.cancelled(), if !ended => ended = true,
            sample = given.recv(), if !ended && flying.len() < AT_ONCE => match sample {
                Some(sample) => flying.push(publish(publisher.clone(), sample)),
                None => ended = true,
            },
            else => return,
        }
    }
}

/// As every producer should: persistent, with a `message_id` of its own, until it is confirmed.
async fn publish(publisher: Arc<dyn Publisher>, sample: Sample) -> anyhow::Result<Confirmed> {
    let properties = Properties {
        message_id: Some(uuid::Uuid::new_v4().to_string()),
        timestamp: Some(Timestamp::now()),
        content_type: Some("application/json".to_owned()),
        ..Properties::default()
    };
    let destination = Destination::Jobs(sample.account.to_owned());
    let body = sample.body.to_string().into_bytes().into();
    publisher.publish(Outgoing { destination, body, properties }).await.context("a job was not confirmed")?;
    Ok((sample.account, sample.deliveries))
}

/// Whatever asks a process to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals can't be listened to");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}

/// Plays it to its end, and says whether every promise held.
pub(super) async fn play(
    mut system: System,
    mut output: Output,
    kept: Option<String>,
) -> Result<bool, Failure> {
    let mut play = Play::new(system.setting);
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let interrupted = loop {
        tokio::select! {
            _ = frames.tick() => {}
            () = system.signals.next() => break true,
        }
        play.publish(&mut system);
        play.look(&mut system)?;
        output.show(&play.picture(&system))?;
        if play.is_over() {
            break false;
        }
        if system.worker.is_finished() {
            return Err(anyhow!("the worker ended").into());
        }
    };
    play.drain(&mut system, &mut output).await?;
    play.look(&mut system)?;
    let picture = play.picture(&system);
    let summary = play.summary(&system, interrupted, kept);
    output.end(&picture, &summary)?;
    system.simulator.stop().await;
    Ok(summary.holds())
}

/// What goes on while the demo runs.
struct Play {
    setting: Setting,
    began: Instant,
    script: Script,
    writer: Writer,
    codes: Drip,
    orders: BTreeMap<&'static str, Drip>,
    publishing: bool,
    showing: &'static str,
    story: Story,
    meters: BTreeMap<&'static str, Meter>,
    /// What is published once its time has come.
    later: Vec<(Duration, Sample)>,
    /// The number of the next arrival to look at.
    next_arrival: u64,
}

impl Play {
    fn new(setting: Setting) -> Self {
        let each = |make: fn() -> Drip| ACCOUNTS.iter().map(|(account, _)| (*account, make())).collect();
        Self {
            setting,
            began: Instant::now(),
            script: Script::default(),
            writer: Writer::new(setting.seed),
            codes: Drip::per_second(4),
            orders: each(|| Drip::per_second(12)),
            publishing: true,
            showing: "",
            story: Story::default(),
            meters: ACCOUNTS.iter().map(|(account, _)| (*account, Meter::new(setting.minute()))).collect(),
            later: Vec::new(),
            next_arrival: 0,
        }
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Everything that was published has ended, or it takes too long.
    fn is_over(&self) -> bool {
        let open = self.story.waiting_at_all();
        let in_time = self.elapsed() < self.setting.length + PATIENCE;
        self.script.is_over() && self.later.is_empty() && (open == 0 || !in_time)
    }

    /// Publishes what is due.
    fn publish(&mut self, system: &mut System) {
        let (elapsed, length) = (self.elapsed(), self.setting.length);
        while let Some(act) = self.script.due(elapsed, length, self.story.has_probed()) {
            if let Some(caption) = act.caption() {
                self.showing = caption;
                self.story.act(elapsed, caption);
            }
            self.begin(act, system);
        }
        let (due, later) =
            std::mem::take(&mut self.later).into_iter().partition(|(time, _)| *time <= elapsed);
        self.later = later;
        for (_, sample) in due {
            self.hand(&system.urgent, sample);
        }
        if !self.publishing {
            return;
        }
        for _ in 0..self.codes.due(elapsed) {
            let code = self.writer.code();
            self.hand(&system.urgent, code);
        }
        if let Some(since) = elapsed.checked_sub(script::begins(Act::Letters, length)) {
            for (account, _) in ACCOUNTS {
                self.bulk(account, since, system);
            }
        }
    }

    fn bulk(&mut self, account: &'static str, since: Duration, system: &System) {
        let due = self.orders.get_mut(account).map_or(0, |drip| drip.due(since));
        for _ in 0..due {
            let order = self.writer.message(Kind::Order, account);
            self.hand(&system.urgent, order);
        }
        let level = self.setting.per_second(account) * BACKLOG_SECONDS;
        let wanted = script::letters_wanted(level, self.elapsed(), self.setting.length);
        let missing = wanted.saturating_sub(self.story.waiting(account, Kind::Letter));
        for _ in 0..missing.min(LETTERS_AT_ONCE) {
            let letter = self.writer.message(Kind::Letter, account);
            self.hand(&system.letters, letter);
        }
    }

    fn begin(&mut self, act: Act, system: &System) {
        let urgent = &system.urgent;
        match act {
            Act::Codes | Act::Letters => {}
            Act::Alarm => {
                for _ in 0..ALARMS {
                    let alarm = self.writer.message(Kind::Alarm, SHOP);
                    self.hand(urgent, alarm);
                }
            }
            Act::Digest => {
                let digest = self.writer.digest();
                self.hand(urgent, digest);
            }
            Act::Twice => {
                let [payment, again] = self.writer.payment_twice();
                self.hand(urgent, payment);
                self.later.push((self.elapsed() + AGAIN, again));
            }
            Act::Times => {
                let now = Timestamp::now();
                let samples =
                    [self.writer.reminder(now + SCHEDULED), self.writer.taxi(now), self.writer.mistake()];
                for sample in samples {
                    self.hand(urgent, sample);
                }
            }
            Act::Outage => system.simulator.set_faults(outage()),
            Act::OutageOver => system.simulator.set_faults(usual()),
            Act::Throttled => {
                let fault = Fault::Throttle { retry_after: Some(SLOW_DOWN) };
                system.simulator.add_faults([FaultRule::next(1, fault).only("moengage")]);
            }
            Act::Lost => {
                let fault = Fault::Reset { accepted: true };
                system.simulator.add_faults([FaultRule::next(1, fault).only("pushwoosh")]);
            }
            Act::Rest => self.publishing = false,
        }
    }

    fn hand(&mut self, producer: &Producer, sample: Sample) {
        self.story.handed(self.elapsed(), &sample);
        producer.give(sample);
    }

    /// Takes in everything that happened since the last look.
    fn look(&mut self, system: &mut System) -> anyhow::Result<()> {
        let at = self.elapsed();
        while let Ok(confirmed) = system.confirmed.try_recv() {
            let (account, deliveries) = confirmed?;
            self.story.confirmed(account, deliveries);
        }
        // Read before the arrivals, so that whatever made an account pause is among them.
        let sight = system.sight.borrow_and_update().clone();
        let health = ACCOUNTS.map(|(account, _)| {
            let seen = AccountName::new(account).and_then(|name| sight.get(&name).cloned());
            (account, seen.unwrap_or_default().health)
        });
        let arrivals = self.arrivals(&system.simulator);
        self.story.looked(at, &arrivals, health);
        while let Ok(heard) = system.heard.try_recv() {
            let receipt: Receipt = serde_json::from_slice(&heard.body).context("a receipt can't be read")?;
            self.story.ended(at, &heard.name, &receipt);
        }
        Ok(())
    }

    /// The requests that arrived since the last look, each with its account.
    fn arrivals(&mut self, simulator: &Simulator) -> Vec<(&'static str, Entry)> {
        let page = simulator.page(self.next_arrival, usize::MAX);
        self.next_arrival = page.next;
        let of_an_account = |entry: Entry| {
            let provider = entry.provider.as_deref();
            let (account, _) = ACCOUNTS.iter().find(|(_, of)| Some(*of) == provider)?;
            Some((*account, entry))
        };
        let arrivals: Vec<_> = page.entries.into_iter().filter_map(of_an_account).collect();
        for (account, entry) in &arrivals {
            if let Some(meter) = self.meters.get_mut(account) {
                meter.arrive(entry);
            }
        }
        arrivals
    }

    fn picture(&mut self, system: &System) -> Picture {
        let now = system.simulator.now();
        let sight = system.sight.borrow().clone();
        let accounts = ACCOUNTS.iter().filter_map(|(name, provider)| {
            let meter = self.meters.get_mut(name)?;
            let seen = sight.get(&AccountName::new(name)?).cloned().unwrap_or_default();
            Some(AccountPicture {
                name: (*name).to_owned(),
                provider,
                limit: self.setting.limit(name),
                used: meter.used(now),
                most: meter.most(),
                sends: meter.sends(now),
                per_second: meter.per_second(now),
                per_request: meter.per_request(now),
                lanes: seen.lanes,
                health: seen.health,
            })
        });
        let accounts = accounts.collect();
        Picture {
            seed: self.setting.seed,
            minute: self.setting.minute(),
            elapsed: self.elapsed(),
            length: self.setting.length,
            showing: self.showing.to_owned(),
            accounts,
            events: self.story.events().to_vec(),
            totals: self.story.totals(),
            twice: system.simulator.summary().accepted_twice.len() as u64,
        }
    }

    /// Publishes nothing more, and lets the worker end what is under way; whoever asks again ends it
    /// at once.
    async fn drain(&mut self, system: &mut System, output: &mut Output) -> Result<(), Failure> {
        self.showing = "Draining: taking nothing more, ending what is under way";
        system.no_more.cancel();
        let mut frames = interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !system.worker.is_finished() {
            tokio::select! {
                _ = frames.tick() => {}
                () = system.signals.next() => { system.stage.send_replace(Stage::Stopped); }
            }
            // What is being published is confirmed before the queue closes.
            if system.urgent.task.is_finished() && system.letters.task.is_finished() {
                system.stage.send_if_modified(drain_if_running);
            }
            self.look(system)?;
            output.show(&self.picture(system))?;
        }
        Ok(())
    }

    fn summary(&self, system: &System, interrupted: bool, kept: Option<String>) -> Summary {
        let ledger = system.simulator.summary();
        let account = |&(name, provider): &(&'static str, &str)| {
            let (most, refused) = summary::most_of(&ledger, provider);
            let (limit, minute) = (self.setting.limit(name), self.setting.minute());
            Account { name, totals: self.story.totals_of(name), limit, most, minute, refused }
        };
        Summary {
            totals: self.story.totals(),
            accounts: ACCOUNTS.iter().map(account).collect(),
            taken: ledger.counts.accepted,
            twice: ledger.accepted_twice.len() as u64,
            ledger_whole: ledger.dropped == 0,
            usual_code_time: self.story.usual_code_time(),
            took: self.elapsed(),
            interrupted,
            program: program(),
            kept,
        }
    }
}

fn drain_if_running(stage: &mut Stage) -> bool {
    let is_running = *stage == Stage::Running;
    if is_running {
        *stage = Stage::Draining;
    }
    is_running
}

/// How a person started this binary, and can again: below the present folder without its path.
fn program() -> String {
    let given = std::env::args().next().unwrap_or_else(|| "paceline".to_owned());
    let here = std::env::current_dir().ok();
    let below = here.and_then(|here| Path::new(&given).strip_prefix(here).ok().map(Path::to_path_buf));
    below.map_or(given, |below| below.display().to_string())
}

/// Every request to the first provider fails.
fn outage() -> FaultPlan {
    let fault = Fault::Status { status: 503, accepted: false, retry_after: None };
    FaultPlan { rules: vec![FaultRule::chance(1.0, fault).only("pushwoosh")], ..usual() }
}
