//! What is told where there is no terminal.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    command
        .arg("demo")
        .args(arguments)
        .env_clear()
        // None of these is read by it.
        .envs([("PACELINE_CONFIG", "/nonexistent"), ("PACELINE__QUEUE__URL", "amqp://nobody/")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

/// Runs it until a line has this in it, interrupts it, and gives all lines.
fn lines_until(arguments: &[&str], part: &str) -> Vec<String> {
    let mut child = demo(arguments).spawn().expect("the demo starts");
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    let mut lines: Vec<String> = Vec::new();
    while lines.last().is_none_or(|line| !line.contains(part)) {
        let mut line = String::new();
        let length = output.read_line(&mut line).expect("a line");
        assert!(length > 0, "it ended before {part}: {lines:#?}");
        lines.push(line.trim_end().to_owned());
    }
    interrupt(&child);
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("the rest");
    lines.extend(rest.lines().map(str::to_owned));
    let status = child.wait().expect("a status");
    assert!(status.success(), "{status}: {lines:#?}");
    lines
}

#[test]
fn without_a_terminal_lines_tell_what_happens() {
    let lines = lines_until(&["--duration", "15s"], "urgent messages sent within");
    let text = lines.join("\n");
    assert!(!text.contains('\x1b'), "{text}");
    for part in [
        "▸ One-time codes",
        "✓ code-1 delivered",
        "▸ Urgent messages overtake",
        "interrupted, drained",
        "sent twice: 0",
        "What to try next",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
}

#[test]
fn programs_get_an_object_a_line_and_the_file_is_kept_where_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("demo.db");
    let keep = file.to_str().expect("UTF-8");
    let lines = lines_until(&["--duration", "15s", "--json", "--keep", keep], "urgent messages sent within");
    let told: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of_kind = |kind: &str| told.iter().filter(|one| one["kind"] == kind).count();
    assert_eq!((of_kind("summary"), of_kind("event") + of_kind("state") + 1), (1, told.len()));
    let state = told.iter().find(|one| one["kind"] == "state").expect("a state");
    assert_eq!(
        (&state["accounts"][0]["account"], &state["accounts"][0]["limit"]),
        (&"shop".into(), &600.into())
    );
    assert!(state["accounts"][1]["waiting"]["low"].is_u64(), "{state}");
    let summary = told.last().expect("a summary");
    assert_eq!(
        (&summary["interrupted"], &summary["holds"], &summary["sentTwice"]),
        (&true.into(), &true.into(), &0.into())
    );
    let count = |name: &str| summary[name].as_u64().expect("a number");
    let dead: u64 = summary["dead"].as_object().expect("reasons").values().filter_map(Value::as_u64).sum();
    let ends = count("delivered") + count("duplicate") + count("expired") + dead;
    assert_eq!(count("published"), ends + count("waiting"), "{summary}");
    assert!(file.metadata().expect("the file").len() > 0);
    assert_refused(&file);
}

fn assert_refused(file: &Path) {
    let output = demo(&["--keep", file.to_str().expect("UTF-8")]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("exists already"), "{said}");
}
