//! The whole suite as one binary: it starts its own RabbitMQ and Redis.

mod completeness;
mod contract;
mod dependencies;
mod faults;
#[path = "traces/listener.rs"]
mod listener;
mod pipeline;
mod rules;
mod security;
mod support;
