//! Claims: who handles a delivery, how it ended, and the health of each account.
//!
//! The states of a claim and of an account's health, field by field, are described in `record.lua` and
//! `health.lua`; this file only puts questions into their form and reads their answers. What is the same
//! in every question, the configured lengths of time, stands at the head of the scripts.
//!
//! What holds beyond the port's contract:
//! - A claim whose lease ran out while it was `sending` counts as an attempt whose outcome is not
//!   known, for whoever finds it.
//! - A claim that the store lost altogether (a flush, a failover) can still be ended or released by
//!   who held it: nobody else does, and what is known of it is kept.

use std::time::Duration;

use async_trait::async_trait;
use redis::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::gather::{Arguments, Kind, Said};
use super::link::Script;
use super::{RedisStore, StoreSettings, from_millis, integers, millis, unreadable};
use crate::job::{AccountName, DeliveryId, Line};
use crate::ports::{
    Answer, Claim, ClaimRequest, Claims, Fenced, History, Pause, PauseCause, Purpose, Release, StoreError,
    Suspicion,
};
use crate::verdict::{Outcome, Signal};

/// A claim that has not ended is kept this much longer than its delivery can be retried.
const SLACK: Duration = Duration::from_secs(3600);

/// Between the last moment at which a request may be written, plus its longest duration, and the
/// end of the lease.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// How long a count of a suspected message is kept, in seconds.
const SUSPECT_SECONDS: u64 = 86_400;

/// The scripts of claims and health.
#[derive(Debug)]
pub(super) struct ClaimScripts {
    pub claim: Script,
    pub settle: Script,
    suspect: Script,
    pause: Script,
}

impl ClaimScripts {
    pub(super) fn new(settings: &StoreSettings) -> Self {
        let head = head(settings);
        macro_rules! script {
            ($file:literal) => {
                Script::new(
                    &[
                        &head,
                        include_str!("clock.lua"),
                        include_str!("record.lua"),
                        include_str!("health.lua"),
                        include_str!($file),
                    ]
                    .concat(),
                )
            };
        }
        Self {
            claim: script!("claim.lua"),
            settle: script!("settle.lua"),
            suspect: script!("suspect.lua"),
            pause: script!("pause.lua"),
        }
    }
}

/// The settings as the scripts know them, in milliseconds where they are lengths of time. Those that only go
/// on to a command are texts, which it takes as they are; a number is printed anew each time.
fn head(settings: &StoreSettings) -> String {
    let circuit = &settings.circuit;
    let constants = [
        ("LEASE_MS", millis(settings.lease)),
        // The longest that a script sets; a person's has no length.
        ("LONGEST_PAUSE_MS", millis(circuit.pause_max.max(circuit.credentials_pause))),
        ("CREDENTIALS_PAUSE_MS", millis(circuit.credentials_pause)),
        ("CIRCUIT_FAILURES", i64::from(circuit.failures.max(1))),
        ("CIRCUIT_PAUSE_MS", millis(circuit.pause)),
        ("CIRCUIT_PAUSE_MAX_MS", millis(circuit.pause_max)),
    ];
    let lives = [
        ("LIVE_TTL_MS", millis(settings.dedupe_ttl.max(settings.max_age + SLACK))),
        ("ENDED_TTL_MS", millis(settings.dedupe_ttl)),
    ];
    let numbers = constants.iter().map(|(name, value)| format!("local {name} = {value}\n"));
    numbers.chain(lives.iter().map(|(name, value)| format!("local {name} = '{value}'\n"))).collect()
}

#[async_trait]
impl Claims for RedisStore {
    async fn claim(&self, requests: &[ClaimRequest]) -> Result<Vec<Answer>, StoreError> {
        let mut said = Vec::with_capacity(requests.len());
        for request in requests {
            said.push(self.ask_claim(request).await);
        }
        let mut answers = Vec::with_capacity(requests.len());
        for (request, said) in requests.iter().zip(said) {
            let (answer, before) = said.await?;
            let read = read_answer(&answer, request, self.write_by(before));
            answers.push(read.ok_or_else(|| unreadable("a claim"))?);
        }
        Ok(answers)
    }

    async fn end(&self, claim: &Claim, outcome: &Outcome, signal: Signal) -> Result<Fenced, StoreError> {
        let outcome_json = serde_json::to_vec(outcome)
            .map_err(|_| StoreError("an outcome can't be written as JSON".into()))?;
        let blocks: &[u8] = if outcome.blocks() { b"1" } else { b"0" };
        let parts = [outcome_json.as_slice(), blocks, claim.instance.as_str().as_bytes()];
        self.settle(claim, "end", signal, parts).await
    }

    async fn release(&self, claim: &Claim, release: Release) -> Result<Fenced, StoreError> {
        let history = remembered(release.history);
        self.settle(claim, "release", release.signal, [history.as_bytes(), b"", b""]).await
    }

    async fn suspect(&self, claim: &Claim) -> Result<Suspicion, StoreError> {
        let account = account_keys(&self.settings.prefix, &claim.account, &claim.line);
        let key = self.claim_key(&claim.account, &claim.id);
        let args = [claim.token.as_str(), claim.id.as_str()].map(str::as_bytes);
        let keys = account.iter().chain([&key]).map(String::as_bytes);
        let cmd = self.scripts.suspect.run(keys, args);
        match self.link.run_one(&self.scripts.suspect, cmd).await? {
            Value::Int(-1) => Ok(Suspicion::Delivery),
            Value::Int(wait) => {
                Ok(Suspicion::Paused(Pause { wait: from_millis(wait), cause: PauseCause::Credentials }))
            }
            _ => Err(unreadable("a suspicion")),
        }
    }

    async fn throttle(&self, account: &AccountName, line: &Line, wait: Duration) -> Result<(), StoreError> {
        self.run_pause("throttle", account, line, wait).await.map(|_| ())
    }

    async fn pause_of(&self, account: &AccountName, line: &Line) -> Result<Option<Pause>, StoreError> {
        self.person("ask", account, line).await
    }

    async fn pause(&self, account: &AccountName) -> Result<(), StoreError> {
        self.person("pause", account, &Line::MAIN).await.map(|_| ())
    }

    async fn resume(&self, account: &AccountName, line: &Line) -> Result<(), StoreError> {
        self.person("resume", account, line).await.map(|_| ())
    }

    async fn count_suspect(&self, fingerprint: &str, handling: &str) -> Result<u32, StoreError> {
        let key = self.suspect_key(fingerprint);
        let (mut add, mut count, mut expire) =
            (redis::cmd("SADD"), redis::cmd("SCARD"), redis::cmd("EXPIRE"));
        add.arg(&key).arg(handling);
        count.arg(&key);
        expire.arg(&key).arg(SUSPECT_SECONDS);
        let answers = self.link.trip(&[add, count, expire]).await?;
        match answers.get(1) {
            Some(Ok(Value::Int(count))) => Ok(u32::try_from(*count).unwrap_or(u32::MAX)),
            _ => Err(unreadable("a count")),
        }
    }

    async fn uncount_suspect(&self, fingerprint: &str, handling: &str) -> Result<(), StoreError> {
        let mut remove = redis::cmd("SREM");
        remove.arg(self.suspect_key(fingerprint)).arg(handling);
        self.link.trip(&[remove]).await.map(|_| ())
    }

    fn up(&self) -> watch::Receiver<bool> {
        self.link.up()
    }

    async fn ping(&self) -> bool {
        self.link.ping().await
    }
}

/// What all scripts of an account take first: the health of its line, the suspects and the cleared ones,
/// and where a person's pause of the whole account stands.
pub(super) fn account_keys(prefix: &str, account: &AccountName, line: &Line) -> [String; 4] {
    let tag = format!("{{{prefix}:{account}}}");
    let of = |what: &str| format!("{tag}:{what}{}", line.suffix());
    [of("health"), of("suspects"), of("cleared"), format!("{tag}:health")]
}

impl RedisStore {
    fn claim_key(&self, account: &AccountName, id: &DeliveryId) -> String {
        ["{", &self.settings.prefix, ":", account.as_str(), "}:c:", id.as_str()].concat()
    }

    fn suspect_key(&self, fingerprint: &str) -> String {
        format!("{{{}:suspect}}:{fingerprint}", self.settings.prefix)
    }

    /// Counted from before the call: the lease can't have begun earlier.
    fn write_by(&self, before: Instant) -> Instant {
        before + self.settings.lease.saturating_sub(self.settings.request_timeout + LEASE_MARGIN)
    }

    async fn ask_claim(&self, request: &ClaimRequest) -> impl Future<Output = Said> + use<> {
        let args = [
            purpose_word(request.purpose),
            &request.token,
            request.instance.as_str(),
            request.replay.as_deref().unwrap_or(""),
            &remembered(request.remembered),
        ];
        let key = self.claim_key(&request.account, &request.id);
        let arguments = Arguments::new(key, args.map(str::as_bytes));
        self.counter.ask(Kind::Claim, &request.account, &request.line, arguments).await
    }

    async fn settle(
        &self,
        claim: &Claim,
        what: &str,
        signal: Signal,
        parts: [&[u8]; 3],
    ) -> Result<Fenced, StoreError> {
        let [what, token, signal] = [what, &claim.token, signal_word(signal)].map(str::as_bytes);
        let [x, y, z] = parts;
        let key = self.claim_key(&claim.account, &claim.id);
        let arguments = Arguments::new(key, [what, token, signal, x, y, z]);
        match self.counter.ask(Kind::Settle, &claim.account, &claim.line, arguments).await.await? {
            (Value::Int(fenced), _) => Ok(Fenced(fenced != 0)),
            _ => Err(unreadable("the end of a claim")),
        }
    }

    async fn person(
        &self,
        what: &str,
        account: &AccountName,
        line: &Line,
    ) -> Result<Option<Pause>, StoreError> {
        self.run_pause(what, account, line, Duration::ZERO).await
    }

    async fn run_pause(
        &self,
        what: &str,
        account: &AccountName,
        line: &Line,
        wait: Duration,
    ) -> Result<Option<Pause>, StoreError> {
        let keys = account_keys(&self.settings.prefix, account, line);
        let wait = millis(wait).to_string();
        let args = [what, &wait].map(str::as_bytes);
        let cmd = self.scripts.pause.run(keys.iter().map(String::as_bytes), args);
        let answer = self.link.run_one(&self.scripts.pause, cmd).await?;
        match &answer {
            Value::Array(parts) => match parts.as_slice() {
                [] => Ok(None),
                parts => read_pause(parts).map(Some).ok_or_else(|| unreadable("a pause")),
            },
            _ => Err(unreadable("a pause")),
        }
    }
}

const fn purpose_word(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Send => "send",
        Purpose::End => "end",
    }
}

const fn signal_word(signal: Signal) -> &'static str {
    match signal {
        Signal::Healthy => "healthy",
        Signal::Faulty => "faulty",
        Signal::Neutral => "neutral",
    }
}

/// A history as the scripts read it; nothing for none, which is nearly always.
fn remembered(history: History) -> String {
    if history == History::default() {
        return String::new();
    }
    let History { requests, retries, first_attempt_ms, unresolved_ms } = history;
    let optional = |moment: Option<i64>| moment.map_or_else(|| "-".to_owned(), |moment| moment.to_string());
    format!("{requests} {retries} {} {}", optional(first_attempt_ms), optional(unresolved_ms))
}

/// Reads the answer of `claim.lua`; `None` when no script of ours gives it.
fn read_answer(answer: &Value, request: &ClaimRequest, write_by: Instant) -> Option<Answer> {
    let acquired = |claimed_ms: i64, probe: bool, history: History| {
        Answer::Acquired(Claim {
            line: request.line.clone(),
            account: request.account.clone(),
            id: request.id.clone(),
            instance: request.instance.clone(),
            token: request.token.clone(),
            history,
            claimed_ms,
            probe,
            write_by,
        })
    };
    let parts = match answer {
        Value::Int(now) => return Some(acquired(*now, false, History::default())),
        Value::Array(parts) => parts,
        _ => return None,
    };
    let (Value::BulkString(kind), rest) = parts.split_first()? else { return None };
    match (kind.as_slice(), rest) {
        (b"a", [Value::Int(now), Value::Int(probe), history @ ..]) => {
            Some(acquired(*now, *probe == 1, read_history(history)?))
        }
        (b"h", [Value::Int(wait)]) => Some(Answer::Held(from_millis(*wait))),
        (b"e", [Value::BulkString(outcome), Value::Int(same)]) => {
            Some(Answer::Ended { outcome: serde_json::from_slice(outcome).ok()?, same: *same == 1 })
        }
        (b"p", pause) => read_pause(pause).map(Answer::Paused),
        _ => None,
    }
}

fn read_history(parts: &[Value]) -> Option<History> {
    let [counts @ .., first, unresolved] = parts else { return None };
    let counts = integers(counts)?;
    let [requests, retries] = counts.as_slice() else { return None };
    Some(History {
        requests: u32::try_from(*requests).ok()?,
        retries: u32::try_from(*retries).ok()?,
        first_attempt_ms: read_optional(first)?,
        unresolved_ms: read_optional(unresolved)?,
    })
}

/// A number, or an empty text where there is none.
fn read_optional(value: &Value) -> Option<Option<i64>> {
    match value {
        Value::Int(number) => Some(Some(*number)),
        Value::BulkString(text) if text.is_empty() => Some(None),
        _ => None,
    }
}

fn read_pause(parts: &[Value]) -> Option<Pause> {
    let [Value::Int(wait), Value::BulkString(cause)] = parts else { return None };
    let cause = PauseCause::parse(std::str::from_utf8(cause).ok()?)?;
    Some(Pause { wait: from_millis(*wait), cause })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Instance;

    fn request() -> ClaimRequest {
        ClaimRequest {
            line: Line::MAIN,
            account: AccountName::new("shop").unwrap(),
            id: DeliveryId::from(&crate::job::TransactionId::new("otp-1").unwrap()),
            instance: Instance::of("m", 0),
            purpose: Purpose::Send,
            remembered: History::default(),
            replay: None,
            token: "t".into(),
        }
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn read(parts: Vec<Value>) -> Option<Answer> {
        read_answer(&Value::Array(parts), &request(), Instant::now())
    }

    #[test]
    fn answers_are_read() {
        let answer = read(
            [
                vec![text("a"), Value::Int(9), Value::Int(1)],
                vec![Value::Int(2), Value::Int(1), Value::Int(5), text("")],
            ]
            .concat(),
        );
        let Some(Answer::Acquired(claim)) = answer else { panic!("{answer:?}") };
        assert_eq!((claim.claimed_ms, claim.probe, claim.token.as_str()), (9, true, "t"));
        let expected = History { requests: 2, retries: 1, first_attempt_ms: Some(5), unresolved_ms: None };
        assert_eq!(claim.history, expected);

        let Some(Answer::Acquired(claim)) = read_answer(&Value::Int(9), &request(), Instant::now()) else {
            panic!("the first claim of a delivery");
        };
        assert_eq!((claim.claimed_ms, claim.probe, claim.history), (9, false, History::default()));

        let answer = read(vec![text("p"), Value::Int(1500), text("circuit")]);
        let Some(Answer::Paused(pause)) = answer else { panic!("{answer:?}") };
        assert_eq!(pause, Pause { wait: Duration::from_millis(1500), cause: PauseCause::Circuit });

        let answer = read(vec![text("h"), Value::Int(40)]);
        assert!(matches!(answer, Some(Answer::Held(wait)) if wait == Duration::from_millis(40)));

        let answer = read(vec![text("e"), text(r#"{"s":"delivered","n":1,"t":7}"#), Value::Int(1)]);
        assert!(matches!(answer, Some(Answer::Ended { outcome, same: true }) if outcome.attempts == 1));
    }

    #[test]
    fn a_history_is_written_as_the_scripts_read_it() {
        let tried = History { requests: 3, retries: 2, first_attempt_ms: Some(5), unresolved_ms: None };
        for (history, text) in [
            (History::default(), ""),
            (tried, "3 2 5 -"),
            (History { unresolved_ms: Some(7), ..History::default() }, "0 0 - 7"),
        ] {
            assert_eq!(remembered(history), text, "{history:?}");
        }
    }

    #[test]
    fn unreadable_answers_are_no_answers() {
        let cases = [
            vec![],
            vec![text("x")],
            vec![text("h"), text("soon")],
            vec![text("e"), text("{}"), Value::Int(1)],
            vec![text("p"), Value::Int(1), text("weather")],
            vec![text("a"), Value::Int(9), Value::Int(0), Value::Int(-2), Value::Int(1), text(""), text("")],
            vec![text("a"), Value::Int(9), Value::Int(0), Value::Int(2), text(""), text("")],
        ];
        for case in cases {
            assert!(read(case.clone()).is_none(), "{case:?}");
        }
    }
}
