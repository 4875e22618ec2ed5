//! The engine: a request and the time in, an answer out. No sockets, no clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use jiff::Timestamp;
use serde_json::json;

use super::faults::{Fault, FaultPlan, FaultRule, Faults};
use super::ledger::{AccountSummary, DeliveryOutcome, DeliveryRecord, Entry, Ledger, Summary};
use super::pools::Meters;
use super::rules::Rules;
use super::{
    Account, Answer, Call, Fate, Moment, Performed, Request, Simulated, UnknownProvider, fingerprint,
};

/// What happens on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// What becomes of it.
    pub conduct: Conduct,
    /// How long after the request's arrival.
    pub latency: Duration,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    /// It is given.
    Answer,
    /// Its body ends half way, and the connection with it.
    Cut,
    /// The connection is reset instead.
    Reset,
    /// It is never given.
    Hang,
}

struct Player {
    simulated: Arc<dyn Simulated>,
    rules: Rules,
    accounts: HashMap<String, Tenant>,
}

/// An account with its windows.
struct Tenant {
    account: Account,
    fingerprint: Arc<str>,
    meters: Meters,
}

impl Tenant {
    fn new(provider: &str, credential: &str, rules: &Rules) -> Self {
        let fingerprint: Arc<str> = fingerprint(provider, credential).into();
        let account = Account::new(fingerprint.clone());
        Self { account, fingerprint, meters: Meters::new(rules) }
    }
}

/// All providers, their accounts, the faults and the ledger.
pub struct Engine {
    players: Vec<Player>,
    faults: Faults,
    ledger: Ledger,
    started: Timestamp,
    last: Duration,
}

/// How a request was dealt with, before the fault's effect on its answer.
struct Handled {
    answer: Answer,
    fates: Vec<Fate>,
    throttled: bool,
}

impl Engine {
    /// Providers that nothing was sent to, at the time of day of their start.
    pub fn new(
        providers: Vec<Arc<dyn Simulated>>,
        seed: u64,
        ledger_capacity: usize,
        started: Timestamp,
    ) -> Self {
        let players = providers.into_iter().map(|simulated| {
            let rules = simulated.rules();
            Player { simulated, rules, accounts: HashMap::new() }
        });
        Self {
            players: players.collect(),
            faults: Faults::new(seed),
            ledger: Ledger::new(ledger_capacity),
            started,
            last: Duration::ZERO,
        }
    }

    /// Answers a request that arrived whole at `now`, a time since the start.
    pub fn handle(&mut self, request: &Request, now: Duration) -> Reply {
        let now = self.advance(now);
        let found = self.players.iter().enumerate().find_map(|(index, player)| {
            player.simulated.operation(&request.method, &request.path).map(|operation| (index, operation))
        });
        match found {
            Some((index, operation)) => self.play(index, operation, request, now),
            None => self.unknown_path(request, now.since_start),
        }
    }

    /// Requests that arrive at the same time may get here in another order; windows need theirs.
    fn advance(&mut self, now: Duration) -> Moment {
        self.last = self.last.max(now);
        let wall = self.started.checked_add(self.last).unwrap_or(Timestamp::MAX);
        Moment { since_start: self.last, wall }
    }

    /// A GET or HEAD of the root is how clients open a connection ahead: not worth an entry.
    fn unknown_path(&mut self, request: &Request, now: Duration) -> Reply {
        let answer = Answer::json(404, &json!({"code": 404, "status": "error", "reason": "no such path"}));
        let warm_up = request.path == "/" && matches!(request.method, Method::GET | Method::HEAD);
        if !warm_up {
            let path: String = request.path.chars().take(100).collect();
            let entry = entry(None, format!("{} {path}", request.method), answer.status);
            self.ledger.add(now, entry);
        }
        Reply { answer, conduct: Conduct::Answer, latency: Duration::ZERO }
    }

    fn play(&mut self, index: usize, operation: &'static str, request: &Request, now: Moment) -> Reply {
        let player = &mut self.players[index];
        let (fault, latency) = self.faults.draw(player.simulated.name(), operation);
        let mut entry = entry(Some(player.simulated.name()), operation.to_owned(), 0);
        let handled = match player.simulated.read(operation, request, &player.rules) {
            Ok(call) => player.handle(&call, fault, now, &mut entry),
            Err(answer) => Handled { answer, fates: Vec::new(), throttled: false },
        };
        let (answer, conduct) = spoil(player.simulated.as_ref(), operation, fault, handled.answer);
        entry.throttled = handled.throttled;
        entry.status = match conduct {
            Conduct::Answer | Conduct::Cut => Some(answer.status),
            Conduct::Reset | Conduct::Hang => None,
        };
        entry.fault = (fault != Fault::None).then(|| fault.to_string());
        self.ledger.add(now.since_start, entry);
        Reply { answer, conduct, latency }
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Counts, the most arrivals in a window, and what was accepted twice.
    pub fn summary(&self) -> Summary {
        let mut accounts: Vec<AccountSummary> = self
            .players
            .iter()
            .flat_map(|player| player.accounts.values().map(|tenant| self.account(player, tenant)))
            .filter(|account| account.counts.requests > 0)
            .collect();
        accounts.sort_by(|a, b| (&a.provider, &a.account).cmp(&(&b.provider, &b.account)));
        Summary { accounts, ..self.ledger.totals() }
    }

    fn account(&self, player: &Player, tenant: &Tenant) -> AccountSummary {
        AccountSummary {
            provider: player.simulated.name().to_owned(),
            account: tenant.fingerprint.to_string(),
            counts: self.ledger.counts_of(&tenant.fingerprint),
            most_in_window: tenant.meters.most_of_main(),
            window_seconds: player.rules.window.as_secs_f64(),
            limit: player.rules.requests,
            pools: tenant.meters.of_further(),
        }
    }

    /// Forgets all arrivals and counts; what accounts remember and the limits go on.
    pub fn clear_ledger(&mut self) {
        self.ledger = Ledger::new(self.ledger.capacity());
        let now = self.last;
        for tenant in self.players.iter_mut().flat_map(|player| player.accounts.values_mut()) {
            tenant.meters.reset_most(now);
        }
    }

    /// The faults still to come.
    pub fn faults(&self) -> &FaultPlan {
        self.faults.plan()
    }

    /// Replaces all faults.
    pub fn set_faults(&mut self, plan: FaultPlan) {
        self.faults.set(plan);
    }

    /// Adds faults behind those in force.
    pub fn add_faults(&mut self, rules: impl IntoIterator<Item = FaultRule>) {
        self.faults.add(rules);
    }

    /// Every provider's name and rules.
    pub fn all_rules(&self) -> impl Iterator<Item = (&'static str, &Rules)> {
        self.players.iter().map(|player| (player.simulated.name(), &player.rules))
    }

    /// A provider's rules.
    pub fn rules(&self, provider: &str) -> Result<&Rules, UnknownProvider> {
        let found = self.all_rules().find(|(name, _)| *name == provider);
        found.map(|(_, rules)| rules).ok_or_else(|| self.unknown(provider))
    }

    /// Replaces a provider's rules. A pool with windows of other lengths begins empty.
    pub fn set_rules(&mut self, provider: &str, rules: Rules) -> Result<(), UnknownProvider> {
        let error = self.unknown(provider);
        let player =
            self.players.iter_mut().find(|player| player.simulated.name() == provider).ok_or(error)?;
        player.accounts.values_mut().for_each(|tenant| tenant.meters.change(&rules));
        player.rules = rules;
        Ok(())
    }

    fn unknown(&self, provider: &str) -> UnknownProvider {
        let known: Vec<&str> = self.all_rules().map(|(name, _)| name).collect();
        UnknownProvider { given: provider.to_owned(), known: known.join(", ") }
    }
}

impl Player {
    /// Deals with a request that could be read, up to what the fault lets through.
    fn handle(&mut self, call: &Call, fault: Fault, now: Moment, entry: &mut Entry) -> Handled {
        let Self { simulated, rules, accounts } = self;
        let tenant = accounts
            .entry(call.credential.clone())
            .or_insert_with(|| Tenant::new(simulated.name(), &call.credential, rules));
        let over = call.pool.and_then(|pool| tenant.meters.arrive(pool, now.since_start));
        let denied = simulated.denied(call, rules);
        let n = call.deliveries.len();
        let handled = if !fault.lets_through() {
            // The fault's own answer takes this one's place.
            Handled { answer: Answer::empty(200), fates: vec![Fate::NotReached; n], throttled: false }
        } else if let Some(answer) = denied {
            Handled { answer, fates: vec![Fate::Refused; n], throttled: false }
        } else if let Some(over) = over {
            let answer = simulated.throttled(call, rules, over, now);
            Handled { answer, fates: vec![Fate::NotReached; n], throttled: true }
        } else {
            let Performed { answer, fates } = simulated.perform(call, &mut tenant.account, rules, now);
            Handled { answer, fates, throttled: false }
        };
        entry.account = Some(tenant.fingerprint.clone());
        entry.counted = call.pool.is_some();
        entry.deliveries = records(call, &handled.fates);
        handled
    }
}

fn entry(provider: Option<&str>, operation: String, status: u16) -> Entry {
    Entry {
        seq: 0,
        at_us: 0,
        provider: provider.map(str::to_owned),
        operation,
        account: None,
        counted: false,
        throttled: false,
        status: Some(status),
        fault: None,
        deliveries: Vec::new(),
    }
}

fn records(call: &Call, fates: &[Fate]) -> Vec<DeliveryRecord> {
    let fates = fates.iter().cloned().chain(std::iter::repeat(Fate::NotReached));
    let record = |(named, fate): (&super::Named, Fate)| {
        let (outcome, code) = match fate {
            Fate::Accepted(code) => (DeliveryOutcome::Accepted, Some(code)),
            Fate::Suppressed(code) => (DeliveryOutcome::Suppressed, Some(code)),
            Fate::Done => (DeliveryOutcome::Done, None),
            Fate::Refused => (DeliveryOutcome::Refused, None),
            Fate::NotReached => (DeliveryOutcome::NotReached, None),
        };
        DeliveryRecord { id: named.id.clone(), key: named.key.clone(), outcome, code }
    };
    call.deliveries.iter().zip(fates).map(record).collect()
}

/// What a fault makes of an answer.
fn spoil(
    simulated: &dyn Simulated,
    operation: &'static str,
    fault: Fault,
    answer: Answer,
) -> (Answer, Conduct) {
    match fault {
        Fault::None | Fault::Latency(_) => (answer, Conduct::Answer),
        Fault::Throttle { retry_after } => {
            (with_wait(simulated.failure(operation, 429), retry_after), Conduct::Answer)
        }
        Fault::Status { status, accepted: _, retry_after } => {
            (with_wait(simulated.failure(operation, status), retry_after), Conduct::Answer)
        }
        Fault::Reset { accepted: _ } => (answer, Conduct::Reset),
        Fault::Hang { accepted: _ } => (answer, Conduct::Hang),
        Fault::Garbage => (garbage(), Conduct::Answer),
        Fault::Cut => (answer, Conduct::Cut),
    }
}

fn with_wait(answer: Answer, retry_after: Option<Duration>) -> Answer {
    match retry_after {
        Some(wait) => answer.with_header("retry-after", whole_seconds(wait)),
        None => answer,
    }
}

fn garbage() -> Answer {
    let body = Bytes::from_static(b"<html>\xff{\"status_code\": 200, \"response\"");
    Answer { status: 200, headers: vec![("content-type", "text/html".to_owned())], body }
}

/// Seconds, rounded up: a client that waits so long does not come too early.
pub fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests;
