//! paceline: a durable push-delivery worker. Jobs from RabbitMQ go to push providers (Pushwoosh,
//! MoEngage) within each account's limit, each at most once as far as the provider makes that
//! possible.
//!
//! The map, in reading order; data flows down this list:
//!
//! - [`cli`] the commands, and [`app`], which puts adapters together for them
//! - [`admin`], [`metrics`], [`logging`], [`telemetry`]: what people see; [`status`] what there is to see,
//!   [`numbers`] as people read them
//! - [`letters`] what is done with dead letters by people
//! - [`worker`] takes messages, leads each delivery through the pipeline, settles it
//! - [`adapters`] the ports over real servers: RabbitMQ, Redis, HTTP; and over one file in their place
//! - [`pipeline`] the steps: decode, classify, permit, claim, send, settle; decisions only
//! - [`simulator`] plays the providers for `paceline simulate` and the tests
//! - [`providers`] all knowledge of each provider, in its own folder
//! - [`config`] what is configured
//! - [`backoff`] how long to wait before another try; [`steady`] publishes until it is confirmed
//! - [`ports`] what the pipeline asks of the world, and what it may rely on
//! - [`verdict`] what a provider's answer means, and the four ends of a delivery
//! - [`job`] the words of the public interface as types

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod adapters;
pub mod admin;
pub mod app;
pub mod backoff;
pub mod cli;
pub mod config;
pub mod job;
pub mod letters;
pub mod logging;
pub mod metrics;
pub mod numbers;
pub mod pipeline;
pub mod ports;
pub mod providers;
pub mod simulator;
pub mod status;
pub mod steady;
pub mod telemetry;
pub mod verdict;
pub mod worker;
