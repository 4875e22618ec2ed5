//! What paceline is built from: every dependency has a licence that may be used, comes from the
//! registry, and is in the binary in one version, but for those that are listed here with the reason.
//!
//! Reads what cargo itself says of the lock file, without a network.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand};
use spdx::{Expression, ParseMode};

/// Licences that ask for no more than to be named.
const ALLOWED: [&str; 10] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that are in the binary in several versions: which, and why nothing can be done about it
/// here. One that is no longer so has to go.
const SEVERAL: [(&str, &[&str], &str); 12] = [
    ("base64", &["0.22", "0.23"], OF_METRICS),
    ("block-buffer", &["0.10", "0.12"], OF_CERTIFICATES),
    ("const-oid", &["0.9", "0.10"], OF_CERTIFICATES),
    ("cpufeatures", &["0.2", "0.3"], OF_CERTIFICATES),
    ("crypto-common", &["0.1", "0.2"], OF_CERTIFICATES),
    ("digest", &["0.10", "0.11"], OF_CERTIFICATES),
    ("getrandom", &["0.2", "0.3", "0.4"], OF_CHANCE),
    ("hashbrown", &["0.14", "0.16", "0.17"], OF_METRICS),
    ("nom", &["7", "8"], "lapin's certificates are read by another version of nom than its frames"),
    ("rand", &["0.9", "0.10"], OF_CHANCE),
    ("rand_core", &["0.9", "0.10"], OF_CHANCE),
    ("sha2", &["0.10", "0.11"], OF_CERTIFICATES),
];

const OF_CERTIFICATES: &str = "lapin's TLS reads PKCS #12 files by the earlier RustCrypto crates";
const OF_CHANCE: &str = "ring and governor have not moved to the newest rand yet";
const OF_METRICS: &str = "the metrics exporter and governor have not moved to the newest one yet";

/// The platform that the binary is made for.
const PLATFORM: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

fn metadata() -> Metadata {
    let options = ["--locked", "--offline", "--filter-platform", PLATFORM].map(str::to_owned);
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .other_options(options)
        .exec()
        .expect("cargo metadata")
}

/// What is wrong with a licence expression; nothing for one that may be used.
fn objection(licence: Option<&str>) -> Option<String> {
    let Some(licence) = licence else { return Some("it names no licence".into()) };
    // Older crates separate alternatives by a slash.
    let expression = match Expression::parse_mode(licence, ParseMode::LAX) {
        Ok(expression) => expression,
        Err(error) => return Some(format!("its licence can't be read: {error}")),
    };
    let allowed = expression
        .evaluate(|wanted| wanted.license.id().is_some_and(|licence| ALLOWED.contains(&licence.name)));
    (!allowed).then(|| format!("its licence is {licence}"))
}

/// The versions of each crate that is linked into the binary with these features.
fn linked(features: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    // Macros, build scripts and what tests need are not: the tree of cargo metadata would mix in the
    // features that only tests ask for.
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal,no-proc-macro"])
        .args(["--target", PLATFORM, "--prefix", "none", "--format", "{p}"])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo tree");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).expect("UTF-8").lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        let version = version.trim_start_matches('v').to_owned();
        versions.entry(name.to_owned()).or_default().insert(version);
    }
    versions
}

/// The part of a version that tells incompatible ones apart.
fn major(version: &str) -> String {
    let parts: Vec<&str> = version.split('.').collect();
    match parts.as_slice() {
        ["0", minor, ..] => format!("0.{minor}"),
        [major, ..] => (*major).to_owned(),
        [] => String::new(),
    }
}

#[test]
fn every_dependency_has_a_licence_that_may_be_used_and_comes_from_the_registry() {
    let metadata = metadata();
    let root = metadata.root_package().expect("paceline").id.clone();
    assert!(metadata.packages.len() > 100, "{} packages", metadata.packages.len());
    let mut objections = Vec::new();
    for package in metadata.packages.iter().filter(|package| package.id != root) {
        let name = format!("{} {}", package.name, package.version);
        objections.extend(objection(package.license.as_deref()).map(|what| format!("{name}: {what}")));
        if !package.source.as_ref().is_some_and(cargo_metadata::Source::is_crates_io) {
            objections.push(format!("{name}: it does not come from the registry"));
        }
    }
    assert!(objections.is_empty(), "{objections:#?}");
}

#[test]
fn licences_are_judged_by_their_expression() {
    for (licence, fits) in [
        (Some("MIT"), true),
        (Some("MIT/Apache-2.0"), true),
        (Some("GPL-3.0-only OR MIT"), true),
        (Some("MIT AND GPL-3.0-only"), false),
        (Some("AGPL-3.0-only"), false),
        (Some("Apache-2.0 WITH LLVM-exception"), true),
        (Some("not a licence"), false),
        (None, false),
    ] {
        assert_eq!(objection(licence).is_none(), fits, "{licence:?}");
    }
}

#[test]
fn the_binary_holds_one_version_of_each_crate_but_for_those_with_a_reason() {
    let several: BTreeMap<String, Vec<String>> = linked(&["--all-features"])
        .into_iter()
        .filter(|(_, versions)| versions.len() > 1)
        .map(|(name, versions)| (name, versions.iter().map(|version| major(version)).collect()))
        .collect();
    let sorted = |mut versions: Vec<String>| {
        versions.sort();
        versions
    };
    let found: BTreeMap<String, Vec<String>> =
        several.into_iter().map(|(name, versions)| (name, sorted(versions))).collect();
    let listed: BTreeMap<String, Vec<String>> = SEVERAL
        .iter()
        .map(|(name, versions, _)| {
            ((*name).to_owned(), sorted(versions.iter().map(ToString::to_string).collect()))
        })
        .collect();
    assert_eq!(found, listed, "in the binary (left) and on the list with reasons (right)");
}

#[test]
fn only_a_binary_that_exports_traces_holds_what_that_needs() {
    let of_traces = |features: &[&str]| {
        linked(features)
            .into_keys()
            .filter(|name| name.starts_with("opentelemetry") || name == "prost")
            .count()
    };
    assert_eq!(of_traces(&[]), 0);
    assert!(of_traces(&["--features", "otlp"]) > 3);
}

#[test]
fn no_unsafe_code_is_possible_in_the_library_and_the_binary() {
    for (name, text) in
        [("lib.rs", include_str!("../src/lib.rs")), ("main.rs", include_str!("../src/main.rs"))]
    {
        let forbids = text.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]");
        assert!(forbids, "src/{name} must forbid unsafe code");
    }
}
