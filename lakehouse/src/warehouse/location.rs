//! From what a user types as the warehouse's location to an object store and a folder in it.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::datasource::object_store::ObjectStoreUrl;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreScheme};
use url::{Position, Url};

use crate::error::{Error, Result, storage_error};
use crate::stores::environment_settings;

/// An opened location.
#[derive(Debug)]
pub(super) struct Location {
    /// URL of the folder, ending with a slash.
    pub root: Url,
    /// The same folder as a path of `store`.
    pub prefix: Path,
    pub store: Arc<dyn ObjectStore>,
    /// URL of the store itself: scheme and host.
    pub store_url: ObjectStoreUrl,
    /// Whether the store is the local file system, where folders exist on their own.
    pub local: bool,
}

/// Opens a local path or a URL. Errors never repeat `options` or environment values, because they may be secrets.
pub(super) fn open(location: &str, options: HashMap<String, String>) -> Result<Location> {
    let mut root = parse_root(location)?;
    if !root.path().ends_with('/') {
        root.set_path(&format!("{}/", root.path()));
    }
    let shown = root.to_string();
    let (scheme, prefix) = ObjectStoreScheme::parse(&root).map_err(|_| unknown_scheme(&shown))?;
    let local = matches!(scheme, ObjectStoreScheme::Local);
    let store: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::Local => Arc::new(LocalFileSystem::new()),
        ObjectStoreScheme::Memory => Arc::new(InMemory::new()),
        ObjectStoreScheme::AmazonS3 | ObjectStoreScheme::GoogleCloudStorage | ObjectStoreScheme::MicrosoftAzure if !is_http(&root) => {
            let settings = environment_settings().chain(options);
            let (store, _) = object_store::parse_url_opts(&root, settings).map_err(|error| storage_error(&shown, error))?;
            Arc::from(store)
        }
        _ => return Err(unknown_scheme(&shown)),
    };
    let store_url = ObjectStoreUrl::parse(&root[..Position::BeforePath])
        .map_err(|error| Error::Invalid(format!("{shown} cannot be a warehouse: {error}")))?;
    Ok(Location { root, prefix, store, store_url, local })
}

fn is_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

fn unknown_scheme(location: &str) -> Error {
    Error::Invalid(format!(
        "{location} cannot be a warehouse: it has to be a local path or a URL that starts with file, memory, s3, gs, az or abfss"
    ))
}

fn parse_root(location: &str) -> Result<Url> {
    if location.trim().is_empty() {
        return Err(Error::Invalid("the warehouse's location is empty".into()));
    }
    if location.contains("://") || location.starts_with("file:") || location.starts_with("memory:") {
        let url = Url::parse(location).map_err(|error| Error::Invalid(format!("{location:?} is not a URL: {error}")))?;
        return match url.scheme() {
            "file" => local_url(&url.to_file_path().map_err(|()| Error::Invalid(format!("{location:?} is not a local path")))?),
            _ => Ok(url),
        };
    }
    local_url(std::path::Path::new(location))
}

fn local_url(path: &std::path::Path) -> Result<Url> {
    let absolute = std::path::absolute(path).map_err(|error| storage_error(&path.display().to_string(), error))?;
    if absolute.is_file() {
        return Err(Error::Invalid(format!("{} cannot be a warehouse: it is a file, not a folder", absolute.display())));
    }
    Url::from_directory_path(&absolute)
        .map_err(|()| Error::Invalid(format!("{} cannot be a warehouse: it is not a path", absolute.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(location: &str) -> Location {
        open(location, HashMap::new()).unwrap()
    }

    #[test]
    fn local_paths_and_urls_agree() {
        let plain = opened("/data/./ware house");
        assert_eq!(plain.root.as_str(), "file:///data/ware%20house/");
        assert_eq!(plain.prefix.as_ref(), "data/ware house");
        assert_eq!(plain.store_url.as_str(), "file:///");
        assert!(plain.local);
        assert_eq!(opened("file:///data/ware%20house").prefix, plain.prefix);
        assert!(opened("warehouse").root.as_str().ends_with("/warehouse/"));
    }

    #[test]
    fn cloud_urls_keep_bucket_and_prefix_apart() {
        let s3 = open("s3://bucket/a/b", HashMap::from([("aws_region".into(), "eu-west-1".into())])).unwrap();
        assert_eq!((s3.store_url.as_str(), s3.prefix.as_ref()), ("s3://bucket/", "a/b"));
        let memory = opened("memory:///w");
        assert_eq!((memory.prefix.as_ref(), memory.local), ("w", false));
    }

    #[test]
    fn refuses_other_locations() {
        for location in ["", "https://example.com/w", "ftp://host/w", "http://127.0.0.1/w"] {
            assert!(matches!(open(location, HashMap::new()), Err(Error::Invalid(_))), "{location}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(open(&file.path().display().to_string(), HashMap::new()).unwrap_err().to_string().contains("it is a file"));
    }
}
