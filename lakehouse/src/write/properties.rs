//! `TBLPROPERTIES`: which of Delta's own this engine honours, and their values. A property that would be silently ignored is refused.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// Properties of Delta that have an effect here.
const HONOURED: &[&str] = &[
    "delta.appendOnly",
    "delta.autoOptimize.optimizeWrite",
    "delta.checkpointInterval",
    "delta.dataSkippingNumIndexedCols",
    "delta.dataSkippingStatsColumns",
    "delta.deletedFileRetentionDuration",
    "delta.enableExpiredLogCleanup",
    "delta.logRetentionDuration",
    "delta.targetFileSize",
];

/// Commits from one checkpoint to the next unless the table says otherwise.
const DEFAULT_CHECKPOINT_INTERVAL: u64 = 10;

/// Refuses unknown properties of Delta and values they cannot have. Properties without the prefix `delta.` are the user's own.
pub(super) fn check(properties: &HashMap<String, String>) -> Result<()> {
    for (key, value) in properties.iter().filter(|(key, _)| key.starts_with("delta.")) {
        let wrong = |expected: &str| Err(Error::Invalid(format!("the table property {key} has to be {expected}, not {value:?}")));
        match key.as_str() {
            "delta.appendOnly" | "delta.autoOptimize.optimizeWrite" | "delta.enableExpiredLogCleanup" if flag(value).is_none() => {
                return wrong("true or false");
            }
            "delta.checkpointInterval" if value.trim().parse::<u64>().is_ok_and(|n| n > 0) => {}
            "delta.checkpointInterval" => return wrong("a positive number of commits"),
            "delta.dataSkippingNumIndexedCols" if value.trim().parse::<i64>().is_ok_and(|n| n >= -1) => {}
            "delta.dataSkippingNumIndexedCols" => return wrong("a number of columns, or -1 for all"),
            "delta.targetFileSize" if size(value).is_none() => return wrong("a size in bytes, or with a unit such as 128mb"),
            "delta.logRetentionDuration" | "delta.deletedFileRetentionDuration" if !is_interval(value) => {
                return wrong("an interval such as 'interval 30 days'");
            }
            known if HONOURED.contains(&known) => {}
            _ => return Err(Error::Invalid(format!("the table property {key} is not supported; supported are {}", HONOURED.join(", ")))),
        }
    }
    Ok(())
}

/// Whether the table only takes appends.
pub(super) fn append_only(properties: &HashMap<String, String>) -> bool {
    properties.get("delta.appendOnly").and_then(|value| flag(value)).unwrap_or(false)
}

/// Whether rows are to be brought together by partition before they are written; `None` leaves it to the engine.
pub(super) fn optimize_write(properties: &HashMap<String, String>) -> Option<bool> {
    properties.get("delta.autoOptimize.optimizeWrite").and_then(|value| flag(value))
}

/// Whether log files past their retention are to be removed.
pub(super) fn expires_log(properties: &HashMap<String, String>) -> bool {
    properties.get("delta.enableExpiredLogCleanup").and_then(|value| flag(value)).unwrap_or(true)
}

/// Commits from one checkpoint to the next.
pub(super) fn checkpoint_interval(properties: &HashMap<String, String>) -> u64 {
    let set = properties.get("delta.checkpointInterval").and_then(|value| value.trim().parse().ok());
    set.filter(|interval| *interval > 0).unwrap_or(DEFAULT_CHECKPOINT_INTERVAL)
}

/// Bytes at which a file is ended: as the request says, else the table, else the default.
pub(super) fn target_file_size(requested: Option<u64>, properties: &HashMap<String, String>) -> Result<u64> {
    let chosen = requested.or_else(|| properties.get("delta.targetFileSize").and_then(|value| size(value)));
    match chosen.unwrap_or(super::spec::DEFAULT_TARGET_FILE_SIZE) {
        0 => Err(Error::Invalid("the target file size has to be greater than 0".into())),
        bytes => Ok(bytes),
    }
}

fn flag(value: &str) -> Option<bool> {
    value.trim().to_ascii_lowercase().parse().ok()
}

fn size(value: &str) -> Option<u64> {
    let value = value.trim().to_ascii_lowercase();
    let digits = value.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match value[digits.len()..].trim() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor).filter(|bytes| *bytes > 0)
}

fn is_interval(value: &str) -> bool {
    let words: Vec<String> = value.split_whitespace().map(str::to_ascii_lowercase).collect();
    let words = words.strip_prefix(&["interval".to_string()]).unwrap_or(&words);
    let units = ["nanosecond", "microsecond", "millisecond", "second", "minute", "hour", "day", "week"];
    matches!(words, [number, unit] if number.parse::<u64>().is_ok() && units.contains(&unit.trim_end_matches('s')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(key: &str, value: &str) -> Result<()> {
        check(&HashMap::from([(key.to_string(), value.to_string())]))
    }

    #[test]
    fn good_values_pass() {
        for (key, value) in [
            ("owner", "anything"),
            ("delta.appendOnly", "true"),
            ("delta.autoOptimize.optimizeWrite", "false"),
            ("delta.checkpointInterval", "5"),
            ("delta.dataSkippingNumIndexedCols", "-1"),
            ("delta.targetFileSize", "64mb"),
            ("delta.logRetentionDuration", "interval 30 days"),
        ] {
            checked(key, value).unwrap();
        }
    }

    #[test]
    fn bad_ones_are_named() {
        for (key, value) in [
            ("delta.appendOnly", "maybe"),
            ("delta.autoOptimize.optimizeWrite", "auto"),
            ("delta.checkpointInterval", "0"),
            ("delta.targetFileSize", "big"),
            ("delta.logRetentionDuration", "a month"),
            ("delta.enableChangeDataFeed", "true"),
        ] {
            assert!(checked(key, value).unwrap_err().to_string().contains(key));
        }
    }

    #[test]
    fn sizes_come_from_the_nearest() {
        let table = HashMap::from([("delta.targetFileSize".to_string(), "2kb".to_string())]);
        assert_eq!(target_file_size(Some(7), &table).unwrap(), 7);
        assert_eq!(target_file_size(None, &table).unwrap(), 2048);
        assert!(target_file_size(Some(0), &table).is_err());
    }
}
