//! A provider that is registered without one of its pieces fails here, and the failure names the
//! piece. Everything is asked through the traits, so it holds for every provider there will be;
//! each check is shown to fail by a provider that lacks exactly what it looks for.
//!
//! What a new provider needs, beside the code: sample jobs for an account whose block stands in
//! `config/full.toml`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use paceline::config::{Account, Environment, load_text};
use paceline::job::{AccountName, Class, Delivery, Finding, Job, Line, Object};
use paceline::pipeline::decode::decode_body;
use paceline::ports::{WireAnswer, WireRequest};
use paceline::providers::{ALL, Provider, Repeat};
use paceline::simulator::engine::Engine;
use paceline::simulator::{Entry, FaultPlan, Request, Simulated};
use paceline::verdict::Verdict;
use serde_json::{Value, json};

use broken::{Broken, Lack};
use played::Played;

mod broken;
mod limits;
mod played;
mod shapes;
mod splits;

const CONFIG: &str = include_str!("../config/full.toml");

/// What a provider must bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Labels,
    Samples,
    Account,
    Rules,
    Findings,
    Schema,
    Deliveries,
    Request,
    Batches,
    WarmUp,
    Simulator,
    Verdicts,
    Waits,
    Codes,
    Repeats,
    Reads,
    Pools,
}

/// A piece that is missing, and how that shows.
#[derive(Debug)]
struct Missing {
    piece: Piece,
    #[allow(dead_code, reason = "read by whoever reads the failure")]
    shown: String,
}

#[test]
fn no_provider_lacks_a_piece() {
    for provider in ALL {
        let missing = missing_pieces(provider, CONFIG);
        assert!(missing.is_empty(), "{}: {missing:#?}", provider.name());
    }
}

#[test]
fn labels_are_unique_over_all_providers() {
    let names = ALL.map(Provider::name);
    let operations = ALL.into_iter().flat_map(|provider| provider.operations());
    let all: Vec<&str> = names.into_iter().chain(operations.copied()).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
}

#[test]
fn each_piece_that_is_missing_is_named() {
    let mut wrong = Vec::new();
    for &lack in Lack::ALL {
        let can_show = |provider: &&'static dyn Provider| !lack.needs_shared_requests() || shares(*provider);
        let shown_by: Vec<_> = ALL.into_iter().filter(can_show).collect();
        assert!(!shown_by.is_empty(), "no provider shows {lack:?}");
        for provider in shown_by {
            let broken: &'static Broken = Box::leak(Box::new(Broken { whole: provider, lacks: lack }));
            let config = if lack == Lack::Account { "" } else { CONFIG };
            let missing = missing_pieces(broken, config);
            let named: BTreeSet<Piece> = missing.iter().map(|one| one.piece).collect();
            if named != BTreeSet::from([lack.piece()]) {
                wrong.push(format!("{lack:?} of {}: {missing:#?}", provider.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a request of the provider can carry several deliveries.
fn shares(provider: &'static dyn Provider) -> bool {
    let job = decode_body(provider.samples()[0].as_bytes()).expect("a sample");
    let account = account(provider, &job.account, CONFIG, "a-secret").expect("an account");
    account.gateway.deliveries_per_request() > 1
}

/// A provider as it is looked at.
struct Examined {
    provider: &'static dyn Provider,
    missing: Vec<Missing>,
}

fn missing_pieces(provider: &'static dyn Provider, config: &str) -> Vec<Missing> {
    let mut examined = Examined { provider, missing: Vec::new() };
    examined.labels();
    if let Some(jobs) = examined.samples() {
        let name = &jobs[0].account;
        match (
            account(provider, name, config, "first-secret"),
            account(provider, name, config, "second-secret"),
        ) {
            (Ok(account), Ok(other)) => {
                examined.pools(&account, limits::stranger(provider, name, config).as_deref());
                examined.operations(&jobs, &account, &other);
            }
            (Err(problem), _) | (_, Err(problem)) => examined.lacks(Piece::Account, problem),
        }
    }
    examined.missing
}

/// The account of that name in a configuration, every credential being `secret`.
fn account(
    provider: &'static dyn Provider,
    name: &AccountName,
    config: &str,
    secret: &str,
) -> Result<Arc<Account>, String> {
    load_account(provider, name, account_block(name, config)?, secret)
}

/// An account's block of a configuration, every credential being the variable `SECRET`.
pub(super) fn account_block(name: &AccountName, config: &str) -> Result<toml::Table, String> {
    let config: toml::Table = config.parse().map_err(|error| format!("{error}"))?;
    let block = config.get("accounts").and_then(|accounts| accounts.get(name.as_str()));
    let mut block =
        block.and_then(toml::Value::as_table).cloned().ok_or("the samples' account has no block")?;
    for value in block.iter_mut().filter_map(|(_, value)| value.as_table_mut()) {
        value.insert("env".into(), "SECRET".into());
    }
    Ok(block)
}

/// The account of such a block.
pub(super) fn load_account(
    provider: &'static dyn Provider,
    name: &AccountName,
    block: toml::Table,
    secret: &str,
) -> Result<Arc<Account>, String> {
    let accounts = toml::Table::from_iter([(name.to_string(), block.into())]);
    let text = toml::Table::from_iter([("accounts".to_owned(), accounts.into())]).to_string();
    let environment = Environment::of([("SECRET", secret)]);
    let loaded = load_text(&text, None, &environment, &[provider]).map_err(|error| error.to_string())?;
    Ok(loaded.config.accounts[name].clone())
}

impl Examined {
    fn lacks(&mut self, piece: Piece, shown: impl Into<String>) {
        self.missing.push(Missing { piece, shown: shown.into() });
    }

    fn labels(&mut self) {
        let word = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_lowercase())
                && text.chars().all(|c| c.is_ascii_alphanumeric())
        };
        let (name, operations) = (self.provider.name(), self.provider.operations());
        if !word(name) || operations.is_empty() || !operations.iter().all(|name| word(name)) {
            self.lacks(Piece::Labels, format!("{name:?}, {operations:?}: not one lowerCamelCase word each"));
        }
        if operations.iter().collect::<BTreeSet<_>>().len() != operations.len() {
            self.lacks(Piece::Labels, format!("{operations:?}: one stands there twice"));
        }
    }

    /// The samples as jobs; `None` when nothing else can be looked at without them.
    fn samples(&mut self) -> Option<Vec<Job>> {
        let mut jobs = Vec::new();
        for sample in self.provider.samples() {
            match decode_body(sample.as_bytes()) {
                Ok(job) => jobs.push(job),
                Err(unreadable) => self.lacks(Piece::Samples, format!("{sample}: {:?}", unreadable.findings)),
            }
        }
        for operation in self.provider.operations() {
            if !jobs.iter().any(|job| job.operation == **operation) {
                self.lacks(Piece::Samples, format!("none for {operation}"));
            }
        }
        let accounts: BTreeSet<_> = jobs.iter().map(|job| &job.account).collect();
        if accounts.len() != 1 {
            self.lacks(Piece::Samples, format!("their accounts are {accounts:?}, not one and the same"));
            return None;
        }
        Some(jobs)
    }

    fn operations(&mut self, jobs: &[Job], account: &Account, other: &Account) {
        self.schemas(jobs, account);
        let mut played = Played::of(self.provider.simulated());
        let is_played = played.simulated.name() == self.provider.name();
        if is_played {
            self.limits(account, &played.simulated.rules());
        } else {
            self.lacks(Piece::Simulator, format!("it is {:?}", played.simulated.name()));
        }
        for operation in self.provider.operations() {
            let jobs: Vec<&Job> = jobs.iter().filter(|job| job.operation == *operation).collect();
            if jobs.iter().all(|job| findings(account, &nulled(job)).is_empty()) {
                self.lacks(Piece::Rules, format!("{operation}: payloads of nulls are found valid"));
            }
            for job in &jobs {
                self.rules(job, account);
                self.findings(job, account);
                let before = self.missing.len();
                self.requests(job, account, other);
                if self.missing.len() == before {
                    self.splits(job, account);
                }
            }
            let Some(delivery) = jobs.first().and_then(|job| first_delivery(account, job)) else { continue };
            self.repeats(&delivery, account);
            self.warm_up(&delivery, account);
            self.verdicts(&delivery, account);
            self.waits(&delivery, account);
            // One operation may be about what another one made: half of them prove nothing.
            if self.missing.is_empty() && is_played {
                self.play(&jobs, account, &mut played);
                self.play_twice(&jobs, account);
            }
        }
        if self.missing.is_empty() {
            self.batches(jobs, account);
        }
    }

    fn rules(&mut self, job: &Job, account: &Account) {
        let shown = |what: &str| format!("{} ({}): {what}", job.operation, job.transaction_id);
        let findings = findings(account, job);
        if !findings.is_empty() {
            self.lacks(Piece::Samples, shown(&format!("not valid: {findings:?}")));
        }
        if let Some(problem) = class_problem(account, job) {
            self.lacks(Piece::Pools, shown(&problem));
        }
        let marked = marked(job);
        if !self::findings(account, &marked).is_empty() {
            self.lacks(Piece::Rules, shown("an unknown member is refused"));
        }
        if account.gateway.warnings(&marked).len() <= account.gateway.warnings(job).len() {
            self.lacks(Piece::Rules, shown("no warning of an unknown member"));
        }
    }

    fn schemas(&mut self, jobs: &[Job], account: &Account) {
        for operation in self.provider.operations() {
            let Ok(validator) = jsonschema::draft202012::new(&self.provider.payload_schema(operation)) else {
                self.lacks(Piece::Schema, format!("{operation}: not one of 2020-12"));
                continue;
            };
            let mut takes_nulls = true;
            for job in jobs.iter().filter(|job| job.operation == *operation) {
                if let Err(error) = validator.validate(&Value::Object(Object::clone(&job.payload))) {
                    self.lacks(Piece::Schema, format!("{operation} ({}): {error}", job.transaction_id));
                }
                takes_nulls &= validator.is_valid(&Value::Object(Object::clone(&nulled(job).payload)));
            }
            if takes_nulls {
                self.lacks(Piece::Schema, format!("{operation}: payloads of nulls fit it"));
            }
            let jobs: Vec<&Job> = jobs.iter().filter(|job| job.operation == *operation).collect();
            self.unknown_members(&jobs, account, &validator);
            self.required_members(&jobs, account, &validator);
        }
    }

    fn requests(&mut self, job: &Job, account: &Account, other: &Account) {
        let marked = marked(job);
        let (Some(ours), Some(theirs)) = (first_delivery(account, &marked), first_delivery(other, &marked))
        else {
            return;
        };
        let request = account.gateway.request(&[&ours]);
        let shown = |what: &str| format!("{} ({}): {what}", job.operation, job.transaction_id);
        if request.url.path() == "/" {
            self.lacks(Piece::Request, shown("it goes to the root"));
        }
        if !String::from_utf8_lossy(&request.body).contains(MARK) {
            self.lacks(Piece::Request, shown("a member of the payload does not get into it"));
        }
        if whole(&request) == whole(&other.gateway.request(&[&theirs])) {
            self.lacks(Piece::Request, shown("it is the same whatever the account's credentials are"));
        }
    }

    fn repeats(&mut self, delivery: &Delivery, account: &Account) {
        let operation = &delivery.job.operation;
        let repeat = account.gateway.repeat(delivery);
        if account.gateway.reads(delivery) && repeat != Repeat::Harmless {
            self.lacks(Piece::Repeats, format!("{operation} only reads, but its repeat is {repeat:?}"));
        }
        let word = ["get", "search", "list"].into_iter().find(|word| operation.starts_with(word));
        if let (Some(word), false) = (word, account.gateway.reads(delivery)) {
            self.lacks(Piece::Reads, format!("{operation} does not read, although it is called {word}"));
        }
        if matches!(repeat, Repeat::Within(time) if time.is_zero()) {
            self.lacks(Piece::Repeats, format!("{operation}: within no time"));
        }
    }

    /// What HTTP itself says means the same everywhere.
    fn verdicts(&mut self, delivery: &Delivery, account: &Account) {
        let judge = |answer: &WireAnswer| account.gateway.verdict(&[delivery], answer, false);
        let response = |status| WireAnswer::Response { status, headers: Vec::new(), body: "no JSON".into() };
        let table: [(WireAnswer, &[&str]); 6] = [
            (WireAnswer::NotSent("no connection".into()), &["NotSent"]),
            (WireAnswer::Lost("reset".into()), &["Unknown"]),
            (response(401), &["Misconfigured"]),
            (response(429), &["Throttled"]),
            (response(500), &["Unknown and a fault"]),
            (response(503), IN_TROUBLE),
        ];
        for (answer, expected) in table {
            let verdict = judge(&answer);
            if !expected.contains(&kind(&verdict)) {
                let shown =
                    format!("{}: {answer:?} is {verdict:?}, not {expected:?}", delivery.job.operation);
                self.lacks(Piece::Verdicts, shown);
            }
        }
    }
}

/// Whether a 503 was processed is each provider's to say; it is a fault either way.
const IN_TROUBLE: &[&str] = &["Failed", "Unknown and a fault"];

/// Every finding about a job, whatever part of it is concerned.
fn findings(account: &Account, job: &Job) -> Vec<Finding> {
    match account.gateway.plan(job) {
        Err(findings) => findings,
        Ok(planned) => planned.into_iter().filter_map(Result::err).flat_map(|unfit| unfit.findings).collect(),
    }
}

fn first_delivery(account: &Account, job: &Job) -> Option<Delivery> {
    account.gateway.plan(job).ok()?.into_iter().find_map(Result::ok)
}

/// A pool that a delivery is counted in, or falls back to, and that the account does not list.
fn class_problem(account: &Account, job: &Job) -> Option<String> {
    let listed: Vec<_> = account.gateway.pools().into_iter().map(|(pool, _, _)| pool).collect();
    let deliveries = account.gateway.plan(job).ok()?.into_iter().filter_map(Result::ok);
    let pool_of = |delivery: &Delivery| match delivery.class {
        Class::Counted(pool) => Some(pool),
        // Where the provider throttles it all the same it waits in the main queues.
        Class::Exempt => account.gateway.fallback_pool(delivery).filter(|pool| pool.line() == Line::MAIN),
    };
    let mut pools = deliveries.map(|delivery| pool_of(&delivery));
    pools
        .find(|pool| pool.is_none_or(|pool| !listed.contains(&pool)))
        .map(|pool| format!("{pool:?} is not among {listed:?}"))
}

/// The job with all of its payload of an impossible type.
fn nulled(job: &Job) -> Job {
    let mut nulled = job.clone();
    Arc::make_mut(&mut nulled.payload).values_mut().for_each(|value| *value = Value::Null);
    nulled
}

/// What an unknown member of a payload holds.
const MARK: &str = "the-mark-of-this-test";

/// The job with an unknown member in its payload, which must reach the provider.
fn marked(job: &Job) -> Job {
    let mut marked = job.clone();
    Arc::make_mut(&mut marked.payload).insert("a_member_of_the_test".into(), MARK.into());
    marked
}

fn whole(request: &WireRequest) -> String {
    // The bytes: `Debug` hides a value that holds a credential.
    let headers: Vec<_> = request.headers.iter().map(|(name, value)| (name, value.as_bytes())).collect();
    format!("{} {} {headers:?} {:?}", request.method, request.url, request.body)
}

/// A verdict's kind in a word.
fn kind(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted(_) => "Accepted",
        Verdict::AcceptedBefore(_) => "AcceptedBefore",
        Verdict::Refused { .. } => "Refused",
        Verdict::Partial { .. } => "Partial",
        Verdict::Throttled { .. } => "Throttled",
        Verdict::NotSent { .. } => "NotSent",
        Verdict::Failed { .. } => "Failed",
        Verdict::Unknown { fault: true, .. } => "Unknown and a fault",
        Verdict::Unknown { fault: false, .. } => "Unknown",
        Verdict::Misconfigured { .. } => "Misconfigured",
    }
}
