//! The ports over real servers, and over a file.

pub mod embedded;
pub mod http;
pub mod rabbitmq;
pub mod redis;
pub mod system;
pub(crate) mod tls;
mod told;
