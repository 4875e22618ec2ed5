//! Stand-in until the pipeline is merged.
pub mod decode;
