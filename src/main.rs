//! The binary: arguments, then everything else in [`paceline::cli`].

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

/// A delivery is allocated by one thread and often freed by another, with hundreds under way. glibc guards that
/// with locks, for which threads went to the kernel once a job; with this one they do not, and a worker delivers
/// about a twentieth more. How it is set, for little memory, stands in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // The TLS libraries disagree on a default; one that is installed already will do as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    paceline::cli::run(&paceline::cli::Cli::parse())
}
