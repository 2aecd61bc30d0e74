//! Object stores by URL, opened when they are first used, with the credentials of the process that uses them.
//!
//! Coordinator and executors each have such a registry, so a plan names stores by URL alone and credentials never travel.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreRegistry;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, parse_url_opts};
use url::{Position, Url};

/// Prefixes of the environment variables that configure the cloud stores, credentials included.
const STORE_VARIABLES: [&str; 3] = ["aws_", "azure_", "google_"];

/// The environment's settings of object stores, in the keys of the `object_store` crate.
pub(crate) fn environment_settings() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?.to_ascii_lowercase(), value.into_string().ok()?)))
        .filter(|(name, _)| STORE_VARIABLES.iter().any(|prefix| name.starts_with(prefix)))
}

/// Stores that have been opened, by scheme and host.
#[derive(Debug)]
pub struct Stores {
    opened: RwLock<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl Default for Stores {
    /// Knows the local file system; everything else is opened on demand.
    fn default() -> Self {
        let local: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new());
        Self { opened: RwLock::new(HashMap::from([("file://".to_string(), local)])) }
    }
}

fn key(url: &Url) -> String {
    url[..Position::BeforePath].to_string()
}

impl ObjectStoreRegistry for Stores {
    fn register_store(&self, url: &Url, store: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        self.opened.write().unwrap_or_else(PoisonError::into_inner).insert(key(url), store)
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let key = key(url);
        if let Some(store) = self.opened.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(store));
        }
        // The error of a store that refuses its settings may repeat them, secrets included, so it is not told.
        let (store, _) = parse_url_opts(url, environment_settings()).map_err(|error| match error {
            object_store::Error::NotSupported { .. } | object_store::Error::Generic { store: "URL", .. } => DataFusionError::Plan(format!(
                "no object store answers to '{}://': known schemes are file, s3, gs, az, abfss and https",
                url.scheme()
            )),
            _ => DataFusionError::Plan(format!(
                "the object store of {key} cannot be opened: its settings in the environment (AWS_…, AZURE_…, GOOGLE_…) are incomplete or wrong"
            )),
        })?;
        let store: Arc<dyn ObjectStore> = Arc::from(store);
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(opened.entry(key).or_insert(store)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn opens_a_store_once() {
        let stores = Stores::default();
        assert!(stores.get_store(&url("file:///data/x")).is_ok());
        let first = stores.get_store(&url("https://example.com/a")).unwrap();
        let again = stores.get_store(&url("https://example.com/b/c")).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
    }

    #[test]
    fn refuses_unknown_schemes() {
        let error = Stores::default().get_store(&url("ftp://host/x")).unwrap_err().to_string();
        assert!(error.contains("no object store answers to 'ftp://'"), "{error}");
    }
}
