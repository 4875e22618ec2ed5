//! The ports over real servers.

pub mod http;
pub mod rabbitmq;
pub mod redis;
pub mod system;
mod tls;
