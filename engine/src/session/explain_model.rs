//! `EXPLAIN CREATE MODEL`: how much would be read and held, in how many passes, and whether one task does it or many.

use super::analyze::Planning;
use super::create_model::model_type_of;
use super::train::TrainingPlan;
use super::{Mode, Outcome, Session, Tracker};
use crate::Result;
use crate::dialect::CreateModel;
use crate::planner::hints;

impl Session {
    /// What `TRANSFORM` makes of the rows is only known when it has learned, so that a statement with one reads its rows here.
    pub(super) async fn explain_model(&self, create: &CreateModel, verbose: bool, mode: Mode, tracker: &Tracker) -> Result<Outcome> {
        let model_type = model_type_of(&create.options)?;
        let planned = self.plan_model(create, model_type, "explain", mode, tracker).await?;
        if mode == Mode::Check {
            return Ok(Outcome::Done("plans".to_string()));
        }
        let training = self.plan_training(&planned.plan, &planned.spec).await?;
        let shown = self.plan_to_show(&planned.plan, mode).await?;
        let planning = Planning { hints: hints::outcomes(&planned.plan)?, rewrites: Vec::new(), ..Planning::default() };
        let told = format!("model: {}, {}\n{}", planned.name, planned.spec.model_type, text(&training));
        self.show_plans(vec![("training", told)], &planned.plan, &shown, planning, verbose)
    }
}

fn text(training: &TrainingPlan) -> String {
    let known = |number: Option<u64>, unit: &str| number.map_or_else(|| "not known".to_string(), |number| format!("{number}{unit}"));
    let place = match (training.is_distributed, training.tasks) {
        (false, _) => "in one task".to_string(),
        (true, tasks) => format!("distributed over {tasks} tasks"),
    };
    let lines = [
        format!("rows: {}", known(training.rows, "")),
        format!("read: {} bytes", training.bytes_read),
        format!("memory for rows: {}", known(training.block_bytes, " bytes")),
        format!("passes: at most {}", training.passes),
        format!("place: {place}, since {}", training.reason),
    ];
    lines.join("\n")
}
