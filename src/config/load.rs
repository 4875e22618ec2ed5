//! Reading the configuration: file, environment, defaults, checks.

use std::time::Duration;

use crate::config::Secret;

/// What is wrong with the configuration: names the key and the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem} (in {origin})")]
pub struct ConfigError {
    /// Dotted path of the key.
    pub key: String,
    /// What is wrong and what would be right.
    pub problem: String,
    /// The file or the environment variable it came from.
    pub origin: String,
}

/// One account's block, from which its provider takes its own keys.
pub struct Settings<'a> {
    table: &'a mut toml::Table,
}

impl Settings<'_> {
    /// A text.
    pub fn text(&mut self, key: &str) -> Result<Option<String>, ConfigError> {
        let _ = (key, &mut self.table);
        todo!()
    }
    /// A whole number within bounds, both included.
    pub fn integer(&mut self, key: &str, min: u64, max: u64) -> Result<Option<u64>, ConfigError> {
        let _ = (key, min, max);
        todo!()
    }
    /// A duration within bounds, both included.
    pub fn duration(
        &mut self,
        key: &str,
        min: Duration,
        max: Duration,
    ) -> Result<Option<Duration>, ConfigError> {
        let _ = (key, min, max);
        todo!()
    }
    /// True or false.
    pub fn boolean(&mut self, key: &str) -> Result<Option<bool>, ConfigError> {
        let _ = key;
        todo!()
    }
    /// A credential from the environment or a file.
    pub fn secret(&mut self, key: &str) -> Result<Option<Secret>, ConfigError> {
        let _ = key;
        todo!()
    }
    /// A limit: a whole number of at least 2, or `"unlimited"` (then `None` inside).
    pub fn limit(&mut self, key: &str) -> Result<Option<Option<u32>>, ConfigError> {
        let _ = key;
        todo!()
    }
    /// An error about one of the account's keys, with its full path and origin.
    pub fn error(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError { key: key.into(), problem: problem.into(), origin: String::new() }
    }
}
