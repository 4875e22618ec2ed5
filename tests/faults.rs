//! Real faults on real processes.

mod broker;
mod cluster;
mod crashes;
mod drain;
mod embedded;
mod load;
mod network;
mod outages;
mod poison;
mod provider;
mod regressions;
mod stalls;
mod store;
