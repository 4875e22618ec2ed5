//! The providers as `simulate` and the tests play them.

/// One provider's behaviour.
pub trait Simulated: Send + Sync {}
