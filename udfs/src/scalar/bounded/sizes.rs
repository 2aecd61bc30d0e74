//! How many bytes a function's result has, told from its arguments. Nulls and arguments of a type that the function refuses count nothing.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::kernels::length::length;
use arrow::compute::{cast, cast_with_options};
use arrow::datatypes::{DataType, Field, Int64Type, IntervalMonthDayNanoType};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF};
use datafusion::{functions, functions_nested};

const NANOSECONDS_PER_DAY: i128 = 86_400_000_000_000;
/// Of the shortest month, so that no series is longer than it is thought to be.
const DAYS_PER_MONTH: i128 = 28;

/// Bytes of a number, a time or the like as a text, at most.
const VALUE_AS_TEXT_BYTES: u64 = 48;

/// `repeat(text, n)`.
pub(super) fn repeat(args: &ScalarFunctionArgs) -> Result<u64> {
    let (texts, times) = (lengths(&args.args[0])?, integers(&args.args[1])?);
    Ok(over_rows(args, |row| texts.at(row).saturating_mul(times.at(row))))
}

/// `lpad(text, n [, fill])` and `rpad`: a character may have four bytes.
pub(super) fn pad(args: &ScalarFunctionArgs) -> Result<u64> {
    let widths = integers(&args.args[1])?;
    let fills = args.args.get(2).map(lengths).transpose()?;
    let bytes_per_character = |row| fills.as_ref().map_or(1, |fills| fills.at(row).clamp(1, 4));
    Ok(over_rows(args, |row| widths.at(row).saturating_mul(bytes_per_character(row))))
}

/// `replace(text, from, to)`: matches are counted only where as many as there could be would be too much.
pub(super) fn replace(args: &ScalarFunctionArgs) -> Result<u64> {
    let [texts, from, to] = args.args.as_slice() else { return Ok(0) };
    let (lengths_of_texts, lengths_from, lengths_to) = (lengths(texts)?, lengths(from)?, lengths(to)?);
    let with_matches = |row, matches: u64| lengths_of_texts.at(row).saturating_add(matches.saturating_mul(lengths_to.at(row)));
    let most = over_rows(args, |row| {
        let matches = lengths_of_texts.at(row).checked_div(lengths_from.at(row));
        with_matches(row, matches.unwrap_or(lengths_of_texts.at(row) + 1))
    });
    if most <= super::LARGEST_RESULT_BYTES {
        return Ok(most);
    }
    let (texts, from) = (Texts::new(texts)?, Texts::new(from)?);
    Ok(over_rows(args, |row| match (texts.at(row), from.at(row)) {
        (Some(text), Some(from)) => with_matches(row, text.matches(from).count() as u64),
        _ => 0,
    }))
}

/// `regexp_replace(text, pattern, to [, flags])`: matches are counted only where as many as there could be would be too much.
pub(super) fn regexp_replace(args: &ScalarFunctionArgs) -> Result<u64> {
    let [texts, pattern, to, flags @ ..] = args.args.as_slice() else { return Ok(0) };
    let (lengths_of_texts, replacements) = (lengths(texts)?, Texts::new(to)?);
    let with_matches = |row, matches: u64| {
        let text: u64 = lengths_of_texts.at(row);
        let to = replacements.at(row).unwrap_or_default();
        // What a part of the pattern matches is, over all matches, no longer than the text.
        let references = to.matches(['\\', '$']).count() as u64;
        text.saturating_mul(references + 1).saturating_add(matches.saturating_mul(to.len() as u64))
    };
    let most = over_rows(args, |row| with_matches(row, lengths_of_texts.at(row) + 1));
    if most <= super::LARGEST_RESULT_BYTES {
        return Ok(most);
    }
    let flags = match flags {
        [] => String::new(),
        [ColumnarValue::Scalar(flags)] => flags.try_as_str().flatten().unwrap_or_default().to_string(),
        _ => return Ok(most),
    };
    if !flags.contains('g') {
        return Ok(over_rows(args, |row| with_matches(row, 1)));
    }
    let flags = ScalarValue::Utf8(Some(flags.replace('g', ""))).cast_to(&texts.data_type())?;
    let of = vec![texts.clone(), pattern.clone(), ColumnarValue::Scalar(ScalarValue::Int64(Some(1))), ColumnarValue::Scalar(flags)];
    let matches = integers(&computed(&functions::regex::regexp_count(), of, DataType::Int64, args)?)?;
    Ok(over_rows(args, |row| with_matches(row, matches.at(row))))
}

/// `concat(text, …)`, `a || b`, and `concat_ws(separator, text, …)`, whose separator stands no more often than there are texts.
pub(super) fn texts(args: &ScalarFunctionArgs) -> Result<u64> {
    let lengths = args.args.iter().map(lengths).collect::<Result<Vec<_>>>()?;
    Ok(over_rows(args, |row| lengths.iter().fold(0, |sum: u64, lengths| sum.saturating_add(lengths.at(row)))))
}

/// See [`texts`].
pub(super) fn separated_texts(args: &ScalarFunctionArgs) -> Result<u64> {
    let Some((separator, rest)) = args.args.split_first() else { return Ok(0) };
    let (separators, rest) = (lengths(separator)?, rest.iter().map(lengths).collect::<Result<Vec<_>>>()?);
    Ok(over_rows(args, |row| {
        let between = separators.at(row).saturating_mul(rest.len() as u64);
        rest.iter().fold(between, |sum: u64, lengths| sum.saturating_add(lengths.at(row)))
    }))
}

/// `struct(x, …)`: holds its arguments as they are.
pub(super) fn nothing(_: &ScalarFunctionArgs) -> Result<u64> {
    Ok(0)
}

/// `make_array(x, …)`, `array_concat(array, …)` and the like: all that they are given, once.
pub(super) fn all_arguments(args: &ScalarFunctionArgs) -> Result<u64> {
    let per_row = args.args.iter().map(bytes_per_row).collect::<Result<Vec<_>>>()?;
    let sum = per_row.into_iter().fold(0, u64::saturating_add);
    Ok(over_rows(args, |_| sum))
}

/// `array_repeat(element, n)`.
pub(super) fn array_repeat(args: &ScalarFunctionArgs) -> Result<u64> {
    let (element_bytes, times) = (bytes_per_row(&args.args[0])?, integers(&args.args[1])?);
    Ok(over_rows(args, |row| times.at(row).saturating_mul(element_bytes)))
}

/// `array_resize(array, n [, element])`.
pub(super) fn array_resize(args: &ScalarFunctionArgs) -> Result<u64> {
    let sizes = integers(&args.args[1])?;
    let element_bytes = match args.args.get(2) {
        Some(element) => bytes_per_row(element)?,
        None => 8,
    };
    Ok(over_rows(args, |row| sizes.at(row).saturating_mul(element_bytes)))
}

/// `array_replace_all(array, from, to)` and `array_replace_n`: matches are counted only where as many as there are elements would be too much.
pub(super) fn array_replace(args: &ScalarFunctionArgs) -> Result<u64> {
    let [arrays, from, to, ..] = args.args.as_slice() else { return Ok(0) };
    let (array_bytes, to_bytes, all) = (bytes_per_row(arrays)?, bytes_per_row(to)?, lengths(arrays)?);
    let with_matches = |matches: u64| array_bytes.saturating_add(matches.saturating_mul(to_bytes));
    let most = over_rows(args, |row| with_matches(all.at(row)));
    if most <= super::LARGEST_RESULT_BYTES {
        return Ok(most);
    }
    let removal = functions_nested::remove::array_remove_all_udf();
    let rest = lengths(&computed(&removal, vec![arrays.clone(), from.clone()], arrays.data_type(), args)?)?;
    Ok(over_rows(args, |row| with_matches(all.at(row).saturating_sub(rest.at(row)))))
}

/// `array_to_string(array, delimiter [, null])`: the elements as text, and what stands between them and for those that are missing.
pub(super) fn array_to_string(args: &ScalarFunctionArgs) -> Result<u64> {
    let Some((arrays, texts)) = args.args.split_first() else { return Ok(0) };
    let (values, _) = column(arrays)?;
    let (elements, bytes) = as_texts(&values)?;
    let per_row = |sum: u64| sum.div_ceil(values.len().max(1) as u64);
    let (elements, bytes, texts) = (per_row(elements), per_row(bytes), texts.iter().map(lengths).collect::<Result<Vec<_>>>()?);
    Ok(over_rows(args, |row| {
        let between = texts.iter().fold(0, |sum: u64, text| sum.saturating_add(text.at(row)));
        bytes.saturating_add(elements.saturating_mul(between))
    }))
}

/// How many elements lists have that are none themselves, and how long they are as texts.
fn as_texts(values: &ArrayRef) -> Result<(u64, u64)> {
    let within = |inner: &ArrayRef, first: usize, last: usize| as_texts(&inner.slice(first, last - first));
    let elements = values.len() as u64;
    match values.data_type() {
        DataType::List(_) => {
            let list = values.as_list::<i32>();
            within(list.values(), list.offsets()[0] as usize, list.offsets()[list.len()] as usize)
        }
        DataType::LargeList(_) => {
            let list = values.as_list::<i64>();
            within(list.values(), list.offsets()[0] as usize, list.offsets()[list.len()] as usize)
        }
        DataType::FixedSizeList(..) => as_texts(values.as_fixed_size_list().values()),
        data_type if data_type.is_string() => {
            let lengths = cast(&length(values)?, &DataType::Int64)?;
            let bytes = lengths.as_primitive::<Int64Type>().iter().flatten().sum::<i64>();
            Ok((elements, u64::try_from(bytes).unwrap_or(0)))
        }
        _ => Ok((elements, elements.saturating_mul(VALUE_AS_TEXT_BYTES))),
    }
}

/// What another function makes of some of the arguments.
fn computed(function: &ScalarUDF, of: Vec<ColumnarValue>, makes: DataType, args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let fields = of.iter().enumerate().map(|(i, value)| Arc::new(Field::new(i.to_string(), value.data_type(), true)));
    function.invoke_with_args(ScalarFunctionArgs {
        arg_fields: fields.collect(),
        args: of,
        number_rows: args.number_rows,
        return_field: Arc::new(Field::new("computed", makes, true)),
        config_options: Arc::clone(&args.config_options),
    })
}

/// `range([start,] stop [, step])` and `generate_series`: of whole numbers, days and timestamps.
pub(super) fn range(args: &ScalarFunctionArgs) -> Result<u64> {
    let (start, stop, step) = match args.args.as_slice() {
        [stop] => (None, stop, None),
        [start, stop] => (Some(start), stop, None),
        [start, stop, step] => (Some(start), stop, Some(step)),
        _ => return Ok(0),
    };
    let start = start.map(Ticks::new).transpose()?;
    let (stop, step) = (Ticks::new(stop)?, step.map(Ticks::new).transpose()?);
    Ok(over_rows(args, |row| {
        let start = start.as_ref().map_or(Some(0), |start| start.at(row));
        let step = step.as_ref().map_or(Some(1), |step| step.at(row));
        match (start, stop.at(row), step) {
            // What leads away from its end is empty, and a step of 0 is refused.
            (Some(start), Some(stop), Some(step)) if step != 0 && (stop >= start) == (step > 0) => {
                let values = ((stop - start) / step).unsigned_abs().saturating_add(1);
                u64::try_from(values).unwrap_or(u64::MAX).saturating_mul(8)
            }
            _ => 0,
        }
    }))
}

/// Sums over the rows of a batch; over one where all arguments are literals.
fn over_rows(args: &ScalarFunctionArgs, bytes: impl Fn(usize) -> u64) -> u64 {
    let rows = if args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) { 1 } else { args.number_rows };
    (0..rows).fold(0, |sum: u64, row| sum.saturating_add(bytes(row)))
}

/// A column of one row for a literal, which stands for all rows.
fn column(argument: &ColumnarValue) -> Result<(ArrayRef, bool)> {
    Ok(match argument {
        ColumnarValue::Array(column) => (column.clone(), false),
        ColumnarValue::Scalar(value) => (value.to_array()?, true),
    })
}

/// Counts of each row, of which nulls and what is negative are 0.
struct Counts {
    values: ArrayRef,
    literal: bool,
}

impl Counts {
    fn at(&self, row: usize) -> u64 {
        let values = self.values.as_primitive::<Int64Type>();
        let row = if self.literal { 0 } else { row };
        if values.is_valid(row) { u64::try_from(values.value(row)).unwrap_or(0) } else { 0 }
    }
}

fn integers(argument: &ColumnarValue) -> Result<Counts> {
    let (values, literal) = column(argument)?;
    // What does not fit is null, and refused by the function.
    Ok(Counts { values: cast_with_options(&values, &DataType::Int64, &Default::default())?, literal })
}

/// Bytes of texts and binary values, elements of lists.
fn lengths(argument: &ColumnarValue) -> Result<Counts> {
    let (values, literal) = column(argument)?;
    let data_type = values.data_type();
    let is_list = matches!(data_type, DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..));
    let values = if is_list || data_type.is_string() || data_type.is_binary() {
        length(&values)?
    } else {
        ScalarValue::Int64(None).to_array_of_size(values.len())?
    };
    Ok(Counts { values: cast(&values, &DataType::Int64)?, literal })
}

/// Bytes that a row takes on average, at least one.
fn bytes_per_row(argument: &ColumnarValue) -> Result<u64> {
    let (values, _) = column(argument)?;
    Ok(bytes_of_slice(&values)?.div_ceil(values.len().max(1)).max(1) as u64)
}

/// Bytes of the rows that an array has, of which Arrow's own measure counts all that lists were cut from.
pub(super) fn bytes_of_slice(values: &ArrayRef) -> Result<usize> {
    let within = |inner: ArrayRef, offsets: &[usize]| -> Result<usize> {
        let (first, last) = (offsets.first().copied().unwrap_or(0), offsets.last().copied().unwrap_or(0));
        Ok(bytes_of_slice(&inner.slice(first, last - first))? + size_of_val(offsets))
    };
    match values.data_type() {
        DataType::List(_) => {
            let list = values.as_list::<i32>();
            within(Arc::clone(list.values()), &list.offsets().iter().map(|offset| *offset as usize).collect::<Vec<_>>())
        }
        DataType::LargeList(_) => {
            let list = values.as_list::<i64>();
            within(Arc::clone(list.values()), &list.offsets().iter().map(|offset| *offset as usize).collect::<Vec<_>>())
        }
        DataType::Map(..) => {
            let map = values.as_map();
            within(Arc::new(map.entries().clone()), &map.offsets().iter().map(|offset| *offset as usize).collect::<Vec<_>>())
        }
        DataType::FixedSizeList(..) => bytes_of_slice(values.as_fixed_size_list().values()),
        DataType::Struct(_) => values.as_struct().columns().iter().try_fold(0, |sum, column| Ok(sum + bytes_of_slice(column)?)),
        DataType::Utf8View => Ok(values.as_string_view().views().iter().map(|view| size_of::<u128>() + (*view as u32 as usize)).sum()),
        DataType::BinaryView => Ok(values.as_binary_view().views().iter().map(|view| size_of::<u128>() + (*view as u32 as usize)).sum()),
        // The values may be those of all batches.
        DataType::Dictionary(..) => Ok(values.as_any_dictionary().keys().to_data().get_slice_memory_size()?),
        _ => Ok(values.to_data().get_slice_memory_size()?),
    }
}

/// Texts of each row.
struct Texts {
    values: ArrayRef,
    literal: bool,
}

impl Texts {
    fn new(argument: &ColumnarValue) -> Result<Self> {
        let (values, literal) = column(argument)?;
        Ok(Self { values: cast(&values, &DataType::LargeUtf8)?, literal })
    }

    fn at(&self, row: usize) -> Option<&str> {
        let values = self.values.as_string::<i64>();
        let row = if self.literal { 0 } else { row };
        values.is_valid(row).then(|| values.value(row))
    }
}

/// Whole numbers, or nanoseconds of days, timestamps and intervals.
struct Ticks {
    values: ArrayRef,
    literal: bool,
    per_value: i128,
}

impl Ticks {
    fn new(argument: &ColumnarValue) -> Result<Self> {
        use arrow::datatypes::{IntervalUnit, TimeUnit};
        let (values, literal) = column(argument)?;
        let (values, per_value) = match values.data_type() {
            DataType::Interval(IntervalUnit::MonthDayNano) => return Ok(Self { values, literal, per_value: 1 }),
            DataType::Interval(_) => (cast(&values, &DataType::Interval(IntervalUnit::MonthDayNano))?, 1),
            DataType::Date32 => (cast(&cast(&values, &DataType::Int32)?, &DataType::Int64)?, NANOSECONDS_PER_DAY),
            DataType::Date64 => (cast(&values, &DataType::Int64)?, 1_000_000),
            DataType::Timestamp(unit, _) => {
                let nanoseconds = match unit {
                    TimeUnit::Second => 1_000_000_000,
                    TimeUnit::Millisecond => 1_000_000,
                    TimeUnit::Microsecond => 1000,
                    TimeUnit::Nanosecond => 1,
                };
                (cast(&values, &DataType::Int64)?, nanoseconds)
            }
            _ => (cast_with_options(&values, &DataType::Int64, &Default::default())?, 1),
        };
        Ok(Self { values, literal, per_value })
    }

    fn at(&self, row: usize) -> Option<i128> {
        let row = if self.literal { 0 } else { row };
        if !self.values.is_valid(row) {
            return None;
        }
        if let Some(intervals) = self.values.as_primitive_opt::<IntervalMonthDayNanoType>() {
            let interval = intervals.value(row);
            let days = i128::from(interval.months) * DAYS_PER_MONTH + i128::from(interval.days);
            return Some(days * NANOSECONDS_PER_DAY + i128::from(interval.nanoseconds));
        }
        Some(i128::from(self.values.as_primitive::<Int64Type>().value(row)) * self.per_value)
    }
}
