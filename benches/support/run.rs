//! Running a program and learning what it cost.

use std::ffi::OsString;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a run came to.
pub struct Run {
    /// The exit status.
    pub status: i32,
    /// The last line of standard output.
    pub last_line: String,
    /// From start to end.
    pub wall: Duration,
    /// Processor time of all threads, to a hundredth of a second.
    pub cpu: Duration,
    /// Resident memory at its highest, in KiB, as seen up to a few milliseconds before the end.
    pub peak_kib: u64,
}

/// How often a running program's memory is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// So many of the kernel's ticks are a second, on every machine that Linux runs on today.
const TICKS: f64 = 100.0;

/// How much of the output is kept.
const TAIL: usize = 4096;

/// Runs a program to its end. Linux only: goes by `/proc`.
pub fn run<const N: usize>(program: &str, arguments: &[OsString], variables: [(&str, &str); N]) -> Run {
    let begun = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let proc = format!("/proc/{}", child.id());
    let stdout = child.stdout.take().expect("it was asked for");
    let (last_line, peak_kib, wall) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| last_line(stdout));
        let mut peak = 0;
        // A program that has ended stays as a zombie, without memory, until it is waited for.
        while let Some(now) = memory(&proc) {
            peak = peak.max(now);
            std::thread::sleep(LOOK);
        }
        (reading.join().expect("the output is read"), peak, begun.elapsed())
    });
    let cpu = processor_time(&proc);
    let status = child.wait().expect("it ends").code().expect("it ends by itself");
    Run { status, last_line, wall, cpu, peak_kib }
}

/// The last line of everything that comes.
fn last_line(mut from: impl Read) -> String {
    let mut tail = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        match from.read(&mut piece).expect("the output can be read") {
            0 => break,
            length => tail.extend_from_slice(&piece[..length]),
        }
        let surplus = tail.len().saturating_sub(TAIL);
        tail.drain(..surplus);
    }
    String::from_utf8_lossy(&tail).lines().last().unwrap_or_default().to_owned()
}

/// The highest resident memory so far, in KiB; `None` once the program has ended.
pub fn memory(proc: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("{proc}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// The fields behind the name, which may hold anything: the 12th and 13th are user and system time.
pub fn processor_time(proc: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("{proc}/stat")).expect("a zombie has a stat");
    let (_, fields) = stat.rsplit_once(')').expect("the name is in brackets");
    let ticks =
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().expect("a number"));
    Duration::from_secs_f64(ticks.sum::<f64>() / TICKS)
}
