//! From publish to receipt, through real servers and the simulated providers.

mod batches;
mod commands;
mod dead;
mod delivery;
mod duplicates;
mod embedded;
mod forged;
mod hostile;
mod operations;
mod outcomes;
mod pausing;
mod producers;
mod reloading;
mod status;
mod times;
mod traces;
