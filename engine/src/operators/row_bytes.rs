//! How long rows are: of what an operator's expressions say, and of what lies in its batches.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray as _, OffsetSizeTrait};
use datafusion::arrow::buffer::{Buffer, OffsetBuffer};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{BinaryExpr, CaseExpr, InListExpr, LikeExpr, Literal};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

/// Bytes of the longest texts and binary values of one array, whose offsets have 32 bits: more is refused before it is made.
const SHORT_OFFSETS_MAX: usize = i32::MAX as usize;
const VIEW_BYTES: usize = size_of::<u128>();

/// Whether texts that are views are repeated with what they point to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Views {
    /// As joins do.
    Shared,
    /// As functions do that put out values row by row.
    Copied,
}

/// Bytes of an expression's literals that stand in each row of its result or of what it is computed from. Those that values are compared with never do, and
/// of a `CASE` one at a time.
pub(crate) fn literal_bytes(expr: &Arc<dyn PhysicalExpr>) -> usize {
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        return literal.value().size().saturating_sub(size_of::<ScalarValue>());
    }
    if let Some(list) = expr.downcast_ref::<InListExpr>() {
        return compared(list.expr());
    }
    if let Some(case) = expr.downcast_ref::<CaseExpr>() {
        let conditions = case.when_then_expr().iter().map(|(when, _)| compared(when)).sum::<usize>() + case.expr().map_or(0, compared);
        let results = case.when_then_expr().iter().map(|(_, then)| then).chain(case.else_expr());
        return conditions + results.map(literal_bytes).max().unwrap_or(0);
    }
    let each = if is_condition(expr) { compared } else { literal_bytes };
    expr.children().into_iter().map(each).sum()
}

/// The same of a side of a comparison.
fn compared(side: &Arc<dyn PhysicalExpr>) -> usize {
    if side.is::<Literal>() { 0 } else { literal_bytes(side) }
}

fn is_condition(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let compares = |op: &Operator| {
        use Operator::*;
        matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | And | Or | IsDistinctFrom | IsNotDistinctFrom)
            || matches!(op, RegexMatch | RegexIMatch | RegexNotMatch | RegexNotIMatch)
            || matches!(op, LikeMatch | ILikeMatch | NotLikeMatch | NotILikeMatch)
    };
    expr.downcast_ref::<BinaryExpr>().is_some_and(|binary| compares(binary.op()))
        || expr.is::<LikeExpr>()
        || expr.downcast_ref::<ScalarFunctionExpr>().is_some_and(|call| *call.return_type() == DataType::Boolean)
}

/// Whether values of a type may be of any length.
pub(crate) fn is_of_any_length(data_type: &DataType) -> bool {
    !data_type.is_primitive() && !matches!(data_type, DataType::Boolean | DataType::Null | DataType::FixedSizeBinary(_))
}

/// Whether values of a type are copied whole when a join repeats them, however long they are.
pub(crate) fn is_copied_whole(data_type: &DataType) -> bool {
    is_of_any_length(data_type) && !matches!(data_type, DataType::Utf8View | DataType::BinaryView | DataType::Dictionary(..))
}

/// Bytes of a column whose rows all have the longest value of this one.
pub(crate) fn repeated_bytes(column: &ArrayRef, rows: usize, views: Views) -> usize {
    let bytes = longest_value(column, views).saturating_mul(rows);
    if matches!(column.data_type(), DataType::Utf8 | DataType::Binary) { bytes.min(SHORT_OFFSETS_MAX) } else { bytes }
}

/// Bytes of a column's longest value.
pub(crate) fn longest_value(column: &ArrayRef, views: Views) -> usize {
    match column.data_type() {
        DataType::Utf8 => longest(column.as_string::<i32>().offsets()),
        DataType::LargeUtf8 => longest(column.as_string::<i64>().offsets()),
        DataType::Binary => longest(column.as_binary::<i32>().offsets()),
        DataType::LargeBinary => longest(column.as_binary::<i64>().offsets()),
        data_type if is_of_any_length(data_type) => {
            (0..column.len()).map(|row| bytes_between(column, row, row + 1, views)).max().unwrap_or(0)
        }
        _ => bytes_between(column, 0, column.len().min(1), views),
    }
}

/// Elements of a column's longest list; nothing of other columns.
pub(crate) fn longest_elements(column: &ArrayRef) -> usize {
    match column.data_type() {
        DataType::List(_) => longest(column.as_list::<i32>().offsets()),
        DataType::LargeList(_) => longest(column.as_list::<i64>().offsets()),
        DataType::FixedSizeList(_, size) => usize::try_from(*size).unwrap_or(0),
        _ => 0,
    }
}

fn longest<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> usize {
    offsets.windows(2).map(|pair| pair[1].as_usize() - pair[0].as_usize()).max().unwrap_or(0)
}

/// Bytes of the values at `from..to`.
pub(crate) fn bytes_between(values: &ArrayRef, from: usize, to: usize, views: Views) -> usize {
    let rows = to.saturating_sub(from);
    if rows == 0 {
        return 0;
    }
    let lengths = |all: &[u128]| match views {
        Views::Shared => 0,
        Views::Copied => all[from..to].iter().map(|view| *view as u32 as usize).sum(),
    };
    match values.data_type() {
        DataType::Utf8 => between(values.as_string::<i32>().offsets(), from, to, |_, _| 0),
        DataType::LargeUtf8 => between(values.as_string::<i64>().offsets(), from, to, |_, _| 0),
        DataType::Binary => between(values.as_binary::<i32>().offsets(), from, to, |_, _| 0),
        DataType::LargeBinary => between(values.as_binary::<i64>().offsets(), from, to, |_, _| 0),
        DataType::Utf8View => rows * VIEW_BYTES + lengths(values.as_string_view().views()),
        DataType::BinaryView => rows * VIEW_BYTES + lengths(values.as_binary_view().views()),
        DataType::List(_) => {
            let list = values.as_list::<i32>();
            between(list.offsets(), from, to, |from, to| bytes_between(list.values(), from, to, views))
        }
        DataType::LargeList(_) => {
            let list = values.as_list::<i64>();
            between(list.offsets(), from, to, |from, to| bytes_between(list.values(), from, to, views))
        }
        DataType::Map(..) => {
            let map = values.as_map();
            let entries = |from, to| map.entries().columns().iter().map(|column| bytes_between(column, from, to, views)).sum();
            between(map.offsets(), from, to, entries)
        }
        DataType::FixedSizeList(_, size) => {
            let size = usize::try_from(*size).unwrap_or(0);
            bytes_between(values.as_fixed_size_list().values(), from * size, to * size, views)
        }
        DataType::Struct(_) => values.as_struct().columns().iter().map(|column| bytes_between(column, from, to, views)).sum(),
        DataType::Dictionary(key, _) => rows * key.primitive_width().unwrap_or(0),
        DataType::FixedSizeBinary(size) => rows * usize::try_from(*size).unwrap_or(0),
        DataType::Boolean => rows.div_ceil(8),
        DataType::Null => 0,
        other => match other.primitive_width() {
            Some(width) => rows * width,
            None => values.get_array_memory_size() / values.len().max(1) * rows,
        },
    }
}

/// Bytes of offsets and of what lies between them: in bytes, or in elements whose bytes are told by `elements`.
fn between<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>, from: usize, to: usize, elements: impl Fn(usize, usize) -> usize) -> usize {
    let (first, last) = (offsets[from].as_usize(), offsets[to].as_usize());
    let own = (to - from) * size_of::<O>();
    let within = elements(first, last);
    own + if within > 0 { within } else { last - first }
}

/// Bytes of the buffers that the views of an array point to, as far as they are not among those that have been counted.
pub(crate) fn buffers_of_views(values: &ArrayRef, counted: &mut HashSet<usize>) -> usize {
    let mut buffers =
        |all: &[Buffer]| -> usize { all.iter().filter(|buffer| counted.insert(buffer.as_ptr() as usize)).map(Buffer::len).sum() };
    match values.data_type() {
        DataType::Utf8View => buffers(values.as_string_view().data_buffers()),
        DataType::BinaryView => buffers(values.as_binary_view().data_buffers()),
        DataType::List(_) => buffers_of_views(values.as_list::<i32>().values(), counted),
        DataType::LargeList(_) => buffers_of_views(values.as_list::<i64>().values(), counted),
        DataType::FixedSizeList(..) => buffers_of_views(values.as_fixed_size_list().values(), counted),
        DataType::Map(..) => values.as_map().entries().columns().iter().map(|column| buffers_of_views(column, counted)).sum(),
        DataType::Struct(_) => values.as_struct().columns().iter().map(|column| buffers_of_views(column, counted)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{FixedSizeListArray, ListArray, RecordBatch, StringArray, StringViewArray, StructArray};
    use datafusion::arrow::datatypes::{Float32Type, Int64Type};

    use super::*;

    #[test]
    fn of_slices_only_what_is_there_is_counted() {
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some((0..1000).map(Some).collect::<Vec<_>>()),
            None,
            Some(vec![Some(1), Some(2)]),
        ]));
        let vectors = (0..3).map(|_| Some(vec![Some(0.5_f32); 8]));
        let vectors: ArrayRef = Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 8));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(500), String::new(), "yz".to_string()]));
        let batch = RecordBatch::try_from_iter([("l", Arc::clone(&lists)), ("t", Arc::clone(&texts))]).unwrap();
        let rows: ArrayRef = Arc::new(StructArray::from(batch));
        for (column, longest, of_last) in [(&lists, 8004, 20), (&vectors, 32, 32), (&texts, 500, 2), (&rows, 8004 + 504, 20 + 6)] {
            assert_eq!(longest_value(column, Views::Shared), longest, "{}", column.data_type());
            assert_eq!(longest_value(&column.slice(2, 1), Views::Shared), of_last, "{}", column.data_type());
            assert_eq!(longest_value(&column.slice(0, 0), Views::Shared), 0);
        }
        assert_eq!(repeated_bytes(&texts, usize::MAX, Views::Shared), SHORT_OFFSETS_MAX);
    }

    #[test]
    fn of_views_what_they_point_to_is_counted_once_or_where_it_is_copied() {
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec!["x".repeat(500), "y".repeat(20)]));
        assert_eq!(longest_value(&texts, Views::Shared), 16);
        assert_eq!(longest_value(&texts, Views::Copied), 516);
        let mut counted = HashSet::new();
        let all = buffers_of_views(&texts, &mut counted);
        assert!(all >= 520, "{all}");
        assert_eq!(buffers_of_views(&texts.slice(1, 1), &mut counted), 0);
    }
}
