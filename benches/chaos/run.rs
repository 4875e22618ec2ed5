//! One run: the system, its load, its troubles, and what is left in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use paceline::simulator::{DeliveryOutcome, Entry, Summary, fingerprint};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::kinds::{Draw, Drawn, Subjects, everyone, scheduled};
use crate::load::machine_load;
use crate::support::jobs::properties;
use crate::support::world::{Options, Producer, World};
use crate::trouble::{Trouble, Troubles};
use crate::verdicts::{Counts, End, Evidence, Key, Taken, judge};

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub seed: u64,
    /// How long things go wrong.
    pub time: Duration,
    pub jobs: u64,
    pub workers: u64,
}

/// What came of it.
pub struct Outcome {
    pub plan: Plan,
    pub counts: Counts,
    /// Ends by status and reason.
    pub ends: BTreeMap<String, usize>,
    /// Publishings of deliveries.
    pub deliveries: usize,
    /// Receipts that came again.
    pub repeats: usize,
    pub troubles: BTreeMap<Trouble, usize>,
    pub summary: Summary,
    /// From the end of the faults to the last end.
    pub drained_in: Duration,
    pub load: String,
}

/// Real limits. Times so short that much happens in ten minutes, and each account waits out its
/// pauses many times over.
const SECTIONS: &str = r#"
[retry]
base = "500ms"
cap = "20s"
attempts = 30

[circuit]
pause = "1s"
pause_max = "5s"
credentials_pause = "3s"
throttle_pause = "3s"

[accounts.loud]
provider = "moengage"
base_url = "{provider}"
workspace_id = "LOUD01"
push_api_key = { env = "MOENGAGE_PUSH_KEY" }
on_unknown = "resend"
"#;

/// The account that asks for repeats.
const RESENDING: &str = "loud";
const LOUD_WORKSPACE: &str = "LOUD01";
/// Published over this part of the time, so that troubles meet work until they end.
const PUBLISHED_OVER: f64 = 0.8;
/// Jobs that are published at once.
const CHUNK: u64 = 40;
/// How long everything may take to end once nothing goes wrong any more: longer than the longest
/// wait of a retry, a provider's duplicate window and a lease.
const PATIENCE: Duration = Duration::from_secs(900);

/// Runs it. Of the world that is left it is still to be asserted that all is in order: after the
/// outcome was told, because that tells what is not.
pub async fn run(plan: Plan) -> (Outcome, World) {
    eprintln!(
        "PACELINE_CHAOS_SEED={}: {} jobs, {} workers, trouble for {} s",
        plan.seed,
        plan.jobs,
        plan.workers,
        plan.time.as_secs()
    );
    let mut world = World::with(Options {
        own_broker: true,
        proxied: true,
        shop: "requests_per_minute = 600",
        more: SECTIONS,
        more_accounts: &[RESENDING],
        ..Options::default()
    })
    .await;
    for _ in 0..plan.workers {
        world.start_worker().await;
    }
    let subjects = subjects(&mut world).await;
    let before = world.receipts().len();
    let published = Arc::new(Published::default());
    let publishing = publish(world.producer(), published.clone(), plan, subjects);
    let mut troubles = Troubles::new(plan.seed);
    make_trouble(&mut world, &mut troubles, plan, &published).await;
    publishing.await.expect("the producer ends");
    let deliveries = published.deliveries.load(Ordering::Relaxed);
    world.expect_more(deliveries);
    eprintln!("no more trouble; waiting for every end");
    let calm = Instant::now();
    world.wait_for_ends_within(before + deliveries, PATIENCE).await;
    let drained_in = calm.elapsed();
    let load = machine_load();
    world.come_to_rest().await;
    let summary = world.provider.summary();
    assert_eq!(summary.dropped, 0, "the ledger must hold all that arrived");
    let counts = counts(&world, &published, &troubles).await;
    let ends = tally(&world, before);
    let repeats = world.repeats();
    world.expect_more(counts.ended_across_a_loss.len());
    world.letters_untold(counts.letters_across_a_loss);
    world.may_be_taken_twice(counts.resent + counts.across_a_loss.max(counts.delivered_across_a_loss));
    let outcome = Outcome {
        plan,
        counts,
        ends,
        deliveries,
        repeats,
        troubles: troubles.counts,
        summary,
        drained_in,
        load,
    };
    (outcome, world)
}

/// What was published so far.
#[derive(Default)]
struct Published {
    jobs: Mutex<Jobs>,
    deliveries: AtomicUsize,
}

#[derive(Default)]
struct Jobs {
    times: BTreeMap<Key, usize>,
    pushes_nothing: BTreeSet<Key>,
}

impl Published {
    fn add(&self, drawn: &Drawn) {
        let pushes = ["createMessage", "createTargetedMessage", "sendPush"];
        let pushes = pushes.contains(&drawn.body["operation"].as_str().unwrap_or_default());
        let mut jobs = self.jobs.lock().expect("nobody panics with it");
        for id in &drawn.deliveries {
            let key = (drawn.account().to_owned(), id.clone());
            if !pushes {
                jobs.pushes_nothing.insert(key.clone());
            }
            jobs.times.insert(key, drawn.times);
        }
        self.deliveries.fetch_add(drawn.deliveries.len() * drawn.times, Ordering::Relaxed);
    }
}

/// Makes what later calls are about, while all is well.
async fn subjects(world: &mut World) -> Subjects {
    let messages: Vec<Value> = (0..20).map(|n| scheduled(&format!("message-{n}"))).collect();
    let campaigns: Vec<Value> = (0..20).map(|n| everyone(&format!("campaign-{n}"))).collect();
    world.publish(&messages).await;
    world.publish(&campaigns).await;
    world.settle().await;
    let told = |operation: &str, pointer: &str| -> Vec<String> {
        let receipts = world.receipts();
        let of = receipts.iter().filter(|receipt| receipt["operation"] == operation);
        of.filter_map(|receipt| receipt.pointer(pointer)?.as_str().map(str::to_owned)).collect()
    };
    Subjects { messages: told("createMessage", "/messageCode"), campaigns: told("sendPush", "/response/cid") }
}

/// Publishes all jobs, evenly over time; what the broker does not confirm is tried until it does.
fn publish(producer: Producer, published: Arc<Published>, plan: Plan, subjects: Subjects) -> JoinHandle<()> {
    let mut draw = Draw::new(plan.seed, subjects);
    let chunks = plan.jobs.div_ceil(CHUNK);
    tokio::spawn(async move {
        let begun = Instant::now();
        for chunk in 0..chunks {
            let share = chunk as f64 / chunks as f64;
            sleep_until(begun + plan.time.mul_f64(PUBLISHED_OVER * share)).await;
            let size = CHUNK.min(plan.jobs - chunk * CHUNK);
            let drawn: Vec<Drawn> = (0..size).map(|_| draw.next()).collect();
            let offers = drawn.iter().flat_map(|one| {
                (0..one.times).map(|_| {
                    let body = one.body.to_string().into_bytes();
                    producer.offer(one.account().to_owned(), body, properties())
                })
            });
            for confirmed in futures_util::future::join_all(offers).await {
                confirmed.expect("every account has a queue");
            }
            drawn.iter().for_each(|one| published.add(one));
        }
    })
}

async fn make_trouble(world: &mut World, troubles: &mut Troubles, plan: Plan, published: &Published) {
    let begun = Instant::now();
    let mut next = begun + troubles.next_pause();
    while begun.elapsed() < plan.time {
        troubles.end(world, false).await;
        if Instant::now() >= next {
            if let Some(trouble) = troubles.strike(world).await {
                tell(world, begun.elapsed(), trouble, published);
            }
            next = Instant::now() + troubles.next_pause();
        }
        world.collect().await;
        sleep(Duration::from_millis(100)).await;
    }
    troubles.end(world, true).await;
}

fn tell(world: &World, elapsed: Duration, trouble: Trouble, published: &Published) {
    eprintln!(
        "{:>4} s: {:>6} of {:>6} ended; {}",
        elapsed.as_secs(),
        world.receipts().len(),
        published.deliveries.load(Ordering::Relaxed),
        trouble.name()
    );
}

async fn counts(world: &World, published: &Published, troubles: &Troubles) -> Counts {
    let letters = world.untold_letters().await;
    let began = Timestamp::now() - world.provider.now();
    let since_begin = |at: &str| -> Duration {
        let at: Timestamp = at.parse().expect("a time");
        at.duration_since(began).try_into().unwrap_or_default()
    };
    let jobs = published.jobs.lock().expect("the producer has ended");
    let mut ends: BTreeMap<Key, Vec<End>> = BTreeMap::new();
    for receipt in world.receipts() {
        let text = |key: &str| receipt[key].as_str().map(str::to_owned);
        let id = text("transactionId").or_else(|| text("jobId")).unwrap_or_default();
        if is_subject(&id) {
            continue;
        }
        let at = since_begin(&text("settledAt").expect("a receipt's time"));
        let end = End { status: text("status").unwrap_or_default(), reason: text("reason"), at };
        ends.entry((text("account").unwrap_or_default(), id)).or_default().push(end);
    }
    judge(&Evidence {
        published: &jobs.times,
        ends: &ends,
        taken: &taken(world),
        pushes_nothing: &jobs.pushes_nothing,
        untold_letters: &letters.iter().map(|at| since_begin(at)).collect::<Vec<Duration>>(),
        losses: &troubles.losses,
        resending: RESENDING,
    })
}

fn is_subject(id: &str) -> bool {
    id.starts_with("message-") || id.starts_with("campaign-")
}

fn taken(world: &World) -> Vec<Taken> {
    let mut taken = Vec::new();
    for entry in world.provider.ledger() {
        let account = account_of(&entry);
        let at = Duration::from_micros(entry.at_us);
        for delivery in entry.deliveries {
            let (DeliveryOutcome::Accepted, Some(id)) = (delivery.outcome, delivery.id) else { continue };
            let id = id.strip_prefix("Campaign ").unwrap_or(&id).to_owned();
            if !is_subject(&id) {
                taken.push(Taken { delivery: (account.to_owned(), id), at });
            }
        }
    }
    taken
}

/// The account of the configuration that a request came from.
fn account_of(entry: &Entry) -> &'static str {
    let loud = fingerprint("moengage", LOUD_WORKSPACE);
    match entry.provider.as_deref() {
        Some("pushwoosh") => "shop",
        _ if entry.account.as_deref() == Some(&loud) => RESENDING,
        _ => "news",
    }
}

/// How many ends of each kind there are, of all but the first receipts.
fn tally(world: &World, before: usize) -> BTreeMap<String, usize> {
    let mut ends = BTreeMap::new();
    for receipt in world.receipts() {
        let status = receipt["status"].as_str().unwrap_or("none").to_owned();
        let kind = receipt["reason"].as_str().map_or(status.clone(), |reason| format!("{status}, {reason}"));
        *ends.entry(kind).or_default() += 1;
    }
    // What was made before anything went wrong was delivered.
    if let Some(delivered) = ends.get_mut("delivered") {
        *delivered -= before;
    }
    ends
}
