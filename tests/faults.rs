//! Real faults on real processes.

mod crashes;
mod drain;
mod outages;
mod poison;
mod regressions;
mod stalls;
