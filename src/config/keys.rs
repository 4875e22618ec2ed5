//! The table of configuration keys.

use std::time::Duration;

/// What values a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A credential: `{ env = "NAME" }` or `{ file = "PATH" }`.
    Secret,
    /// `true` or `false`.
    Boolean,
    /// A whole number within bounds (both included).
    Integer {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A duration such as `"30s"`, within bounds (both included).
    Duration {
        /// The least.
        min: Duration,
        /// The most.
        max: Duration,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// One configuration key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// Its name within its table.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The default as it would stand in the file; `None` when the key is required or may be absent.
    pub default: Option<&'static str>,
    /// What it means.
    pub meaning: &'static str,
    /// Why the default is what it is.
    pub reason: &'static str,
}
