//! What else the machine does.

/// How busy the machine was, by the measurement and by everything else.
pub fn machine_load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mean = text.split(' ').next().filter(|mean| !mean.is_empty()).unwrap_or("unknown");
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{mean} on {processors}")
}
