use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::sync::mpsc::Receiver;
use tokio::time::sleep;

use super::super::{Embedded, tests_settings};
use super::*;
use crate::adapters::system::SystemClock;
use crate::job::{AccountName, DeliveryId, Instance, Line, TransactionId};
use crate::ports::{
    Answer, ClaimRequest, Claims, Destination, History, LADDER_SECONDS, Message, Outgoing, Place, Properties,
    PublishError, Publisher, Purpose, Queue,
};
use crate::verdict::{Acceptance, Outcome, Signal, Status};

/// A clock that a test moves; it also follows the paused clock of the runtime.
struct Hands {
    began: Instant,
    ahead: AtomicI64,
}

impl Hands {
    fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), ahead: 0.into() })
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.began.elapsed().as_millis()).unwrap();
        let ahead = self.ahead.load(Ordering::Relaxed);
        Timestamp::from_millisecond(1_763_758_326_000 + passed + ahead).unwrap()
    }
}

struct Machine {
    folder: TempDir,
    clock: Arc<Hands>,
}

impl Machine {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Hands::new() }
    }

    fn settings(&self) -> EmbeddedSettings {
        EmbeddedSettings { file: self.folder.path().join("jobs.db"), ..tests_settings() }
    }

    /// A process with the engine in the test's place.
    fn start(&self) -> Embedded {
        Embedded::open_here(self.settings(), Role::Worker, self.clock.clone())
            .unwrap_or_else(|error| panic!("{error}"))
    }
}

fn jobs() -> Place {
    Place::Jobs(AccountName::new("shop").unwrap())
}

fn to(destination: Destination, id: &str) -> Outgoing {
    let properties = Properties { message_id: Some(id.into()), ..Properties::default() };
    Outgoing { destination, body: Bytes::from(format!("body of {id}")), properties }
}

fn job(id: &str) -> Outgoing {
    to(Destination::Jobs("shop".into()), id)
}

async fn next(messages: &mut Receiver<Box<Message>>) -> (String, Message) {
    let message = tokio::time::timeout(Duration::from_secs(60), messages.recv()).await.unwrap().unwrap();
    (message.properties.message_id.clone().unwrap(), *message)
}

async fn number(file: &Embedded, sql: &'static str) -> i64 {
    file.look(move |engine, _| engine.db.query_row(sql, [], |row| row.get(0))).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_was_in_hand_when_the_process_died_comes_again_first_and_counted() {
    let machine = Machine::new();
    let file = machine.start();
    for id in ["a", "b", "c", "d"] {
        file.publish(job(id)).await.unwrap();
    }
    let mut messages = file.subscribe(jobs(), 3);
    let (id, a) = next(&mut messages).await;
    assert_eq!((id.as_str(), a.redeliveries), ("a", 0));
    let (_, b) = next(&mut messages).await;
    assert!(a.ticket.ack().await);
    // The place that the ack left is taken: c and d are in hand too, though nobody looked at them.
    drop(messages);
    drop(file);
    assert!(b.ticket.is_stale() && !b.ticket.ack().await);

    let file = machine.start();
    let mut messages = file.subscribe(jobs(), 9);
    for (expected, redeliveries) in [("b", 1), ("c", 1), ("d", 1)] {
        let (id, message) = next(&mut messages).await;
        assert_eq!((id.as_str(), message.redeliveries), (expected, redeliveries));
        assert_eq!(message.body, format!("body of {expected}"));
        assert!(message.ticket.ack().await);
    }
    assert_eq!(file.depths(&[jobs()]).await, [Some(0)]);
    assert_eq!(number(&file, "SELECT count(*) FROM message").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_comes_out_of_its_rung_in_time_although_the_clock_steps() {
    let machine = Machine::new();
    let file = machine.start();
    let mut due = file.subscribe(Place::Due, 9);
    let begun = Instant::now();
    for rung in [3, 1, 0] {
        file.publish(to(Destination::Delay(rung), &rung.to_string())).await.unwrap();
    }
    assert_eq!(file.delayed().await, Some(3));
    for rung in [0, 1, 3] {
        let (id, message) = next(&mut due).await;
        assert_eq!(id, rung.to_string());
        let late = begun.elapsed().saturating_sub(Duration::from_secs(LADDER_SECONDS[rung]));
        assert!(late < Duration::from_millis(50), "{rung} came {late:?} late");
        message.ticket.ack().await;
    }
    // Back by an hour: it waits no longer than its rung is long.
    file.publish(to(Destination::Delay(2), "back")).await.unwrap();
    drop((due, file));
    machine.clock.ahead.store(-3_600_000, Ordering::Relaxed);
    let file = machine.start();
    let mut due = file.subscribe(Place::Due, 9);
    let begun = Instant::now();
    assert_eq!(next(&mut due).await.0, "back");
    assert!(begun.elapsed() <= Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(file.publish(to(Destination::Delay(99), "x")).await, Err(PublishError::Unroutable));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_takes_back_nothing_and_is_over_when_there_is_space() {
    let machine = Machine::new();
    let file = machine.start();
    let up = Queue::up(&file);
    file.publish(job("before")).await.unwrap();
    let pages = |most: i64| {
        move |engine: &mut Engine, _: &Moment| {
            engine.db.pragma_update_and_check(None, "max_page_count", most, |row| row.get::<_, i64>(0))
        }
    };
    let full = file.look(pages(1)).await.unwrap();
    let large = |id: &str| Outgoing { body: vec![b'x'; 1_000_000].into(), ..job(id) };
    assert_eq!(file.publish(large("large")).await, Err(PublishError::Refused), "{full} pages");
    assert!(!*up.borrow(), "it says that it can't be used");
    file.look(pages(1_000_000)).await.unwrap();
    assert!(Claims::ping(&file).await && *up.borrow());
    file.publish(large("after")).await.unwrap();
    let mut messages = file.subscribe(jobs(), 9);
    assert_eq!(next(&mut messages).await.0, "before");
    assert_eq!(next(&mut messages).await.0, "after");
}

/// A request that may fail, and says what it was answered.
struct Odd {
    fails: bool,
    answers: Arc<Mutex<Vec<Result<(), Failure>>>>,
}

impl Request for Odd {
    fn writes(&self) -> bool {
        true
    }
    fn run(&mut self, engine: &mut Engine, moment: &Moment) -> rusqlite::Result<()> {
        engine.publish(&job("odd"), moment)?.unwrap();
        if self.fails { Err(rusqlite::Error::InvalidQuery) } else { Ok(()) }
    }
    fn answer(self: Box<Self>, done: Result<(), Failure>) {
        self.answers.lock().unwrap().push(done);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_spoils_no_other_of_its_batch() {
    let machine = Machine::new();
    let file = machine.start();
    let answers = Arc::new(Mutex::new(Vec::new()));
    let told = answers.clone();
    let batch = move |engine: &mut Engine, _: &Moment| {
        engine.db.execute_batch("COMMIT")?;
        let odd = |fails| Box::new(Odd { fails, answers: told.clone() }) as Box<dyn Request>;
        engine.run(vec![odd(false), odd(true), odd(false)]);
        engine.db.execute_batch("BEGIN")
    };
    file.store(batch).await.unwrap();
    let answers = answers.lock().unwrap().clone();
    assert!(answers[0].is_ok() && answers[1].is_err() && answers[2].is_ok(), "{answers:?}");
    assert_eq!(file.depths(&[jobs()]).await, [Some(2)]);
    assert_eq!(number(&file, "SELECT count(*) FROM message").await, 2);
    assert_eq!(number(&file, "SELECT sum(depth) FROM place").await, 2);
}

async fn deliver(file: &Embedded, id: &str) {
    let wish = ClaimRequest {
        account: AccountName::new("shop").unwrap(),
        line: Line::MAIN,
        id: DeliveryId::from(&TransactionId::new(id).unwrap()),
        instance: Instance::from_header("m/0"),
        purpose: Purpose::Send,
        remembered: History::default(),
        replay: None,
        token: id.to_owned(),
    };
    let Some(Answer::Acquired(claim)) = file.claim(&[wish]).await.unwrap().pop() else { panic!("not ours") };
    let outcome = Outcome {
        status: Status::Delivered,
        reason: None,
        detail: None,
        attempts: 1,
        acceptance: Acceptance::default(),
        settled_at_ms: 9,
    };
    file.end(&claim, &outcome, Signal::Healthy).await.unwrap();
    let receipt = Destination::Receipts { routing_key: "shop.createMessage.delivered".into() };
    file.publish(to(receipt, id)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_old_is_forgotten_in_small_steps() {
    let machine = Machine::new();
    let file = machine.start();
    for n in 0..700 {
        deliver(&file, &format!("d-{n}")).await;
    }
    let kept = "SELECT (SELECT count(*) FROM claim) + (SELECT count(*) FROM receipt)";
    assert_eq!(number(&file, kept).await, 1_400);
    sleep(Duration::from_secs(3_500)).await;
    assert_eq!(number(&file, kept).await, 1_400, "nothing before its time");
    deliver(&file, "last").await;
    // The ends of claims are rounded up to ten minutes.
    sleep(Duration::from_secs(800)).await;
    assert_eq!(number(&file, kept).await, 2);
    assert_eq!(number(&file, "SELECT count(*) FROM claim WHERE state = 'ended' AND id = 'last'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_publishes_is_given_out_soon() {
    let machine = Machine::new();
    let open = |role| Embedded::open(machine.settings(), role, Arc::new(SystemClock)).unwrap();
    let worker = open(Role::Worker);
    let mut messages = worker.subscribe(jobs(), 9);
    let producer = open(Role::Producer);
    for id in ["a", "b"] {
        producer.publish(job(id)).await.unwrap();
        let (found, message) = next(&mut messages).await;
        assert_eq!(found, id);
        message.ticket.ack().await;
    }
    let onlooker = open(Role::Onlooker);
    let shop = AccountName::new("shop").unwrap();
    onlooker.pause(&shop).await.unwrap();
    assert!(worker.pause_of(&shop, &Line::MAIN).await.unwrap().is_some());
    onlooker.resume(&shop, &Line::MAIN).await.unwrap();
    assert_eq!(worker.pause_of(&shop, &Line::MAIN).await.unwrap(), None);
    worker.close().await;
    assert!(worker.publish(job("late")).await.is_err());
    // Closed, it leaves the file to the next worker at once.
    let next_worker = open(Role::Worker);
    next_worker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_unsettled_goes_back_when_the_file_is_closed() {
    let machine = Machine::new();
    let open = || Embedded::open(machine.settings(), Role::Worker, Arc::new(SystemClock)).unwrap();
    let file = open();
    let mut messages = file.subscribe(jobs(), 9);
    for id in ["a", "b", "c"] {
        file.publish(job(id)).await.unwrap();
    }
    let (_, a) = next(&mut messages).await;
    let (_, b) = next(&mut messages).await;
    file.stop().await;
    assert!(a.ticket.ack().await);
    file.close().await;
    assert!(b.ticket.is_stale() && !b.ticket.ack().await);
    while let Some(message) = messages.recv().await {
        assert!(message.ticket.is_stale());
    }
    let file = open();
    let mut messages = file.subscribe(jobs(), 9);
    for expected in ["b", "c"] {
        let (id, message) = next(&mut messages).await;
        assert_eq!((id.as_str(), message.redeliveries), (expected, 1));
    }
    file.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_clocks_move_on_whatever_the_hosts_clock_does() {
    let host = Hands::new();
    let mut clocks = Clocks::new(host.clone(), 0);
    let begin = clocks.read();
    let since = |moment: Moment| (moment.wall - begin.wall, moment.steady - begin.steady);
    let step = async |ahead: i64| {
        host.ahead.fetch_add(ahead, Ordering::Relaxed);
        sleep(Duration::from_secs(10)).await;
    };
    step(0).await;
    assert_eq!(since(clocks.read()), (10_000, 10_000));
    // An hour ahead, as after a sleep of the host, and back again: time goes on all the same.
    step(3_600_000).await;
    assert_eq!(since(clocks.read()), (3_620_000, 20_000));
    step(-3_600_000).await;
    assert_eq!(since(clocks.read()), (3_630_000, 30_000));
    // A restart begins no earlier than what was noted.
    let noted = begin.wall + 9_000_000;
    let moment = Clocks::new(host, noted).read();
    assert_eq!((moment.wall, moment.steady), (noted, noted));
}
