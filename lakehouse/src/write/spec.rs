//! What a writing task needs to know. Plain values only, so that the operator can be shipped to another process.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use serde::{Deserialize, Serialize};

/// Size at which a task starts a new file unless the request says otherwise.
pub(crate) const DEFAULT_TARGET_FILE_SIZE: u64 = 256 * 1024 * 1024;

/// One write, as its tasks see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WriteSpec {
    /// Scheme and host of the store, under which the task's runtime knows it.
    pub store_url: String,
    /// The table's folder in the store.
    pub table_path: String,
    /// The table's full name, for messages.
    pub table_name: String,
    /// Part of every file name of this write, by which its files can be found and removed.
    pub write_id: String,
    /// The table's columns in its order, in the types the input brings (strings may be views).
    pub columns: SchemaRef,
    /// For each of `columns`, the input column that fills it.
    pub sources: Vec<usize>,
    /// Indices into `columns` of the partition columns, in the table's order of partitioning.
    pub partition_columns: Vec<usize>,
    /// Bytes at which a file is closed and the next one begun.
    pub target_file_size: u64,
    /// Dotted names of the leaf columns that get statistics in the log.
    pub stats_columns: Vec<String>,
}

impl WriteSpec {
    /// Schema of the data files: the table's columns without those of partitioning.
    pub fn file_schema(&self) -> SchemaRef {
        let stored = self.columns.fields().iter().enumerate().filter(|(index, _)| !self.partition_columns.contains(index));
        Arc::new(Schema::new(stored.map(|(_, field)| Arc::clone(field)).collect::<Vec<FieldRef>>()))
    }
}

/// A leaf of a file's columns in the order in which Parquet numbers them.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    /// Names from the column down to the leaf.
    pub path: Vec<String>,
    pub data_type: DataType,
    /// Whether the leaf lies inside a list or map, where Delta has no statistics.
    pub repeated: bool,
}

impl Leaf {
    pub fn dotted(&self) -> String {
        self.path.join(".")
    }
}

/// All leaves of a schema, depth first.
pub(crate) fn leaves(schema: &Schema) -> Vec<Leaf> {
    let mut found = Vec::new();
    schema.fields().iter().for_each(|field| collect(field, &mut Vec::new(), false, &mut found));
    found
}

fn collect(field: &Field, parents: &mut Vec<String>, repeated: bool, found: &mut Vec<Leaf>) {
    parents.push(field.name().clone());
    match field.data_type() {
        DataType::Struct(children) => children.iter().for_each(|child| collect(child, parents, repeated, found)),
        DataType::List(item) | DataType::Map(item, _) => collect(item, parents, true, found),
        other => found.push(Leaf { path: parents.clone(), data_type: other.clone(), repeated }),
    }
    parents.pop();
}

/// The leaves that get statistics: those that `delta.dataSkippingStatsColumns` names, or the first `delta.dataSkippingNumIndexedCols` (32 unless set,
/// all if negative).
pub(crate) fn stats_columns(file_schema: &Schema, named: Option<&str>, count: Option<&str>) -> Vec<String> {
    let all = leaves(file_schema).into_iter().map(|leaf| (leaf.dotted(), leaf.repeated));
    if let Some(named) = named {
        let wanted: Vec<String> = named.split(',').map(|name| name.trim().replace('`', "")).collect();
        let covers = |leaf: &str| {
            wanted.iter().any(|name| leaf == name || leaf.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.')))
        };
        return all.filter(|(leaf, repeated)| !repeated && covers(leaf)).map(|(leaf, _)| leaf).collect();
    }
    let count = count.and_then(|text| text.trim().parse::<i64>().ok()).unwrap_or(32);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    all.take(count).filter(|(_, repeated)| !repeated).map(|(leaf, _)| leaf).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        let inner = DataType::Struct(vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Utf8, true)].into());
        let list = DataType::List(Arc::new(Field::new("element", DataType::Int64, true)));
        Schema::new(vec![
            Field::new("a", DataType::Int64, true),
            Field::new("s", inner, true),
            Field::new("l", list, true),
            Field::new("b", DataType::Date32, true),
        ])
    }

    #[test]
    fn leaves_follow_parquet_order() {
        let names: Vec<String> = leaves(&schema()).iter().map(Leaf::dotted).collect();
        assert_eq!(names, ["a", "s.x", "s.y", "l.element", "b"]);
    }

    #[test]
    fn statistics_columns_follow_the_properties() {
        assert_eq!(stats_columns(&schema(), None, None), ["a", "s.x", "s.y", "b"]);
        assert_eq!(stats_columns(&schema(), None, Some("2")), ["a", "s.x"]);
        assert_eq!(stats_columns(&schema(), None, Some("0")), Vec::<String>::new());
        assert_eq!(stats_columns(&schema(), None, Some("-1")).len(), 4);
        assert_eq!(stats_columns(&schema(), Some("s, `b`"), Some("1")), ["s.x", "s.y", "b"]);
    }
}
