//! Plan rewrites and their registration.

use datafusion::execution::session_state::SessionStateBuilder;

/// Installs functions, rewrites and settings into a session.
///
/// Call it after the builder has its default features and its configuration: the functions replace DataFusion's of the
/// same names, and the settings are added to those that are there.
pub fn register(mut builder: SessionStateBuilder) -> SessionStateBuilder {
    builder.scalar_functions().get_or_insert_default().extend(orrery_udfs::scalar_functions());
    builder.aggregate_functions().get_or_insert_default().extend(orrery_udfs::aggregate_functions());
    builder.window_functions().get_or_insert_default().extend(orrery_udfs::window_functions());
    builder
}
