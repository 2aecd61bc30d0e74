//! `ml_recommend(ids)`: the best items for users, or the best users for items, as lists; and `ml_recommend(block)`: the same for a range of the model's own
//! ids, of which a plan carries the number of the range and never the ids.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, LargeListArray, ListArray, StructArray, UInt64Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type};
use datafusion::common::{Result, internal_datafusion_err, internal_err};
use datafusion::logical_expr::Expr;
use orrery_models::Model;
use orrery_models::matrix_factorization::{MatrixFactorizationModel, Side};
use serde::{Deserialize, Serialize};

use super::{ModelFunction, Scorer, Task, of_model};

/// Ids of a range.
const BLOCK: usize = 1024;
/// Name of the values of a list.
const ITEM: &str = "item";

/// What is recommended, and how many of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recommend {
    /// Users for items, instead of items for users.
    pub for_items: bool,
    /// At most so many for each.
    pub top_k: usize,
    /// Whether pairs that were trained on are left out.
    pub exclude_seen: bool,
}

impl Recommend {
    fn side(&self) -> Side {
        if self.for_items { Side::Items } else { Side::Users }
    }
}

/// The model, if it is one that recommends.
///
/// # Errors
/// The model cannot be loaded.
pub fn factorization(scorer: &Scorer) -> Result<Option<&MatrixFactorizationModel>> {
    Ok(scorer.model()?.as_any().downcast_ref())
}

/// How many ranges the ids are in for which something is recommended.
pub fn blocks(model: &MatrixFactorizationModel, what: &Recommend) -> usize {
    model.ids(what.side()).len().div_ceil(BLOCK)
}

/// The columns of recommendations: user, item and prediction, under the names and in the types of the training columns.
pub fn fields(model: &MatrixFactorizationModel) -> Vec<FieldRef> {
    let [users, items, _] = model.column_names();
    let of = |name: &str, side| Arc::new(Field::new(name, model.ids(side).data_type().clone(), true));
    vec![of(users, Side::Users), of(items, Side::Items), Arc::new(Field::new(model.predicted_name(), DataType::Float64, true))]
}

/// The call that gives a list of structs of an id of the other side and a prediction for each id.
pub fn of_ids(scorer: &Scorer, model: &MatrixFactorizationModel, what: Recommend, ids: Expr) -> Expr {
    let returns = model.recommended_type(what.side());
    ModelFunction::new(scorer.clone(), Task::Recommend(what), returns).call(vec![ids])
}

/// The call that gives a list of structs of user, item and prediction for each range of ids.
pub fn of_blocks(scorer: &Scorer, model: &MatrixFactorizationModel, what: Recommend, block: Expr) -> Expr {
    let rows = DataType::Struct(Fields::from(fields(model)));
    let returns = DataType::LargeList(Arc::new(Field::new(ITEM, rows, true)));
    ModelFunction::new(scorer.clone(), Task::RecommendBlock(what), returns).call(vec![block])
}

fn of_type(model: &dyn Model) -> Result<&MatrixFactorizationModel> {
    model.as_any().downcast_ref().ok_or_else(|| internal_datafusion_err!("a {} model recommends nothing", model.model_type()))
}

pub(super) fn for_ids(model: &dyn Model, what: &Recommend, columns: &[ArrayRef]) -> Result<ArrayRef> {
    let [ids] = columns else { return internal_err!("ml_recommend takes one column of ids") };
    Ok(Arc::new(of_type(model)?.recommend(what.side(), ids, what.top_k, what.exclude_seen).map_err(of_model)?))
}

pub(super) fn for_blocks(model: &dyn Model, what: &Recommend, columns: &[ArrayRef]) -> Result<ArrayRef> {
    let model = of_type(model)?;
    let [blocks] = columns else { return internal_err!("ml_recommend takes one column of ranges") };
    let blocks = blocks.as_primitive_opt::<Int64Type>().ok_or_else(|| internal_datafusion_err!("a range is a number"))?;
    let rows = Fields::from(fields(model));
    let mut parts = Vec::with_capacity(blocks.len());
    for block in blocks.values() {
        let start = usize::try_from(*block).unwrap_or(0) * BLOCK;
        let found = model.recommend_range(what.side(), start, BLOCK, what.top_k, what.exclude_seen).map_err(of_model)?;
        parts.push(flat(&found.ids, &found.best, &rows, what.for_items)?);
    }
    let offsets = OffsetBuffer::from_lengths(parts.iter().map(|part| part.len()));
    let item = Arc::new(Field::new(ITEM, DataType::Struct(rows), true));
    let parts: Vec<&dyn arrow::array::Array> = parts.iter().map(|part| part as &dyn arrow::array::Array).collect();
    let values = if parts.is_empty() { arrow::array::new_empty_array(item.data_type()) } else { concat(&parts)? };
    Ok(Arc::new(LargeListArray::try_new(item, offsets, values, None)?))
}

/// A list for each id as rows of user, item and prediction.
fn flat(ids: &ArrayRef, best: &ListArray, rows: &Fields, for_items: bool) -> Result<StructArray> {
    let offsets = best.value_offsets();
    let (first, last) = (offsets.first().copied().unwrap_or(0) as usize, offsets.last().copied().unwrap_or(0) as usize);
    let of_row = |row: usize| std::iter::repeat_n(row as u64, best.value_length(row) as usize);
    let own = take(ids, &UInt64Array::from_iter_values((0..best.len()).flat_map(of_row)), None)?;
    let pairs = best.values().slice(first, last - first);
    let pairs = pairs.as_struct();
    let (other, score) = (Arc::clone(pairs.column(0)), Arc::clone(pairs.column(1)));
    let columns = if for_items { vec![other, own, score] } else { vec![own, other, score] };
    Ok(StructArray::try_new(rows.clone(), columns, None)?)
}
