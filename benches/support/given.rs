//! What a measurement is asked for by variables.

use std::str::FromStr;

/// The value that a variable gives, or the usual one.
pub fn given<N: FromStr>(variable: &str, usual: N) -> N {
    let text = std::env::var(variable).ok();
    text.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} can't be read")))
}
