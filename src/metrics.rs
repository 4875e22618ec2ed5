//! Stub.
#![allow(missing_docs)]
use std::time::Duration;
pub fn job_received(_: &str) {}
pub fn delivery_settled(_: &str, _: &str, _: &str, _: Option<&str>) {}
pub fn delivery_retried(_: &str, _: &str, _: &str) {}
pub fn provider_request(_: &str, _: &str, _: &str, _: &str, _: Duration) {}
pub fn delivery_age(_: &str, _: &str, _: Duration) {}
pub fn permit_wait(_: &str, _: Duration) {}
pub fn request_started(_: &str) {}
pub fn request_ended(_: &str) {}
pub fn circuit_state(_: &str, _: u8) {}
pub fn account_paused(_: &str, _: &str, _: bool) {}
pub fn limit_used_ratio(_: &str, _: f64) {}
pub fn queue_depth(_: &str, _: &str, _: u64) {}
pub fn oldest_age(_: &str, _: &str, _: Duration) {}
pub fn dead_letters(_: u64) {}
pub fn dependency_up(_: &str, _: bool) {}
pub fn slot_write_delay(_: &str, _: Duration) {}
