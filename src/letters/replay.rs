//! Publishing letters again.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::edit::{Change, EditError};
use super::listing::{Group, Groups, missing};
use super::sweep::Sweep;
use super::{Facts, Filter, Sight};
use crate::config::Config;
use crate::job::{AccountName, Finding, TransactionId};
use crate::pipeline::classify;
use crate::pipeline::decode::decode_body;
use crate::pipeline::envelope::{Envelope, REPLAY, is_trace};
use crate::ports::{
    Chance, DeadLetters, Destination, Intent, Letter, LetterTag, LettersError, Outgoing, Properties,
    PublishError, Publisher,
};
use crate::steady::publish_steadily;

/// How many letters are on their way to the broker at once, and how many bytes of them, save that one
/// always goes.
const MOST_FLYING: usize = 64;
const MOST_FLYING_BYTES: usize = 8 * 1024 * 1024;

/// How far a pace may fall behind and be made up for: timers are coarse.
const CATCH_UP: Duration = Duration::from_millis(50);

/// A wish to replay.
pub struct Replaying<'a> {
    /// Which letters.
    pub filter: &'a Filter,
    /// What is changed in each.
    pub changes: &'a [Change],
    /// The accounts, whose rules each job must keep to.
    pub config: &'a Config,
    /// How many a second at the most.
    pub rate: f64,
    /// How long the broker is tried for one letter.
    pub patience: Duration,
    /// Whether nothing is published.
    pub dry_run: bool,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Letters that were there.
    pub total: u64,
    /// Published and taken out; in a dry run those that would be.
    pub replayed: u64,
    /// Meant, but left where they are: what they say would end at once again.
    pub left: u64,
    /// Meant, but the broker did not take them.
    pub failed: u64,
    /// Those replayed, by group.
    pub groups: Vec<Group>,
    /// Ids that were asked for and not found.
    pub missing: Vec<String>,
    /// Whether it was stopped before all were looked at.
    pub stopped: bool,
}

/// A letter's job, fit to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The message.
    pub outgoing: Outgoing,
}

/// Why a letter stays where it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Problem {
    /// It can't be changed like that.
    Edit(EditError),
    /// The change would give the delivery another name.
    Renamed,
    /// It would be invalid.
    Invalid(Vec<Finding>),
    /// Its account is not configured.
    NoAccount(AccountName),
    /// Its time has passed.
    Expired(Timestamp),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edit(error) => write!(f, "{error}"),
            Self::Renamed => f.write_str(
                "a change may not touch account, ids or the number of notifications, by which a delivery is \
                 known: publish it as a new job instead",
            ),
            Self::Invalid(findings) => {
                let all: Vec<String> = findings.iter().map(ToString::to_string).collect();
                write!(f, "it would be invalid: {}", all.join("; "))
            }
            Self::NoAccount(name) => write!(f, "its account {name} is not configured here"),
            Self::Expired(at) => {
                write!(
                    f,
                    "its expiresAt {at} has passed; --set /expiresAt='\"…\"' gives another, --unset /expiresAt none"
                )
            }
        }
    }
}

/// Makes the message of a replay, or says why there should be none. Pure.
///
/// # Errors
/// A [`Problem`]: published all the same, it would end without a request.
pub fn judge(
    letter: &Letter,
    changes: &[Change],
    config: &Config,
    now: Timestamp,
) -> Result<Judged, Problem> {
    let dead_id = Facts::of(letter).dead_id;
    let body = if changes.is_empty() { letter.body.clone() } else { changed(&letter.body, changes)?.into() };
    let job = decode_body(&body).map_err(|unreadable| Problem::Invalid(unreadable.findings))?;
    let account = config.accounts.get(&job.account).ok_or_else(|| Problem::NoAccount(job.account.clone()))?;
    let properties = properties(letter, &dead_id, now);
    let envelope = Envelope::read(&properties, now, &Named(&dead_id));
    let planned = classify::plan(&*account.gateway, &account.name, &job, &envelope, &config.queue.prefix)
        .map_err(Problem::Invalid)?;
    let unfit: Vec<Finding> =
        planned.into_iter().filter_map(Result::err).flat_map(|unfit| unfit.findings).collect();
    if !unfit.is_empty() {
        return Err(Problem::Invalid(unfit));
    }
    if let Some(at) = job.expires_at.filter(|at| *at <= now) {
        return Err(Problem::Expired(at));
    }
    let destination = Destination::Jobs(job.account.as_str().to_owned());
    Ok(Judged { outgoing: Outgoing { destination, body, properties } })
}

/// A message's instance comes from its name, which a replay always has.
struct Named<'a>(&'a str);

impl Chance for Named<'_> {
    fn unit(&self) -> f64 {
        0.0
    }

    fn unique(&self) -> String {
        self.0.to_owned()
    }
}

/// Those of the job that was published first, under the letter's name. The time of publishing is now: a
/// delivery of long ago would not be tried twice.
fn properties(letter: &Letter, dead_id: &str, now: Timestamp) -> Properties {
    let old = &letter.properties;
    let mut properties = Properties {
        message_id: Some(dead_id.to_owned()),
        reply_to: old.reply_to.clone(),
        correlation_id: old.correlation_id.clone(),
        timestamp: Some(now),
        content_type: Some("application/json".to_owned()),
        headers: old.headers.iter().filter(|(name, _)| is_trace(name)).cloned().collect(),
    };
    properties.set_header(REPLAY, dead_id);
    properties
}

fn changed(body: &[u8], changes: &[Change]) -> Result<Vec<u8>, Problem> {
    let before: Value = serde_json::from_slice(body).map_err(|_| Problem::Edit(EditError::NoJson))?;
    let mut after = before.clone();
    for change in changes {
        change.apply(&mut after).map_err(Problem::Edit)?;
    }
    // What has no sound name lies under no claim: it may get one.
    if names(&before).is_some_and(|known| names(&after).as_ref() != Some(&known)) {
        return Err(Problem::Renamed);
    }
    Ok(after.to_string().into_bytes())
}

/// What a job's deliveries are called after; `None` where that is nothing sound.
fn names(job: &Value) -> Option<Vec<Option<&Value>>> {
    let text = |name: &str| job.get(name).and_then(Value::as_str);
    TransactionId::new(text("transactionId")?).ok()?;
    AccountName::new(text("account")?)?;
    let payload = job.get("payload");
    let notifications = payload.and_then(|payload| payload.get("notifications")).and_then(Value::as_array);
    let own = notifications.into_iter().flatten().map(|one| one.get("transactionId"));
    let whole =
        [job.get("transactionId"), job.get("account"), payload.and_then(|all| all.get("transactionId"))];
    Some(whole.into_iter().chain(own).collect())
}

/// Publishes the letters that are meant, each confirmed before it is taken out.
///
/// # Errors
/// When the letters can't be read any further; what was replayed until then is, and the rest is where
/// it was.
pub async fn replay(
    letters: &dyn DeadLetters,
    publisher: &Arc<dyn Publisher>,
    wish: &Replaying<'_>,
    sight: &mut dyn Sight,
    stop: &CancellationToken,
) -> Result<Replayed, LettersError> {
    let intent = if wish.dry_run { Intent::Look } else { Intent::Take };
    let mut sweep = Sweep::begin(letters, intent, sight, stop).await?;
    let mut work = Work::new(publisher.clone(), wish);
    loop {
        let over = work.round(&mut sweep, wish, sight, stop).await?;
        if over {
            break;
        }
        sweep = sweep.renew(sight, stop).await?;
    }
    work.tally.total = sweep.seen(0, 0).total;
    sweep.end().await;
    work.tally.stopped = stop.is_cancelled() && !work.has_all(wish);
    work.tally.missing = missing(wish.filter, &work.found);
    work.tally.groups = work.groups.into_list();
    Ok(work.tally)
}

/// A letter on its way to the broker.
struct Flown {
    tag: LetterTag,
    facts: Facts,
    bytes: usize,
    result: Result<(), PublishError>,
}

/// A replay under way.
struct Work {
    publisher: Arc<dyn Publisher>,
    tally: Replayed,
    groups: Groups,
    found: BTreeSet<String>,
    flying: JoinSet<Flown>,
    bytes: usize,
    pace: Pace,
    /// Whether the broker takes nothing any more.
    broken: bool,
}

impl Work {
    fn new(publisher: Arc<dyn Publisher>, wish: &Replaying<'_>) -> Self {
        Self {
            publisher,
            tally: Replayed::default(),
            groups: Groups::default(),
            found: BTreeSet::new(),
            flying: JoinSet::new(),
            bytes: 0,
            pace: Pace::of(wish.rate),
            broken: false,
        }
    }

    /// Leads letters until the round is over; whether all is done then.
    async fn round(
        &mut self,
        sweep: &mut Sweep<'_>,
        wish: &Replaying<'_>,
        sight: &mut dyn Sight,
        stop: &CancellationToken,
    ) -> Result<bool, LettersError> {
        // Those that stay come again in each round.
        (self.tally.left, self.tally.failed) = (0, 0);
        let mut over = false;
        while !over && !sweep.is_due() {
            let ended = stop.is_cancelled() || self.broken || self.has_all(wish);
            let letter = if ended { None } else { sweep.next().await? };
            match letter {
                Some(letter) => self.lead(letter, sweep, wish, sight, stop).await?,
                None => over = true,
            }
            sight.seen(sweep.seen(self.matched(), self.tally.replayed));
        }
        while self.settle_one(sweep, sight).await? {
            sight.seen(sweep.seen(self.matched(), self.tally.replayed));
        }
        Ok(over)
    }

    fn matched(&self) -> u64 {
        self.tally.replayed + self.tally.left + self.tally.failed + self.flying.len() as u64
    }

    /// Whether every letter that was named was met.
    fn has_all(&self, wish: &Replaying<'_>) -> bool {
        !wish.filter.ids.is_empty() && self.found.len() == wish.filter.ids.len()
    }

    async fn lead(
        &mut self,
        letter: Letter,
        sweep: &mut Sweep<'_>,
        wish: &Replaying<'_>,
        sight: &mut dyn Sight,
        stop: &CancellationToken,
    ) -> Result<(), LettersError> {
        let facts = Facts::of(&letter);
        if !wish.filter.means(&facts) {
            return Ok(());
        }
        if !wish.filter.ids.is_empty() {
            self.found.insert(facts.dead_id.clone());
        }
        let judged = match judge(&letter, wish.changes, wish.config, Timestamp::now()) {
            Ok(judged) => judged,
            Err(problem) => {
                self.tally.left += 1;
                sight.stays(&facts, &problem.to_string());
                return Ok(());
            }
        };
        if wish.dry_run {
            self.tally.replayed += 1;
            self.groups.add(&facts);
            return Ok(());
        }
        let bytes = judged.outgoing.body.len();
        while self.is_full(bytes) && self.settle_one(sweep, sight).await? {}
        if !self.pace.turn(stop).await {
            // Stopped: it stays where it is.
            return Ok(());
        }
        self.bytes += bytes;
        let (publisher, patience, tag) = (self.publisher.clone(), wish.patience, letter.tag);
        self.flying.spawn(async move {
            let result = publish_steadily(&*publisher, judged.outgoing, patience).await;
            Flown { tag, facts, bytes, result }
        });
        self.take_out(None, sweep, sight).await
    }

    fn is_full(&self, more: usize) -> bool {
        self.flying.len() >= MOST_FLYING || !self.flying.is_empty() && self.bytes + more > MOST_FLYING_BYTES
    }

    /// Waits for one that is on its way; `false` when there is none.
    async fn settle_one(
        &mut self,
        sweep: &mut Sweep<'_>,
        sight: &mut dyn Sight,
    ) -> Result<bool, LettersError> {
        let Some(flown) = self.flying.join_next().await else { return Ok(false) };
        self.take_out(Some(flown), sweep, sight).await?;
        Ok(true)
    }

    /// Takes out what the broker has confirmed by now.
    async fn take_out(
        &mut self,
        first: Option<Result<Flown, tokio::task::JoinError>>,
        sweep: &mut Sweep<'_>,
        sight: &mut dyn Sight,
    ) -> Result<(), LettersError> {
        let mut confirmed = Vec::new();
        let mut next = first;
        while let Some(flown) = next.take().or_else(|| self.flying.try_join_next()) {
            let flown = flown.map_err(|error| LettersError::Failed(error.to_string()))?;
            self.bytes -= flown.bytes;
            match flown.result {
                Ok(()) => {
                    confirmed.push(flown.tag);
                    self.groups.add(&flown.facts);
                }
                Err(error) => {
                    self.tally.failed += 1;
                    self.broken |= is_broken(&error);
                    sight.stays(&flown.facts, &error.to_string());
                }
            }
        }
        if confirmed.is_empty() {
            return Ok(());
        }
        // Only now: killed before this line, a letter is published once more under the same names, which
        // its claim makes harmless.
        sweep.remove(&confirmed).await?;
        self.tally.replayed += confirmed.len() as u64;
        Ok(())
    }
}

/// Whether the others would fare no better.
const fn is_broken(error: &PublishError) -> bool {
    match error {
        PublishError::Unroutable => false,
        PublishError::Refused | PublishError::Unconfirmed(_) => true,
    }
}

/// When the next one may go.
struct Pace {
    gap: Duration,
    next: Instant,
}

impl Pace {
    fn of(rate: f64) -> Self {
        Self { gap: Duration::from_secs_f64(1.0 / rate), next: Instant::now() }
    }

    /// Waits for its turn; `false` when it is stopped first.
    async fn turn(&mut self, stop: &CancellationToken) -> bool {
        tokio::select! {
            biased;
            () = stop.cancelled() => return false,
            () = sleep_until(self.next) => {}
        }
        let now = Instant::now();
        self.next = self.next.max(now.checked_sub(CATCH_UP).unwrap_or(now)) + self.gap;
        true
    }
}
