//! `count`: DataFusion's, except that grouped `count(DISTINCT x)` keeps all groups in one table.
//!
//! The name and everything that rewrites and statistics ask for are DataFusion's own, so every optimisation of `count`
//! keeps working; only the accumulator differs.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::count::Count as DataFusionCount;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature, StatisticsArgs,
};

use super::distinct_count::{DistinctCount, value_type};

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Count {
    inner: DataFusionCount,
}

impl Default for Count {
    fn default() -> Self {
        Self::new()
    }
}

impl Count {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { inner: DataFusionCount::new() }
    }
}

/// True for the one case that is counted here.
fn is_grouped_distinct(args: &AccumulatorArgs) -> bool {
    args.is_distinct
        && match args.expr_fields {
            [field] => RowConverter::supports_fields(&[SortField::new(value_type(field.data_type()).clone())]),
            _ => false,
        }
}

impl AggregateUDFImpl for Count {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, acc_args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(acc_args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        is_grouped_distinct(&args) || self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        if is_grouped_distinct(&args) {
            return Ok(Box::new(DistinctCount::try_new(args.expr_fields[0].data_type())?));
        }
        self.inner.create_groups_accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn value_from_stats(&self, statistics_args: &StatisticsArgs) -> Option<ScalarValue> {
        self.inner.value_from_stats(statistics_args)
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.set_monotonicity(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// `count` as a shared function object.
pub fn count_udaf() -> Arc<datafusion::logical_expr::AggregateUDF> {
    Arc::new(datafusion::logical_expr::AggregateUDF::new_from_impl(Count::new()))
}
