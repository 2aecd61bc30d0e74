//! Options and columns of a training, checked.

use super::model::KMeansModel;
use crate::features::FeatureColumns;
use crate::options::OptionKind;
use crate::type_names::sql_type_name;
use crate::{InputColumn, Model, ModelError, OptionSpec, Options, Result};

/// As many as labels can tell apart, with room.
pub const MAX_CLUSTERS: i64 = 10_000;

/// The options of `model_type = 'kmeans'`.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "num_clusters",
        kind: OptionKind::IntOrRange(1, MAX_CLUSTERS),
        default: None,
        about: "Number of clusters; required. With HPARAM_RANGE(2, 10) or HPARAM_CANDIDATES([…]) one run trains them all and keeps the one with the \
                highest silhouette, of equals the one with fewer clusters; ML.TRIAL_INFO lists them with cost, silhouette and Davies-Bouldin index.",
    },
    OptionSpec {
        name: "kmeans_init_method",
        kind: OptionKind::Choice(&["kmeans_parallel", "k-means||", "kmeans++", "k-means++", "random", "custom"]),
        default: Some("'kmeans_parallel'"),
        about: "How the first centres are found: kmeans_parallel (k-means||, several times on a sample, the best one refined), kmeans++ (greedy, once), \
                random (distinct rows), custom (the rows that kmeans_init_col marks). The sample holds all distinct rows as long as they are few.",
    },
    OptionSpec {
        name: "kmeans_init_col",
        kind: OptionKind::Text,
        default: None,
        about: "Name of a BOOL column whose TRUE rows, num_clusters of them, are the first centres; for kmeans_init_method = 'custom'.",
    },
    OptionSpec {
        name: "distance_type",
        kind: OptionKind::Choice(&["euclidean", "cosine"]),
        default: Some("'euclidean'"),
        about: "euclidean, or cosine: 1 - cos(row, centre), with rows and centres normalised.",
    },
    OptionSpec {
        name: "standardize_features",
        kind: OptionKind::Bool,
        default: Some("FALSE"),
        about: "Whether features are centred and divided by their sample deviation first; a constant feature becomes 0.",
    },
    OptionSpec {
        name: "weight_col",
        kind: OptionKind::Text,
        default: None,
        about: "Name of a column of numbers from 0 on that says how often a row counts; it is no feature. Means and deviations of features are those of rows.",
    },
    OptionSpec { name: "seed", kind: OptionKind::Int(i64::MIN, i64::MAX), default: Some("42"), about: "Seed of all random choices." },
    OptionSpec {
        name: "tol",
        kind: OptionKind::Float(0.0, f64::MAX),
        default: Some("0.0001"),
        about: "Training has converged when no centre moved farther than this, in the space that is trained in.",
    },
    OptionSpec {
        name: "max_iterations",
        kind: OptionKind::Int(1, 1_000_000),
        default: Some("20"),
        about: "Iterations of one run at most.",
    },
    OptionSpec {
        name: "n_init",
        kind: OptionKind::Int(1, 1000),
        default: Some("1"),
        about: "How many runs with different first centres there are; the one with the least cost is kept.",
    },
    OptionSpec {
        name: "warm_start",
        kind: OptionKind::Bool,
        default: Some("FALSE"),
        about: "Whether training begins with the centres of the model's latest version.",
    },
    OptionSpec {
        name: "init_steps",
        kind: OptionKind::Int(1, 100),
        default: Some("2"),
        about: "Steps of kmeans_parallel, in each of which about 2 * num_clusters candidates are drawn.",
    },
    OptionSpec {
        name: "early_stop",
        kind: OptionKind::Bool,
        default: Some("FALSE"),
        about: "Whether training also ends when the loss falls by less than min_rel_progress.",
    },
    OptionSpec {
        name: "min_rel_progress",
        kind: OptionKind::Float(0.0, 1.0),
        default: Some("0.01"),
        about: "The least relative fall of the loss in an iteration that lets training go on; with early_stop.",
    },
];

/// How the first centres are found.
#[derive(Debug, Clone, PartialEq)]
pub enum Init {
    /// k-means||, the best of several on the sample.
    Parallel {
        /// Steps.
        steps: u64,
    },
    /// Greedy k-means++ on the sample.
    PlusPlus,
    /// Distinct rows of the sample.
    Random,
    /// Rows that a column marks.
    Custom,
    /// Centres in the units of the data.
    Given(Vec<f64>),
}

/// Options and columns, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The numbers of clusters to try.
    pub clusters: Vec<usize>,
    /// How the first centres are found.
    pub init: Init,
    /// Cosine distance.
    pub cosine: bool,
    /// Standardised features.
    pub standardize: bool,
    /// Seed.
    pub seed: u64,
    /// Farthest move of a centre at convergence.
    pub tol: f64,
    /// Iterations of a run at most.
    pub max_iterations: u32,
    /// Runs.
    pub runs: u32,
    /// Least relative progress that lets a run go on.
    pub min_progress: Option<f64>,
    /// Columns that are features.
    pub features: FeatureColumns,
    /// The columns that are features, as they will be asked for when scoring.
    pub inputs: Vec<InputColumn>,
    /// Index of the column with weights.
    pub weight: Option<usize>,
    /// Index of the column that marks first centres.
    pub chosen: Option<usize>,
}

impl Settings {
    /// Checks options and columns.
    ///
    /// # Errors
    /// See [`ModelType::trainer`](crate::ModelType::trainer).
    pub fn new(options: &Options, columns: &[InputColumn], warm_start: Option<&dyn Model>) -> Result<Self> {
        options.check(OPTIONS)?;
        let clusters = options.int_candidates("num_clusters").ok_or_else(|| {
            ModelError::option("num_clusters", "it is required").hint("give a number, or HPARAM_RANGE(2, 10) to try several")
        })?;
        let mut clusters: Vec<usize> = clusters.into_iter().map(|k| k as usize).collect();
        clusters.sort_unstable();
        clusters.dedup();
        let weight = named(options, "weight_col", columns, |t| t.is_numeric(), "a column of numbers")?;
        let chosen = named(options, "kmeans_init_col", columns, |t| *t == arrow::datatypes::DataType::Boolean, "a BOOL column")?;
        let except: Vec<usize> = weight.into_iter().chain(chosen).collect();
        let features = FeatureColumns::new(columns, &except)?;
        let inputs = features.columns().iter().filter_map(|f| columns.get(f.index).cloned()).collect();
        let init = init(options, chosen, &clusters)?;
        let mut settings = Self {
            clusters,
            init,
            cosine: options.choice("distance_type").as_deref() == Some("cosine"),
            standardize: options.bool("standardize_features").unwrap_or(false),
            seed: options.int("seed").unwrap_or(42) as u64,
            tol: options.float("tol").unwrap_or(1e-4),
            max_iterations: options.int("max_iterations").unwrap_or(20) as u32,
            runs: options.int("n_init").unwrap_or(1) as u32,
            min_progress: options.bool("early_stop").unwrap_or(false).then(|| options.float("min_rel_progress").unwrap_or(0.01)),
            features,
            inputs,
            weight,
            chosen,
        };
        if let Some(model) = warm_start.filter(|_| options.bool("warm_start") == Some(true)) {
            settings.init = Init::Given(settings.warm_centres(model)?);
        }
        if matches!(settings.init, Init::Custom | Init::Given(_)) {
            settings.runs = 1; // they would all be the same
        }
        Ok(settings)
    }

    fn warm_centres(&self, model: &dyn Model) -> Result<Vec<f64>> {
        let refuse = |what: String| {
            ModelError::option("warm_start", what).hint("leave warm_start out, or train with the options of the earlier version")
        };
        let Some(model) = model.as_any().downcast_ref::<KMeansModel>() else {
            return Err(refuse(format!("the earlier version is of type {}", model.model_type())));
        };
        let names = |inputs: &[InputColumn]| inputs.iter().map(|i| i.name.clone()).collect::<Vec<_>>().join(", ");
        if names(model.inputs()) != names(&self.inputs) {
            return Err(refuse(format!(
                "the earlier version has the features {}, the query {}",
                names(model.inputs()),
                names(&self.inputs)
            )));
        }
        if self.clusters != [model.clusters()] {
            return Err(refuse(format!("the earlier version has {} clusters", model.clusters())));
        }
        Ok(model.centres_in_data_units())
    }

    /// Bytes of a row in memory.
    pub fn bytes_per_row(&self) -> usize {
        let features: usize =
            self.features.widths().iter().map(|width| (*width).max(8)).sum::<usize>().min(self.features.columns().len() * 8);
        let known: usize = self.features.widths().iter().sum();
        known.max(if self.features.widths().contains(&0) { features } else { known }) * size_of::<f64>()
            + size_of::<u16>()
            + if self.weight.is_some() { size_of::<f64>() } else { 0 }
    }
}

fn init(options: &Options, chosen: Option<usize>, clusters: &[usize]) -> Result<Init> {
    let method = options.choice("kmeans_init_method");
    if let (Some(_), Some(other)) = (chosen, method.as_deref().filter(|m| *m != "custom")) {
        return Err(ModelError::option("kmeans_init_col", format!("it has no meaning with kmeans_init_method = '{other}'"))
            .hint("set kmeans_init_method = 'custom' or leave kmeans_init_col out"));
    }
    match method.as_deref() {
        None if chosen.is_some() => Ok(Init::Custom),
        None | Some("kmeans_parallel" | "k-means||") => Ok(Init::Parallel { steps: options.int("init_steps").unwrap_or(2) as u64 }),
        Some("random") => Ok(Init::Random),
        Some("custom") if chosen.is_none() => {
            Err(ModelError::option("kmeans_init_col", "kmeans_init_method = 'custom' needs it").hint("name a BOOL column of the query"))
        }
        Some("custom") if clusters.len() > 1 => {
            Err(ModelError::option("kmeans_init_method", "'custom' fits one number of clusters only")
                .hint("give num_clusters as one number"))
        }
        Some("custom") => Ok(Init::Custom),
        Some(_) => Ok(Init::PlusPlus),
    }
}

/// The index of the column that an option names.
fn named(
    options: &Options,
    option: &str,
    columns: &[InputColumn],
    fits: impl Fn(&arrow::datatypes::DataType) -> bool,
    wanted: &str,
) -> Result<Option<usize>> {
    let Some(name) = options.text(option) else { return Ok(None) };
    let Some(index) =
        columns.iter().position(|c| c.name == name).or_else(|| columns.iter().position(|c| c.name.eq_ignore_ascii_case(name)))
    else {
        let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        return Err(
            ModelError::option(option, format!("the query has no column '{name}'")).hint(format!("its columns are: {}", names.join(", ")))
        );
    };
    if !fits(&columns[index].data_type) {
        return Err(ModelError::option(option, format!("column '{name}' is {}", sql_type_name(&columns[index].data_type)))
            .hint(format!("it has to be {wanted}")));
    }
    Ok(Some(index))
}
