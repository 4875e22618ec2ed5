//! paceline: a durable push-delivery worker.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod adapters;
pub mod admin;
pub mod config;
pub mod job;
pub mod logging;
pub mod metrics;
pub mod ports;
pub mod providers;
pub mod simulator;
pub mod verdict;
