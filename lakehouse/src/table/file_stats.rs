//! Statistics of a data file as writers put them into the log: which values bound a column, and which bounds are the very minimum and maximum.
//!
//! Other writers shorten strings, cut timestamps to milliseconds and leave NaN out. Their bounds are used for skipping files only after being widened, and
//! as answers to `min` and `max` only where nothing can have been lost. Files of this engine carry a mark inside the statistics (see
//! `write::file_stats`); a tool that recomputes the statistics drops the mark with them.

use std::borrow::Cow;
use std::collections::HashMap;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::partition_value::{parse_date, parse_decimal, parse_timestamp};

/// Key of this engine's mark in a file's statistics.
pub(crate) const EXACT_MARK: &str = "orrery";
/// Other writers shorten strings to this many characters; a shorter one is whole.
const SHORTEST_TRUNCATION: usize = 32;
/// Decimal digits that survive a detour through a double, which some writers take.
const DOUBLE_DIGITS: usize = 15;
/// What a timestamp can lose when it is cut to milliseconds.
const MILLISECOND_REST: i64 = 999;

/// A bound of a column's values in one file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bound {
    pub value: ScalarValue,
    /// Whether the value occurs in the column, not only bounds it.
    pub exact: bool,
}

/// What is known about one column in one file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ColumnBounds {
    pub min: Option<Bound>,
    pub max: Option<Bound>,
    pub null_count: Option<u64>,
}

/// The statistics of one file, not yet typed.
#[derive(Debug, Default)]
pub(crate) struct FileStats {
    num_records: Option<u64>,
    min_values: HashMap<String, Box<RawValue>>,
    max_values: HashMap<String, Box<RawValue>>,
    null_count: HashMap<String, Box<RawValue>>,
    /// Set when rows were deleted after the bounds were computed.
    loose: bool,
    mark: Option<ExactMark>,
}

/// The mark of this engine's writer.
#[derive(Debug, Default, Deserialize, serde::Serialize)]
pub(crate) struct ExactMark {
    /// Columns whose string bounds were shortened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shortened: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'a> {
    num_records: Option<u64>,
    #[serde(borrow)]
    min_values: Option<HashMap<Cow<'a, str>, Box<RawValue>>>,
    #[serde(borrow)]
    max_values: Option<HashMap<Cow<'a, str>, Box<RawValue>>>,
    #[serde(borrow)]
    null_count: Option<HashMap<Cow<'a, str>, Box<RawValue>>>,
    tight_bounds: Option<bool>,
    orrery: Option<ExactMark>,
}

impl FileStats {
    /// Statistics are optional, so what cannot be parsed is as good as absent.
    pub fn parse(text: &str) -> Self {
        let Ok(raw) = serde_json::from_str::<Raw<'_>>(text) else { return Self::default() };
        let owned = |map: Option<HashMap<Cow<'_, str>, Box<RawValue>>>| {
            map.into_iter().flatten().map(|(key, value)| (key.into_owned(), value)).collect()
        };
        let tight = raw.tight_bounds.unwrap_or(true);
        Self {
            num_records: raw.num_records,
            min_values: owned(raw.min_values),
            max_values: owned(raw.max_values),
            null_count: if tight { owned(raw.null_count) } else { HashMap::new() },
            loose: !tight,
            mark: raw.orrery,
        }
    }

    /// Rows in the file.
    pub fn num_rows(&self) -> Option<u64> {
        self.num_records
    }

    /// What is known about a column; nested columns have no bounds here.
    pub fn bounds(&self, column: &str, data_type: &DataType) -> ColumnBounds {
        if data_type.is_nested() {
            return ColumnBounds::default();
        }
        let side = |values: &HashMap<String, Box<RawValue>>, upper: bool| {
            let text = values.get(column)?.get();
            let bound = (text != "null").then(|| self.bound(text, column, data_type, upper)).flatten()?;
            Some(Bound { exact: bound.exact && !self.loose, ..bound })
        };
        ColumnBounds {
            min: side(&self.min_values, false),
            max: side(&self.max_values, true),
            null_count: self.null_count.get(column).and_then(|raw| raw.get().parse().ok()),
        }
    }

    fn bound(&self, raw: &str, column: &str, data_type: &DataType, upper: bool) -> Option<Bound> {
        let ours = self.mark.is_some();
        let text = || serde_json::from_str::<Cow<'_, str>>(raw).ok();
        let whole = |value: Option<ScalarValue>| value.map(|value| Bound { value, exact: true });
        match data_type {
            DataType::Int8 => whole(raw.parse().ok().map(|v| ScalarValue::Int8(Some(v)))),
            DataType::Int16 => whole(raw.parse().ok().map(|v| ScalarValue::Int16(Some(v)))),
            DataType::Int32 => whole(raw.parse().ok().map(|v| ScalarValue::Int32(Some(v)))),
            DataType::Int64 => whole(raw.parse().ok().map(|v| ScalarValue::Int64(Some(v)))),
            DataType::Boolean => whole(raw.parse().ok().map(|v| ScalarValue::Boolean(Some(v)))),
            DataType::Date32 => whole(parse_date(&text()?).map(|v| ScalarValue::Date32(Some(v)))),
            DataType::Decimal128(precision, scale) => {
                let text = raw.trim_matches('"');
                let reliable = ours || text.bytes().filter(u8::is_ascii_digit).count() <= DOUBLE_DIGITS;
                whole(
                    parse_decimal(text, *precision, *scale)
                        .filter(|_| reliable)
                        .map(|v| ScalarValue::Decimal128(Some(v), *precision, *scale)),
                )
            }
            DataType::Utf8 => {
                let text = text()?.into_owned();
                let exact = match &self.mark {
                    Some(mark) => !mark.shortened.iter().any(|shortened| shortened == column),
                    None => text.len() < SHORTEST_TRUNCATION,
                };
                Some(Bound { value: ScalarValue::Utf8(Some(text)), exact })
            }
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                let micros = parse_timestamp(&text()?)?;
                let micros = if upper && !ours { micros.checked_add(MILLISECOND_REST)? } else { micros };
                Some(Bound { value: ScalarValue::TimestampMicrosecond(Some(micros), zone.clone()), exact: ours })
            }
            // NaN is greater than every number here, and other writers leave it out of the maximum.
            DataType::Float32 | DataType::Float64 if upper && !ours => None,
            DataType::Float32 => float_bound(raw, upper).map(|v| Bound { value: ScalarValue::Float32(Some(v as f32)), exact: false }),
            DataType::Float64 => float_bound(raw, upper).map(|v| Bound { value: ScalarValue::Float64(Some(v)), exact: false }),
            _ => None,
        }
    }
}

/// A float's bound; zero becomes the zero that bounds both zeros.
fn float_bound(raw: &str, upper: bool) -> Option<f64> {
    let value: f64 = raw.parse().ok().filter(|v: &f64| v.is_finite())?;
    Some(if value == 0.0 { if upper { 0.0 } else { -0.0 } } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

    fn exact(value: ScalarValue) -> Option<Bound> {
        Some(Bound { value, exact: true })
    }

    #[test]
    fn foreign_bounds_are_widened_and_rarely_exact() {
        let stats = FileStats::parse(
            r#"{"numRecords":3,"minValues":{"i":-1,"t":"2020-01-01T00:00:00.000","s":"short","d":1.50,"f":0.0,"l":"0123456789012345678901234567890123"},
               "maxValues":{"i":9,"t":"2020-01-01T00:00:00.000","d":12345678901234567.5,"f":3.5},"nullCount":{"i":1}}"#,
        );
        assert_eq!(stats.num_rows(), Some(3));
        let bounds = stats.bounds("i", &DataType::Int32);
        assert_eq!(
            (bounds.min, bounds.max, bounds.null_count),
            (exact(ScalarValue::Int32(Some(-1))), exact(ScalarValue::Int32(Some(9))), Some(1))
        );
        let time = stats.bounds("t", &MICROS);
        let start = 1_577_836_800_000_000;
        assert_eq!(time.min, Some(Bound { value: ScalarValue::TimestampMicrosecond(Some(start), None), exact: false }));
        assert_eq!(time.max, Some(Bound { value: ScalarValue::TimestampMicrosecond(Some(start + 999), None), exact: false }));
        assert!(stats.bounds("s", &DataType::Utf8).min.unwrap().exact);
        assert!(!stats.bounds("l", &DataType::Utf8).min.unwrap().exact);
        let decimal = stats.bounds("d", &DataType::Decimal128(20, 2));
        assert_eq!((decimal.min, decimal.max), (exact(ScalarValue::Decimal128(Some(150), 20, 2)), None));
        let float = stats.bounds("f", &DataType::Float64);
        assert_eq!(float.max, None);
        assert!(matches!(float.min.unwrap().value, ScalarValue::Float64(Some(v)) if v.is_sign_negative()));
    }

    #[test]
    fn own_bounds_are_exact_unless_marked() {
        let stats = FileStats::parse(
            r#"{"numRecords":1,"minValues":{"t":"2020-01-01T00:00:00.000001","s":"x","l":"y"},"maxValues":{"f":2.0},"nullCount":{},"orrery":{"shortened":["l"]}}"#,
        );
        assert!(stats.bounds("t", &MICROS).min.unwrap().exact);
        assert!(stats.bounds("s", &DataType::Utf8).min.unwrap().exact);
        assert!(!stats.bounds("l", &DataType::Utf8).min.unwrap().exact);
        assert!(stats.bounds("f", &DataType::Float32).max.is_some());
    }

    #[test]
    fn wide_bounds_and_garbage_claim_nothing() {
        let wide = FileStats::parse(r#"{"numRecords":5,"minValues":{"i":1},"nullCount":{"i":2},"tightBounds":false}"#);
        let bounds = wide.bounds("i", &DataType::Int64);
        assert!(bounds.null_count.is_none() && !bounds.min.unwrap().exact);
        assert_eq!(FileStats::parse("not json").num_rows(), None);
        assert_eq!(FileStats::parse(r#"{"numRecords":5,"minValues":{"i":"a"}}"#).bounds("i", &DataType::Int64), ColumnBounds::default());
    }
}
