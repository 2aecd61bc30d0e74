//! Delta features: which tables can be read and written exactly as their protocol demands. What is not known here is refused by name.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::schema::TableColumns;

/// Features that a reader needs and this engine either honours or finds unused (checked file by file for deletion vectors, column by column for types).
const READABLE: &[&str] = &[
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "typeWidening",
    "typeWidening-preview",
    "variantType",
    "variantType-preview",
    "variantShredding-preview",
];

/// Features that a writer needs and this engine either honours or finds unused below.
const WRITABLE: &[&str] = &[
    "allowColumnDefaults",
    "appendOnly",
    "changeDataFeed",
    "checkConstraints",
    "columnMapping",
    "deletionVectors",
    "domainMetadata",
    "generatedColumns",
    "identityColumns",
    "inCommitTimestamp",
    "invariants",
    "timestampNtz",
    "v2Checkpoint",
    "vacuumProtocolCheck",
    "variantType",
    "variantType-preview",
];

/// A table's `protocol` action.
#[derive(Debug, Clone, Default)]
pub(crate) struct Protocol {
    pub reader_version: i64,
    pub writer_version: i64,
    pub reader_features: Vec<String>,
    pub writer_features: Vec<String>,
}

impl Protocol {
    pub fn from_json(action: &Value) -> Self {
        let number = |key: &str| action.get(key).and_then(Value::as_i64).unwrap_or(1);
        let names = |key: &str| -> Vec<String> {
            let list = action.get(key).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_string)).collect()
        };
        Self {
            reader_version: number("minReaderVersion"),
            writer_version: number("minWriterVersion"),
            reader_features: names("readerFeatures"),
            writer_features: names("writerFeatures"),
        }
    }
}

/// The facts about a table that decide which features are in use.
pub(crate) struct TableUse<'a> {
    pub protocol: &'a Protocol,
    pub columns: &'a TableColumns,
    pub properties: &'a HashMap<String, String>,
}

impl TableUse<'_> {
    fn enabled(&self, property: &str) -> bool {
        self.properties.get(property).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    fn mapping_mode(&self) -> &str {
        self.properties.get("delta.columnMapping.mode").map_or("none", String::as_str)
    }

    fn column_with(&self, key: impl Fn(&Map<String, Value>) -> bool) -> Option<&str> {
        let index = self.columns.metadata.iter().position(key)?;
        Some(self.columns.schema.field(index).name())
    }
}

/// A feature of the protocol itself that this engine does not know how to read.
pub(crate) fn unknown_reader_feature(protocol: &Protocol) -> Option<String> {
    if protocol.reader_version > 3 {
        return Some(format!("the reader protocol {}", protocol.reader_version));
    }
    let unknown = protocol.reader_features.iter().find(|feature| !READABLE.contains(&feature.as_str()))?;
    Some(format!("the table feature {unknown}"))
}

/// What keeps the table from being read exactly; `None` if nothing does. Deletion vectors are looked for in the files.
pub(crate) fn unreadable(table: &TableUse<'_>) -> Option<String> {
    if let Some(feature) = unknown_reader_feature(table.protocol) {
        return Some(feature);
    }
    match table.mapping_mode() {
        "none" => {}
        "name" => {
            if let Some(nested) = &table.columns.mapped_inside {
                return Some(format!("column mapping of nested fields ({nested})"));
            }
        }
        mode => return Some(format!("column mapping in mode {mode:?}")),
    }
    table.column_with(|metadata| metadata.contains_key("delta.typeChanges")).map(|column| format!("type widening (column {column:?})"))
}

/// What keeps the table from being written as its protocol demands.
pub(crate) fn unwritable(table: &TableUse<'_>) -> Option<String> {
    if let Some(feature) = unreadable(table) {
        return Some(feature);
    }
    if table.protocol.writer_version > 7 {
        return Some(format!("the writer protocol {}", table.protocol.writer_version));
    }
    if table.mapping_mode() != "none" || table.columns.is_mapped() {
        return Some("column mapping, for writing".into());
    }
    if let Some(name) = table.properties.keys().find_map(|key| key.strip_prefix("delta.constraints.")) {
        return Some(format!("CHECK constraints ({name}), for writing"));
    }
    for (key, what) in [("delta.generationExpression", "generated columns"), ("delta.invariants", "column invariants")] {
        if let Some(column) = table.column_with(|metadata| metadata.contains_key(key)) {
            return Some(format!("{what} ({column}), for writing"));
        }
    }
    if let Some(column) = table.column_with(|metadata| metadata.keys().any(|key| key.starts_with("delta.identity."))) {
        return Some(format!("identity columns ({column}), for writing"));
    }
    for (property, what) in [
        ("delta.enableChangeDataFeed", "the change data feed, for writing"),
        ("delta.enableRowTracking", "row tracking, for writing"),
        ("delta.enableInCommitTimestamps", "in-commit timestamps, for writing"),
        ("delta.enableIcebergCompatV1", "Iceberg compatibility, for writing"),
        ("delta.enableIcebergCompatV2", "Iceberg compatibility, for writing"),
        ("delta.enableIcebergCompatV3", "Iceberg compatibility, for writing"),
    ] {
        if table.enabled(property) {
            return Some(what.into());
        }
    }
    let unknown = table.protocol.writer_features.iter().find(|feature| !WRITABLE.contains(&feature.as_str()))?;
    Some(match unknown.as_str() {
        "rowTracking" => "row tracking, for writing".into(),
        "clustering" => "clustering, for writing".into(),
        other => format!("the table feature {other}, for writing"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::parse_schema;
    use serde_json::json;

    fn verdict(protocol: Value, properties: &[(&str, &str)], column_metadata: Value) -> (Option<String>, Option<String>) {
        let schema = json!({"type":"struct","fields":[{"name":"a","type":"long","nullable":true,"metadata":column_metadata}]});
        let columns = parse_schema(&schema.to_string()).unwrap();
        let properties = properties.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let protocol = Protocol::from_json(&protocol);
        let table = TableUse { protocol: &protocol, columns: &columns, properties: &properties };
        (unreadable(&table), unwritable(&table))
    }

    #[test]
    fn ordinary_tables_are_used_freely() {
        let legacy = json!({"minReaderVersion":1,"minWriterVersion":6});
        assert_eq!(verdict(legacy, &[], json!({})), (None, None));
        let modern = json!({"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors","timestampNtz"],
            "writerFeatures":["deletionVectors","timestampNtz","appendOnly","invariants"]});
        assert_eq!(verdict(modern, &[], json!({})), (None, None));
    }

    #[test]
    fn features_in_use_are_named() {
        let legacy = || json!({"minReaderVersion":1,"minWriterVersion":6});
        let none = || json!({});
        for (properties, metadata, expected) in [
            (vec![("delta.constraints.positive", "a > 0")], none(), "CHECK constraints (positive)"),
            (vec![("delta.enableChangeDataFeed", "true")], none(), "change data feed"),
            (vec![("delta.enableInCommitTimestamps", "true")], none(), "in-commit timestamps"),
            (vec![("delta.columnMapping.mode", "name")], none(), "column mapping"),
            (vec![], json!({"delta.generationExpression":"1"}), "generated columns (a)"),
            (vec![], json!({"delta.identity.start":1}), "identity columns (a)"),
            (vec![], json!({"delta.invariants":"{}"}), "column invariants (a)"),
        ] {
            let (read, write) = verdict(legacy(), &properties, metadata);
            assert_eq!(read, None);
            assert!(write.as_deref().is_some_and(|what| what.contains(expected)), "{write:?} does not name {expected}");
        }
    }

    #[test]
    fn unknown_features_are_refused_for_the_right_use() {
        let writer = json!({"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["rowTracking"]});
        let (read, write) = verdict(writer, &[], json!({}));
        assert!(read.is_none() && write.unwrap().contains("row tracking"));
        let reader = json!({"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["shinyNew"],"writerFeatures":["shinyNew"]});
        assert!(verdict(reader, &[], json!({})).0.unwrap().contains("shinyNew"));
        assert!(verdict(json!({"minReaderVersion":2,"minWriterVersion":5}), &[("delta.columnMapping.mode", "id")], json!({})).0.is_some());
        assert!(verdict(json!({"minReaderVersion":1,"minWriterVersion":2}), &[], json!({"delta.typeChanges":[]})).0.is_some());
    }
}
