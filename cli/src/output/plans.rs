//! Plans for people: one below the other as plain lines, since lines as long as theirs make no readable table.

use std::fmt;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use orrery_engine::Result;

/// The columns of what `EXPLAIN` returns.
const COLUMNS: [&str; 2] = ["plan_type", "plan"];

/// The result of an `EXPLAIN` being laid out.
#[derive(Default)]
pub(crate) struct PlanText {
    text: String,
}

impl PlanText {
    /// True for the result of an `EXPLAIN`.
    pub(crate) fn is_for(schema: &SchemaRef) -> bool {
        schema.fields().iter().map(|field| field.name().as_str()).eq(COLUMNS)
    }

    /// Lays out more plans.
    pub(crate) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let options = FormatOptions::default();
        let columns = batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options)).collect::<Result<Vec<_>, _>>()?;
        let [kinds, plans] = columns.as_slice() else { return Ok(()) };
        for row in 0..batch.num_rows() {
            let (kind, plan) = (kinds.value(row).to_string().replace('_', " "), plans.value(row).to_string());
            let gap = if self.text.is_empty() { "" } else { "\n" };
            self.text.push_str(&format!("{gap}{kind}:\n"));
            plan.trim_end().lines().for_each(|line| self.text.push_str(&format!("  {line}\n")));
        }
        Ok(())
    }
}

impl fmt::Display for PlanText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.trim_end())
    }
}
