//! `kmeans(k, features[, seed])`: clusters the vectors of each group, as `CREATE MODEL` with `model_type = 'kmeans'` does with its rows.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float64Array, Int64Array, RecordBatch, StructArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Signature, Volatility};
use orrery_models::error::Cause;
use orrery_models::kmeans::KMeansModel;
use orrery_models::type_names::sql_type_name;
use orrery_models::{InputColumn, ModelError, Observer, OptionValue, Options, model_type, train_in_memory};

use super::STATISTICS;
use super::grouped_state::{Grouped, GroupedState, refuse_distinct, refuse_modifiers};
use super::one_group::OneGroup;
use crate::kernels::grouped_vectors::{GroupedVectors, Taken};
use crate::kernels::ragged::{fields, list_type, lists};
use crate::stop::Stop;
use crate::time_arguments::literal;

const NAME: &str = "kmeans";
/// As many as a model may have.
const CLUSTERS_MAX: i64 = 10_000;
const SEED: i64 = 42;

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        STATISTICS,
        "Trains a KMeans model on the vectors of each group and returns what it found as a STRUCT: `centroids` (a list of k vectors), `sizes` (rows of each \
         cluster), `radii` (root of the mean squared distance of each cluster's rows), `cost` (the sum of the squared distances, WSSSE), `silhouette` and \
         `davies_bouldin_index` (NULL of one cluster), `rows`, and `iterations`. The method and the defaults are those of CREATE MODEL with \
         model_type = 'kmeans': Euclidean distance, no scaling, k-means||, at most 20 iterations. The result is the same to the bit in whatever order and \
         division the rows come. Rows whose list is NULL are left out; a NULL within a list counts as the mean of its place in the group. NULL for a group \
         without rows. All rows of a group are kept in memory.",
        "kmeans(k, features[, seed])",
    )
    .with_sql_example(
        "```sql\n> SELECT m['cost'] AS cost, array_sort(m['sizes']) AS sizes FROM (SELECT kmeans(2, [x, y]) AS m FROM (VALUES (0, 0), (0, 2), (9, 9)) AS t(x, y)) AS s;\n\
             +------+--------+\n\
             | cost | sizes  |\n\
             +------+--------+\n\
             | 2.0  | [1, 2] |\n\
             +------+--------+\n\
             ```",
    )
    .with_argument("k", "Number of clusters: a literal from 1 to 10000, and not more than a group has distinct vectors.")
    .with_argument("features", "A list of numbers, of one length within a group; NaN and infinity are errors.")
    .with_argument("seed", "Optional literal: seed of the first centres, 42 by default.")
    .with_related_udf("exact_moments")
    .build()
});

/// See the module documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct KMeansFunction {
    signature: Signature,
}

impl Default for KMeansFunction {
    fn default() -> Self {
        Self::new()
    }
}

impl KMeansFunction {
    /// The function; it has no state.
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

fn vector() -> DataType {
    list_type(DataType::Float64)
}

/// The fields of the result.
fn result_fields() -> Fields {
    fields(&[
        ("centroids", list_type(vector())),
        ("sizes", list_type(DataType::Int64)),
        ("radii", vector()),
        ("cost", DataType::Float64),
        ("silhouette", DataType::Float64),
        ("davies_bouldin_index", DataType::Float64),
        ("rows", DataType::Int64),
        ("iterations", DataType::Int64),
    ])
}

/// A literal whole number.
fn whole(value: &ScalarValue, position: usize, name: &str) -> Result<i64> {
    match value.cast_to(&DataType::Int64)? {
        ScalarValue::Int64(Some(number)) => Ok(number),
        _ => plan_err!("{NAME}: argument {position}, {name}, must be a whole number, not {value}"),
    }
}

fn clusters_of(value: &ScalarValue) -> Result<i64> {
    match whole(value, 1, "k")? {
        k if (1..=CLUSTERS_MAX).contains(&k) => Ok(k),
        k => plan_err!("{NAME}: argument 1, k, is {k}; it goes from 1 to {CLUSTERS_MAX}"),
    }
}

fn check_literals(args: &[Expr]) -> Result<()> {
    for (at, name) in [(0, "k"), (2, "seed")] {
        match args.get(at) {
            None => {}
            Some(Expr::Literal(value, _)) if at == 0 => clusters_of(value).map(|_| ())?,
            Some(Expr::Literal(value, _)) => whole(value, at + 1, name).map(|_| ())?,
            Some(other) => return plan_err!("{NAME}: argument {}, {name}, must be a literal, not {other}", at + 1),
        }
    }
    Ok(())
}

impl AggregateUDFImpl for KMeansFunction {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let (k, features, seed) = match arg_types {
            [k, features] => (k, features, None),
            [k, features, seed] => (k, features, Some(seed)),
            _ => return plan_err!("{NAME} takes k, a list of features and optionally a seed, not {} arguments", arg_types.len()),
        };
        if !k.is_integer() {
            return plan_err!("{NAME}: argument 1, k, must be a whole number, not {}", sql_type_name(k));
        }
        match features {
            DataType::Null => {}
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)
                if item.data_type().is_numeric() || item.data_type().is_null() => {}
            other => {
                return plan_err!("{NAME}: argument 2, features, must be a list of numbers such as [a, b], not {}", sql_type_name(other));
            }
        }
        let mut types = vec![DataType::Int64, vector()];
        match seed {
            None => {}
            Some(seed) if seed.is_integer() => types.push(DataType::Int64),
            Some(other) => return plan_err!("{NAME}: argument 3, seed, must be a whole number, not {}", sql_type_name(other)),
        }
        Ok(types)
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(result_fields()))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |part: &str, data_type| Arc::new(Field::new(format_state_name(args.name, part), data_type, true));
        Ok(vec![field("vectors", vector()), field("width", DataType::Int64)])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::with_state_apart(Grouped::new(Clusters::of_call(&args)?))))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Grouped::new(Clusters::of_call(&args)?)))
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        Some(Box::new(|call, _| {
            refuse_modifiers(&call)?;
            check_literals(&call.params.args)?;
            Ok(Expr::AggregateFunction(call))
        }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

/// The vectors of all groups.
#[derive(Debug)]
struct Clusters {
    k: i64,
    seed: i64,
    vectors: GroupedVectors,
}

impl Clusters {
    fn of_call(args: &AccumulatorArgs) -> Result<Self> {
        refuse_distinct(NAME, args)?;
        let Some(k) = args.exprs.first().and_then(literal) else { return plan_err!("{NAME}: argument 1, k, must be a literal") };
        let seed = match args.exprs.get(2).map(literal) {
            None => SEED,
            Some(Some(seed)) => whole(seed, 3, "seed")?,
            Some(None) => return plan_err!("{NAME}: argument 3, seed, must be a literal"),
        };
        Ok(Self { k: clusters_of(k)?, seed, vectors: GroupedVectors::default() })
    }

    fn add(&mut self, group: usize, width: usize, numbers: &ArrayRef) -> Result<()> {
        let numbers = numbers.as_primitive::<Float64Type>();
        if let Some(found) = numbers.iter().flatten().find(|number| !number.is_finite()) {
            return exec_err!(
                "{NAME}: argument 2, features, holds {found}; filter such rows, or turn such values into NULL with NULLIF or CASE (NULL counts as the mean)"
            );
        }
        let values = (0..numbers.len()).map(|at| if numbers.is_null(at) { f64::NAN } else { numbers.value(at) });
        self.vectors.add(group, width, values).map_err(|e| match e {
            arrow::error::ArrowError::ComputeError(problem) => {
                exec_datafusion_err!("{NAME}: argument 2, features, {problem}; every list of a group has to have the same length")
            }
            other => other.into(),
        })
    }

    /// Trains on the vectors of one group.
    fn train(&self, width: usize, values: &[f64], watch: &ResultsOnly) -> Result<Found> {
        let rows = values.len() / width;
        let of_group = |error: ModelError| {
            if let (Cause::Cancelled, Err(stopped)) = (&error.cause, watch.check_statement()) {
                return stopped;
            }
            let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            let argument = match &error.cause {
                Cause::Option(name) if name == "num_clusters" => "argument 1, k: ",
                Cause::Data | Cause::Column(_) => "argument 2, features: ",
                _ => "",
            };
            exec_datafusion_err!("{NAME}: {argument}{}{hint} (in a group of {rows} rows)", error.message)
        };
        let options = [("num_clusters", self.k), ("seed", self.seed)].map(|(name, value)| (name.to_string(), OptionValue::Int(value)));
        let width_of_list = i32::try_from(width).map_err(|_| exec_datafusion_err!("{NAME}: argument 2, features, has {width} numbers"))?;
        let item = Arc::new(Field::new_list_field(DataType::Float64, true));
        let data_type = DataType::FixedSizeList(Arc::clone(&item), width_of_list);
        let columns = [InputColumn { name: "features".to_string(), data_type: data_type.clone() }];
        let numbers: Float64Array = values.iter().map(|value| (!value.is_nan()).then_some(*value)).collect();
        let lists = FixedSizeListArray::try_new(item, width_of_list, Arc::new(numbers), None)?;
        let batch = RecordBatch::try_from_iter([("features", Arc::new(lists) as ArrayRef)])?;
        let train = || -> orrery_models::Result<Found> {
            let trainer = model_type(NAME)?.trainer(&Options(options.into_iter().collect()), &columns, None)?;
            let mut collector = trainer.collector();
            collector.push(&batch)?;
            let trained = train_in_memory(trainer.as_ref(), vec![collector], watch)?;
            let model = KMeansModel::read(&trained.file)?;
            let measure = |name: &str| trained.metrics.get(name).copied();
            Ok(Found {
                sizes: model.cluster_sizes().map(|size| size as i64).collect(),
                radii: model.cluster_radii().collect(),
                centroids: model.centres_in_data_units(),
                width,
                cost: measure("training_cost"),
                silhouette: measure("silhouette"),
                davies_bouldin_index: measure("davies_bouldin_index"),
                rows: rows as i64,
                iterations: trained.iterations.len() as i64,
            })
        };
        train().map_err(of_group)
    }
}

/// Nobody reads what the result does not hold, and training ends with the statement.
struct ResultsOnly(Option<Stop>);

impl ResultsOnly {
    fn check_statement(&self) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), Stop::check)
    }
}

impl Observer for ResultsOnly {
    fn reads_statistics(&self) -> bool {
        false
    }

    fn is_cancelled(&self) -> bool {
        self.check_statement().is_err()
    }
}

/// What was found in one group.
struct Found {
    centroids: Vec<f64>,
    width: usize,
    sizes: Vec<i64>,
    radii: Vec<f64>,
    cost: Option<f64>,
    silhouette: Option<f64>,
    davies_bouldin_index: Option<f64>,
    rows: i64,
    iterations: i64,
}

/// One struct for each group; NULL where nothing was found.
fn structs(found: &[Option<Found>]) -> Result<ArrayRef> {
    let of = |group: &Option<Found>, number: fn(&Found) -> usize| group.as_ref().map_or(0, number);
    let starts = |number: fn(&Found) -> usize| {
        let mut starts = vec![0];
        found.iter().for_each(|group| starts.push(starts[starts.len() - 1] + of(group, number)));
        starts
    };
    let numbers = |number: fn(&Found) -> Option<f64>| -> ArrayRef {
        Arc::new(found.iter().map(|group| group.as_ref().and_then(number)).collect::<Float64Array>())
    };
    let whole =
        |number: fn(&Found) -> i64| -> ArrayRef { Arc::new(found.iter().map(|group| group.as_ref().map(number)).collect::<Int64Array>()) };
    let all = || found.iter().flatten();
    let centroids: Float64Array = all().flat_map(|group| group.centroids.iter().copied()).map(Some).collect();
    let mut vectors = vec![0];
    for group in all() {
        group.sizes.iter().for_each(|_| vectors.push(vectors[vectors.len() - 1] + group.width));
    }
    let clusters = starts(|group| group.sizes.len());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(lists(Arc::new(lists(Arc::new(centroids), &vectors)?), &clusters)?),
        Arc::new(lists(Arc::new(all().flat_map(|group| group.sizes.iter().copied()).map(Some).collect::<Int64Array>()), &clusters)?),
        Arc::new(lists(Arc::new(all().flat_map(|group| group.radii.iter().copied()).map(Some).collect::<Float64Array>()), &clusters)?),
        numbers(|group| group.cost),
        numbers(|group| group.silhouette),
        numbers(|group| group.davies_bouldin_index),
        whole(|group| group.rows),
        whole(|group| group.iterations),
    ];
    let nulls: NullBuffer = found.iter().map(Option::is_some).collect();
    Ok(Arc::new(StructArray::try_new(result_fields(), columns, Some(nulls))?))
}

impl GroupedState for Clusters {
    fn fresh(&self) -> Self {
        Self { vectors: GroupedVectors::default(), ..*self }
    }

    fn insert(&mut self, values: &[ArrayRef], groups: &[usize], keep: Option<&BooleanBuffer>, total_groups: usize) -> Result<()> {
        self.vectors.grow_to(total_groups);
        let lists = values[1].as_list::<i32>();
        for (row, group) in groups.iter().enumerate() {
            if lists.is_valid(row) && keep.is_none_or(|keep| keep.value(row)) {
                let numbers = lists.value(row);
                self.add(*group, numbers.len(), &numbers)?;
            }
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[usize], total_groups: usize) -> Result<()> {
        self.vectors.grow_to(total_groups);
        let (lists, widths) = (states[0].as_list::<i32>(), states[1].as_primitive::<Int64Type>());
        for (row, group) in groups.iter().enumerate() {
            let numbers = lists.value(row);
            if lists.is_valid(row) && !numbers.is_empty() {
                self.add(*group, widths.value(row) as usize, &numbers)?;
            }
        }
        Ok(())
    }

    fn take_value(&mut self, groups: usize) -> Result<ArrayRef> {
        let (taken, watch) = (self.vectors.take_first(groups), ResultsOnly(Stop::lent()));
        let train = |group: usize| match taken.group(group) {
            [] => Ok(None),
            values => self.train(taken.widths[group], values, &watch).map(Some),
        };
        structs(&(0..groups).map(train).collect::<Result<Vec<_>>>()?)
    }

    fn take_state(&mut self, groups: usize) -> Result<Vec<ArrayRef>> {
        let Taken { widths, starts, values } = self.vectors.take_first(groups);
        let present: NullBuffer = values.iter().map(|value| !value.is_nan()).collect();
        let numbers = Float64Array::new(values.into(), Some(present).filter(|present| present.null_count() > 0));
        let widths = Int64Array::from_iter_values(widths.into_iter().map(|width| width as i64));
        Ok(vec![Arc::new(lists(Arc::new(numbers), &starts)?), Arc::new(widths)])
    }

    /// At its end a group's vectors are there a second time, taken out, and a third time, prepared for training.
    fn allocated_bytes(&self) -> usize {
        3 * self.vectors.allocated_bytes()
    }
}
