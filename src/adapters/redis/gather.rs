//! Trips that callers share.
//!
//! A trip to Redis costs both sides several times what a claim does: calls of the system, a run of a
//! script. So one task takes whatever wishes wait, asks all of them in one trip, and meanwhile others
//! gather. A wish that comes alone goes at once; the more is asked, the more share a trip. A trip that
//! takes long is not waited for: further ones go beside it.
//!
//! Invariants:
//! 1. A wish that fails fails alone. A script that fails may have done its work for those before the
//!    faulty one; every wish bears being asked twice, so each is asked again in a run of its own.
//! 2. A caller that has given up is not asked for, unless its wish is on its way.
//! 3. The order of wishes means nothing: whoever asks for a delivery awaits the answer before the next
//!    step, and its token guards against what comes late.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::claims::{ClaimScripts, account_keys};
use super::link::{Link, Script};
use super::unreadable;
use crate::job::{AccountName, Line};
use crate::ports::StoreError;

/// The most wishes of one trip. Redis does nothing else meanwhile: about a millisecond, measured.
const MOST: usize = 64;

/// The most trips under way: beyond that the store, or the way to it, is full.
const MOST_TRIPS: usize = 8;

/// How long the next trip waits for one under way. A store nearby answers sooner.
const PATIENCE: Duration = Duration::from_millis(2);

/// How many wishes may wait beside those on their way.
const WAITING: usize = 1024;

/// The most arguments of a wish.
const ARGUMENTS: usize = 6;

/// What a wish is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// To claim a delivery.
    Claim,
    /// To end or release a claim.
    Settle,
}

/// The key of a claim and what its script is to do with it, one text behind the other.
#[derive(Debug)]
pub(super) struct Arguments {
    text: Vec<u8>,
    ends: [usize; 1 + ARGUMENTS],
    count: usize,
}

impl Arguments {
    /// Takes the key and at most [`ARGUMENTS`] arguments.
    pub(super) fn new<const N: usize>(key: String, arguments: [&[u8]; N]) -> Self {
        const { assert!(N <= ARGUMENTS) };
        let mut all = Self { text: key.into_bytes(), ends: [0; 1 + ARGUMENTS], count: 1 + N };
        all.text.reserve_exact(arguments.iter().map(|argument| argument.len()).sum());
        all.ends[0] = all.text.len();
        for (number, argument) in arguments.into_iter().enumerate() {
            all.text.extend_from_slice(argument);
            all.ends[1 + number] = all.text.len();
        }
        all
    }

    fn part(&self, number: usize) -> &[u8] {
        let begin = if number == 0 { 0 } else { self.ends[number - 1] };
        &self.text[begin..self.ends[number]]
    }

    fn behind_key(&self) -> impl Iterator<Item = &[u8]> {
        (1..self.count).map(|number| self.part(number))
    }
}

/// What the store said, and a moment that was before it said so.
pub(super) type Said = Result<(Value, Instant), StoreError>;

/// A wish, and who waits for the answer.
pub(super) struct Wish {
    pub kind: Kind,
    pub account: AccountName,
    pub line: Line,
    pub arguments: Arguments,
    pub reply: oneshot::Sender<Said>,
}

/// Where wishes are handed in.
pub(super) struct Counter(mpsc::Sender<Wish>);

impl Counter {
    /// Starts the task that makes the trips; it ends with the counter.
    pub(super) fn open(link: Arc<Link>, scripts: Arc<ClaimScripts>, prefix: String) -> Self {
        let (counter, wishes) = mpsc::channel(WAITING);
        tokio::spawn(Arc::new(Porter { link, scripts, prefix }).serve(wishes));
        Self(counter)
    }

    /// Hands in a wish; its answer is awaited separately, so that several can be under way.
    pub(super) async fn ask(
        &self,
        kind: Kind,
        account: &AccountName,
        line: &Line,
        arguments: Arguments,
    ) -> impl Future<Output = Said> + use<> {
        let (reply, answer) = oneshot::channel();
        let wish = Wish { kind, account: account.clone(), line: line.clone(), arguments, reply };
        // An error means that the task is gone, and with it the wish: its answer says so.
        let _ = self.0.send(wish).await;
        async { answer.await.unwrap_or_else(|_| Err(StoreError("given up".into()))) }
    }
}

/// Who makes the trips.
struct Porter {
    link: Arc<Link>,
    scripts: Arc<ClaimScripts>,
    prefix: String,
}

impl Porter {
    async fn serve(self: Arc<Self>, mut wishes: mpsc::Receiver<Wish>) {
        let mut trips = JoinSet::new();
        loop {
            let batch = gather(&mut wishes).await;
            if batch.is_empty() {
                return;
            }
            // A task of its own: should it panic, its callers hear that it is gone, and others go on.
            trips.spawn(self.clone().ask(batch));
            if trips.len() < MOST_TRIPS {
                // Whether it ended or takes long: the next one goes.
                let _ = timeout(PATIENCE, trips.join_next()).await;
            } else {
                trips.join_next().await;
            }
        }
    }

    async fn ask(self: Arc<Self>, batch: Vec<Wish>) {
        let again = self.trip(runs(batch)).await;
        let alone: Vec<Vec<Wish>> =
            again.into_iter().filter(Wish::is_awaited).map(|wish| vec![wish]).collect();
        if !alone.is_empty() {
            self.trip(alone).await;
        }
    }

    /// Makes runs in one trip. Gives back the wishes that need runs of their own; one in a run of its own
    /// is always answered.
    async fn trip(&self, runs: Vec<Vec<Wish>>) -> Vec<Wish> {
        let calls: Vec<(&Script, Cmd)> = runs.iter().filter_map(|run| self.call(run)).collect();
        let before = Instant::now();
        match self.link.run(&calls).await {
            Ok(answers) => {
                runs.into_iter().zip(answers).flat_map(|(run, said)| hand_out(run, said, before)).collect()
            }
            Err(error) => {
                runs.into_iter().flatten().for_each(|wish| wish.answer(Err(error.clone())));
                Vec::new()
            }
        }
    }

    /// One run of a script for wishes of one kind and account; there is none for no wish.
    fn call(&self, run: &[Wish]) -> Option<(&Script, Cmd)> {
        let first = run.first()?;
        let script = match first.kind {
            Kind::Claim => &self.scripts.claim,
            Kind::Settle => &self.scripts.settle,
        };
        let account = account_keys(&self.prefix, &first.account, &first.line);
        let keys = account.iter().map(String::as_bytes).chain(run.iter().map(|wish| wish.arguments.part(0)));
        Some((script, script.run(keys, run.iter().flat_map(|wish| wish.arguments.behind_key()))))
    }
}

/// Whatever waits, at least one; none when nobody can ask any more.
async fn gather(wishes: &mut mpsc::Receiver<Wish>) -> Vec<Wish> {
    let mut batch = Vec::with_capacity(MOST);
    while batch.is_empty() {
        if wishes.recv_many(&mut batch, MOST).await == 0 {
            break;
        }
        // What is wished for at this very moment, by tasks that are ready too, comes along.
        tokio::task::yield_now().await;
        while batch.len() < MOST
            && let Ok(wish) = wishes.try_recv()
        {
            batch.push(wish);
        }
        batch.retain(Wish::is_awaited);
    }
    batch
}

impl Wish {
    fn is_awaited(&self) -> bool {
        !self.reply.is_closed()
    }

    fn answer(self, said: Said) {
        // Nobody listening means that the caller gave up by itself.
        let _ = self.reply.send(said);
    }
}

/// The wishes by kind, account and line, in their order.
fn runs(batch: Vec<Wish>) -> Vec<Vec<Wish>> {
    let mut runs: Vec<Vec<Wish>> = Vec::new();
    let mut places: HashMap<(Kind, AccountName, Line), usize> = HashMap::new();
    for wish in batch {
        let of = (wish.kind, wish.account.clone(), wish.line.clone());
        let place = *places.entry(of).or_insert(runs.len());
        match runs.get_mut(place) {
            Some(run) => run.push(wish),
            None => runs.push(vec![wish]),
        }
    }
    runs
}

/// Gives each wish of a run its answer. When there is none for each of several they are given back.
fn hand_out(run: Vec<Wish>, said: Result<Value, StoreError>, before: Instant) -> Vec<Wish> {
    let answers = said.and_then(|value| match value {
        Value::Array(answers) if answers.len() == run.len() => Ok(answers),
        _ => Err(unreadable("a wish")),
    });
    match answers {
        Ok(answers) => {
            run.into_iter().zip(answers).for_each(|(wish, said)| wish.answer(Ok((said, before))));
            Vec::new()
        }
        Err(_) if run.len() > 1 => run,
        Err(error) => {
            run.into_iter().for_each(|wish| wish.answer(Err(error.clone())));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(kind: Kind, account: &str, key: &str) -> (Wish, oneshot::Receiver<Said>) {
        let (reply, answer) = oneshot::channel();
        let account = AccountName::new(account).unwrap();
        let arguments = Arguments::new(key.into(), [b"send".as_slice(), b"", b"token"]);
        (Wish { kind, account, line: Line::MAIN, arguments, reply }, answer)
    }

    fn wishes(keys: &[&str]) -> (Vec<Wish>, Vec<oneshot::Receiver<Said>>) {
        keys.iter().map(|key| wish(Kind::Claim, "shop", key)).unzip()
    }

    fn keys(run: &[Wish]) -> Vec<&[u8]> {
        run.iter().map(|wish| wish.arguments.part(0)).collect()
    }

    #[test]
    fn arguments_are_kept_apart() {
        let arguments = Arguments::new("key".into(), [b"send".as_slice(), b"", b"token"]);
        assert_eq!(arguments.part(0), b"key");
        assert_eq!(arguments.behind_key().collect::<Vec<_>>(), [b"send".as_slice(), b"", b"token"]);
    }

    #[test]
    fn wishes_of_one_kind_and_account_share_a_run_in_their_order() {
        let batch = [
            (Kind::Claim, "shop", "a"),
            (Kind::Settle, "shop", "b"),
            (Kind::Claim, "bank", "c"),
            (Kind::Claim, "shop", "d"),
            (Kind::Settle, "shop", "e"),
        ];
        let runs = runs(batch.map(|(kind, account, key)| wish(kind, account, key).0).into());
        let found: Vec<Vec<&[u8]>> = runs.iter().map(|run| keys(run)).collect();
        assert_eq!(found, [vec![b"a".as_slice(), b"d"], vec![b"b", b"e"], vec![b"c"]]);
    }

    #[tokio::test]
    async fn a_caller_that_has_given_up_is_not_asked_for() {
        let (sender, mut waiting) = mpsc::channel(8);
        let (batch, mut answers) = wishes(&["a", "b", "c"]);
        for wish in batch {
            assert!(sender.send(wish).await.is_ok());
        }
        answers.remove(1);
        assert_eq!(keys(&gather(&mut waiting).await), [b"a", b"c"]);
        drop(sender);
        assert!(gather(&mut waiting).await.is_empty(), "nobody can ask any more");
    }

    #[test]
    fn each_wish_of_a_run_gets_its_answer() {
        let before = Instant::now();
        let (run, answers) = wishes(&["a", "b"]);
        assert!(hand_out(run, Ok(Value::Array(vec![Value::Int(1), Value::Int(2)])), before).is_empty());
        let said: Vec<Said> = answers.into_iter().map(|mut answer| answer.try_recv().unwrap()).collect();
        assert_eq!(said, [Ok((Value::Int(1), before)), Ok((Value::Int(2), before))]);
    }

    #[test]
    fn several_wishes_without_an_answer_each_are_given_back_and_one_is_told() {
        let failed = || Err(StoreError("WRONGTYPE".into()));
        let short = || Ok(Value::Array(vec![Value::Int(1), Value::Int(2), Value::Int(3)]));
        for said in [failed(), short(), Ok(Value::Nil)] {
            let (run, mut answers) = wishes(&["a", "b"]);
            assert_eq!(keys(&hand_out(run, said.clone(), Instant::now())), [b"a", b"b"]);
            assert!(answers[0].try_recv().is_err(), "not told yet");

            let (run, mut answers) = wishes(&["a"]);
            assert!(hand_out(run, said, Instant::now()).is_empty());
            assert!(answers[0].try_recv().unwrap().is_err());
        }
    }
}
