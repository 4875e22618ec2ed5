//! Tracing as it is in a build without the feature `otlp`: nothing, and a word to whoever asks for it.

use super::{Ended, Facts, System, Wish, wish};
use crate::config::Environment;
use crate::pipeline::trace::Context;
use crate::ports::{Sent, WireRequest};

/// The export of spans.
#[must_use]
#[derive(Debug)]
pub struct Export;

/// Starts nothing; says so if the environment asks for traces.
pub fn start(environment: &Environment, _: System) -> Export {
    match wish(environment) {
        Wish::Nothing => {}
        Wish::Export(_) | Wish::Unusable(_) => tracing::warn!(
            "the environment asks for traces (OTEL_…), but this binary was built without the feature \"otlp\": none are exported"
        ),
    }
    Export
}

impl Export {
    /// Ends the export.
    pub async fn end(self) {}
}

/// An attempt at a delivery.
#[derive(Debug, Clone, Copy)]
pub struct Attempt;

impl Attempt {
    /// None that is under way.
    pub const fn none() -> Self {
        Self
    }

    /// Begins it.
    pub fn start(_: &Facts<'_>) -> Self {
        Self
    }

    /// The span, for others to go on from; `None` where it is not traced.
    pub fn context(&self) -> Option<Context> {
        None
    }

    /// Ends it.
    pub fn end(&self, _: Ended) {}
}

/// A request to a provider.
#[derive(Debug)]
pub struct Call;

impl Call {
    /// Begins it, for these attempts.
    pub fn start<'a>(_: impl Iterator<Item = &'a Attempt>, _: &WireRequest) -> Self {
        Self
    }

    /// The span, for the provider to go on from; `None` where it is not traced.
    pub fn context(&self) -> Option<Context> {
        None
    }

    /// Ends it.
    pub fn end(self, _: &Sent) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_no_room() {
        assert_eq!((size_of::<Attempt>(), size_of::<Call>(), size_of::<Export>()), (0, 0, 0));
    }
}
