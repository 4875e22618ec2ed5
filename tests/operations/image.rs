//! The Dockerfile. Its linter is a part of `make deploy-check`; what matters most is held here.

use super::files::text;

/// The instructions, as (name, the rest), lines that go on joined and comments left out.
fn instructions(dockerfile: &str) -> Vec<(String, String)> {
    let joined = dockerfile.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, rest) = line.split_once(char::is_whitespace).expect("an instruction and its words");
            (name.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect()
}

#[test]
fn the_image_is_small_runs_as_nobody_and_is_built_from_what_is_pinned() {
    let all = instructions(&text("deploy/docker/Dockerfile"));
    let stages: Vec<usize> = (0..all.len()).filter(|at| all[*at].0 == "FROM").collect();
    assert_eq!(stages.len(), 2, "one to build, one to run");
    let rust = env!("CARGO_PKG_RUST_VERSION");
    assert!(all[stages[0]].1.starts_with(&format!("rust:{rust}-")), "the version of Cargo.toml is {rust}");
    for stage in &stages {
        let image = all[*stage].1.split_whitespace().next().expect("an image");
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        assert!(tag.is_some_and(|tag| tag != "latest"), "{image} is not pinned");
    }
    let last = &all[stages[1]..];
    let value = |name: &str| {
        let found: Vec<&str> =
            last.iter().filter(|(found, _)| found == name).map(|(_, rest)| rest.as_str()).collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        found[0]
    };
    assert!(last[0].1.contains("distroless") && last[0].1.contains("nonroot"), "{}", last[0].1);
    assert_eq!(value("COPY"), "--from=build /paceline /usr/local/bin/paceline", "the binary alone");
    let user: u32 =
        value("USER").split(':').next().unwrap().parse().expect("a number: runAsNonRoot needs it");
    assert_ne!(user, 0);
    // Without a shell, so that SIGTERM comes to the worker.
    assert_eq!(value("ENTRYPOINT"), r#"["/usr/local/bin/paceline"]"#);
    assert_eq!(value("CMD"), r#"["worker"]"#);
    assert!(!last.iter().any(|(name, _)| name == "RUN"), "there is no shell to run it");
    assert!(all.iter().any(|(name, rest)| name == "RUN" && rest.contains("--locked")), "the lock file holds");
}

#[test]
fn no_secret_and_nothing_compiled_comes_into_the_build() {
    let ignored = text(".dockerignore");
    for folder in [".git", "target", "deploy/compose/secrets"] {
        assert!(ignored.lines().any(|line| line == folder), "{folder}");
    }
}
