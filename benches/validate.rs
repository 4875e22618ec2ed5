//! How fast and in how much memory `paceline validate` checks jobs: `cargo bench --bench validate`.
//!
//! The release binary runs on generated files; what it takes is what the system counted for the
//! process (processor time and peak resident memory), and the time on the wall. Ratios are
//! taken from runs of the same measurement, so they hold on any machine; jobs a second hold for
//! this one, and other work on it shows.
//!
//! Exit status 1 when a figure falls short. `PACELINE_MEASURE_JOBS` (default 1,000,000) sets the
//! number of jobs.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use figures::{Figure, all_hold, seconds, table};
use run::{Run, run};

#[path = "support/figures.rs"]
#[allow(dead_code, reason = "each measure uses some of them")]
mod figures;

#[path = "support/load.rs"]
mod load;

#[path = "support/run.rs"]
mod run;

/// The least jobs a second, on two processors.
const JOBS_PER_SECOND: f64 = 100_000.0;
/// The most resident memory, in KiB.
const MOST_MEMORY: u64 = 50 * 1024;
/// Twice the jobs may take so many times as long.
const MOST_FOR_TWICE: f64 = 2.3;
/// Two threads must be so many times as fast as one.
const LEAST_FOR_TWO: f64 = 1.5;
/// A byte of a hostile file may cost so many times as much processor time as one of ordinary jobs:
/// two brackets become a value of 72 bytes and the room for three more. Effort that grows with the
/// square of a job's length would come to thousands.
const MOST_FOR_HOSTILE: f64 = 8.0;
/// The most resident memory for hostile files, in KiB, whatever their size and number of threads.
const MOST_MEMORY_FOR_HOSTILE: u64 = 300 * 1024;
/// How large each hostile file is.
const HOSTILE_BYTES: usize = 48 * 1024 * 1024;
/// The largest job, in bytes.
const LARGEST: usize = 1024 * 1024;

const CONFIG: &str = r#"
[accounts.shop]
provider = "pushwoosh"
api_token = { env = "PUSHWOOSH_TOKEN" }
application = "XXXXX-XXXXX"

[accounts.news]
provider = "moengage"
data_center = "01"
workspace_id = "XXXXXXXXXXXXXXXXXXXXXXXX"
push_api_key = { env = "MOENGAGE_PUSH_KEY" }
campaign_api_key = { env = "MOENGAGE_CAMPAIGN_KEY" }
"#;

fn main() -> ExitCode {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let measure = Measure { folder: folder.path().to_owned() };
    std::fs::write(measure.path("paceline.toml"), CONFIG).expect("the configuration is written");
    let jobs = number_of_jobs();
    let mut figures = Vec::new();
    let ordinary = measure.ordinary(jobs, &mut figures);
    let load = load::machine_load();
    figures.push(Figure::told("processes that wanted to run (1 min mean) on how many processors", load));
    measure.hostile(ordinary, &mut figures);
    println!("\n{}", table(&figures));
    if all_hold(&figures) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn number_of_jobs() -> usize {
    let given = std::env::var("PACELINE_MEASURE_JOBS").ok();
    given.map_or(1_000_000, |text| text.parse().expect("PACELINE_MEASURE_JOBS is a whole number"))
}

struct Measure {
    folder: PathBuf,
}

impl Measure {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs `validate` on a file, with so many threads or the default.
    fn validate(&self, file: &Path, threads: Option<usize>) -> Run {
        let mut arguments = vec![
            "--config".into(),
            self.path("paceline.toml").into_os_string(),
            "validate".into(),
            file.as_os_str().to_owned(),
        ];
        if let Some(threads) = threads {
            arguments.extend(["--jobs".into(), threads.to_string().into()]);
        }
        let keys = ["PUSHWOOSH_TOKEN", "MOENGAGE_PUSH_KEY", "MOENGAGE_CAMPAIGN_KEY"];
        let run = run(env!("CARGO_BIN_EXE_paceline"), &arguments, keys.map(|name| (name, "a-key")));
        eprintln!("{}: {} ({} KiB)", file.display(), run.last_line, run.peak_kib);
        run
    }

    /// The fastest of three runs: what slows one down is other work on the machine.
    fn best(&self, file: &Path, threads: Option<usize>) -> Run {
        let runs = (0..3).map(|_| self.validate(file, threads));
        runs.min_by_key(|run| run.wall).expect("three runs")
    }

    /// The processor time of a byte of ordinary jobs, in nanoseconds.
    fn ordinary(&self, jobs: usize, figures: &mut Vec<Figure>) -> f64 {
        let (half, whole) = (self.path("half.jsonl"), self.path("whole.jsonl"));
        write_jobs(&half, jobs / 2);
        let bytes = write_jobs(&whole, jobs);
        let of_half = self.best(&half, None);
        let of_whole = self.best(&whole, None);
        let of_one = self.best(&whole, Some(1));
        for run in [&of_half, &of_whole, &of_one] {
            assert_eq!(run.status, 1, "some jobs are invalid on purpose: {}", run.last_line);
        }
        let invalid = jobs.div_ceil(INVALID_EVERY);
        let expected = format!("{jobs} jobs: {} valid, {invalid} invalid", jobs - invalid);
        assert!(of_whole.last_line.starts_with(&expected), "{} instead of {expected}", of_whole.last_line);
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let rate = |run: &Run| jobs as f64 / run.wall.as_secs_f64();
        let twice = of_whole.cpu.as_secs_f64() / of_half.cpu.as_secs_f64();
        let two = of_one.wall.as_secs_f64() / of_whole.wall.as_secs_f64();
        figures.extend([
            Figure::told("jobs in the file", format!("{jobs} of {} bytes", bytes / jobs)),
            Figure::bound(
                format!("jobs a second, {processors} threads"),
                format!("{:.0}", rate(&of_whole)),
                format!(">= {JOBS_PER_SECOND:.0}"),
                rate(&of_whole) >= JOBS_PER_SECOND,
            ),
            Figure::told("jobs a second, 1 thread", format!("{:.0}", rate(&of_one))),
            Figure::bound(
                format!("{processors} threads, times as fast as 1"),
                format!("{two:.2}"),
                format!(">= {LEAST_FOR_TWO}"),
                two >= LEAST_FOR_TWO,
            ),
            Figure::told(
                "processor time of a job",
                format!("{:.2} us", of_whole.cpu.as_secs_f64() * 1e6 / jobs as f64),
            ),
            memory("resident memory at its highest", &of_whole, MOST_MEMORY),
            Figure::bound(
                "twice the jobs, times the processor time",
                format!("{twice:.2}"),
                format!("<= {MOST_FOR_TWICE}"),
                twice <= MOST_FOR_TWICE,
            ),
            Figure::bound(
                "  and times the memory",
                format!("{:.2}", of_whole.peak_kib as f64 / of_half.peak_kib as f64),
                "<= 1.25".to_owned(),
                of_whole.peak_kib * 4 <= of_half.peak_kib * 5,
            ),
        ]);
        of_whole.cpu.as_secs_f64() * 1e9 / bytes as f64
    }

    /// Files of jobs as large as a job may be, that are made to cost, on more threads than processors.
    fn hostile(&self, ordinary: f64, figures: &mut Vec<Figure>) {
        for (what, job) in hostile_jobs() {
            assert!(job.len() <= LARGEST, "{what}: {} bytes", job.len());
            let file = self.path("hostile.jsonl");
            let mut out = BufWriter::new(File::create(&file).expect("a file"));
            let lines = HOSTILE_BYTES / job.len();
            for _ in 0..lines {
                writeln!(out, "{job}").expect("the file is written");
            }
            out.flush().expect("the file is written");
            drop(out);
            let run = self.validate(&file, Some(8));
            let each = run.cpu.as_secs_f64() * 1e9 / (lines * job.len()) as f64;
            let times = each / ordinary;
            figures.push(Figure::bound(
                format!("{what}: times the processor time of an ordinary byte"),
                format!("{times:.2}"),
                format!("<= {MOST_FOR_HOSTILE}"),
                times <= MOST_FOR_HOSTILE,
            ));
            figures.push(Figure::told("  time", seconds(run.wall)));
            figures.push(memory("  resident memory at its highest", &run, MOST_MEMORY_FOR_HOSTILE));
        }
    }
}

fn memory(what: &str, run: &Run, most_kib: u64) -> Figure {
    Figure::bound(
        what,
        format!("{:.1} MiB", run.peak_kib as f64 / 1024.0),
        format!("<= {} MiB", most_kib / 1024),
        run.peak_kib <= most_kib,
    )
}

/// One job in so many is invalid.
const INVALID_EVERY: usize = 100;

/// Writes jobs of a single notification; returns their bytes.
fn write_jobs(file: &Path, jobs: usize) -> usize {
    let mut out = BufWriter::new(File::create(file).expect("a file"));
    let mut bytes = 0;
    for n in 0..jobs {
        let job = ordinary_job(n);
        bytes += job.len() + 1;
        writeln!(out, "{job}").expect("the file is written");
    }
    out.flush().expect("the file is written");
    bytes
}

/// As producers send them: a device, users, a filter, or conditions; now and then a mistake.
fn ordinary_job(n: usize) -> String {
    let target = match n % 4 {
        0 => format!(r#""devices":["dec301908b9ba8df85e57a58e40f96f523f4c2068674f5fe2ba25cdc{n:08x}"]"#),
        1 => format!(r#""users":["user_{n}"],"link":"https://shop.example/orders/{n}","minimize_link":0"#),
        2 => r#""filter":"Active customers","send_rate":500,"ios_badges":"+1""#.to_owned(),
        _ => r#""conditions":[["Country","EQ","BR"],["Level","BETWEEN",[1,5]]],"platforms":[1,3]"#.to_owned(),
    };
    let date = if n.is_multiple_of(INVALID_EVERY) { "tomorrow" } else { "now" };
    format!(
        r#"{{"transactionId":"order-{n:09}","account":"shop","operation":"createMessage","priority":"normal","expiresAt":"2099-01-01T00:00:00Z","payload":{{"notifications":[{{"send_date":"{date}","content":{{"en":"Your order number {n} is on its way","de":"Ihre Bestellung ist unterwegs"}},"title":{{"en":"Order update","de":"Neuigkeiten"}},"data":{{"order":"{n}"}},{target}}}]}},"meta":{{"campaign":"orders","batch":{n}}}}}"#
    )
}

/// Each as large as a job may be.
fn hostile_jobs() -> Vec<(&'static str, String)> {
    let notification = |member: &str| {
        format!(
            r#"{{"transactionId":"h-1","account":"shop","operation":"createMessage","payload":{{"notifications":[{{"send_date":"now","content":"x",{member}}}]}}}}"#
        )
    };
    let room = LARGEST - 200;
    let list = |item: &str| {
        let items = vec![item; room / (item.len() + 1)];
        format!("[{}]", items.join(","))
    };
    let members = |object: &dyn Fn(usize) -> String, length: usize| {
        (0..room / (length + 1)).map(object).collect::<Vec<_>>().join(",")
    };
    vec![
        ("one text of 1 MiB", notification(&format!(r#""content":"{}""#, "x".repeat(room - 20)))),
        ("a text of escapes", notification(&format!(r#""content":"{}""#, r"\u00e4".repeat(room / 6 - 10)))),
        ("a number of 1 MiB", notification(&format!(r#""data":0.{}"#, "7".repeat(room - 20)))),
        ("brackets without end", "[".repeat(room)),
        (
            "nesting as deep as is read",
            notification(&format!(r#""data":{}"#, list(&format!("{}{}", "[".repeat(110), "]".repeat(110))))),
        ),
        ("a list of small items", notification(&format!(r#""data":{{"a":{}}}"#, list("0")))),
        ("many conditions", notification(&format!(r#""conditions":{}"#, list(r#"["a","EQ",1]"#)))),
        ("many bad conditions", notification(&format!(r#""conditions":{}"#, list("7")))),
        ("many devices", notification(&format!(r#""devices":{}"#, list(r#""d""#)))),
        ("many unknown members", notification(&members(&|n| format!(r#""m{n:07}":0"#), 12))),
        (
            "many unknown fields of the job",
            format!(r#"{{"transactionId":"h-1",{}}}"#, members(&|n| format!(r#""m{n:07}":0"#), 12)),
        ),
        ("brackets in a filter", notification(&format!(r#""filter":"{}""#, "(".repeat(room - 40)))),
    ]
}
