//! How far a command has come: a bar on a terminal, a plain line now and then elsewhere.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::complain;

/// How often a plain line is written.
const PLAIN: Duration = Duration::from_secs(5);

/// Shown on standard error.
pub(super) enum Progress {
    /// On a terminal.
    Bar(ProgressBar),
    /// Elsewhere; holds when the last line was written.
    Plain(Instant),
}

impl Progress {
    /// For so much to do (a file's bytes, letters), where that is known.
    pub(super) fn new(length: Option<u64>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Plain(Instant::now());
        }
        let (bar, template) = match length {
            Some(length) => (ProgressBar::new(length), "{bar:30} {percent:>3}%  {msg}  {eta} left"),
            None => (ProgressBar::new_spinner(), "{spinner} {elapsed}  {msg}"),
        };
        Self::Bar(match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        })
    }

    /// Brings it up to date: how much is done, and what came of it.
    pub(super) fn show(&mut self, done: u64, text: impl FnOnce() -> String) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(done);
                bar.set_message(text());
            }
            Self::Plain(written) => {
                if written.elapsed() >= PLAIN {
                    *written = Instant::now();
                    complain(&text());
                }
            }
        }
    }

    /// Writes something that may go to the same terminal, with the bar out of the way.
    pub(super) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match self {
            Self::Bar(bar) => bar.suspend(write),
            Self::Plain(_) => write(),
        }
    }

    /// Names a line that failed.
    pub(super) fn complain(&self, line: u64, problem: &str) {
        self.aside(|| complain(&format!("line {line}: {problem}")));
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        match self {
            Self::Bar(bar) => bar.finish_and_clear(),
            Self::Plain(_) => {}
        }
    }
}
