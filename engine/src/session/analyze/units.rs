//! Numbers as people read them. Rows are told exactly; bytes and times as DataFusion writes them, so that both sound alike in all of a report.

use datafusion::common::{human_readable_duration, human_readable_size};

/// `12,345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3 MB`.
pub fn bytes(bytes: u64) -> String {
    // DataFusion's smallest unit begins at two of it, and has a decimal place below.
    if bytes < 2048 { format!("{bytes} B") } else { human_readable_size(usize::try_from(bytes).unwrap_or(usize::MAX)) }
}

/// `12.34ms`.
pub(super) fn nanoseconds(nanos: u64) -> String {
    human_readable_duration(nanos)
}

/// `1.23s`, `20ms`: what was measured to the millisecond.
pub fn milliseconds(millis: u64) -> String {
    if millis < 1000 { format!("{millis}ms") } else { human_readable_duration(millis.saturating_mul(1_000_000)) }
}
