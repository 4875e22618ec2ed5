//! `make install` into a folder, with the binary that the tests use.

use std::path::Path;
use std::process::Command;

use super::files::{path, run};

#[test]
fn make_install_puts_everything_under_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut make = Command::new("make");
    make.args(["--silent", "install", "PREFIX=/opt/paceline"])
        .arg(format!("DESTDIR={}", folder.path().display()))
        .arg(format!("BIN={}", env!("CARGO_BIN_EXE_paceline")))
        // A jobserver of whoever runs the tests is not this make's.
        .env_remove("MAKEFLAGS")
        // What this says is no part of a page.
        .env("PACELINE_CONFIG", "/somewhere/secret.toml")
        .current_dir(path(""));
    run(&mut make);
    let root = folder.path().join("opt/paceline");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap_or_else(|_| panic!("no {name}"));
    let version = run(Command::new(root.join("bin/paceline")).arg("--version"));
    assert_eq!(version.trim(), format!("paceline {}", env!("CARGO_PKG_VERSION")));
    for page in ["paceline", "paceline-worker", "paceline-status", "paceline-config-check"] {
        let text = read(&format!("share/man/man1/{page}.1"));
        assert!(text.contains(&format!(".TH {page} 1")) && !text.contains("/somewhere/"), "{page}\n{text}");
    }
    let unit = read("lib/systemd/system/paceline.service");
    assert!(
        unit.contains("ExecStart=/opt/paceline/bin/paceline ") && !unit.contains("/usr/local/bin"),
        "{unit}"
    );
    for completions in ["share/zsh/site-functions/_paceline", "share/fish/vendor_completions.d/paceline.fish"]
    {
        assert!(read(completions).contains("validate"), "{completions}");
    }
    bash_completes(&root.join("share/bash-completion/completions/paceline"));
    let sample = read("share/doc/paceline/paceline.toml");
    assert!(sample.contains("[accounts.shop]"), "{sample}");
    let elsewhere: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(elsewhere, ["opt"]);
}

/// Bash offers `status` for `sta`, and `check` behind `config`.
fn bash_completes(script: &Path) {
    let ask = r#"
        source "$1"
        COMP_WORDS=(paceline sta); COMP_CWORD=1; _paceline paceline sta paceline; echo "${COMPREPLY[@]}"
        COMP_WORDS=(paceline config che); COMP_CWORD=2; _paceline paceline che config; echo "${COMPREPLY[@]}"
    "#;
    let told = run(Command::new("bash").args(["-c", ask, "bash"]).arg(script));
    assert_eq!(told.lines().collect::<Vec<_>>(), ["status", "check"]);
}
