use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWriteExt as _, BufReader, ReadBuf};
use tokio::sync::Notify;

use super::*;

/// Says each line's number; some take their time.
struct Numbers;

impl Check for Numbers {
    type Counts = u64;
    fn check(&self, line: &Line, said: &mut String) -> anyhow::Result<u64> {
        if line.number.is_multiple_of(701) {
            std::thread::sleep(Duration::from_millis(3));
        }
        assert_ne!(line.body.as_deref(), Some(&b"panic"[..]));
        if line.body.as_deref() == Some(b"fail") {
            return Err(anyhow!("this line fails"));
        }
        let padding = if line.body.as_deref() == Some(b"long") { 1000 } else { 0 };
        said.push_str(&format!("{}{:padding$}\n", line.number, ""));
        Ok(1)
    }
    fn add(counts: &mut u64, more: u64) {
        *counts += more;
    }
}

/// Keeps what was told.
#[derive(Default)]
struct Kept {
    said: Vec<u64>,
    counted: u64,
    longest_part: usize,
    parts: usize,
    position: Position,
    told: Arc<Notify>,
}

impl Output<u64> for Kept {
    fn take(&mut self, part: Part<u64>) -> Result<(), Failure> {
        self.said.extend(part.said.lines().map(|line| line.trim().parse::<u64>().unwrap()));
        self.counted += part.counts;
        self.longest_part = self.longest_part.max(part.said.len());
        self.parts += 1;
        Ok(())
    }
    fn reached(&mut self, position: Position) {
        self.position = position;
        self.told.notify_one();
    }
}

/// Never ends; counts what was read of it.
#[derive(Clone, Default)]
struct Endless(Arc<AtomicU64>);

impl AsyncRead for Endless {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let text = b"x\n".repeat(buffer.remaining() / 2);
        buffer.put_slice(&text);
        self.0.fetch_add(text.len() as u64, Relaxed);
        Poll::Ready(Ok(()))
    }
}

async fn flow_all(text: &str, threads: usize) -> Flowed<Kept> {
    let lines = Lines::new(BufReader::new(text.as_bytes()));
    let never = std::future::pending();
    flow(lines, threads, Arc::new(Numbers), Kept::default(), never).await.unwrap()
}

#[tokio::test]
async fn every_line_is_told_once_in_its_place() {
    for threads in [1, 2, 5] {
        for count in [0, 1, 255, 256, 257, 5000] {
            let flowed = flow_all(&"x\n".repeat(count), threads).await;
            let expected: Vec<u64> = (1..=count as u64).collect();
            assert_eq!(flowed.output.said, expected, "{threads} threads");
            assert_eq!(flowed.output.counted, count as u64);
            let end = Position { line: count as u64, bytes: 2 * count as u64 };
            assert_eq!(flowed.output.position, end);
            assert!(matches!(flowed.input, Ok(ControlFlow::Continue(()))));
        }
    }
}

#[tokio::test]
async fn much_that_is_said_comes_in_parts() {
    let flowed = flow_all(&"long\n".repeat(1000), 3).await;
    assert_eq!(flowed.output.said, (1..=1000).collect::<Vec<u64>>());
    assert!(flowed.output.parts >= 1000 * 1000 / (PART_BYTES + 1100), "{}", flowed.output.parts);
    assert!(flowed.output.longest_part < PART_BYTES + 1100, "{}", flowed.output.longest_part);
}

/// Waits, at its first part, until the input is read no further; then says that it is closed.
struct Slow {
    read: Arc<AtomicU64>,
}

impl Output<u64> for Slow {
    fn take(&mut self, _: Part<u64>) -> Result<(), Failure> {
        let mut before = u64::MAX;
        while before != self.read.load(Relaxed) {
            before = self.read.load(Relaxed);
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(Failure::OutputClosed)
    }
    fn reached(&mut self, _: Position) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_slow_or_gone_stops_the_reading() {
    let input = Endless::default();
    let output = Slow { read: input.0.clone() };
    let lines = Lines::new(BufReader::with_capacity(64, input.clone()));
    let flowing = flow(lines, 2, Arc::new(Numbers), output, std::future::pending());
    let flowed = tokio::time::timeout(Duration::from_secs(60), flowing).await.expect("it ends");
    assert!(matches!(flowed, Err(Failure::OutputClosed)));
    // Of 2 bytes a line: a batch for each place, one with each of the 2 threads, a few in hand.
    let most = 2 * (2 * 2 + 2 + 4) * BATCH_LINES as u64;
    assert!(input.0.load(Relaxed) <= most, "{} bytes were read", input.0.load(Relaxed));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_stop_what_was_read_is_told_and_no_more() {
    let input = Endless::default();
    let output = Kept::default();
    let told = output.told.clone();
    let stop = async move {
        for _ in 0..20 {
            told.notified().await;
        }
    };
    let lines = Lines::new(BufReader::new(input));
    let flowed = flow(lines, 2, Arc::new(Numbers), output, stop).await.unwrap();
    assert!(matches!(flowed.input, Ok(ControlFlow::Break(()))));
    let last = flowed.output.position.line;
    assert!(last >= 20, "{last}");
    assert_eq!(flowed.output.said, (1..=last).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_line_that_has_come_is_told_while_the_next_is_awaited() {
    let (mut sender, receiver) = tokio::io::duplex(64);
    let output = Kept::default();
    let told = output.told.clone();
    let lines = Lines::new(BufReader::new(receiver));
    let flowing = flow(lines, 2, Arc::new(Numbers), output, std::future::pending());
    let sending = async move {
        sender.write_all(b"x\nha").await.unwrap();
        told.notified().await;
        sender.write_all(b"lf").await.unwrap();
    };
    let both = async { tokio::join!(flowing, sending).0 };
    let flowed = tokio::time::timeout(Duration::from_secs(60), both).await.expect("it ends").unwrap();
    assert_eq!(flowed.output.said, [1, 2]);
}

#[tokio::test]
async fn nothing_is_passed_over_in_silence() {
    for (bad, word) in [("panic", "panicked"), ("fail", "this line fails")] {
        let lines = format!("x\n{bad}\nx\n");
        let lines = Lines::new(BufReader::new(lines.as_bytes()));
        let flowed = flow(lines, 2, Arc::new(Numbers), Kept::default(), std::future::pending()).await;
        let Err(Failure::Other(error)) = flowed else { panic!("{bad}: it went on") };
        assert!(format!("{error:#}").contains(word), "{error:#}");
    }
}

/// Ends with an error.
struct Broken(&'static [u8]);

impl AsyncRead for Broken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Ready(Err(io::Error::other("the disk is gone")));
        }
        buffer.put_slice(std::mem::take(&mut self.0));
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn what_came_before_a_read_error_is_told() {
    let lines = Lines::new(BufReader::new(Broken(b"x\nx\nhalf")));
    let flowed = flow(lines, 2, Arc::new(Numbers), Kept::default(), std::future::pending()).await.unwrap();
    assert_eq!(flowed.output.said, [1, 2]);
    assert_eq!(flowed.input.unwrap_err().to_string(), "the disk is gone");
}
