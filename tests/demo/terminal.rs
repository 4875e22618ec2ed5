//! A terminal with `paceline demo` in it.

use std::io::Read;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};

/// Everything takes longer on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A terminal of columns by rows, and what runs in it.
pub struct Terminal {
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    shown: Arc<Mutex<Shown>>,
    reader: JoinHandle<()>,
}

/// What the terminal shows, and all that was written to it.
struct Shown {
    parser: vt100::Parser,
    written: Vec<u8>,
}

/// A count of columns or rows as the emulator takes it.
fn some(count: u16) -> NonZero<u16> {
    NonZero::new(count).expect("a terminal has columns and rows")
}

const fn size((columns, rows): (u16, u16)) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

impl Terminal {
    /// Starts `paceline` with these arguments and nothing but these variables.
    pub fn start(of: (u16, u16), arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let pair = native_pty_system().openpty(size(of)).expect("a pseudo terminal");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_paceline"));
        command.args(arguments);
        command.cwd(env!("CARGO_MANIFEST_DIR"));
        command.env_clear();
        // Not even a CA: all that it speaks to is within the process.
        command.env("SSL_CERT_FILE", "/dev/null");
        command.env("SSL_CERT_DIR", "/nonexistent");
        for (name, value) in variables {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).expect("the demo starts");
        // Only the demo holds the other side from here on: its end is the end of what is read.
        drop(pair.slave);
        let source = pair.master.try_clone_reader().expect("a reader");
        let parser = vt100::Parser::new(some(of.1), some(of.0), 200);
        let shown = Arc::new(Mutex::new(Shown { parser, written: Vec::new() }));
        let reader = std::thread::spawn({
            let shown = shown.clone();
            move || read(source, &shown)
        });
        Self { master: pair.master, child, shown, reader }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that was written, in a terminal that is high enough for all of it.
    pub fn replayed(&self, columns: u16) -> vt100::Screen {
        let mut parser = vt100::Parser::new(some(60), some(columns), 0);
        parser.process(&self.written());
        parser.screen().clone()
    }

    /// The text on the screen.
    pub fn text(&self) -> String {
        self.shown().parser.screen().contents()
    }

    /// The screen with its colours.
    pub fn screen(&self) -> vt100::Screen {
        self.shown().parser.screen().clone()
    }

    /// Everything that was written to it so far.
    pub fn written(&self) -> Vec<u8> {
        self.shown().written.clone()
    }

    /// Waits until the screen is as it should be, and gives it.
    pub fn wait_for(&self, what: &str, is_shown: impl Fn(&str) -> bool) -> vt100::Screen {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            let text = screen.contents();
            if is_shown(&text) {
                return screen;
            }
            assert!(Instant::now() < deadline, "never seen: {what}\n{text}");
            std::thread::sleep(Duration::from_millis(15));
        }
    }

    /// Makes the terminal another size.
    pub fn resize(&self, to: (u16, u16)) {
        self.shown().parser.screen_mut().set_size(some(to.1), some(to.0));
        self.master.resize(size(to)).expect("it is resized");
    }

    /// Presses Ctrl-C.
    pub fn interrupt(&self) {
        let mut keyboard = self.master.take_writer().expect("a keyboard");
        std::io::Write::write_all(&mut keyboard, b"\x03").expect("a key");
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                // The rest of what it wrote; the reader ends with the terminal's other side.
                while !self.reader.is_finished() && Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(5));
                }
                return status;
            }
            assert!(Instant::now() < deadline, "the demo does not end:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Ended already, in a test that passes.
        let _ = self.child.kill();
    }
}

fn read(mut source: Box<dyn Read + Send>, shown: &Mutex<Shown>) {
    let mut buffer = [0; 16 * 1024];
    // The end of a pseudo terminal is an error on Linux.
    while let Ok(length @ 1..) = source.read(&mut buffer) {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.parser.process(&buffer[..length]);
        shown.written.extend_from_slice(&buffer[..length]);
    }
}
