//! The binary: arguments, then everything else in [`paceline::cli`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // The TLS libraries disagree on a default; one that is installed already will do as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    paceline::cli::run(&paceline::cli::Cli::parse())
}
