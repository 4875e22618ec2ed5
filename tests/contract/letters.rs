//! The dead letters: what holds on every adapter.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use paceline::adapters::embedded::{Embedded, EmbeddedSettings, Role};
use paceline::adapters::rabbitmq::{RabbitLetters, RabbitMq};
use paceline::adapters::system::SystemClock;
use paceline::ports::{
    DeadLetters, Destination, Intent, Letter, LettersError, Outgoing, Place, Properties, Publisher, Queue,
    Reading,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::queue;
use super::stores::Terms;
use crate::support::rabbitmq::{Broker, config, unique_prefix};

/// How long a reading that ended badly may keep the letters.
const LONG: Duration = Duration::from_secs(60);

/// Dead letters under test.
trait Bench: Sized + Send + Sync + 'static {
    /// Starts with none.
    fn start() -> impl Future<Output = Self> + Send;
    /// One more process that works on them.
    fn desk(&self) -> Arc<dyn DeadLetters>;
    /// A worker, which writes them.
    fn worker(&self) -> Arc<dyn Publisher>;
}

struct Rabbit {
    prefix: String,
    worker: Arc<RabbitMq>,
}

impl Bench for Rabbit {
    async fn start() -> Self {
        let prefix = unique_prefix();
        let worker = queue::start(Broker::shared(), &prefix).await;
        worker.up().wait_for(|up| *up).await.expect("the broker can be used");
        Self { prefix, worker }
    }

    fn desk(&self) -> Arc<dyn DeadLetters> {
        Arc::new(RabbitLetters::new(config(&Broker::shared().url(), &self.prefix)))
    }

    fn worker(&self) -> Arc<dyn Publisher> {
        self.worker.clone()
    }
}

struct File {
    folder: TempDir,
    worker: Arc<Embedded>,
}

impl Bench for File {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path().join("jobs.db"));
        let worker = Arc::new(Embedded::open(settings, Role::Worker, Arc::new(SystemClock)).unwrap());
        Self { folder, worker }
    }

    fn desk(&self) -> Arc<dyn DeadLetters> {
        let settings = settings(self.folder.path().join("jobs.db"));
        Arc::new(Embedded::open(settings, Role::Onlooker, Arc::new(SystemClock)).unwrap())
    }

    fn worker(&self) -> Arc<dyn Publisher> {
        self.worker.clone()
    }
}

fn settings(file: PathBuf) -> EmbeddedSettings {
    let Terms { dedupe_ttl, lease, request_timeout, max_age, limiter, circuit, pools } = Terms::default();
    EmbeddedSettings {
        file,
        places: queue::places(),
        pools,
        publish_timeout: LONG,
        timeout: LONG,
        dedupe_ttl,
        lease,
        request_timeout,
        max_age,
        limiter,
        circuit,
    }
}

macro_rules! on_every_desk {
    ($($name:ident),* $(,)?) => {
        mod on_rabbitmq {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() { super::$name::<super::Rabbit>().await }
            )*
        }
        mod on_a_file {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() { super::$name::<super::File>().await }
            )*
        }
    };
}

on_every_desk![
    every_letter_comes_once_and_is_still_there,
    what_is_taken_out_is_gone_and_the_rest_is_left,
    a_reading_that_is_abandoned_keeps_nothing,
    only_one_takes_letters_at_a_time,
    letters_that_come_meanwhile_are_not_among_the_others,
    large_letters_come_whole,
];

async fn bury(worker: &Arc<dyn Publisher>, ids: impl IntoIterator<Item = usize>, bytes: usize) {
    let letters = ids.into_iter().map(|n| {
        let mut properties = Properties { message_id: Some(n.to_string()), ..Properties::default() };
        properties.set_header("paceline-dead-id", format!("{n:032x}"));
        let body = Bytes::from(format!("{n}{}", " ".repeat(bytes)));
        worker.publish(Outgoing { destination: Destination::Place(Place::Dead), body, properties })
    });
    for done in join_all(letters).await {
        done.expect("the letter is safe");
    }
}

fn number(letter: &Letter) -> usize {
    let number: usize = letter.properties.message_id.as_ref().unwrap().parse().unwrap();
    assert_eq!(letter.properties.header("paceline-dead-id"), Some(format!("{number:032x}").as_str()));
    assert!(letter.body.starts_with(number.to_string().as_bytes()));
    number
}

async fn read_some(reading: &mut Box<dyn Reading>, most: usize) -> Vec<Letter> {
    let mut letters = Vec::new();
    while letters.len() < most
        && let Some(letter) = reading.next().await.expect("the letters can be read")
    {
        letters.push(letter);
    }
    letters
}

/// What another process finds, sorted.
async fn found(desk: &Arc<dyn DeadLetters>) -> Vec<usize> {
    let mut reading = desk.open(Intent::Look).await.expect("nobody else reads");
    let mut numbers: Vec<usize> = read_some(&mut reading, usize::MAX).await.iter().map(number).collect();
    assert_eq!(reading.total(), numbers.len() as u64);
    reading.close().await;
    numbers.sort_unstable();
    numbers
}

async fn every_letter_comes_once_and_is_still_there<B: Bench>() {
    let bench = B::start().await;
    let desk = bench.desk();
    assert_eq!(found(&desk).await, Vec::<usize>::new());
    // More than a first consumer holds, and more than a page.
    let all: Vec<usize> = (0..1_300).collect();
    bury(&bench.worker(), all.clone(), 10).await;
    for round in 0..3 {
        assert_eq!(found(&desk).await, all, "round {round}");
    }
}

async fn what_is_taken_out_is_gone_and_the_rest_is_left<B: Bench>() {
    let bench = B::start().await;
    bury(&bench.worker(), 0..400, 10).await;
    let desk = bench.desk();
    let mut reading = desk.open(Intent::Take).await.unwrap();
    for letter in read_some(&mut reading, usize::MAX).await {
        if number(&letter).is_multiple_of(3) {
            reading.remove(&[letter.tag]).await.unwrap();
        }
    }
    reading.close().await;
    let left: Vec<usize> = (0..400).filter(|n| n % 3 != 0).collect();
    assert_eq!(found(&bench.desk()).await, left);
    // Many at once, while there is still more to read.
    let mut reading = desk.open(Intent::Take).await.unwrap();
    let some = read_some(&mut reading, 150).await;
    let tags: Vec<_> = some.iter().map(|letter| letter.tag).collect();
    reading.remove(&tags).await.unwrap();
    assert_eq!(read_some(&mut reading, usize::MAX).await.len(), left.len() - 150);
    reading.close().await;
    assert_eq!(found(&bench.desk()).await.len(), left.len() - 150);
}

async fn a_reading_that_is_abandoned_keeps_nothing<B: Bench>() {
    let bench = B::start().await;
    bury(&bench.worker(), 0..200, 10).await;
    let desk = bench.desk();
    let mut reading = desk.open(Intent::Take).await.unwrap();
    assert_eq!(read_some(&mut reading, 150).await.len(), 150);
    drop(reading);
    let deadline = Instant::now() + LONG;
    let mut reading = loop {
        match desk.open(Intent::Take).await {
            Ok(reading) => break reading,
            Err(LettersError::Busy) => assert!(Instant::now() < deadline, "it still has them"),
            Err(error) => panic!("{error}"),
        }
        sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(read_some(&mut reading, usize::MAX).await.len(), 200);
    reading.close().await;
}

async fn only_one_takes_letters_at_a_time<B: Bench>() {
    let bench = B::start().await;
    bury(&bench.worker(), 0..5, 10).await;
    let (first, second) = (bench.desk(), bench.desk());
    let reading = first.open(Intent::Take).await.unwrap();
    assert_eq!(second.open(Intent::Take).await.err(), Some(LettersError::Busy));
    reading.close().await;
    let mut reading = second.open(Intent::Take).await.unwrap();
    assert_eq!(read_some(&mut reading, usize::MAX).await.len(), 5);
    reading.close().await;
}

async fn letters_that_come_meanwhile_are_not_among_the_others<B: Bench>() {
    let bench = B::start().await;
    bury(&bench.worker(), 0..100, 10).await;
    let desk = bench.desk();
    let mut reading = desk.open(Intent::Take).await.unwrap();
    let mut seen: Vec<usize> = read_some(&mut reading, 30).await.iter().map(number).collect();
    bury(&bench.worker(), 100..150, 10).await;
    seen.extend(read_some(&mut reading, usize::MAX).await.iter().map(number));
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    reading.close().await;
    assert_eq!(found(&desk).await, (0..150).collect::<Vec<_>>());
}

async fn large_letters_come_whole<B: Bench>() {
    const MEBIBYTE: usize = 1024 * 1024;
    let bench = B::start().await;
    for n in 0..40 {
        bury(&bench.worker(), [n], MEBIBYTE).await;
    }
    let mut reading = bench.desk().open(Intent::Look).await.unwrap();
    for n in 0..40 {
        let letter = reading.next().await.unwrap().expect("one more");
        assert_eq!((number(&letter), letter.body.len() > MEBIBYTE), (n, true));
    }
    assert_eq!(reading.next().await.unwrap(), None);
    reading.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_not_there_is_said_and_not_made() {
    let desk = RabbitLetters::new(config(&Broker::shared().url(), &unique_prefix()));
    for _ in 0..2 {
        assert_eq!(desk.open(Intent::Look).await.err(), Some(LettersError::Missing));
    }
}

/// The broker drops what it gave out 10,000 times, and each reading counts.
#[tokio::test(flavor = "multi_thread")]
async fn letters_that_were_read_often_begin_anew() {
    const RENEWED_AT: u32 = 3;
    let bench = Rabbit::start().await;
    bury(&bench.worker(), 0..100, 10).await;
    let all: Vec<usize> = (0..100).collect();
    let renewing = RabbitLetters::renewing_at(config(&Broker::shared().url(), &bench.prefix), RENEWED_AT);
    for round in 0..10 {
        let mut reading = renewing.open(Intent::Look).await.unwrap();
        let mut seen: Vec<usize> = read_some(&mut reading, usize::MAX).await.iter().map(number).collect();
        reading.close().await;
        seen.sort_unstable();
        assert_eq!(seen, all, "round {round}");
    }
    let worker = queue::start(Broker::shared(), &bench.prefix).await;
    let mut messages = worker.subscribe(Place::Dead, 200);
    for _ in 0..100 {
        let message = tokio::time::timeout(LONG, messages.recv()).await.unwrap().unwrap();
        assert!(message.redeliveries <= RENEWED_AT, "given out {} times", message.redeliveries);
    }
    worker.close().await;
}
