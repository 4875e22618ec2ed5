//! Stub.
use super::*;

pub mod simulator;

/// The provider.
pub struct Pushwoosh;
impl Provider for Pushwoosh {
    fn name(&self) -> &'static str {
        "pushwoosh"
    }
    fn operations(&self) -> &'static [&'static str] {
        &[]
    }
    fn configure(&self, _: &mut Settings<'_>) -> Result<Arc<dyn Gateway>, crate::config::ConfigError> {
        todo!()
    }
    fn payload_schema(&self, _: &str) -> Value {
        todo!()
    }
    fn simulated(&self) -> Arc<dyn Simulated> {
        Arc::new(simulator::Simulator)
    }
    fn samples(&self) -> &'static [&'static str] {
        &[]
    }
}
