//! Physical operators on the wire: ours by their own codecs, everything else by the codec beneath.
//!
//! A payload of ours is `MAGIC`, the operator's name, a zero byte and what the operator's own codec wrote. This is the one list of operators that can leave
//! the process; coordinator and executors use the same.

use std::fmt::Debug;
use std::sync::Arc;

use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, WindowUDF};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::proto_decode::PhysicalExprDecodeCtx;
use datafusion::physical_expr_common::physical_expr::proto_encode::PhysicalExprEncodeCtx;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use orrery_lakehouse::write_codec;

use super::deduplicate::{self, key_hashes, repeated_rows, split_repeated};
use super::{
    barrier, claimed_size, compressed_files, hot_keys, number_rows, one_task, room_for_rows, salt, sessionize, short_batches, stoppable,
    train_model, window_partitions,
};
use crate::models::scoring;

/// Begins every payload of ours; no protobuf message starts with these bytes.
const MAGIC: &[u8] = b"\xffORRERY1";

/// Writes an operator's payload if it is the codec's own.
type Encode = fn(&Arc<dyn ExecutionPlan>, &OperatorCodec) -> Result<Option<Vec<u8>>>;
/// Reads what the same codec wrote.
type Decode = fn(Payload<'_>) -> Result<Arc<dyn ExecutionPlan>>;

/// What the codec of an operator reads.
struct Payload<'a> {
    bytes: &'a [u8],
    /// The operator's inputs, which have been read already.
    inputs: &'a [Arc<dyn ExecutionPlan>],
    context: &'a TaskContext,
    /// Reads plans within the payload.
    codec: &'a OperatorCodec,
}

/// Every operator of ours that tasks of a cluster may run.
const OPERATORS: &[(&str, Encode, Decode)] = &[
    ("BarrierExec", |plan, _| Ok(barrier::codec::encode(plan)), |p| barrier::codec::decode(p.inputs)),
    ("ClaimedSizeExec", |plan, _| Ok(claimed_size::codec::encode(plan)), |p| claimed_size::codec::decode(p.bytes, p.inputs)),
    ("CompressedFilesExec", |plan, _| Ok(compressed_files::codec::encode(plan)), |p| compressed_files::codec::decode(p.bytes, p.inputs)),
    ("DeduplicateExec", |plan, _| Ok(deduplicate::codec::encode(plan)), |p| deduplicate::codec::decode(p.bytes, p.inputs)),
    ("DeltaWriteExec", |plan, _| write_codec::encode_operator(plan), |p| write_codec::decode_operator(p.bytes, p.inputs)),
    ("KeyHashesExec", |plan, _| Ok(key_hashes::codec::encode(plan, "KeyHashesExec")), |p| key_hashes::codec::decode_hash(p.inputs)),
    ("NumberRowsExec", |plan, _| Ok(number_rows::codec::encode(plan)), |p| number_rows::codec::decode(p.inputs)),
    ("OneTaskExec", |plan, codec| one_task::codec::encode(plan, codec), |p| one_task::codec::decode(p.bytes, p.context, p.codec)),
    (
        "RepeatedHashesExec",
        |plan, _| Ok(key_hashes::codec::encode(plan, "RepeatedHashesExec")),
        |p| key_hashes::codec::decode_find(p.inputs),
    ),
    ("RepeatedRowsExec", |plan, _| repeated_rows::codec::encode(plan), |p| repeated_rows::codec::decode(p.bytes)),
    (
        "ReplicateHotKeysExec",
        |plan, _| Ok(hot_keys::codec::encode(plan, "ReplicateHotKeysExec")),
        |p| hot_keys::codec::decode_replicate(p.bytes, p.inputs),
    ),
    ("RoomForRowsExec", |plan, _| Ok(room_for_rows::codec::encode(plan)), |p| room_for_rows::codec::decode(p.bytes, p.inputs)),
    ("SaltExec", |plan, _| Ok(salt::codec::encode(plan)), |p| salt::codec::decode(p.bytes, p.inputs)),
    (
        "SaltHotKeysExec",
        |plan, _| Ok(hot_keys::codec::encode(plan, "SaltHotKeysExec")),
        |p| hot_keys::codec::decode_salt(p.bytes, p.inputs),
    ),
    (
        "SessionizeExec",
        |plan, codec| sessionize::codec::encode(plan, codec),
        |p| sessionize::codec::decode(p.bytes, p.inputs, p.context, p.codec),
    ),
    ("ShortBatchesExec", |plan, _| Ok(short_batches::codec::encode(plan)), |p| short_batches::codec::decode(p.inputs)),
    ("SplitRepeatedExec", |plan, _| Ok(split_repeated::codec::encode(plan)), |p| split_repeated::codec::decode(p.bytes, p.inputs)),
    ("StoppableExec", |plan, _| Ok(stoppable::codec::encode(plan)), |p| stoppable::codec::decode(p.inputs)),
    ("TrainModelExec", |plan, _| train_model::codec::encode(plan), |p| train_model::codec::decode(p.bytes, p.inputs)),
    ("TrainingPassExec", |plan, _| train_model::pass::codec::encode(plan), |p| train_model::pass::codec::decode(p.bytes, p.inputs)),
    ("WindowPartitionsExec", |plan, _| Ok(window_partitions::codec::encode(plan)), |p| window_partitions::codec::decode(p.inputs)),
];

/// Names of the operators that can be shipped.
pub fn shippable_operators() -> impl Iterator<Item = &'static str> {
    OPERATORS.iter().map(|(name, _, _)| *name)
}

/// See the module documentation.
#[derive(Debug)]
pub struct OperatorCodec {
    beneath: Arc<dyn PhysicalExtensionCodec>,
}

impl OperatorCodec {
    /// A codec that leaves what is not ours to `beneath`.
    pub fn over(beneath: Arc<dyn PhysicalExtensionCodec>) -> Self {
        Self { beneath }
    }
}

/// A payload of a function: functions that carry more than their name are those of models.
fn put(buf: &mut Vec<u8>, payload: &[u8]) {
    buf.extend_from_slice(MAGIC);
    buf.extend_from_slice(payload);
}

impl PhysicalExtensionCodec for OperatorCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(payload) = buf.strip_prefix(MAGIC) else { return self.beneath.try_decode(buf, inputs, context, converter) };
        let end = payload.iter().position(|byte| *byte == 0).ok_or_else(|| internal_datafusion_err!("an operator without a name"))?;
        let (name, bytes) = (&payload[..end], &payload[end + 1..]);
        let Some((_, _, decode)) = OPERATORS.iter().find(|(known, _, _)| known.as_bytes() == name) else {
            return internal_err!("the operator {} is not known here; are all nodes of one version?", String::from_utf8_lossy(name));
        };
        decode(Payload { bytes, inputs, context, codec: self })
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, buf: &mut Vec<u8>, converter: &dyn PhysicalProtoConverterExtension) -> Result<()> {
        for (name, encode, _) in OPERATORS {
            if let Some(bytes) = encode(&node, self)? {
                buf.extend_from_slice(MAGIC);
                buf.extend_from_slice(name.as_bytes());
                buf.push(0);
                buf.extend_from_slice(&bytes);
                return Ok(());
            }
        }
        self.beneath.try_encode(node, buf, converter)
    }

    fn try_decode_udf(&self, name: &str, buf: &[u8]) -> Result<Arc<ScalarUDF>> {
        if let Some(payload) = buf.strip_prefix(MAGIC) {
            return scoring::decode_scalar(payload).map(Arc::new);
        }
        self.beneath.try_decode_udf(name, buf)
    }

    fn try_encode_udf(&self, node: &ScalarUDF, buf: &mut Vec<u8>) -> Result<()> {
        if let Some(payload) = scoring::encode_scalar(node)? {
            put(buf, &payload);
            return Ok(());
        }
        self.beneath.try_encode_udf(node, buf)
    }

    fn try_decode_higher_order_function(&self, name: &str, buf: &[u8]) -> Result<Arc<HigherOrderUDF>> {
        self.beneath.try_decode_higher_order_function(name, buf)
    }

    fn try_encode_higher_order_function(&self, node: &HigherOrderUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.beneath.try_encode_higher_order_function(node, buf)
    }

    fn try_decode_expr(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn PhysicalExpr>],
        context: &PhysicalExprDecodeCtx<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        self.beneath.try_decode_expr(buf, inputs, context)
    }

    fn try_encode_expr(&self, node: &Arc<dyn PhysicalExpr>, buf: &mut Vec<u8>, context: &PhysicalExprEncodeCtx<'_>) -> Result<()> {
        self.beneath.try_encode_expr(node, buf, context)
    }

    fn try_decode_udaf(&self, name: &str, buf: &[u8]) -> Result<Arc<AggregateUDF>> {
        if let Some(payload) = buf.strip_prefix(MAGIC) {
            return scoring::evaluate::decode(payload).map(Arc::new);
        }
        self.beneath.try_decode_udaf(name, buf)
    }

    fn try_encode_udaf(&self, node: &AggregateUDF, buf: &mut Vec<u8>) -> Result<()> {
        if let Some(payload) = scoring::evaluate::encode(node)? {
            put(buf, &payload);
            return Ok(());
        }
        self.beneath.try_encode_udaf(node, buf)
    }

    fn try_decode_udwf(&self, name: &str, buf: &[u8]) -> Result<Arc<WindowUDF>> {
        self.beneath.try_decode_udwf(name, buf)
    }

    fn try_encode_udwf(&self, node: &WindowUDF, buf: &mut Vec<u8>) -> Result<()> {
        self.beneath.try_encode_udwf(node, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operators::barrier::BarrierExec;
    use crate::operators::claimed_size::ClaimedSizeExec;
    use crate::operators::deduplicate::key_hashes::KeyHashesExec;
    use crate::operators::deduplicate::split_repeated::{Keep, SplitRepeatedExec};
    use crate::operators::deduplicate::{DeduplicateExec, RepeatedRowsExec};
    use crate::operators::hot_keys::{HotKey, HotKeysExec};
    use crate::operators::number_rows::NumberRowsExec;
    use crate::operators::one_task::OneTaskExec;
    use crate::operators::room_for_rows::{Repeated, RoomForRowsExec};
    use crate::operators::row_bytes::Views;
    use crate::operators::salt::SaltExec;
    use crate::operators::sessionize::SessionizeExec;
    use crate::operators::short_batches::ShortBatchesExec;
    use crate::operators::stoppable::StoppableExec;
    use crate::operators::train_model::TrainModelExec;
    use crate::operators::train_model::pass::{LaidOut, Request, TrainingPassExec};
    use crate::operators::window_partitions::WindowPartitionsExec;
    use datafusion::arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch};
    use datafusion::arrow::datatypes::Int64Type;
    use datafusion::physical_expr::expressions::Column;
    use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
    use datafusion::physical_plan::execution_plan::{replace_children_if_necessary, reset_plan_states};
    use datafusion::physical_plan::repartition::RepartitionExec;
    use datafusion::physical_plan::windows::WindowAggExec;
    use datafusion::physical_plan::{Partitioning, collect, displayable};
    use datafusion::prelude::SessionContext;
    use datafusion_proto::physical_plan::{AsExecutionPlan as _, DefaultPhysicalExtensionCodec};
    use datafusion_proto::protobuf::PhysicalPlanNode;
    use orrery_lakehouse::{TableName, Warehouse, WriteMode, WriteRequest};
    use std::collections::{BTreeSet, HashMap};

    /// A plan that can travel: the rows come from a file.
    async fn scan(dir: &std::path::Path) -> (SessionContext, Arc<dyn ExecutionPlan>) {
        let session = SessionContext::new();
        let path = dir.join("v.parquet").display().to_string();
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 2, 3]));
        let batch = RecordBatch::try_from_iter([("v", column)]).unwrap();
        session.read_batch(batch).unwrap().write_parquet(&path, Default::default(), None).await.unwrap();
        let plan = session.read_parquet(&path, Default::default()).await.unwrap().create_physical_plan().await.unwrap();
        (session, plan)
    }

    #[tokio::test]
    async fn every_operator_survives_the_wire() {
        let dir = tempfile::tempdir().unwrap();
        let (session, input) = scan(dir.path()).await;
        let warehouse = Warehouse::open(&dir.path().join("w").display().to_string(), HashMap::new()).await.unwrap();
        let request = WriteRequest::new(TableName::new("dev", "default", "t"), WriteMode::Create, input.schema());
        let pending = warehouse.begin_write(request).await.unwrap();
        let hashes: Arc<dyn ExecutionPlan> = Arc::new(KeyHashesExec::hash(Arc::clone(&input)));
        let hot = HotKey { hash: u64::MAX, salts: vec![3, 8], matches_nothing: false };
        let plans: Vec<Arc<dyn ExecutionPlan>> = vec![
            Arc::new(HotKeysExec::salt(Arc::clone(&input), vec![0], Arc::new([hot.clone()]))),
            Arc::new(HotKeysExec::replicate(Arc::clone(&input), vec![0], &[hot])),
            pending.write_plan(Arc::clone(&input)).unwrap(),
            Arc::clone(&hashes),
            Arc::new(KeyHashesExec::find(hashes)),
            Arc::new(BarrierExec::new(Arc::clone(&input))),
            Arc::new(RoomForRowsExec::new(
                Arc::clone(&input),
                Arc::new(Repeated { columns: vec![0], lists: vec![0], views: Views::Copied }),
            )),
            Arc::new(ShortBatchesExec::new(Arc::clone(&input))),
            Arc::new(StoppableExec::new(Arc::clone(&input))),
            Arc::new(WindowPartitionsExec::new(Arc::clone(&input))),
            Arc::new(ClaimedSizeExec::new(Arc::clone(&input), 77)),
            Arc::new(NumberRowsExec::new(Arc::clone(&input))),
            Arc::new(SaltExec::new(Arc::clone(&input), vec![0], 77)),
            Arc::new(SplitRepeatedExec::new(Arc::clone(&input), Keep::Repeated, vec![0], Arc::new([5, 9].into_iter().collect()))),
            Arc::new(RepeatedRowsExec::new(input.schema(), 3)),
            deduplicated(&input),
            sessionized(&session, Arc::clone(&input), dir.path()).await,
            Arc::new(TrainModelExec::new(
                Arc::clone(&input),
                train_model::testing::spec("a", &[("rounds", 7)]),
                3,
                Some("file:///a".to_string()),
            )),
            Arc::new(TrainingPassExec::new(
                Arc::clone(&input),
                Arc::new(train_model::testing::spec("a", &[("rounds", 7)])),
                LaidOut { layout: 1, is_keyed: true },
                Request::Inline(Arc::new(vec![1, 2])),
            )),
        ];
        let names: BTreeSet<&str> = plans.iter().map(|plan| plan.name()).collect();
        assert_eq!(
            names,
            shippable_operators().filter(|name| !["CompressedFilesExec", "OneTaskExec"].contains(name)).collect(),
            "an operator without a proof"
        );
        let codec = OperatorCodec::over(Arc::new(DefaultPhysicalExtensionCodec {}));
        for plan in plans {
            let mut bytes = Vec::new();
            PhysicalPlanNode::try_from_physical_plan(Arc::clone(&plan), &codec).unwrap().try_encode(&mut bytes).unwrap();
            let read = PhysicalPlanNode::try_decode(&bytes).unwrap().try_into_physical_plan(&session.task_ctx(), &codec).unwrap();
            let text = |plan: &Arc<dyn ExecutionPlan>| displayable(plan.as_ref()).indent(true).to_string();
            assert_eq!(text(&read), text(&plan));
            assert_eq!(read.schema(), plan.schema());
        }
    }

    /// Sessions of the only column by itself.
    async fn sessionized(session: &SessionContext, input: Arc<dyn ExecutionPlan>, dir: &std::path::Path) -> Arc<dyn ExecutionPlan> {
        orrery_udfs::window_functions().into_iter().for_each(|function| session.register_udwf(WindowUDF::clone(&function)));
        let path = dir.join("v.parquet").display().to_string();
        session.register_parquet("numbers", &path, Default::default()).await.unwrap();
        let sql = "SELECT session_index(v, 5) OVER (PARTITION BY v ORDER BY v) AS n FROM numbers";
        let plan = session.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        let mut node = plan;
        while !node.is::<WindowAggExec>() {
            node = Arc::clone(node.children()[0]);
        }
        let sessionize = Arc::new(SessionizeExec::instead_of(node.downcast_ref().unwrap()).unwrap().unwrap());
        replace_children_if_necessary(sessionize, vec![input]).unwrap()
    }

    /// One row of each value of the only column.
    fn deduplicated(input: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let rows: Arc<dyn ExecutionPlan> = Arc::new(RepeatedRowsExec::new(input.schema(), 2));
        let keys = vec![(Arc::new(Column::new("v", 0)) as Arc<dyn PhysicalExpr>, "v".to_string())];
        let by_key = Partitioning::Hash(vec![Arc::clone(&keys[0].0)], 2);
        let together: Arc<dyn ExecutionPlan> = Arc::new(RepartitionExec::try_new(rows, by_key).unwrap());
        let mode = AggregateMode::SinglePartitioned;
        let keep_one = AggregateExec::try_new(mode, PhysicalGroupBy::new_single(keys.clone()), vec![], vec![], together, input.schema());
        let read_anew = reset_plan_states(Arc::clone(input)).unwrap();
        let keys = keys.into_iter().map(|(key, _)| key).collect();
        Arc::new(DeduplicateExec::try_new(Arc::clone(input), read_anew, Arc::new(keep_one.unwrap()), keys).unwrap())
    }

    #[tokio::test]
    async fn a_whole_plan_travels_within_one_operator() {
        let dir = tempfile::tempdir().unwrap();
        let (session, input) = scan(dir.path()).await;
        let plan = deduplicated(&input);
        assert!(OneTaskExec::can_hold(&plan));
        let hidden: Arc<dyn ExecutionPlan> = Arc::new(OneTaskExec::over(plan));
        assert!(hidden.children().is_empty());
        let codec = OperatorCodec::over(Arc::new(DefaultPhysicalExtensionCodec {}));
        let mut bytes = Vec::new();
        PhysicalPlanNode::try_from_physical_plan(hidden, &codec).unwrap().try_encode(&mut bytes).unwrap();
        let read = PhysicalPlanNode::try_decode(&bytes).unwrap().try_into_physical_plan(&session.task_ctx(), &codec).unwrap();
        assert_ne!(read.name(), "OneTaskExec");
        let rows = collect(read, session.task_ctx()).await.unwrap();
        let mut values: Vec<i64> = rows.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        values.sort_unstable();
        assert_eq!(values, [1, 2, 3]);
    }

    #[tokio::test]
    async fn scans_of_compressed_files_stay_what_they_are() {
        let session = SessionContext::new();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/fruit.csv.gz");
        let options = datafusion::prelude::CsvReadOptions::new()
            .file_extension(".csv.gz")
            .file_compression_type(datafusion::datasource::file_format::file_compression_type::FileCompressionType::GZIP);
        let plan = session.read_csv(path, options).await.unwrap().create_physical_plan().await.unwrap();
        let codec = OperatorCodec::over(Arc::new(DefaultPhysicalExtensionCodec {}));
        let mut bytes = Vec::new();
        let marked = compressed_files::mark_compressed_files(Arc::clone(&plan)).unwrap();
        PhysicalPlanNode::try_from_physical_plan(marked, &codec).unwrap().try_encode(&mut bytes).unwrap();
        let read = PhysicalPlanNode::try_decode(&bytes).unwrap().try_into_physical_plan(&session.task_ctx(), &codec).unwrap();
        let rows = |plan| datafusion::physical_plan::collect(plan, session.task_ctx());
        assert_eq!(rows(read).await.unwrap(), rows(plan).await.unwrap());
    }
}
