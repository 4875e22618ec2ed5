//! Any text as a `devices_filter`: parsed, or refused with a place in the text; what is parsed is
//! the same after being printed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use paceline::providers::pushwoosh::filter::parse;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text) {
        Ok(filter) => {
            let printed = filter.to_string();
            let again = parse(&printed).expect("what is printed can be parsed");
            assert!(again == filter, "{printed}");
            assert_eq!(again.to_string(), printed);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert_eq!(error.excerpt().lines().count(), 2);
        }
    }
});
