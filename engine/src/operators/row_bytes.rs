//! How long rows are, of what an operator's expressions and batches say.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray as _, OffsetSizeTrait, RecordBatch};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{InListExpr, Literal};
use datafusion::physical_plan::ExecutionPlan;

/// Bytes of the literals in a node's expressions that may stand in each row. Those of `IN` lists never do.
pub(crate) fn literal_bytes(node: &Arc<dyn ExecutionPlan>) -> usize {
    let mut bytes = 0;
    // The closure does not fail.
    let _ = node.apply_expressions(&mut |expr| {
        bytes += literal_bytes_of(expr);
        Ok(TreeNodeRecursion::Continue)
    });
    bytes
}

fn literal_bytes_of(expr: &Arc<dyn PhysicalExpr>) -> usize {
    let mut bytes = 0;
    let _ = expr.apply(|expr| {
        if let Some(list) = expr.downcast_ref::<InListExpr>() {
            bytes += literal_bytes_of(list.expr());
            return Ok(TreeNodeRecursion::Jump);
        }
        if let Some(literal) = expr.downcast_ref::<Literal>() {
            bytes += literal.value().size().saturating_sub(size_of::<ScalarValue>());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    bytes
}

/// Bytes that a row of a batch takes at most where it is repeated. Views are repeated without what they point to.
pub(crate) fn longest_row(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(longest_value).sum()
}

/// Whether values of a type are copied whole when they are repeated, however long they are.
pub(crate) fn is_copied_whole(data_type: &DataType) -> bool {
    !data_type.is_primitive() && !matches!(data_type, DataType::Utf8View | DataType::BinaryView | DataType::Boolean | DataType::Null)
}

fn longest_value(column: &ArrayRef) -> usize {
    match column.data_type() {
        DataType::Utf8 => longest(column.as_string::<i32>().offsets()),
        DataType::LargeUtf8 => longest(column.as_string::<i64>().offsets()),
        DataType::Binary => longest(column.as_binary::<i32>().offsets()),
        DataType::LargeBinary => longest(column.as_binary::<i64>().offsets()),
        DataType::List(_) => longest(column.as_list::<i32>().offsets()).saturating_mul(mean(column.as_list::<i32>().values())),
        DataType::LargeList(_) => longest(column.as_list::<i64>().offsets()).saturating_mul(mean(column.as_list::<i64>().values())),
        data_type if is_copied_whole(data_type) => mean(column),
        _ => size_of::<u128>(),
    }
}

fn longest<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> usize {
    offsets.windows(2).map(|pair| pair[1].as_usize() - pair[0].as_usize()).max().unwrap_or(0)
}

fn mean(values: &ArrayRef) -> usize {
    values.get_array_memory_size().div_ceil(values.len().max(1))
}
