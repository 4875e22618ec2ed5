//! What happens, told in plain words: receipts, arrivals at the providers and pauses go in, events
//! and totals come out. Pure; time is passed in.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use serde::Deserialize;

use super::jobs::{DIGEST, Kind, Sample};
use super::picture::{Event, Health, Mark, Totals};
use crate::numbers::{grouped, short};
use crate::simulator::{DeliveryOutcome, Entry};

/// How a delivery ended, as its receipt says.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Receipt {
    pub(super) transaction_id: Option<String>,
    pub(super) account: String,
    pub(super) status: String,
    pub(super) reason: Option<String>,
    pub(super) detail: Option<String>,
}

/// Deliveries of one kind.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    published: u64,
    ended: u64,
    /// When the first was published.
    since: Duration,
}

/// An outage, from the opening of the circuit to its closing.
#[derive(Debug, Clone, Copy)]
struct Outage {
    since: Duration,
    probes: u32,
}

/// A request that a provider took without the worker's learning of it.
#[derive(Debug, Clone, Copy, Default)]
struct Lost {
    taken: u64,
    recognised: u64,
}

/// All that was told.
#[derive(Default)]
pub(super) struct Story {
    events: Vec<Event>,
    totals: BTreeMap<String, Totals>,
    ends: HashSet<String>,
    kinds: BTreeMap<(&'static str, Kind), Progress>,
    codes: HashMap<String, Duration>,
    code_times: Vec<Duration>,
    health: BTreeMap<String, Health>,
    outages: BTreeMap<String, Outage>,
    lost: Option<Lost>,
    /// Accounts whose provider answers with faults.
    troubled: HashSet<String>,
    probed: bool,
}

impl Story {
    /// Everything that happened so far, oldest first.
    pub(super) fn events(&self) -> &[Event] {
        &self.events
    }

    /// What became of an account's deliveries so far.
    pub(super) fn totals_of(&self, account: &str) -> Totals {
        self.totals.get(account).cloned().unwrap_or_default()
    }

    /// What became of all deliveries so far.
    pub(super) fn totals(&self) -> Totals {
        self.totals.values().fold(Totals::default(), Totals::plus)
    }

    /// How long the exempt ones took from publishing to receipt: half of them at most this.
    pub(super) fn usual_code_time(&self) -> Option<Duration> {
        let mut times = self.code_times.clone();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }

    /// Whether a probe of an open circuit failed.
    pub(super) fn has_probed(&self) -> bool {
        self.probed
    }

    /// How an account is known to be.
    pub(super) fn health_of(&self, account: &str) -> Health {
        self.health.get(account).copied().unwrap_or_default()
    }

    /// Deliveries of a kind that were published and have not ended.
    pub(super) fn waiting(&self, account: &'static str, kind: Kind) -> u64 {
        self.kinds.get(&(account, kind)).map_or(0, |of| of.published.saturating_sub(of.ended))
    }

    /// Deliveries that were published, confirmed or not, and have not ended.
    pub(super) fn waiting_at_all(&self) -> u64 {
        self.kinds.values().map(|of| of.published.saturating_sub(of.ended)).sum()
    }

    /// Something new is shown.
    pub(super) fn act(&mut self, at: Duration, text: &str) {
        self.tell(at, Mark::Act, text.to_owned());
    }

    /// A job goes to the queue.
    pub(super) fn handed(&mut self, at: Duration, sample: &Sample) {
        let of = self.kinds.entry((sample.account, sample.kind)).or_default();
        if of.published == 0 {
            of.since = at;
        }
        of.published += sample.deliveries;
        if sample.kind == Kind::Code
            && let Some(id) = sample.body["transactionId"].as_str()
        {
            self.codes.insert(id.to_owned(), at);
        }
    }

    /// The queue has confirmed so many deliveries.
    pub(super) fn confirmed(&mut self, account: &str, deliveries: u64) {
        self.totals.entry(account.to_owned()).or_default().published += deliveries;
    }

    /// A delivery ended. One that is told twice, with the same `name`, counts once.
    pub(super) fn ended(&mut self, at: Duration, name: &str, receipt: &Receipt) {
        if !self.ends.insert(name.to_owned()) {
            return;
        }
        let totals = self.totals.entry(receipt.account.clone()).or_default();
        match receipt.status.as_str() {
            "delivered" => totals.delivered += 1,
            "duplicate" => totals.duplicate += 1,
            "expired" => totals.expired += 1,
            _ => *totals.dead.entry(receipt.reason.clone().unwrap_or_default()).or_default() += 1,
        }
        let id = receipt.transaction_id.as_deref().unwrap_or_default();
        if let Some(kind) = Kind::of(id) {
            self.ended_of_kind(at, kind, id, receipt);
        }
    }

    fn ended_of_kind(&mut self, at: Duration, kind: Kind, id: &str, receipt: &Receipt) {
        let found = self.kinds.iter_mut().find(|((name, of), _)| *name == receipt.account && *of == kind);
        let progress = found.map_or(Progress::default(), |(_, progress)| {
            progress.ended += 1;
            *progress
        });
        let is_last = progress.ended == progress.published;
        let took = at.saturating_sub(progress.since);
        match kind {
            Kind::Code => self.code_ended(at, id),
            Kind::Order | Kind::Letter => self.surprise(at, id, receipt),
            Kind::Alarm if is_last => {
                let waiting = grouped(self.waiting(super::setting::SHOP, Kind::Letter));
                let number = progress.published;
                let text = format!(
                    "{number} urgent messages sent within {}, {waiting} letters still wait",
                    short_ms(took)
                );
                self.tell(at, Mark::Good, text);
            }
            Kind::Digest if is_last => {
                let text =
                    format!("the batch is done: {} of {DIGEST} notifications delivered, 1 dead", DIGEST - 1);
                self.tell(at, Mark::Good, text);
            }
            Kind::Alarm | Kind::Digest => self.surprise(at, id, receipt),
            Kind::Payment if receipt.status == "duplicate" => {
                self.tell(at, Mark::Ended, format!("{id} came a second time: duplicate, not sent"));
            }
            Kind::Payment | Kind::Reminder => {
                self.tell(at, Mark::Good, format!("{id} is {}", receipt.status));
            }
            Kind::Taxi => {
                self.tell(at, Mark::Ended, format!("{id} is {}: its time was over, not sent", receipt.status))
            }
            Kind::Mistake => {
                let why = receipt.detail.as_deref().unwrap_or_default();
                self.tell(at, Mark::Ended, format!("{id} is dead, {}: {why}", reason(receipt)));
            }
        }
    }

    /// Says of a delivery that is dead why. Of those that are delivered by the thousand nothing is
    /// said.
    fn surprise(&mut self, at: Duration, id: &str, receipt: &Receipt) {
        if receipt.status == "dead" {
            let why = receipt.detail.as_deref().unwrap_or_default();
            self.tell(at, Mark::Ended, format!("{id} is dead, {}: {why}", reason(receipt)));
        }
    }

    fn code_ended(&mut self, at: Duration, id: &str) {
        let Some(since) = self.codes.remove(id) else { return };
        let took = at.saturating_sub(since);
        if self.code_times.is_empty() {
            self.tell(at, Mark::Good, format!("{id} delivered {} after it was published", short_ms(took)));
        }
        self.code_times.push(took);
    }

    /// What one look showed: the requests that arrived, and how the accounts were before the last
    /// of them. Arrivals come first: the faults that open a circuit are told before its opening,
    /// however much happens between two looks, and a probe comes long after the opening was seen.
    pub(super) fn looked(
        &mut self,
        at: Duration,
        arrivals: &[(&str, Entry)],
        health: impl IntoIterator<Item = (&'static str, Health)>,
    ) {
        for (account, entry) in arrivals {
            self.arrived(at, account, entry);
        }
        for (account, now) in health {
            self.health(at, account, now);
        }
    }

    /// A request arrived at the provider of an account.
    fn arrived(&mut self, at: Duration, account: &str, entry: &Entry) {
        let number = |outcome| entry.deliveries.iter().filter(|one| one.outcome == outcome).count();
        let [taken, known, refused, unreached] = [
            DeliveryOutcome::Accepted,
            DeliveryOutcome::Suppressed,
            DeliveryOutcome::Refused,
            DeliveryOutcome::NotReached,
        ]
        .map(number);
        let provider = entry.provider.as_deref().unwrap_or_default();
        match entry.fault.as_deref() {
            Some("reset-after") => self.answer_lost(at, provider, taken as u64),
            Some("503") => self.fault(at, provider, account),
            Some(fault) => {
                if let Some(wait) = fault.strip_prefix("429=") {
                    let text =
                        format!("{provider} answers 429, Retry-After {wait}: {account} waits that long");
                    self.tell(at, Mark::Trouble, text);
                }
            }
            None => {}
        }
        if refused > 0 {
            let text = format!(
                "status 210: notification {} of a request is faulty, {unreached} behind it go back",
                taken + 1
            );
            self.tell(at, Mark::Trouble, text);
        }
        self.known_again(at, known as u64);
    }

    fn answer_lost(&mut self, at: Duration, provider: &str, taken: u64) {
        let text = format!("{provider} took a request of {taken}, its answer was lost: were they pushed?");
        self.tell(at, Mark::Trouble, text);
        self.lost = Some(Lost { taken, recognised: 0 });
    }

    fn known_again(&mut self, at: Duration, known: u64) {
        let Some(lost) = self.lost.as_mut().filter(|_| known > 0) else { return };
        lost.recognised += known;
        if lost.recognised == lost.taken {
            let text = format!("sent again, {} of them were recognised: none pushed twice", lost.taken);
            self.tell(at, Mark::Good, text);
            self.lost = None;
        }
    }

    fn fault(&mut self, at: Duration, provider: &str, account: &str) {
        match self.health_of(account) {
            Health::Well | Health::Throttled(_) | Health::Stopped(_) => {
                if self.troubled.insert(account.to_owned()) {
                    self.tell(at, Mark::Trouble, format!("{provider} answers 503"));
                }
            }
            Health::Open(_) | Health::Probing => {
                if let Some(outage) = self.outages.get_mut(account)
                    && at.saturating_sub(outage.since) > SETTLING
                {
                    outage.probes += 1;
                    self.probed = true;
                    let text =
                        format!("probe {} of {account}: 503, so the next one waits longer", outage.probes);
                    self.tell(at, Mark::Trouble, text);
                }
            }
        }
    }

    /// How an account is now.
    fn health(&mut self, at: Duration, account: &str, now: Health) {
        let before = self.health.insert(account.to_owned(), now).unwrap_or_default();
        let is_open = |health| matches!(health, Health::Open(_) | Health::Probing);
        if is_open(now) && !is_open(before) {
            self.outages.insert(account.to_owned(), Outage { since: at, probes: 0 });
            let text = format!("too many faults in a row: the circuit of {account} is open, {account} waits");
            self.tell(at, Mark::Trouble, text);
        }
        if is_open(before)
            && !is_open(now)
            && let Some(outage) = self.outages.remove(account)
        {
            self.troubled.remove(account);
            let took = short(at.saturating_sub(outage.since));
            let text = format!("a probe was answered: the circuit of {account} is closed after {took}");
            self.tell(at, Mark::Good, text);
        }
        if matches!((before, now), (Health::Throttled(_), Health::Well)) {
            self.tell(at, Mark::Good, format!("{account} goes on; nothing used up a retry"));
        }
    }

    fn tell(&mut self, at: Duration, mark: Mark, text: String) {
        self.events.push(Event { at, mark, text });
    }
}

/// Answers that come so soon after the circuit opened were under way before, and are no probes.
const SETTLING: Duration = Duration::from_millis(700);

fn reason(receipt: &Receipt) -> &str {
    receipt.reason.as_deref().unwrap_or("without a reason")
}

/// Below a second in milliseconds.
pub(super) fn short_ms(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests;
