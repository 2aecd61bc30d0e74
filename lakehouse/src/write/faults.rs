//! Store faults while writing: which are worth another attempt elsewhere. On a cluster only `IoError` makes a task run again.

use std::error::Error as StdError;
use std::io;

use datafusion::error::DataFusionError;
use object_store::path::Path;

use crate::error::storage_error;

/// The store's error as the engine's. Faults that may pass (timeouts, refused connections, overload) become `IoError`; those that a repetition cannot cure
/// (no permission, no space, no such bucket) become a storage error that names the path.
pub(super) fn store_fault(path: &Path, error: object_store::Error) -> DataFusionError {
    if is_permanent(&error) {
        return storage_error(path.as_ref(), error).into();
    }
    DataFusionError::IoError(io::Error::other(format!("{path}: {error}")))
}

fn is_permanent(error: &object_store::Error) -> bool {
    use object_store::Error;
    if matches!(error, Error::Generic { .. } | Error::JoinError { .. }) {
        return io_kind(error).is_some_and(|kind| {
            use io::ErrorKind::{NotADirectory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
            matches!(kind, PermissionDenied | StorageFull | ReadOnlyFilesystem | QuotaExceeded | NotADirectory)
        });
    }
    true
}

fn io_kind(error: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        current = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: io::ErrorKind) -> DataFusionError {
        let source = Box::new(io::Error::from(kind));
        store_fault(&Path::from("t/f.parquet"), object_store::Error::Generic { store: "test", source })
    }

    #[test]
    fn only_passing_faults_are_retried() {
        assert!(matches!(fault(io::ErrorKind::TimedOut), DataFusionError::IoError(e) if e.to_string().contains("t/f.parquet")));
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem] {
            assert!(matches!(fault(kind), DataFusionError::External(e) if e.to_string().contains("t/f.parquet")));
        }
    }
}
