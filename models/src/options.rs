//! `OPTIONS (…)` of `CREATE MODEL`: values as written, and the table by which each model type declares, checks and documents its options.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ModelError, Result};

/// How different a name may be to be offered instead.
const SIMILAR_ENOUGH: f64 = 0.7;

/// A value of an option as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OptionValue {
    /// `3`
    Int(i64),
    /// `0.1`
    Float(f64),
    /// `TRUE`
    Bool(bool),
    /// `'kmeans++'`
    Text(String),
    /// `['a', 'b']`
    List(Vec<OptionValue>),
    /// `HPARAM_RANGE(2, 10)`, both ends included.
    Range(f64, f64),
    /// `HPARAM_CANDIDATES([2, 4, 8])`
    Candidates(Vec<OptionValue>),
}

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OptionKind {
    /// A whole number from the first to the second, both included.
    Int(i64, i64),
    /// A whole number, or `HPARAM_RANGE` / `HPARAM_CANDIDATES` over whole numbers, within the bounds.
    IntOrRange(i64, i64),
    /// A finite number from the first to the second, both included.
    Float(f64, f64),
    /// A finite number, or `HPARAM_RANGE` / `HPARAM_CANDIDATES` over numbers, within the bounds.
    FloatOrRange(f64, f64),
    /// `TRUE` or `FALSE`.
    Bool,
    /// One of these texts, whatever the case.
    Choice(&'static [&'static str]),
    /// Any text; mostly a column's name.
    Text,
    /// A list of texts.
    TextList,
}

/// One option of a model type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OptionSpec {
    /// Lower-case name.
    pub name: &'static str,
    /// What it takes.
    pub kind: OptionKind,
    /// What holds when it is not given, as written in SQL; `None`: it must be given, or absence has a meaning that `about` tells.
    pub default: Option<&'static str>,
    /// What it does, in a sentence, for the reference.
    pub about: &'static str,
}

/// Options by lower-case name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Options(pub BTreeMap<String, OptionValue>);

impl Options {
    /// Checks names and kinds against what a model type declares.
    ///
    /// # Errors
    /// An unknown name, with the nearest known one; a value of the wrong kind or out of bounds.
    pub fn check(&self, specs: &[OptionSpec]) -> Result<()> {
        for (name, value) in &self.0 {
            let Some(spec) = specs.iter().find(|spec| spec.name == name) else { return Err(unknown(name, specs)) };
            spec.check(value)?;
        }
        Ok(())
    }

    /// Refuses all options, for what takes none.
    ///
    /// # Errors
    /// The first one; `of` is what has no such option.
    pub fn refuse(&self, of: &str) -> Result<()> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(ModelError::option(name, format!("it has no meaning for a model of type {of}")).hint("leave it out")),
        }
    }

    /// A whole number; `None` when not given. Call after [`Options::check`].
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(OptionValue::Int(value)) => Some(*value),
            _ => None,
        }
    }

    /// A number; `None` when not given.
    pub fn float(&self, name: &str) -> Option<f64> {
        match self.0.get(name) {
            Some(OptionValue::Float(value)) => Some(*value),
            Some(OptionValue::Int(value)) => Some(*value as f64),
            _ => None,
        }
    }

    /// A truth value; `None` when not given.
    pub fn bool(&self, name: &str) -> Option<bool> {
        match self.0.get(name) {
            Some(OptionValue::Bool(value)) => Some(*value),
            _ => None,
        }
    }

    /// A text as written; `None` when not given.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(OptionValue::Text(value)) => Some(value),
            _ => None,
        }
    }

    /// A text of [`OptionKind::Choice`], lower-cased; `None` when not given.
    pub fn choice(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_ascii_lowercase)
    }

    /// The values to try of [`OptionKind::IntOrRange`]: one for a plain number. `None` when not given.
    pub fn int_candidates(&self, name: &str) -> Option<Vec<i64>> {
        match self.0.get(name)? {
            OptionValue::Int(value) => Some(vec![*value]),
            OptionValue::Range(low, high) => Some((*low as i64..=*high as i64).collect()),
            OptionValue::Candidates(values) => Some(values.iter().filter_map(as_int).collect()),
            _ => None,
        }
    }
}

impl Options {
    /// The values to try of [`OptionKind::FloatOrRange`]: one for a plain number, five for a range. `None` when not given.
    pub fn float_candidates(&self, name: &str) -> Option<Vec<f64>> {
        match self.0.get(name)? {
            OptionValue::Range(low, high) if *low > 0.0 => {
                // In equal ratios; roots are the same to the bit on every machine.
                let middle = (low * high).sqrt();
                Some(vec![*low, (low * middle).sqrt(), middle, (middle * high).sqrt(), *high])
            }
            OptionValue::Range(low, high) => Some((0..5).map(|step| low + (high - low) * f64::from(step) / 4.0).collect()),
            OptionValue::Candidates(values) => Some(values.iter().filter_map(as_float).collect()),
            value => as_float(value).map(|value| vec![value]),
        }
    }
}

fn as_float(value: &OptionValue) -> Option<f64> {
    match value {
        OptionValue::Int(value) => Some(*value as f64),
        OptionValue::Float(value) => Some(*value),
        _ => None,
    }
}

fn as_int(value: &OptionValue) -> Option<i64> {
    match value {
        OptionValue::Int(value) => Some(*value),
        _ => None,
    }
}

fn unknown(name: &str, specs: &[OptionSpec]) -> ModelError {
    let error = ModelError::option(name, "there is no such option");
    let nearest = specs.iter().map(|spec| (strsim::jaro_winkler(name, spec.name), spec.name)).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((score, nearest)) if score >= SIMILAR_ENOUGH => error.hint(format!("did you mean '{nearest}'?")),
        _ => error.hint(format!("options are: {}", specs.iter().map(|s| s.name).collect::<Vec<_>>().join(", "))),
    }
}

impl OptionSpec {
    fn check(&self, value: &OptionValue) -> Result<()> {
        let fits = match (self.kind, value) {
            (OptionKind::Int(low, high) | OptionKind::IntOrRange(low, high), OptionValue::Int(value)) => (low..=high).contains(value),
            (OptionKind::IntOrRange(low, high), OptionValue::Range(from, to)) => {
                from.fract() == 0.0 && to.fract() == 0.0 && from <= to && *from >= low as f64 && *to <= high as f64
            }
            (OptionKind::IntOrRange(low, high), OptionValue::Candidates(values)) => {
                !values.is_empty() && values.iter().all(|value| as_int(value).is_some_and(|value| (low..=high).contains(&value)))
            }
            (OptionKind::Float(low, high) | OptionKind::FloatOrRange(low, high), OptionValue::Float(value)) => (low..=high).contains(value),
            (OptionKind::Float(low, high) | OptionKind::FloatOrRange(low, high), OptionValue::Int(value)) => {
                (low..=high).contains(&(*value as f64))
            }
            (OptionKind::FloatOrRange(low, high), OptionValue::Range(from, to)) => from <= to && *from >= low && *to <= high,
            (OptionKind::FloatOrRange(low, high), OptionValue::Candidates(values)) => {
                !values.is_empty() && values.iter().all(|value| as_float(value).is_some_and(|value| (low..=high).contains(&value)))
            }
            (OptionKind::Bool, OptionValue::Bool(_)) | (OptionKind::Text, OptionValue::Text(_)) => true,
            (OptionKind::Choice(choices), OptionValue::Text(text)) => choices.iter().any(|choice| choice.eq_ignore_ascii_case(text)),
            (OptionKind::TextList, OptionValue::List(values)) => values.iter().all(|value| matches!(value, OptionValue::Text(_))),
            _ => false,
        };
        if fits {
            return Ok(());
        }
        Err(ModelError::option(self.name, format!("{value} does not fit")).hint(format!("it takes {}", self.kind)))
    }
}

impl std::fmt::Display for OptionValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |values: &[OptionValue]| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Bool(value) => f.write_str(if *value { "TRUE" } else { "FALSE" }),
            Self::Text(value) => write!(f, "'{}'", value.replace('\'', "''")),
            Self::List(values) => write!(f, "[{}]", list(values)),
            Self::Range(low, high) => write!(f, "HPARAM_RANGE({low}, {high})"),
            Self::Candidates(values) => write!(f, "HPARAM_CANDIDATES([{}])", list(values)),
        }
    }
}

impl std::fmt::Display for OptionKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let range = |low: String, high: String, top: bool| if top { format!(" from {low} on") } else { format!(" from {low} to {high}") };
        match self {
            Self::Int(low, high) => write!(f, "a whole number{}", range(low.to_string(), high.to_string(), *high == i64::MAX)),
            Self::IntOrRange(low, high) => write!(
                f,
                "a whole number{}, HPARAM_RANGE(low, high) or HPARAM_CANDIDATES([…])",
                range(low.to_string(), high.to_string(), *high == i64::MAX)
            ),
            Self::Float(low, high) => write!(f, "a number{}", range(format!("{low}"), format!("{high}"), *high >= f64::MAX)),
            Self::FloatOrRange(low, high) => write!(
                f,
                "a number{}, HPARAM_RANGE(low, high) or HPARAM_CANDIDATES([…])",
                range(format!("{low}"), format!("{high}"), *high >= f64::MAX)
            ),
            Self::Bool => f.write_str("TRUE or FALSE"),
            Self::Choice(choices) => {
                write!(f, "one of {}", choices.iter().map(|choice| format!("'{choice}'")).collect::<Vec<_>>().join(", "))
            }
            Self::Text => f.write_str("a text"),
            Self::TextList => f.write_str("a list of texts, ['a', 'b']"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: &[OptionSpec] = &[
        OptionSpec { name: "num_clusters", kind: OptionKind::IntOrRange(1, 100), default: None, about: "" },
        OptionSpec { name: "tol", kind: OptionKind::Float(0.0, f64::MAX), default: Some("0.0001"), about: "" },
        OptionSpec { name: "l2_reg", kind: OptionKind::FloatOrRange(0.0, 100.0), default: Some("0.1"), about: "" },
    ];

    fn options(name: &str, value: OptionValue) -> Options {
        Options(BTreeMap::from([(name.to_string(), value)]))
    }

    #[test]
    fn names_the_nearest_option() {
        let error = options("num_cluster", OptionValue::Int(3)).check(SPECS).unwrap_err();
        assert_eq!(error.hint.as_deref(), Some("did you mean 'num_clusters'?"));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        for value in [OptionValue::Int(0), OptionValue::Float(2.5), OptionValue::Range(2.5, 4.0), OptionValue::Range(5.0, 4.0)] {
            assert!(options("num_clusters", value).check(SPECS).is_err());
        }
        assert!(options("tol", OptionValue::Float(f64::NAN)).check(SPECS).is_err());
        assert!(options("tol", OptionValue::Int(1)).check(SPECS).is_ok());
        let l2_reg = |value| options("l2_reg", value);
        assert!(l2_reg(OptionValue::Range(0.1, 200.0)).check(SPECS).is_err());
        assert!(l2_reg(OptionValue::Candidates(Vec::new())).check(SPECS).is_err());
        assert!(l2_reg(OptionValue::Candidates(vec![OptionValue::Int(1), OptionValue::Float(0.5)])).check(SPECS).is_ok());
        assert_eq!(l2_reg(OptionValue::Range(0.0, 1.0)).float_candidates("l2_reg"), Some(vec![0.0, 0.25, 0.5, 0.75, 1.0]));
        assert_eq!(options("num_clusters", OptionValue::Range(2.0, 4.0)).int_candidates("num_clusters"), Some(vec![2, 3, 4]));
    }
}
