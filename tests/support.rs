//! Private servers and helpers for the suite.

pub mod jobs;
pub mod proxy;
pub mod rabbitmq;
pub mod redis;
pub mod tls;
pub mod world;
