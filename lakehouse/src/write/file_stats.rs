//! A file's statistics for the log, from the Parquet footer that was just written: no second pass over the data. They never exclude a row that is there:
//! shortened strings are marked, and a float column with NaN gets no maximum.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, TimeUnit};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;

use super::spec::Leaf;
use crate::partition_value::{format_date, format_decimal, format_timestamp};
use crate::table::{EXACT_MARK, ExactMark};

/// Running bounds of a float column, which Parquet's own statistics cannot give: they leave NaN out, and it sorts last here.
#[derive(Debug, Default, Clone)]
pub(super) struct FloatBounds {
    min: Option<f64>,
    max: Option<f64>,
    has_nan: bool,
    nulls: u64,
}

impl FloatBounds {
    /// Takes a batch of the column into account.
    pub fn add(&mut self, array: &ArrayRef) {
        self.nulls += array.null_count() as u64;
        match array.data_type() {
            DataType::Float32 => self.add_values(array.as_primitive::<Float32Type>().iter().flatten().map(f64::from)),
            DataType::Float64 => self.add_values(array.as_primitive::<Float64Type>().iter().flatten()),
            _ => {}
        }
    }

    fn add_values(&mut self, values: impl Iterator<Item = f64>) {
        let (mut min, mut max) = (self.min.unwrap_or(f64::INFINITY), self.max.unwrap_or(f64::NEG_INFINITY));
        let mut any = self.min.is_some();
        for value in values {
            self.has_nan |= value.is_nan();
            any |= !value.is_nan();
            // NaN compares false and so changes neither.
            min = if value < min { value } else { min };
            max = if value > max { value } else { max };
        }
        if any {
            (self.min, self.max) = (Some(min), Some(max));
        }
    }
}

/// Statistics of one leaf, ready for JSON.
#[derive(Debug, Default)]
struct LeafStats {
    min: Option<String>,
    max: Option<String>,
    nulls: Option<u64>,
    shortened: bool,
}

/// The `stats` of an `add` action. `leaves` are the file's leaves in Parquet's order; those in `wanted` get statistics; `floats` are by leaf index.
pub(super) fn stats_json(metadata: &ParquetMetaData, leaves: &[Leaf], wanted: &[String], floats: &BTreeMap<usize, FloatBounds>) -> String {
    let (mut min, mut max, mut nulls) = (Tree::default(), Tree::default(), Tree::default());
    let mut mark = ExactMark::default();
    for (index, leaf) in leaves.iter().enumerate() {
        if leaf.repeated || !wanted.contains(&leaf.dotted()) {
            continue;
        }
        let stats = match floats.get(&index) {
            Some(bounds) => float_stats(bounds, &leaf.data_type),
            None => footer_stats(metadata, index, &leaf.data_type),
        };
        if stats.shortened {
            mark.shortened.push(leaf.dotted());
        }
        stats.min.into_iter().for_each(|text| min.insert(&leaf.path, text));
        stats.max.into_iter().for_each(|text| max.insert(&leaf.path, text));
        stats.nulls.into_iter().for_each(|count| nulls.insert(&leaf.path, count.to_string()));
    }
    let rows = metadata.file_metadata().num_rows();
    let mark = serde_json::to_string(&mark).unwrap_or_else(|_| "null".into());
    let mut text = format!("{{\"numRecords\":{rows},\"minValues\":");
    min.write(&mut text);
    text.push_str(",\"maxValues\":");
    max.write(&mut text);
    text.push_str(",\"nullCount\":");
    nulls.write(&mut text);
    text.push_str(&format!(",\"tightBounds\":true,\"{EXACT_MARK}\":{mark}}}"));
    text
}

fn float_stats(bounds: &FloatBounds, data_type: &DataType) -> LeafStats {
    let text = |value: f64| -> Option<String> {
        let json = match data_type {
            DataType::Float32 => serde_json::to_string(&(value as f32)),
            _ => serde_json::to_string(&value),
        };
        value.is_finite().then_some(json.ok()).flatten()
    };
    LeafStats {
        // An infinite bound has no JSON, and without it nothing is claimed.
        min: bounds.min.and_then(text),
        max: bounds.max.filter(|_| !bounds.has_nan).and_then(text),
        nulls: Some(bounds.nulls),
        shortened: false,
    }
}

fn footer_stats(metadata: &ParquetMetaData, column: usize, data_type: &DataType) -> LeafStats {
    let mut nulls = Some(0_u64);
    let (mut min, mut max) = (Extreme::new(false), Extreme::new(true));
    for group in metadata.row_groups() {
        let chunk = group.column(column);
        let statistics = chunk.statistics();
        let group_nulls = statistics.and_then(Statistics::null_count_opt);
        nulls = nulls.zip(group_nulls).map(|(sum, count)| sum + count);
        if group_nulls.is_some_and(|count| count >= u64::try_from(group.num_rows()).unwrap_or(0)) {
            continue;
        }
        min.add(statistics.and_then(|s| bound(s, data_type, false)));
        max.add(statistics.and_then(|s| bound(s, data_type, true)));
    }
    let (min, max) = (min.into_text(data_type), max.into_text(data_type));
    let shortened = [&min, &max].into_iter().flatten().any(|(_, exact)| !exact);
    LeafStats { min: min.map(|(text, _)| text), max: max.map(|(text, _)| text), nulls, shortened }
}

/// A bound in a form that orders like the column's values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    Number(i128),
    Text(String),
}

fn bound(statistics: &Statistics, data_type: &DataType, upper: bool) -> Option<(Value, bool)> {
    let number = |value: i128| Some((Value::Number(value), true));
    match statistics {
        Statistics::Int32(s) => number(i128::from(*if upper { s.max_opt()? } else { s.min_opt()? })),
        Statistics::Int64(s) => number(i128::from(*if upper { s.max_opt()? } else { s.min_opt()? })),
        Statistics::FixedLenByteArray(s) if matches!(data_type, DataType::Decimal128(..)) => {
            let bytes = if upper { s.max_opt()? } else { s.min_opt()? }.data();
            let exact = if upper { s.max_is_exact() } else { s.min_is_exact() };
            big_endian(bytes).filter(|_| exact).map(|value| (Value::Number(value), true))
        }
        Statistics::ByteArray(s) if matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8) => {
            let bytes = if upper { s.max_opt()? } else { s.min_opt()? }.data();
            let exact = if upper { s.max_is_exact() } else { s.min_is_exact() };
            Some((Value::Text(std::str::from_utf8(bytes).ok()?.to_string()), exact))
        }
        _ => None,
    }
}

fn big_endian(bytes: &[u8]) -> Option<i128> {
    let mut wide = [if bytes.first()? & 0x80 == 0 { 0 } else { 0xff }; 16];
    wide.get_mut(16_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(i128::from_be_bytes(wide))
}

/// The least or greatest bound over the row groups; unknown as soon as one of them is.
struct Extreme {
    upper: bool,
    best: Option<(Value, bool)>,
    unknown: bool,
}

impl Extreme {
    fn new(upper: bool) -> Self {
        Self { upper, best: None, unknown: false }
    }

    fn add(&mut self, bound: Option<(Value, bool)>) {
        let Some((value, exact)) = bound else {
            self.unknown = true;
            return;
        };
        match &mut self.best {
            Some((best, best_exact)) if *best == value => *best_exact |= exact,
            Some((best, _)) if (value > *best) != self.upper => {}
            best => *best = Some((value, exact)),
        }
    }

    /// The bound as JSON and whether the value occurs.
    fn into_text(self, data_type: &DataType) -> Option<(String, bool)> {
        let (value, exact) = self.best.filter(|_| !self.unknown)?;
        let quoted = |text: String| serde_json::to_string(&text).ok();
        let text = match (value, data_type) {
            (Value::Text(text), _) => quoted(text),
            (Value::Number(v), DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64) => Some(v.to_string()),
            (Value::Number(v), DataType::Date32) => format_date(i32::try_from(v).ok()?).and_then(quoted),
            (Value::Number(v), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
                format_timestamp(i64::try_from(v).ok()?, zone.is_some()).and_then(quoted)
            }
            (Value::Number(v), DataType::Decimal128(_, scale)) => Some(format_decimal(v, *scale)),
            _ => None,
        };
        text.map(|text| (text, exact))
    }
}

/// Statistics nested as the columns are, written as JSON without a detour through numbers that would lose digits.
#[derive(Default)]
struct Tree(BTreeMap<String, Node>);

enum Node {
    Leaf(String),
    Inner(Tree),
}

impl Tree {
    fn insert(&mut self, path: &[String], json: String) {
        let Some((first, rest)) = path.split_first() else { return };
        if rest.is_empty() {
            self.0.insert(first.clone(), Node::Leaf(json));
        } else if let Node::Inner(inner) = self.0.entry(first.clone()).or_insert_with(|| Node::Inner(Tree::default())) {
            inner.insert(rest, json);
        }
    }

    fn write(&self, text: &mut String) {
        text.push('{');
        for (index, (name, node)) in self.0.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&serde_json::Value::from(name.as_str()).to_string());
            text.push(':');
            match node {
                Node::Leaf(json) => text.push_str(json),
                Node::Inner(inner) => inner.write(text),
            }
        }
        text.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Float64Array;
    use std::sync::Arc;

    #[test]
    fn floats_with_nan_have_no_maximum() {
        let mut bounds = FloatBounds::default();
        bounds.add(&(Arc::new(Float64Array::from(vec![Some(2.5), None, Some(-1.0)])) as ArrayRef));
        let stats = float_stats(&bounds, &DataType::Float64);
        assert_eq!((stats.min.as_deref(), stats.max.as_deref(), stats.nulls), (Some("-1.0"), Some("2.5"), Some(1)));
        bounds.add(&(Arc::new(Float64Array::from(vec![f64::NAN])) as ArrayRef));
        let stats = float_stats(&bounds, &DataType::Float64);
        assert_eq!((stats.min.as_deref(), stats.max.as_deref()), (Some("-1.0"), None));
    }

    #[test]
    fn infinities_and_nothing_claim_nothing() {
        let mut bounds = FloatBounds::default();
        assert!(float_stats(&bounds, &DataType::Float64).min.is_none());
        bounds.add(&(Arc::new(Float64Array::from(vec![f64::NEG_INFINITY, 1.0])) as ArrayRef));
        let stats = float_stats(&bounds, &DataType::Float64);
        assert_eq!((stats.min.as_deref(), stats.max.as_deref()), (None, Some("1.0")));
    }

    #[test]
    fn decimals_keep_their_sign() {
        assert_eq!(big_endian(&[0xff, 0xfe]), Some(-2));
        assert_eq!(big_endian(&[0x00, 0xff]), Some(255));
        assert_eq!(big_endian(&[]), None);
    }

    #[test]
    fn extremes_keep_exactness_honest() {
        let mut max = Extreme::new(true);
        max.add(Some((Value::Text("m".into()), true)));
        max.add(Some((Value::Text("z".into()), false)));
        assert_eq!(max.into_text(&DataType::Utf8), Some(("\"z\"".into(), false)));
        let mut min = Extreme::new(false);
        min.add(Some((Value::Number(5), true)));
        min.add(None);
        assert_eq!(min.into_text(&DataType::Int32), None);
    }
}
