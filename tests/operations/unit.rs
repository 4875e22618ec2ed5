//! The systemd unit, checked by systemd's own tool, which needs no running systemd for it.

use std::process::Command;
use std::time::Duration;

use super::files::{configuration, grace, path, run, text};

const UNIT: &str = "deploy/systemd/paceline.service";
/// The most exposure, in tenths, of 100.
const EXPOSURE: u32 = 15;

fn setting(key: &str) -> String {
    let unit = text(UNIT);
    let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("no {key}")).to_owned()
}

#[test]
fn systemd_understands_every_line_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("paceline.service");
    // It also looks for the program.
    let installed = text(UNIT).replace("/usr/local/bin/paceline", env!("CARGO_BIN_EXE_paceline"));
    std::fs::write(&unit, installed).unwrap();
    let told = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    // An unknown key is told of, and nothing more: the status stays 0.
    let about_it: Vec<&str> = told.lines().filter(|line| line.contains("paceline")).collect();
    assert!(about_it.is_empty(), "{told}");
}

#[test]
fn it_exposes_next_to_nothing_of_the_machine() {
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--no-pager", "--offline=yes", &format!("--threshold={EXPOSURE}")]);
    let told = run(command.arg(path(UNIT)));
    assert!(told.contains("Overall exposure level"), "{told}");
}

#[test]
fn it_waits_longer_than_a_drain_and_takes_credentials_from_files() {
    let stop: u64 = setting("TimeoutStopSec").strip_suffix('s').expect("seconds").parse().expect("a number");
    let config = configuration(
        "deploy/kubernetes/base/paceline.toml",
        "/run/secrets/paceline/",
        &["amqp-url", "redis-url", "pushwoosh-token"],
    );
    assert!(grace(Duration::from_secs(stop), &config) >= Duration::from_secs(10));
    assert_eq!(setting("LoadCredential"), "secret:/etc/paceline/credentials");
    assert_eq!(setting("RestartPreventExitStatus"), "2");
    assert!(text(UNIT).lines().any(|line| line == "ExecReload=kill -HUP $MAINPID"), "a reload is a SIGHUP");
}
