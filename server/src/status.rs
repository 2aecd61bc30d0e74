//! The engine's errors as clients see them: a gRPC code by who is to blame, and the words that the shell would say.

use orrery_engine::script::Failure;
use orrery_engine::{Blame, Error};
use tonic::{Code, Status};

/// Longest message: it travels in a header, which some clients limit to 8 KiB after encoding.
const MESSAGE_CHARS: usize = 2_000;

/// The status of an error.
pub(crate) fn of_error(error: &Error) -> Status {
    Status::new(code(error.blame), message(error))
}

/// The status of a failure within several statements.
pub(crate) fn of_failure(failure: &Failure, of: usize) -> Status {
    let place = failure.number.filter(|_| of > 1).map_or_else(String::new, |number| format!("statement {number}: "));
    Status::new(code(failure.error.blame), format!("{place}{}", message(&failure.error)))
}

fn code(blame: Blame) -> Code {
    match blame {
        Blame::Sql => Code::InvalidArgument,
        Blame::Data | Blame::Storage => Code::FailedPrecondition,
        Blame::Rights => Code::PermissionDenied,
        Blame::Cluster => Code::Unavailable,
        Blame::Resources => Code::ResourceExhausted,
        Blame::Interrupted => Code::Cancelled,
        Blame::Bug => Code::Internal,
    }
}

fn message(error: &Error) -> String {
    let mut text = error.to_string();
    if let Some(hint) = &error.hint {
        text.push_str("; hint: ");
        text.push_str(hint);
    }
    if text.chars().count() > MESSAGE_CHARS {
        text = text.chars().take(MESSAGE_CHARS).chain(['…']).collect();
    }
    text
}

/// A request that cannot be understood.
pub(crate) fn malformed(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(format!("the request cannot be read: {error}"))
}

/// What this server does not do.
pub(crate) fn refused(what: &str, instead: &str) -> Status {
    Status::unimplemented(format!("{what} not supported; hint: {instead}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_engine::Position;

    #[test]
    fn tells_place_and_hint_and_stays_short() {
        let error = Error::sql("no such column").at(Some(Position { line: 2, column: 7 })).hint("did you mean 'b'?");
        let status = of_error(&error);
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "no such column (line 2, column 7); hint: did you mean 'b'?");
        let long = of_error(&Error::data("ä".repeat(100_000)));
        assert_eq!(long.message().chars().count(), MESSAGE_CHARS + 1);
    }
}
