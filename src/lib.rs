//! paceline: a durable push-delivery worker.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod adapters;
pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod job;
pub mod logging;
pub mod metrics;
pub mod pipeline;
pub mod ports;
pub mod providers;
pub mod simulator;
pub mod verdict;
