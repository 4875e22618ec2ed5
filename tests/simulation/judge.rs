//! What must hold of a run when all has ended.

use std::collections::{BTreeMap, BTreeSet};

use paceline::simulator::DeliveryOutcome;
use serde_json::Value;

use super::broker::{DeadLetter, Receipt};
use super::kinds::Published;
use super::run::{Tally, World};

/// Account and id of a delivery.
type Name = (String, String);

/// One run, to be judged.
pub struct Judge<'a> {
    world: &'a World,
    seed: u64,
    published: &'a [Published],
    /// The store lost data: what it forgot may be done again.
    lossy: bool,
    ends: Ends,
    /// How often the providers took each delivery, by provider and id.
    taken: BTreeMap<Name, usize>,
    /// How often a person published the dead letter of each delivery, or of its job, again.
    replayed: BTreeMap<Name, usize>,
}

impl<'a> Judge<'a> {
    pub fn of(world: &'a World, seed: u64, published: &'a [Published]) -> Self {
        let lossy = world.mood.lossy;
        let ends = Ends::of(&world.ground.receipts(), &world.ground.dead_letters());
        let mut replayed = BTreeMap::new();
        for letter in world.replayed.lock().expect("nobody panics with it").iter() {
            *replayed.entry(id_of(letter)).or_default() += 1;
        }
        Self { world, seed, published, lossy, ends, taken: taken(world), replayed }
    }

    /// Panics with what does not hold.
    pub fn judge(&self) -> Tally {
        for job in self.published {
            for id in &job.deliveries {
                self.judge_delivery(job, id);
            }
        }
        let known: BTreeSet<&str> =
            self.published.iter().flat_map(|job| job.deliveries.iter().map(String::as_str)).collect();
        self.judge_strangers(&known);
        self.judge_claims();
        self.judge_windows();
        self.judge_replies();
        self.judge_names();
        Tally {
            mood: self.world.mood.name,
            deliveries: known.len(),
            crashes: self.world.chaos.crashes(),
            lossy: self.lossy,
            accepted_twice: self.taken.values().filter(|times| **times > 1).count(),
            unread: self.ends.0.values().flatten().filter(|end| end.unread).count(),
            replayed: self.replayed.values().sum(),
        }
    }

    fn judge_strangers(&self, known: &BTreeSet<&str>) {
        let seed = self.seed;
        for (_, id) in self.taken.keys() {
            assert!(
                known.contains(id.as_str()),
                "seed {seed}: the provider got {id}, which nobody published"
            );
        }
        let jobs: BTreeSet<&str> = known.iter().filter_map(|id| id.split('#').next()).collect();
        for ((_, id), ends) in &self.ends.0 {
            let known = known.contains(id.as_str()) || jobs.contains(id.as_str());
            assert!(known, "seed {seed}: an end of {id}, which nobody published: {ends:?}");
        }
    }

    fn judge_claims(&self) {
        let open = self.world.ground.unfinished();
        let told = |(account, id): &Name| format!("{account} {id}: {:?}", self.ends.of_delivery(account, id));
        let open: Vec<String> = open.iter().map(told).collect();
        assert!(open.is_empty() || self.lossy, "seed {}: claims were left open: {open:?}", self.seed);
    }

    fn judge_windows(&self) {
        for account in &self.world.providers.engine().summary().accounts {
            let main = (account.most_in_window, account.limit);
            let further = account.pools.iter().map(|pool| (pool.most_in_window, pool.limit));
            for (most, limit) in std::iter::once(main).chain(further) {
                assert!(
                    limit.is_some_and(|limit| most <= limit as usize),
                    "seed {}: {most} requests in a window of {limit:?}",
                    self.seed
                );
            }
        }
    }

    /// The deliveries of a job have names of their own: what one of them does, such as bringing workers
    /// down, must not be counted against the others.
    fn judge_names(&self) {
        let shared = self.world.chaos.shared_names();
        assert!(shared.is_empty(), "seed {}: several deliveries share a name: {shared:?}", self.seed);
    }

    /// A reply is a courtesy that may be missing, but never says anything else than the receipt.
    fn judge_replies(&self) {
        let receipts = self.world.ground.receipts();
        for reply in self.world.ground.replies() {
            let same = |receipt: &&Receipt| receipt.name == reply.name && receipt.body == reply.body;
            assert!(receipts.iter().any(|one| same(&one)), "seed {}: only a reply: {reply:?}", self.seed);
        }
    }

    fn judge_delivery(&self, job: &Published, id: &str) {
        let case = format!("seed {}, {} {id}", self.seed, job.account);
        let provider = if job.account == "shop" { "pushwoosh" } else { "moengage" };
        let times = self.taken.get(&(provider.to_owned(), id.to_owned())).copied().unwrap_or(0);
        let found = self.ends.of_delivery(job.account, id);
        assert!(!found.is_empty(), "{case}: no receipt; all of its job: {:?}", self.ends.of_job(job));
        let replays = self.replays(job.account, id);
        // A person who publishes a letter again decides that it may be pushed again.
        assert!(
            times <= 1 + replays || self.lossy || job.account == "loud",
            "{case}: taken {times} times with {replays} replays: {found:?}"
        );
        self.judge_ends(job, id, &case, &found);
        let said = |status: &str| found.iter().any(|end| end.status == status);
        let reason = |word: &str| found.iter().any(|end| end.reason.as_deref() == Some(word));
        if said("delivered") && job.pushes {
            assert!(times > 0, "{case}: told delivered, and the provider never took it");
        }
        let unread = found.iter().any(|end| end.unread);
        // A letter has lost the reply queue for which its job was refused.
        let refused = (reason("invalid") || unread) && (times == 0 || replays > 0 && job.reply_to.is_some());
        assert!(!job.invalid || refused, "{case}: {found:?}");
        if self.lossy {
            return;
        }
        let told = said("delivered") || reason("uncertain");
        assert!(times == 0 || told, "{case}: the provider took it, and its receipts say {found:?}");
        let blocking = |end: &&End| end.status == "delivered" || end.reason.as_deref() == Some("uncertain");
        assert!(
            found.iter().filter(blocking).count() <= 1 + replays || job.reads(),
            "{case}: ended twice with {replays} replays: {found:?}"
        );
    }

    /// One end for each publishing, but for what the head of the module lists.
    fn judge_ends(&self, job: &Published, id: &str, case: &str, found: &[End]) {
        let names = found.len();
        let publishings = usize::try_from(job.times).expect("few") + self.replays(job.account, id);
        let unread = found.iter().any(|end| end.unread);
        let told = format!("{case}: {names} ends for {publishings} publishings: {found:?}");
        assert!(names <= publishings || self.lossy || unread || job.reads(), "{told}");
        assert!(names >= publishings, "{told}");
    }

    fn replays(&self, account: &str, id: &str) -> usize {
        let job = id.split_once('#').map(|(job, _)| job);
        let of = |id: &str| self.replayed.get(&(account.to_owned(), id.to_owned())).copied().unwrap_or(0);
        of(id) + job.map_or(0, of)
    }
}

fn taken(world: &World) -> BTreeMap<Name, usize> {
    let page = world.providers.engine().ledger().page(0, usize::MAX);
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
            let Some(id) = text("transactionId").or_else(|| text("jobId")) else {
                // One that names nothing is told by its letter, below.
                continue;
            };
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
        for receipt in receipts.iter().filter(|receipt| receipt.body["status"] == "dead") {
            let kept = letters.iter().any(|letter| receipt.name == format!("{}:receipt", letter.dead_id));
            assert!(kept, "a dead end without its letter: {receipt:?}");
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
