//! Lines through several threads and out again in their own order, in constant memory.
//!
//! Invariants: a line is with exactly one thread; a batch's place in the output is taken before the
//! batch is given away, so output needs no sorting; every queue is bounded, and a thread whose
//! results are not yet due waits with them. The batch whose results are due is always being worked
//! on or is the next to be taken, so nobody waits for ever.

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::anyhow;
use tokio::io::AsyncBufRead;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::cli::Failure;
use crate::cli::lines::{Line, Lines};

/// The most lines that one thread takes at once. More would make the memory for what is said of
/// them larger, fewer the passing to and fro dearer.
const BATCH_LINES: usize = 256;

/// A batch with so many bytes takes no further line.
const BATCH_BYTES: usize = 256 * 1024;

/// What a thread says of a batch is passed on whenever it comes to so many bytes.
const PART_BYTES: usize = 64 * 1024;

/// Checks lines, on several threads at once: appends what there is to say of one, as text, and
/// returns its counts.
pub(super) trait Check: Send + Sync + 'static {
    /// What is counted.
    type Counts: Default + Send + 'static;
    /// Checks one line.
    fn check(&self, line: &Line, said: &mut String) -> anyhow::Result<Self::Counts>;
    /// Adds counts to others.
    fn add(counts: &mut Self::Counts, more: Self::Counts);
}

/// A piece of what was said of a batch.
pub(super) struct Part<C> {
    /// Whole lines of text.
    pub(super) said: String,
    /// What was counted, of the lines of this part.
    pub(super) counts: C,
}

/// How far the input is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// The number of the last line.
    pub(super) line: u64,
    /// The bytes up to its end or a little further.
    pub(super) bytes: u64,
}

/// Takes what is said, in the order of the lines. Runs on one thread.
pub(super) trait Output<C>: Send + 'static {
    /// Takes a part.
    fn take(&mut self, part: Part<C>) -> Result<(), Failure>;
    /// Everything up to here was taken.
    fn reached(&mut self, position: Position);
}

/// How it ended.
pub(super) struct Flowed<O> {
    /// The output, which has taken everything that was checked.
    pub(super) output: O,
    /// Whether all of the input was read; an error says why it can't be.
    pub(super) input: std::io::Result<ControlFlow<()>>,
}

type Said<C> = anyhow::Result<Part<C>>;

/// A batch's place in the output.
struct Place<C> {
    said: Receiver<Said<C>>,
    position: Position,
}

/// A batch on its way to a thread.
struct Work<C> {
    lines: Vec<Line>,
    say: SyncSender<Said<C>>,
}

/// Runs all lines through `threads` threads. When `stop` ends, no further line is read, and what
/// was read is still checked. An error of the output ends everything at once.
pub(super) async fn flow<R, K, O>(
    mut lines: Lines<R>,
    threads: usize,
    check: Arc<K>,
    output: O,
    stop: impl Future<Output = ()>,
) -> Result<Flowed<O>, Failure>
where
    R: AsyncBufRead + Unpin,
    K: Check,
    O: Output<K::Counts>,
{
    let (work_in, work_out) = mpsc::channel(threads);
    let (places_in, places_out) = mpsc::channel(2 * threads);
    let work_out = Arc::new(Mutex::new(work_out));
    let one = || {
        let (work_out, check) = (work_out.clone(), check.clone());
        spawn_blocking(move || work(&work_out, check.as_ref()))
    };
    let workers: Vec<_> = std::iter::repeat_with(one).take(threads).collect();
    drop(work_out);
    let mut writer = spawn_blocking(move || write(places_out, output));
    let input = tokio::select! {
        input = feed(&mut lines, places_in, work_in) => Some(input.map(|()| ControlFlow::Continue(()))),
        () = stop => Some(Ok(ControlFlow::Break(()))),
        written = &mut writer => {
            // It ends before the input does only where the output can't be written.
            written.map_err(anyhow::Error::new)??;
            None
        }
    };
    let Some(input) = input else { return Err(anyhow!("the output ended by itself").into()) };
    let output = writer.await.map_err(anyhow::Error::new)??;
    for worker in workers {
        // One that panicked has left lines unchecked.
        worker.await.map_err(anyhow::Error::new)?;
    }
    Ok(Flowed { output, input })
}

/// Reads until the input ends, or nobody takes what is read.
async fn feed<R: AsyncBufRead + Unpin, C>(
    lines: &mut Lines<R>,
    places: mpsc::Sender<Place<C>>,
    work: mpsc::Sender<Work<C>>,
) -> std::io::Result<()> {
    loop {
        let batch = lines.batch(BATCH_LINES, BATCH_BYTES).await?;
        let Some(last) = batch.last() else { return Ok(()) };
        let position = Position { line: last.number, bytes: lines.bytes_read() };
        // Both are at hand before either is used: stopping in between would leave a place that
        // nobody fills.
        let (Ok(place), Ok(thread)) = (places.reserve().await, work.reserve().await) else { return Ok(()) };
        let (say, said) = sync_channel(1);
        place.send(Place { said, position });
        thread.send(Work { lines: batch, say });
    }
}

/// One thread: batch after batch, until there are no more.
fn work<K: Check>(queue: &Mutex<mpsc::Receiver<Work<K::Counts>>>, check: &K) {
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
    while let Some(batch) = next() {
        // Nobody listens when the output failed; then the queue ends too.
        let _ = work_on(&batch, check);
    }
}

/// `Break` when nobody listens any more.
fn work_on<K: Check>(batch: &Work<K::Counts>, check: &K) -> ControlFlow<()> {
    let say = |part| match batch.say.send(part) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    };
    let mut part = Part { said: String::new(), counts: K::Counts::default() };
    for line in &batch.lines {
        match check.check(line, &mut part.said) {
            Ok(counts) => K::add(&mut part.counts, counts),
            Err(error) => return say(Err(error)),
        }
        if part.said.len() >= PART_BYTES {
            let full =
                std::mem::replace(&mut part, Part { said: String::new(), counts: K::Counts::default() });
            say(Ok(full))?;
        }
    }
    say(Ok(part))
}

/// The writing thread: place after place.
fn write<C, O: Output<C>>(mut places: mpsc::Receiver<Place<C>>, mut output: O) -> Result<O, Failure> {
    while let Some(place) = places.blocking_recv() {
        while let Ok(part) = place.said.recv() {
            output.take(part?)?;
        }
        output.reached(place.position);
    }
    Ok(output)
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
