//! No input makes the decoder or a provider's rules panic, take more than linear effort, give a
//! value away, or point at nothing. A binary of its own, since it counts what is allocated.

#[path = "validation/hostile.rs"]
mod hostile;
#[path = "validation/judge.rs"]
mod judge;
#[path = "validation/linear.rs"]
mod linear;
#[path = "validation/properties.rs"]
mod properties;
#[path = "validation/schema.rs"]
mod schema;
