//! What lies where: existence and listing on a store that may have no folders of its own.

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::error::{Result, storage_error};

/// Whether any object lies under `prefix`. Empty local folders do not count, as object stores have none.
pub(super) async fn holds_objects(store: &dyn ObjectStore, prefix: &Path) -> Result<bool> {
    match store.list(Some(prefix)).next().await {
        None => Ok(false),
        Some(Ok(_)) => Ok(true),
        Some(Err(object_store::Error::NotFound { .. })) => Ok(false),
        Some(Err(error)) => Err(storage_error(prefix.as_ref(), error)),
    }
}

/// Whether this very object exists.
pub(super) async fn object_exists(store: &dyn ObjectStore, path: &Path) -> Result<bool> {
    match store.head(path).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(storage_error(path.as_ref(), error)),
    }
}

/// Names of the folders directly under `prefix` that can be names of users' things, sorted.
pub(super) async fn folders(store: &dyn ObjectStore, prefix: &Path) -> Result<Vec<String>> {
    let listed = match store.list_with_delimiter(Some(prefix)).await {
        Ok(listed) => listed,
        Err(object_store::Error::NotFound { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(storage_error(prefix.as_ref(), error)),
    };
    let mut names: Vec<String> = listed
        .common_prefixes
        .iter()
        .filter_map(|path| path.filename().map(str::to_string))
        .filter(|name| !name.starts_with(['_', '.']))
        .collect();
    names.sort();
    Ok(names)
}

/// Names of the objects directly under `prefix` that end with `suffix`, without it, sorted.
pub(super) async fn objects(store: &dyn ObjectStore, prefix: &Path, suffix: &str) -> Result<Vec<String>> {
    let listed = match store.list_with_delimiter(Some(prefix)).await {
        Ok(listed) => listed,
        Err(object_store::Error::NotFound { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(storage_error(prefix.as_ref(), error)),
    };
    let names = listed.objects.iter().filter_map(|object| object.location.filename()?.strip_suffix(suffix).map(str::to_string));
    let mut names: Vec<String> = names.filter(|name| !name.is_empty() && !name.starts_with(['_', '.'])).collect();
    names.sort();
    Ok(names)
}

/// Deletes every object under `prefix` for which `doomed` holds; objects that are gone already do not matter.
pub(super) async fn delete_objects(store: &dyn ObjectStore, prefix: &Path, doomed: impl Fn(&Path) -> bool) -> Result<()> {
    let listed: Vec<Path> = match store.list(Some(prefix)).map_ok(|object| object.location).try_collect().await {
        Ok(listed) => listed,
        Err(object_store::Error::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(storage_error(prefix.as_ref(), error)),
    };
    let doomed: Vec<_> = listed.into_iter().filter(|path| doomed(path)).map(Ok).collect();
    let mut deleted = store.delete_stream(futures::stream::iter(doomed).boxed());
    while let Some(result) = deleted.next().await {
        match result {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(storage_error(prefix.as_ref(), error)),
        }
    }
    Ok(())
}
