//! Computes what a `TRANSFORM` learns of the training rows.

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::SelectItem;
use serde_json::Value;

use super::{Session, Tracker};
use crate::Result;
use crate::planner::preparation::Learning;

impl Session {
    /// Learns a select list (`text` as written, `items` the same parsed) of training rows: what is to be kept with the model, and the training rows as they
    /// are prepared. The rows are read once for each depth to which functions that learn are nested.
    ///
    /// # Errors
    /// A select list that does not fit `TRANSFORM` or the rows, with its place; what happens when the rows are read.
    pub async fn learn_preparation(
        &self,
        items: &[SelectItem],
        text: &str,
        rows: LogicalPlan,
        tracker: &Tracker,
    ) -> Result<(Value, LogicalPlan)> {
        let mut learning = Learning::new(items, text, rows, &self.context.state())?;
        while let Some(aggregation) = learning.next()? {
            let values = self.collect(&aggregation, tracker).await?;
            learning.take(&values)?;
        }
        learning.finish()
    }

    /// The same for a dry run, which learns nothing: the types are those that the columns will have.
    ///
    /// # Errors
    /// A select list that does not fit `TRANSFORM` or the rows, with its place.
    pub(super) fn outline_preparation(&self, items: &[SelectItem], text: &str, rows: LogicalPlan) -> Result<(Value, LogicalPlan)> {
        let mut learning = Learning::new(items, text, rows, &self.context.state())?;
        while let Some(aggregation) = learning.next()? {
            learning.take_nothing(&aggregation)?;
        }
        learning.finish()
    }
}
