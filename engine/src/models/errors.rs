//! Errors of the models crate as errors of a statement: whoever has to act stays the same.

use std::collections::BTreeMap;

use orrery_models::ModelError;
use orrery_models::error::Cause;

use crate::{Blame, Error, Position};

impl From<ModelError> for Error {
    fn from(error: ModelError) -> Self {
        let blame = match &error.cause {
            Cause::Option(_) | Cause::Column(_) => Blame::Sql,
            Cause::Data => Blame::Data,
            Cause::File => Blame::Storage,
            Cause::Memory => Blame::Resources,
            Cause::Cancelled => return Error::interrupted(),
            Cause::Bug => Blame::Bug,
        };
        let message = error.to_string();
        Error { blame, message, position: None, hint: error.hint }
    }
}

/// The same, at the place of the option that is to blame; other errors keep theirs to be found.
pub(crate) fn at_option(error: ModelError, positions: &BTreeMap<String, Option<Position>>) -> Error {
    let position = match &error.cause {
        Cause::Option(name) => positions.get(name).copied().flatten(),
        _ => None,
    };
    Error::from(error).at(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_to_act_stays_the_same() {
        let place = Some(Position { line: 2, column: 5 });
        let positions = BTreeMap::from([("seed".to_string(), place)]);
        let error = at_option(ModelError::option("seed", "-1 does not fit").hint("it takes a whole number"), &positions);
        assert_eq!((error.blame, error.position, error.hint.as_deref()), (Blame::Sql, place, Some("it takes a whole number")));
        assert_eq!(at_option(ModelError::data("all rows are equal"), &positions).blame, Blame::Data);
        assert_eq!(Error::from(ModelError::cancelled()).blame, Blame::Interrupted);
        assert_eq!(Error::from(ModelError::memory("too large")).blame, Blame::Resources);
    }
}
