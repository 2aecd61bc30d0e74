//! The session settings under which our operators and DataFusion's run best, each with its reason.

use datafusion::prelude::SessionConfig;

/// `config` with the settings that were measured to pay on analytical scans. Settings of memory, parallelism and anything
/// that a user may have chosen are left alone.
pub fn tune(mut config: SessionConfig) -> SessionConfig {
    let options = config.options_mut();
    // Partial aggregation that removes less than half of the rows costs more than it saves: session logs are at about a
    // quarter, distinct rows at nothing.
    options.execution.skip_partial_aggregation_probe_ratio_threshold = 0.5;
    // Rows that lie by user are not shuffled again to be grouped by user and session: as many tasks would have them as before.
    options.optimizer.subset_repartition_threshold = 2;
    config
}
