//! `information_schema.views`: the stored queries of the catalog.

use datafusion::arrow::array::RecordBatch;
use orrery_lakehouse::{Relation, RelationKind};

use super::all_relations;
use crate::Result;
use crate::access::{Privilege, Securable};
use crate::session::access::Verdict;
use crate::session::catalog::Names;
use crate::session::rows::{Cells, table};

pub(super) async fn rows(names: &Names, catalog: &str) -> Result<RecordBatch> {
    let mut views = Vec::new();
    for (name, kind) in all_relations(names, catalog).await? {
        if kind == RelationKind::View
            && name.schema != super::NAME
            && let Some(Relation::View(view)) = names.warehouse().relation(&name).await?
        {
            // As everywhere, the text of a view is for its owner and whoever manages it.
            let is_shown = matches!(names.guard().may(Privilege::Manage, &Securable::table(&name)), Verdict::Allowed);
            views.push((name, is_shown.then_some(view.sql)));
        }
    }
    table(vec![
        ("table_catalog", Cells::text(views.iter().map(|(name, _)| name.catalog.clone()))),
        ("table_schema", Cells::text(views.iter().map(|(name, _)| name.schema.clone()))),
        ("table_name", Cells::text(views.iter().map(|(name, _)| name.table.clone()))),
        ("view_definition", Cells::Text(views.iter().map(|(_, sql)| sql.clone()).collect())),
        ("check_option", Cells::text(views.iter().map(|_| "NONE"))),
        ("is_updatable", Cells::text(views.iter().map(|_| "NO"))),
    ])
}
