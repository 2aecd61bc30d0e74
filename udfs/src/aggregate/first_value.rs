//! `first_value` and `last_value`: DataFusion's semantics with a grouped accumulator whose cost per row does not grow with
//! the number of groups, and which keeps strings without an allocation per group.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::functions_aggregate::first_last::{FirstValue, LastValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF, Signature};

use super::best_of_group::{BestOfGroup, Wanted};

static FIRST_VALUE: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| Arc::new(AggregateUDF::new_from_impl(EndOfGroup::new(Wanted::First))));
static LAST_VALUE: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| Arc::new(AggregateUDF::new_from_impl(EndOfGroup::new(Wanted::Last))));
static FIRST_ROW: LazyLock<Arc<AggregateUDF>> =
    LazyLock::new(|| Arc::new(AggregateUDF::new_from_impl(EndOfGroup { has_rows: true, ..EndOfGroup::new(Wanted::First) })));
/// DataFusion's functions, asked for everything that is not the grouped accumulator.
static PLAIN_FIRST_VALUE: LazyLock<FirstValue> = LazyLock::new(FirstValue::new);
static PLAIN_LAST_VALUE: LazyLock<LastValue> = LazyLock::new(LastValue::new);

/// `first_value(x [ORDER BY …])`.
pub fn first_value_udaf() -> Arc<AggregateUDF> {
    Arc::clone(&FIRST_VALUE)
}

/// `last_value(x [ORDER BY …])`.
pub fn last_value_udaf() -> Arc<AggregateUDF> {
    Arc::clone(&LAST_VALUE)
}

/// `first_value` for groups that are known to have a row: its result can be null only if its argument can. For plans that
/// the planner makes, not for SQL.
pub fn first_row_udaf() -> Arc<AggregateUDF> {
    Arc::clone(&FIRST_ROW)
}

/// Either of the two functions. Where rows are tied for an end of the ordering, any of them may give the value: only a
/// total ordering gives the same answer on every partitioning.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct EndOfGroup {
    wanted: Wanted,
    /// The input already comes in the order asked for.
    is_input_ordered: bool,
    /// Every group has a row that is not filtered out.
    has_rows: bool,
}

impl EndOfGroup {
    fn new(wanted: Wanted) -> Self {
        Self { wanted, is_input_ordered: false, has_rows: false }
    }

    fn plain(&self) -> &'static dyn AggregateUDFImpl {
        match self.wanted {
            Wanted::First => &*PLAIN_FIRST_VALUE,
            Wanted::Last => &*PLAIN_LAST_VALUE,
        }
    }
}

impl AggregateUDFImpl for EndOfGroup {
    fn name(&self) -> &str {
        self.plain().name()
    }

    fn signature(&self) -> &Signature {
        self.plain().signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.plain().return_type(arg_types)
    }

    fn return_field(&self, arg_fields: &[FieldRef]) -> Result<FieldRef> {
        if self.has_rows
            && let [argument] = arg_fields
        {
            return Ok(Arc::new(argument.as_ref().clone().with_name(self.name())));
        }
        self.plain().return_field(arg_fields)
    }

    fn accumulator(&self, acc_args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if !self.is_input_ordered {
            return self.plain().accumulator(acc_args);
        }
        let ordered = match self.wanted {
            Wanted::First => Arc::new(FirstValue::new()).with_beneficial_ordering(true)?,
            Wanted::Last => Arc::new(LastValue::new()).with_beneficial_ordering(true)?,
        };
        match ordered {
            Some(function) => function.accumulator(acc_args),
            None => self.plain().accumulator(acc_args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.plain().state_fields(args)
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(BestOfGroup::of_call(&args, self.wanted)?))
    }

    fn with_beneficial_ordering(self: Arc<Self>, beneficial_ordering: bool) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(Arc::new(Self { is_input_ordered: beneficial_ordering, wanted: self.wanted, has_rows: self.has_rows })))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.plain().order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Reversed(match self.wanted {
            Wanted::First => last_value_udaf(),
            Wanted::Last => first_value_udaf(),
        })
    }

    fn supports_null_handling_clause(&self) -> bool {
        true
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.plain().documentation()
    }
}
