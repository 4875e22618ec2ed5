//! The provider as its simulator plays it: what it takes, once, twice and together.

use super::limits::is_limited;
use super::*;

use paceline::job::TransactionId;
use paceline::simulator::DeliveryOutcome;
use paceline::verdict::Acceptance;

/// How long after the first request a provider that recognises it at any time is asked again.
const LATER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Examined {
    pub fn play(&mut self, jobs: &[&Job], account: &Account, played: &mut Played) {
        let operation = &jobs[0].operation;
        let (mut told, mut miscounted) = (Vec::new(), Vec::new());
        let mut ask = |job: &Job, played: &mut Played| {
            let delivery = first_delivery(account, job)?;
            let (answer, entry) = played.ask(&account.gateway.request(&[&delivery]));
            let verdict = account.gateway.verdict(&[&delivery], &answer, false);
            told.push(format!("{} at {}: {verdict:?}", entry.operation, job.transaction_id));
            let counted = is_limited(account, &delivery);
            let known =
                entry.operation == *operation && entry.provider.as_deref() == Some(self.provider.name());
            let acceptances =
                if let Verdict::Accepted(acceptances) = verdict { acceptances } else { return None };
            if known && entry.counted != counted {
                let shown = format!(
                    "{}: counted: {counted}, by the simulator: {}",
                    job.transaction_id, entry.counted
                );
                miscounted.push(shown);
            }
            known.then_some((delivery, acceptances, answer, entry))
        };
        // Every sample: what it makes at the provider may be what another one is about.
        let as_they_are: Vec<_> = jobs.iter().filter_map(|job| ask(job, played)).collect();
        let variants: Vec<Job> = jobs.iter().flat_map(|job| played.variants(job)).collect();
        let taken =
            as_they_are.into_iter().next().or_else(|| variants.iter().find_map(|job| ask(job, played)));
        for shown in miscounted {
            self.lacks(Piece::Pools, shown);
        }
        let Some((delivery, acceptances, success, entry)) = taken else {
            self.lacks(Piece::Simulator, format!("it takes no sample of {operation}: {told:#?}"));
            return;
        };
        // Where success has no body, a body proves nothing either way.
        let silent = matches!(&success, WireAnswer::Response { body, .. } if body.is_empty());
        if account.gateway.reads(&delivery) && acceptances.iter().any(|one| one.response.is_none()) {
            self.lacks(Piece::Verdicts, format!("{operation} reads, but its answer is not kept"));
        }
        if !account.gateway.reads(&delivery) && !keeps_codes(&success, &entry, &acceptances) {
            self.lacks(Piece::Codes, format!("{operation}: {acceptances:?} is not what the answer gave"));
        }
        let harmless = account.gateway.repeat(&delivery) == Repeat::Harmless;
        if harmless && outcomes(&entry).iter().any(|outcome| *outcome != DeliveryOutcome::Done) {
            self.lacks(Piece::Repeats, format!("{operation} is harmless, but pushes"));
        }
        let garbled: &[&str] = if silent { &["Accepted"] } else { &["Unknown"] };
        for (fault, expected) in [
            ("429", &["Throttled"][..]),
            ("401", &["Misconfigured"][..]),
            ("500", &["Unknown and a fault"][..]),
            ("503", IN_TROUBLE),
            ("garbage", garbled),
        ] {
            let answer = played.ask_with_fault(fault, &account.gateway.request(&[&delivery]));
            let verdict = account.gateway.verdict(&[&delivery], &answer, false);
            if !expected.contains(&kind(&verdict)) {
                let shown = format!("{operation}: the simulator's {fault} is {verdict:?}, not {expected:?}");
                self.lacks(Piece::Verdicts, shown);
            }
        }
    }
    /// The request of each sample once more, as late as it may be.
    pub fn play_twice(&mut self, jobs: &[&Job], account: &Account) {
        for delivery in jobs.iter().flat_map(|job| splits::deliveries(account, job)) {
            let wait = match account.gateway.repeat(&delivery) {
                Repeat::Harmless | Repeat::Never => continue,
                Repeat::Always => LATER,
                Repeat::Within(time) => time.saturating_sub(Duration::from_secs(1)),
            };
            let mut played = Played::of(self.provider.simulated());
            let request = account.gateway.request(&[&delivery]);
            let (_, first) = played.ask(&request);
            let (answer, second) = played.ask_after(wait, &request);
            let told =
                format!("{}: {:?}, {wait:?} later {:?}", delivery.id, outcomes(&first), outcomes(&second));
            if outcomes(&second).contains(&DeliveryOutcome::Accepted) {
                self.lacks(Piece::Repeats, told);
                continue;
            }
            let verdict = account.gateway.verdict(&[&delivery], &answer, true);
            let taken = ["Accepted", "AcceptedBefore"].contains(&kind(&verdict));
            if outcomes(&second).contains(&DeliveryOutcome::Suppressed) && !taken {
                self.lacks(Piece::Verdicts, format!("{told}, but {verdict:?}"));
            }
        }
    }

    /// What may share a request gets into it, each of it, and each with its own code.
    pub fn batches(&mut self, jobs: &[Job], account: &Account) {
        let most = account.gateway.deliveries_per_request();
        let groups = shared(jobs, account);
        if most > 1 && groups.is_empty() {
            self.lacks(Piece::Batches, "no delivery may share a request");
        }
        for group in groups {
            let group: Vec<&Delivery> = group.iter().take(most).collect();
            let ids = |entry: &Entry| -> Vec<_> {
                entry.deliveries.iter().map(|record| record.id.clone()).collect()
            };
            let ask = |carried: &[&Delivery]| {
                Played::of(self.provider.simulated()).ask(&account.gateway.request(carried))
            };
            let alone: Vec<_> = group.iter().flat_map(|delivery| ids(&ask(&[*delivery]).1)).collect();
            let (answer, entry) = ask(&group);
            if ids(&entry) != alone || alone.len() != group.len() {
                self.lacks(Piece::Batches, format!("a request for {alone:?} carries {:?}", ids(&entry)));
                continue;
            }
            match account.gateway.verdict(&group, &answer, false) {
                Verdict::Accepted(given) if given.len() == group.len() => {
                    if !keeps_codes(&answer, &entry, &given) {
                        self.lacks(Piece::Codes, format!("{alone:?} together: {given:?}"));
                    }
                }
                other => self.lacks(Piece::Batches, format!("{alone:?} together: {other:?}")),
            }
        }
    }
}

/// The deliveries of the samples, and of their likes under other ids, that may share a request:
/// those of one batch key together.
fn shared(jobs: &[Job], account: &Account) -> Vec<Vec<Delivery>> {
    let mut groups: Vec<Vec<Delivery>> = Vec::new();
    let alike = jobs.iter().enumerate().map(|(number, job)| {
        let transaction_id = TransactionId::new(&format!("alike-{number}")).expect("an id");
        Job { transaction_id, ..job.clone() }
    });
    let key = |of: &Delivery| (of.job.operation.clone(), of.batch.clone());
    for delivery in jobs.iter().cloned().chain(alike).flat_map(|job| splits::deliveries(account, &job)) {
        if delivery.batch.is_none() || groups.iter().flatten().any(|other| other.id == delivery.id) {
            continue;
        }
        match groups.iter_mut().find(|group| key(&group[0]) == key(&delivery)) {
            Some(group) => group.push(delivery),
            None => groups.push(vec![delivery]),
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

/// Whether the code that the provider gave for each delivery came back with it.
fn keeps_codes(answer: &WireAnswer, entry: &Entry, acceptances: &[Acceptance]) -> bool {
    let WireAnswer::Response { body, .. } = answer else { return true };
    let body = String::from_utf8_lossy(body);
    entry.deliveries.iter().enumerate().all(|(index, record)| {
        let given = record.code.as_ref().filter(|code| body.contains(code.as_str()));
        let kept = acceptances.get(index).and_then(|one| one.message_code.as_ref());
        given.is_none_or(|given| kept == Some(given))
    })
}

fn outcomes(entry: &Entry) -> Vec<DeliveryOutcome> {
    entry.deliveries.iter().map(|record| record.outcome).collect()
}

/// The provider as its simulator plays it.
pub struct Played {
    pub simulated: Arc<dyn Simulated>,
    engine: Engine,
    time: Duration,
}

impl Played {
    pub fn of(simulated: Arc<dyn Simulated>) -> Self {
        let engine = Engine::new(vec![simulated.clone()], 1, 10_000, jiff::Timestamp::UNIX_EPOCH);
        Self { simulated, engine, time: Duration::ZERO }
    }

    /// Each a minute after the last, so that no limit is in the way.
    pub fn ask(&mut self, request: &WireRequest) -> (WireAnswer, Entry) {
        self.ask_after(Duration::from_secs(60), request)
    }

    fn ask_after(&mut self, wait: Duration, request: &WireRequest) -> (WireAnswer, Entry) {
        self.time += wait;
        let request = Request {
            method: request.method.clone(),
            path: request.url.path().to_owned(),
            headers: request.headers.iter().cloned().collect(),
            body: request.body.clone(),
        };
        let answer = self.engine.handle(&request, self.time).answer;
        let headers = answer.headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let answer = WireAnswer::Response { status: answer.status, headers, body: answer.body };
        (answer, self.entries().pop().expect("it is in the ledger"))
    }

    fn ask_with_fault(&mut self, fault: &str, request: &WireRequest) -> WireAnswer {
        self.engine.set_faults(FaultPlan::parse(&[fault]).expect("a fault"));
        self.ask(request).0
    }

    fn entries(&self) -> Vec<Entry> {
        self.engine.ledger().page(0, usize::MAX).entries
    }

    /// The job with each member of its payload, in turn, naming something that the simulator holds:
    /// samples can't know what it will be called.
    fn variants(&self, job: &Job) -> Vec<Job> {
        let entries = self.entries();
        let held =
            entries.iter().flat_map(|entry| &entry.deliveries).filter_map(|delivery| delivery.code.as_ref());
        let held: BTreeSet<&String> = held.collect();
        let mut variants = Vec::new();
        for (name, _) in job.payload.iter().filter(|(_, value)| value.is_string() || value.is_number()) {
            for code in &held {
                let mut variant = job.clone();
                Arc::make_mut(&mut variant.payload)[name] = json!(code);
                variants.push(variant);
            }
        }
        variants
    }
}
