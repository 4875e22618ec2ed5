//! The ports over real servers.
pub mod rabbitmq;
pub mod redis;
