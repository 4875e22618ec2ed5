//! The whole suite as one binary: it starts its own RabbitMQ and Redis.

mod contract;
mod faults;
mod pipeline;
mod support;
