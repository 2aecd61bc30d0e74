//! `SHOW`: what there is.

use orrery_lakehouse::{Relation, RelationKind};

use super::rows::{Cells, table};
use super::{Outcome, Session, catalog::Temporary, planning, sql_type_name};
use crate::access::Securable;
use crate::dialect::{Name, Show};
use crate::{Blame, Error, Result};

impl Session {
    pub(super) async fn show(&self, show: &Show) -> Result<Outcome> {
        match show {
            Show::Catalogs { like } => {
                let names = self.names.visible_catalogs().await?;
                one_column("catalog", names.into_iter().filter(|n| matches(like.as_deref(), n)))
            }
            Show::Schemas { catalog, like } => {
                let catalog = catalog.as_ref().map_or_else(|| self.current().0, ToString::to_string);
                if !self.names.catalog_exists(&catalog).await? {
                    return Err(Error::sql(format!("the catalog '{catalog}' does not exist")));
                }
                let names = self.names.visible_schemas(&catalog).await?;
                one_column("schema", names.into_iter().filter(|n| matches(like.as_deref(), n)))
            }
            Show::Tables { schema, like } => self.show_relations(schema.as_ref(), like.as_deref(), false).await,
            Show::Views { schema, like } => self.show_relations(schema.as_ref(), like.as_deref(), true).await,
            Show::Columns { name } => self.show_columns(name).await,
            Show::CreateTable { name } => self.show_create(name).await,
            Show::Properties { name } => {
                let stored = self.stored_table(name).await?;
                let mut properties: Vec<_> = stored.properties().iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                properties.sort();
                let (keys, values): (Vec<_>, Vec<_>) = properties.into_iter().unzip();
                Self::batch(table(vec![("key", Cells::text(keys)), ("value", Cells::text(values))])?)
            }
            Show::Models { schema, like } => self.show_models(schema.as_ref(), like.as_deref()).await,
            Show::ModelVersions { name } => self.show_model_versions(name).await,
            Show::Functions { like } => self.show_functions(like.as_deref()),
            Show::Variables => {
                let variables = self.variables();
                let rows: Vec<_> = variables.iter().map(|(n, v)| (n.to_string(), v.type_name(), v.to_string())).collect();
                Self::batch(table(vec![
                    ("name", Cells::text(rows.iter().map(|r| r.0.clone()))),
                    ("type", Cells::text(rows.iter().map(|r| r.1))),
                    ("value", Cells::text(rows.iter().map(|r| r.2.clone()))),
                ])?)
            }
        }
    }

    async fn show_relations(&self, schema: Option<&Name>, like: Option<&str>, views_only: bool) -> Result<Outcome> {
        let (catalog, schema_name) = match schema {
            Some(name) => self.schema_of(name),
            None => self.current(),
        };
        if !self.names.schema_exists(&catalog, &schema_name).await? {
            let error = Error::sql(format!("the schema '{catalog}.{schema_name}' does not exist"));
            return Err(error.hint(format!("schemas of {catalog} are: {}", self.names.visible_schemas(&catalog).await?.join(", "))));
        }
        let mut rows: Vec<(String, String, &'static str, bool)> = Vec::new();
        for relation in self.names.visible_relations(&catalog, &schema_name).await? {
            let kind = if relation.kind == RelationKind::View { "view" } else { "table" };
            rows.push((schema_name.clone(), relation.name, kind, false));
        }
        if schema.is_none() {
            for name in self.names.temporary_names() {
                let single = Name { parts: vec![name.clone()], position: None };
                let kind = if matches!(self.names.temporary(&single), Some(Temporary::View(_))) { "view" } else { "cache" };
                rows.push((String::new(), name, kind, true));
            }
        }
        rows.retain(|(_, name, kind, _)| matches(like, name) && (!views_only || *kind == "view"));
        Self::batch(table(vec![
            ("schema", Cells::text(rows.iter().map(|r| r.0.clone()))),
            ("name", Cells::text(rows.iter().map(|r| r.1.clone()))),
            ("kind", Cells::text(rows.iter().map(|r| r.2))),
            ("is_temporary", Cells::Flags(rows.iter().map(|r| r.3).collect())),
        ])?)
    }

    async fn show_columns(&self, name: &Name) -> Result<Outcome> {
        let full = self.names.resolve(name);
        match self.names.relation(&full).await.map_err(|e| e.at(name.position))? {
            Some(provider) => {
                let schema = provider.schema();
                one_column("column", schema.fields().iter().map(|f| f.name().clone()))
            }
            None => Err(planning::missing_relation(&self.names, &full).await.at(name.position)),
        }
    }

    async fn show_create(&self, name: &Name) -> Result<Outcome> {
        let full = self.names.resolve(name);
        let text = match self.names.readable_relation(&full).await.map_err(|e| e.at(name.position))? {
            Some(Relation::View(_)) if !self.shows_definition(&Securable::table(&full)) => {
                return Err(Error::new(Blame::Rights, format!("the query of the view {full} is for its owner")).at(name.position));
            }
            Some(Relation::View(view)) => {
                let columns = if view.columns.is_empty() { String::new() } else { format!(" ({})", view.columns.join(", ")) };
                let comment = view.comment.as_ref().map_or_else(String::new, |c| format!(" COMMENT {}", literal(c)));
                format!("CREATE VIEW {full}{columns}{comment} AS\n{}", view.sql)
            }
            Some(Relation::Table(stored)) => create_table_text(&full.to_string(), &stored),
            None => return Err(planning::missing_relation(&self.names, &full).await.at(name.position)),
        };
        one_column("statement", [text].into_iter())
    }

    fn show_functions(&self, like: Option<&str>) -> Result<Outcome> {
        let mut rows = self.functions();
        rows.retain(|function| matches(like, &function.name));
        Self::batch(table(vec![
            ("function", Cells::text(rows.iter().map(|f| f.name.clone()))),
            ("kind", Cells::text(rows.iter().map(|f| f.kind))),
            ("syntax", Cells::Text(rows.iter().map(|f| f.documentation.as_ref().map(|d| d.syntax_example.clone())).collect())),
            ("description", Cells::Text(rows.iter().map(|f| f.documentation.as_ref().map(|d| first_sentence(&d.description))).collect())),
        ])?)
    }
}

/// The first sentence of a text, on one line.
fn first_sentence(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.split_once(". ") {
        Some((sentence, _)) => format!("{sentence}."),
        None => line,
    }
}

fn one_column(name: &str, values: impl Iterator<Item = String>) -> Result<Outcome> {
    Session::batch(table(vec![(name, Cells::text(values))])?)
}

fn create_table_text(name: &str, stored: &orrery_lakehouse::Table) -> String {
    let columns: Vec<_> = stored
        .schema()
        .fields()
        .iter()
        .map(|f| {
            let null = if f.is_nullable() { "" } else { " NOT NULL" };
            let comment = f.metadata().get("comment").map_or_else(String::new, |c| format!(" COMMENT {}", literal(c)));
            format!("  {} {}{null}{comment}", f.name(), sql_type_name(f.data_type()).to_uppercase())
        })
        .collect();
    let mut text = format!("CREATE TABLE {name} (\n{}\n) USING DELTA", columns.join(",\n"));
    if !stored.partition_columns().is_empty() {
        text.push_str(&format!("\nPARTITIONED BY ({})", stored.partition_columns().join(", ")));
    }
    if let Some(comment) = stored.comment() {
        text.push_str(&format!("\nCOMMENT {}", literal(comment)));
    }
    let mut properties: Vec<_> = stored.properties().iter().collect();
    properties.sort();
    if !properties.is_empty() {
        let properties: Vec<_> = properties.into_iter().map(|(k, v)| format!("{} = {}", literal(k), literal(v))).collect();
        text.push_str(&format!("\nTBLPROPERTIES ({})", properties.join(", ")));
    }
    text
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `LIKE` of `SHOW`: `%` or `*` for any text, `_` for one character; letters of either case.
pub(super) fn matches(pattern: Option<&str>, name: &str) -> bool {
    let Some(pattern) = pattern else { return true };
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let name: Vec<char> = name.to_lowercase().chars().collect();
    // reached[i]: the pattern so far can end before name[i].
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for p in pattern {
        let mut next = vec![false; name.len() + 1];
        for i in 0..=name.len() {
            match p {
                '%' | '*' => next[i] = reached[i] || (i > 0 && next[i - 1]),
                '_' => next[i] = i > 0 && reached[i - 1],
                c => next[i] = i > 0 && reached[i - 1] && name[i - 1] == c,
            }
        }
        reached = next;
    }
    reached[name.len()]
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn like_of_show() {
        for (pattern, name, expected) in [
            ("dim_%", "dim_users", true),
            ("dim*", "DIM_USERS", true),
            ("%users", "dim_users", true),
            ("d_m_users", "dim_users", true),
            ("users", "dim_users", false),
            ("", "", true),
            ("%", "", true),
            ("_", "", false),
        ] {
            assert_eq!(matches(Some(pattern), name), expected, "{pattern} {name}");
        }
        assert!(matches(None, "anything"));
    }
}
