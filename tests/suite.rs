//! The whole suite as one binary: it starts its own RabbitMQ and Redis.

mod completeness;
mod contract;
mod faults;
mod pipeline;
mod rules;
mod support;
