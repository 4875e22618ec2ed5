//! The terminal: a screen of its own for the time of the demo, given back in any case.

use std::io::{self, Write as _};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use super::style::Line;

/// A screen of its own, without a cursor, and without wrapping what is too long.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
/// The terminal as it was.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Between these two a terminal that knows them shows nothing half-drawn.
const BEGIN: &str = "\x1b[?2026h\x1b[H";
const END: &str = "\x1b[H\x1b[?2026l";

/// Columns and lines of a terminal that does not say.
const USUAL: (usize, usize) = (80, 24);

/// Whether the terminal is ours now: what entered it and what leaves it may be in different threads.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// The screen while it is ours; dropping it gives it back.
pub(super) struct Screen {
    colours: bool,
    size: (usize, usize),
}

impl Screen {
    /// Takes the terminal of standard output.
    pub(super) fn enter(colours: bool) -> io::Result<Self> {
        leave_on_panic();
        ENTERED.store(true, Ordering::SeqCst);
        // From here on dropping it gives the terminal back, whether all of this was written or not.
        let screen = Self { colours, size: (0, 0) };
        write(ENTER)?;
        Ok(screen)
    }

    /// Columns and lines, as they are now.
    pub(super) fn size() -> (usize, usize) {
        let size = console::Term::stdout().size_checked();
        size.map(|(rows, columns)| (usize::from(columns), usize::from(rows)))
            .filter(|(columns, rows)| *columns > 0 && *rows > 0)
            .unwrap_or(USUAL)
    }

    /// Draws over what was drawn before, in one go.
    pub(super) fn draw(&mut self, lines: &[Line], size: (usize, usize)) -> io::Result<()> {
        // Somebody panicked, and the terminal was given back.
        if !ENTERED.load(Ordering::SeqCst) {
            return Ok(());
        }
        let clear = if self.size == size { "" } else { "\x1b[2J" };
        self.size = size;
        write(&format!("{BEGIN}{clear}{}{END}", body(lines, self.colours)))
    }
}

/// Each line with what clears the rest of it; behind the last one nothing, lest the screen scrolls.
fn body(lines: &[Line], colours: bool) -> String {
    let lines: Vec<String> = lines.iter().map(|line| line.written(colours) + "\x1b[K").collect();
    lines.join("\r\n") + "\x1b[J"
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn leave() {
    if ENTERED.swap(false, Ordering::SeqCst) {
        // A terminal that is gone needs nothing back.
        let _ = write(LEAVE);
    }
}

/// The words of a panic would be lost with the screen on which they are written.
fn leave_on_panic() {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            usual(panic);
        }));
    });
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::super::style::Tone;
    use super::*;

    #[test]
    fn every_line_clears_its_rest_and_the_last_one_what_is_below() {
        let lines = [Line::of(Tone::Plain, "one"), Line::of(Tone::Bad, "two")];
        assert_eq!(body(&lines, false), "one\x1b[K\r\ntwo\x1b[K\x1b[J");
        assert_eq!(body(&lines, true), "one\x1b[K\r\n\x1b[1;31mtwo\x1b[0m\x1b[K\x1b[J");
    }
}
