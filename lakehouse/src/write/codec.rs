//! The write operator on the wire: its spec as JSON, read back beside an input that has already been decoded.
//!
//! What is shipped are plain values. Stores are named by URL and opened by the process that runs the task, with its own credentials.

use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::physical_plan::ExecutionPlan;

use super::live::LiveTasks;
use super::operator::DeltaWriteExec;

/// The write operator's spec as bytes; `None` for any other operator.
///
/// # Errors
/// A schema that cannot be written as JSON.
pub fn encode_operator(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Vec<u8>>> {
    let Some(write) = plan.downcast_ref::<DeltaWriteExec>() else { return Ok(None) };
    serde_json::to_vec(write.spec()).map(Some).map_err(|error| DataFusionError::External(Box::new(error)))
}

/// The operator that [`encode_operator`] wrote, over `inputs`.
///
/// # Errors
/// Bytes of another version of this engine, or another number of inputs than one.
pub fn decode_operator(bytes: &[u8], inputs: &[Arc<dyn ExecutionPlan>]) -> Result<Arc<dyn ExecutionPlan>> {
    let [input] = inputs else { return Err(internal_datafusion_err!("DeltaWriteExec has one input, not {}", inputs.len())) };
    let spec = serde_json::from_slice(bytes).map_err(|error| internal_datafusion_err!("a write operator cannot be read: {error}"))?;
    Ok(Arc::new(DeltaWriteExec::new(Arc::clone(input), Arc::new(spec), LiveTasks::default())))
}

#[cfg(test)]
mod tests {
    use super::super::spec::WriteSpec;
    use super::*;
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use datafusion::physical_plan::empty::EmptyExec;

    #[test]
    fn comes_back_as_it_was() {
        let item = Arc::new(Field::new("element", DataType::Decimal128(10, 2), true));
        let columns = Arc::new(Schema::new(vec![
            Field::new("day", DataType::Date32, false),
            Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            Field::new("name", DataType::Utf8View, true),
            Field::new("prices", DataType::List(item), true),
        ]));
        let spec = WriteSpec {
            store_url: "s3://bucket/".into(),
            table_path: "w/dev/s/t".into(),
            table_name: "dev.s.t".into(),
            write_id: "id".into(),
            columns: Arc::clone(&columns),
            sources: vec![1, 0, 2, 3],
            partition_columns: vec![0],
            target_file_size: 1 << 28,
            stats_columns: vec!["at".into()],
        };
        let input: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(columns));
        let plan: Arc<dyn ExecutionPlan> = Arc::new(DeltaWriteExec::new(Arc::clone(&input), Arc::new(spec.clone()), LiveTasks::default()));
        let bytes = encode_operator(&plan).unwrap().unwrap();
        let back = decode_operator(&bytes, &[Arc::clone(&input)]).unwrap();
        assert_eq!(back.downcast_ref::<DeltaWriteExec>().unwrap().spec(), &spec);
        assert_eq!(encode_operator(&input).unwrap(), None);
        assert!(decode_operator(b"{}", &[input]).is_err());
        assert!(decode_operator(&bytes, &[]).is_err());
    }
}
