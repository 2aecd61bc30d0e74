//! Bytes to a path or URL that a statement names.

use bytes::Bytes;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::prelude::SessionContext;
use object_store::path::Path;
use object_store::{ObjectStoreExt as _, PutPayload};
use url::Url;

use crate::{Blame, Error, Result};

/// Writes an object, or a file with the folders above it; what was there is replaced.
///
/// # Errors
/// A place that is no file, or the store refuses.
pub(super) async fn put(context: &SessionContext, target: &str, bytes: Bytes) -> Result<()> {
    let invalid = |what: &str| Error::sql(format!("'{target}' is no file to write to: {what}"));
    if target.is_empty() || target.ends_with('/') {
        return Err(invalid("it names a folder").hint("name the file itself"));
    }
    let url = if target.contains("://") {
        Url::parse(target).map_err(|e| invalid(&e.to_string()))?
    } else {
        let path = std::path::absolute(target).map_err(|e| invalid(&e.to_string()))?;
        // Through a URL, which takes `..` out of a path.
        Url::from_file_path(path).and_then(|url| Url::parse(url.as_str()).map_err(|_| ())).map_err(|()| invalid("it is no path"))?
    };
    let store = ListingTableUrl::try_new(url.clone(), None).map_err(|e| invalid(&e.strip_backtrace()))?.object_store();
    let store = context.runtime_env().object_store(store)?;
    let path = Path::from_url_path(url.path()).map_err(|e| invalid(&e.to_string()))?;
    let written = store.put(&path, PutPayload::from(bytes)).await;
    written.map(|_| ()).map_err(|e| Error::new(Blame::Storage, format!("{target} cannot be written: {e}")))
}
