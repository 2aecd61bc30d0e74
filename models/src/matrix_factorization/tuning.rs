//! Several values of an option, tried: which combinations there are, and which one is kept.

use std::collections::BTreeMap;

use crate::{ModelError, OptionValue, Options, Result, Trial};

/// Combinations at most.
const TRIALS_MAX: usize = 100;
/// Options of which several values can be tried, with the names that trials have for them.
const TUNED: [(&str, &str); 5] =
    [("num_factors", "num_factors"), ("rank", "num_factors"), ("l2_reg", "l2_reg"), ("wals_alpha", "wals_alpha"), ("alpha", "wals_alpha")];

/// One combination.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The values that are tried.
    pub hyperparameters: BTreeMap<String, f64>,
    /// All options, with these values.
    pub options: Options,
}

/// The combinations of all values to try, the first option's values changing last; one without hyperparameters where nothing is to be tried.
///
/// # Errors
/// More combinations than can be trained.
pub fn candidates(options: &Options) -> Result<Vec<Candidate>> {
    let mut all = vec![Candidate { hyperparameters: BTreeMap::new(), options: options.clone() }];
    for (option, name) in TUNED {
        let Some(OptionValue::Range(..) | OptionValue::Candidates(_)) = options.0.get(option) else { continue };
        let values = values(options, option);
        if all.len() * values.len() > TRIALS_MAX {
            let message = format!("{} combinations are more than {TRIALS_MAX}", all.len() * values.len());
            return Err(ModelError::option(option, message).hint("name fewer values with HPARAM_CANDIDATES([…])"));
        }
        let with = |candidate: &Candidate, value: &OptionValue, number: f64| {
            let mut next = candidate.clone();
            next.hyperparameters.insert(name.to_string(), number);
            next.options.0.insert(option.to_string(), value.clone());
            next
        };
        all = all.iter().flat_map(|candidate| values.iter().map(move |(value, number)| with(candidate, value, *number))).collect();
    }
    Ok(all)
}

/// The values of one option, ascending, each once.
fn values(options: &Options, option: &str) -> Vec<(OptionValue, f64)> {
    let mut values: Vec<(OptionValue, f64)> = match option {
        "num_factors" | "rank" => {
            let whole = options.int_candidates(option).unwrap_or_default();
            whole.into_iter().map(|value| (OptionValue::Int(value), value as f64)).collect()
        }
        _ => {
            let numbers = options.float_candidates(option).unwrap_or_default();
            numbers.into_iter().map(|value| (OptionValue::Float(value), value)).collect()
        }
    };
    values.sort_by(|a, b| a.1.total_cmp(&b.1));
    values.dedup_by(|a, b| a.1 == b.1);
    values
}

/// What trials are compared by: what is held out is predicted with the least mean squared error, or ranked with the greatest mean average precision.
pub fn objective(is_implicit: bool) -> &'static str {
    if is_implicit { "mean_average_precision" } else { "mean_squared_error" }
}

/// Marks the trial that is kept, of equal ones the first, and returns its place.
///
/// # Errors
/// No trial was measured.
pub fn choose(trials: &mut [Trial], is_implicit: bool) -> Result<usize> {
    let cost = |trial: &Trial| {
        let value = trial.metrics.get(objective(is_implicit)).copied().filter(|value| value.is_finite())?;
        Some(if is_implicit { -value } else { value })
    };
    let measured = trials.iter().enumerate().filter_map(|(place, trial)| Some((place, cost(trial)?)));
    let Some((best, _)) = measured.min_by(|a, b| a.1.total_cmp(&b.1)) else {
        return Err(ModelError::data(
            "too few ratings are held out to compare trials: none is of a user and an item that others rate as well",
        )
        .hint("give one value for each option"));
    };
    trials[best].is_optimal = true;
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(given: &[(&str, OptionValue)]) -> Options {
        Options(given.iter().map(|(name, value)| ((*name).to_string(), value.clone())).collect())
    }

    #[test]
    fn combinations_are_all_pairs_of_values() {
        let whole = OptionValue::Candidates(vec![OptionValue::Int(8), OptionValue::Int(4), OptionValue::Int(8)]);
        let all =
            candidates(&options(&[("rank", whole), ("l2_reg", OptionValue::Range(0.25, 4.0)), ("seed", OptionValue::Int(1))])).unwrap();
        let pairs: Vec<[f64; 2]> = all.iter().map(|c| [c.hyperparameters["num_factors"], c.hyperparameters["l2_reg"]]).collect();
        let of = |rank: f64| [0.25, 0.5, 1.0, 2.0, 4.0].map(|l2_reg| [rank, l2_reg]);
        assert_eq!(pairs, [of(4.0), of(8.0)].concat());
        assert_eq!((all[7].options.int("rank"), all[7].options.float("l2_reg"), all[7].options.int("seed")), (Some(8), Some(1.0), Some(1)));
        let one = candidates(&options(&[("rank", OptionValue::Int(4))])).unwrap();
        assert!(one.len() == 1 && one[0].hyperparameters.is_empty());
        let many = options(&[("num_factors", OptionValue::Range(1.0, 30.0)), ("l2_reg", OptionValue::Range(0.0, 1.0))]);
        assert!(candidates(&many).unwrap_err().message.contains("150 combinations"));
    }

    #[test]
    fn the_first_of_equal_trials_is_kept() {
        let trial = |error: f64| Trial {
            trial_id: 1,
            hyperparameters: BTreeMap::new(),
            metrics: BTreeMap::from([("mean_squared_error".to_string(), error), ("mean_average_precision".to_string(), error)]),
            training_loss: None,
            error_message: None,
            is_optimal: false,
        };
        let trials = [0.5, f64::NAN, 0.25, 0.25].map(trial);
        assert_eq!(choose(&mut trials.clone(), false), Ok(2));
        assert_eq!(choose(&mut trials.clone(), true), Ok(0));
        assert!(choose(&mut [trial(f64::NAN)], false).is_err());
    }
}
