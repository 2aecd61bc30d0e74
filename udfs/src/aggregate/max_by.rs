//! `max_by(x, y)` and `min_by(x, y)`: the value of `x` in the row of the group where `y` is greatest or smallest.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, DocSection, Documentation, GroupsAccumulator, Signature, Volatility};

use super::best_of_group::{BestOfGroup, Wanted};
use super::one_group::OneGroup;

const SECTION: DocSection = DocSection { include: true, label: "General Functions", description: None };

static MAX_BY: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Returns the value of the first argument in the row where the second is greatest. Rows where the second is NULL take \
         no part; among rows with equal greatest values any may give the result.",
        "max_by(expression, ordering)",
    )
    .with_sql_example("```sql\n> SELECT max_by(name, score) AS best FROM (VALUES ('a', 1), ('b', 3), ('c', 2)) AS t(name, score);\n+------+\n| best |\n+------+\n| b    |\n+------+\n```")
    .with_argument("expression", "The value to return, of any type.")
    .with_argument("ordering", "What is compared, of any type that can be ordered.")
    .with_related_udf("min_by")
    .build()
});

static MIN_BY: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        SECTION,
        "Returns the value of the first argument in the row where the second is smallest. Rows where the second is NULL take \
         no part; among rows with equal smallest values any may give the result.",
        "min_by(expression, ordering)",
    )
    .with_sql_example("```sql\n> SELECT min_by(name, score) AS worst FROM (VALUES ('a', 1), ('b', 3), ('c', 2)) AS t(name, score);\n+-------+\n| worst |\n+-------+\n| a     |\n+-------+\n```")
    .with_argument("expression", "The value to return, of any type.")
    .with_argument("ordering", "What is compared, of any type that can be ordered.")
    .with_related_udf("max_by")
    .build()
});

/// Either of the two functions.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ByOrder {
    signature: Signature,
    wanted: Wanted,
}

impl ByOrder {
    /// `max_by`.
    pub fn max_by() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable), wanted: Wanted::Last }
    }

    /// `min_by`.
    pub fn min_by() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable), wanted: Wanted::First }
    }

    fn best(&self, args: &AccumulatorArgs) -> Result<BestOfGroup> {
        BestOfGroup::by_one_key(args.return_field.data_type(), args.expr_fields[1].data_type(), self.wanted)
    }
}

impl AggregateUDFImpl for ByOrder {
    fn name(&self) -> &str {
        match self.wanted {
            Wanted::First => "min_by",
            Wanted::Last => "max_by",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let [_, key] = arg_types else {
            return plan_err!("{} takes a value and what to order by, not {} arguments", self.name(), arg_types.len());
        };
        if !RowConverter::supports_fields(&[SortField::new(key.clone())]) {
            return plan_err!("{}: argument 2 of type {key} cannot be ordered", self.name());
        }
        Ok(arg_types.to_vec())
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        Ok(arg_types[0].clone())
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![
            Arc::new(Field::new(format_state_name(args.name, "value"), args.input_fields[0].data_type().clone(), true)),
            Arc::new(Field::new(format_state_name(args.name, "key"), args.input_fields[1].data_type().clone(), true)),
            Arc::new(Field::new(format_state_name(args.name, "is_set"), DataType::Boolean, true)),
        ])
    }

    fn accumulator(&self, acc_args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::new(self.best(&acc_args)?)))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.best(&args)?))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(match self.wanted {
            Wanted::First => &MIN_BY,
            Wanted::Last => &MAX_BY,
        })
    }
}
