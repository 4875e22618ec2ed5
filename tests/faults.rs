//! Real faults on real processes.

mod broker;
mod cluster;
mod crashes;
mod drain;
mod embedded;
mod killers;
mod load;
mod network;
mod outages;
mod pauses;
mod poison;
mod provider;
mod receipts;
mod regressions;
mod rolling;
mod stalls;
mod stops;
mod store;
mod timeouts;
mod unknown;
