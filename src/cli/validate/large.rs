//! One thread for the large lines of all the others.
//!
//! A line that is checked takes up a multiple of its bytes: a job of 1 MiB of brackets takes 200 MB.
//! The allocator keeps what a thread once used for that thread (measured with glibc: 8 threads that
//! had such a job one after another held 1.5 GB), so bounding how many are checked at once would
//! not bound the memory. On one thread they all use the same.

use std::sync::mpsc::{SyncSender, sync_channel};

use anyhow::Context as _;

use crate::cli::lines::Line;

/// Lines of at least so many bytes are large.
pub(super) const LARGE: usize = 64 * 1024;

/// A thread that checks lines for others.
pub(super) struct Large<T> {
    lines: SyncSender<(Line, SyncSender<T>)>,
}

impl<T: Send + 'static> Large<T> {
    /// Starts it; it ends when this is dropped.
    pub(super) fn new(check: impl Fn(&Line) -> T + Send + 'static) -> Self {
        let (lines, given) = sync_channel::<(Line, SyncSender<T>)>(0);
        std::thread::spawn(move || {
            for (line, reply) in given {
                // Whoever asked may have gone: the output was closed.
                let _ = reply.send(check(&line));
            }
        });
        Self { lines }
    }

    /// Waits for its turn, then for what came of the check. An error when that panicked, now or
    /// earlier.
    pub(super) fn check(&self, line: &Line) -> anyhow::Result<T> {
        let (reply, answer) = sync_channel(1);
        let gone = || format!("line {} could not be checked: its thread has panicked", line.number);
        self.lines.send((line.clone(), reply)).ok().with_context(gone)?;
        answer.recv().with_context(gone)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    fn line(number: u64) -> Line {
        Line { number, body: None }
    }

    #[test]
    fn one_after_another_and_each_to_whom_it_belongs() {
        let running = AtomicUsize::new(0);
        let large = Large::new(move |line| {
            assert_eq!(running.fetch_add(1, SeqCst), 0, "two at once");
            std::thread::yield_now();
            running.fetch_sub(1, SeqCst);
            (line.number, std::thread::current().id())
        });
        let threads: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
            let one = |thread: u64| {
                let large = &large;
                scope.spawn(move || {
                    let numbers = (0..100).map(|turn| thread * 1000 + turn);
                    let answers = numbers.map(|number| (number, large.check(&line(number)).unwrap()));
                    let mine = answers.map(|(asked, (number, thread))| {
                        assert_eq!(asked, number);
                        format!("{thread:?}")
                    });
                    mine.collect::<Vec<_>>()
                })
            };
            let all: Vec<_> = (0..4).map(one).collect();
            all.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(threads.len(), 1);
    }

    #[test]
    fn a_panic_is_told_to_those_who_asked_and_who_ask_later() {
        let large = Large::new(|line| assert_ne!(line.number, 2));
        assert!(large.check(&line(1)).is_ok());
        for number in [2, 3] {
            let error = large.check(&line(number)).unwrap_err();
            assert!(error.to_string().contains("panicked"), "{error}");
        }
    }
}
