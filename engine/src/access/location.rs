//! Places of files, in one form that can be compared: the store and the path in it, as they are read in the end.

use std::path::{Path as FilePath, PathBuf};

use datafusion::datasource::listing::ListingTableUrl;
use object_store::path::Path;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::{Error, Result};

/// The local file system.
const LOCAL_STORE: &str = "file://";

/// A folder or file on a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// Scheme and host.
    store: String,
    path: Path,
}

impl Location {
    /// From a path or URL as a statement writes it. Paths may be relative to the working directory.
    ///
    /// # Errors
    /// What is neither; `..`, whether it is spelled out or percent-encoded.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |why: &dyn std::fmt::Display| Error::sql(format!("'{text}' is no path or URL: {why}"));
        refuse_parents(text)?;
        // Taken for a URL by some readers and for a path by others.
        if let Some((scheme, rest)) = text.split_once(':')
            && !rest.starts_with("//")
            && !scheme.is_empty()
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || ['+', '-', '.'].contains(&c))
        {
            return Err(invalid(&"after a scheme, // is expected"));
        }
        let url = if text.contains("://") {
            Url::parse(text).map_err(|e| invalid(&e))?
        } else {
            if text.is_empty() {
                return Err(invalid(&"it is empty"));
            }
            let path = std::path::absolute(text).map_err(|e| invalid(&e))?;
            Url::from_file_path(path).map_err(|()| invalid(&"it cannot be a URL"))?
        };
        if url.query().is_some() || !url.username().is_empty() && url.password().is_some() {
            return Err(invalid(&"a location has neither a query nor a password"));
        }
        let listed = ListingTableUrl::try_new(url, None).map_err(|e| invalid(&e.strip_backtrace()))?;
        Ok(Self::of(&listed))
    }

    /// What a listing reads.
    pub fn of(listed: &ListingTableUrl) -> Self {
        Self::at(listed.object_store().as_str(), listed.prefix().clone())
    }

    /// A path of a store, known by its URL.
    pub fn at(store_url: &str, path: Path) -> Self {
        // The same store by its other names.
        let store = match store_url.split_once("://") {
            Some(("s3a" | "s3n", host)) => format!("s3://{}", host.trim_end_matches('/')),
            Some(("gcs", host)) => format!("gs://{}", host.trim_end_matches('/')),
            Some(("file", _)) => LOCAL_STORE.to_string(),
            _ => store_url.trim_end_matches('/').to_string(),
        };
        Self { store, path }
    }

    /// The place of another path of the same store.
    pub fn beside(&self, path: Path) -> Self {
        Self { store: self.store.clone(), path }
    }

    /// Whether it is `folder` or lies below it.
    pub fn is_within(&self, folder: &Self) -> bool {
        self.store == folder.store && self.path.prefix_matches(&folder.path)
    }

    /// On the local file system: where it really lies, behind all links. What does not exist yet lies in the nearest folder that does.
    ///
    /// # Errors
    /// The file system does not tell.
    pub fn real_path(&self) -> Result<Option<PathBuf>> {
        if self.store != LOCAL_STORE {
            return Ok(None);
        }
        let path = PathBuf::from(format!("/{}", self.path));
        let unknown = |e: std::io::Error| Error::new(crate::Blame::Storage, format!("{} cannot be looked up: {e}", path.display()));
        let mut rest: Vec<std::ffi::OsString> = Vec::new();
        let mut existing: &FilePath = &path;
        loop {
            match std::fs::canonicalize(existing) {
                Ok(real) => return Ok(Some(rest.iter().rev().fold(real, |path, part| path.join(part)))),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    // A link that leads nowhere yet could lead anywhere later.
                    if std::fs::symlink_metadata(existing).is_ok() {
                        return Err(Error::sql(format!("{} is a link that leads nowhere", existing.display())));
                    }
                    let (Some(parent), Some(name)) = (existing.parent(), existing.file_name()) else { return Err(unknown(error)) };
                    rest.push(name.to_os_string());
                    existing = parent;
                }
                Err(error) => return Err(unknown(error)),
            }
        }
    }
}

impl std::fmt::Display for Location {
    /// The form in which grants keep it; [`Location::parse`] reads it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut url = Url::parse(&format!("{}/", self.store)).map_err(|_| std::fmt::Error)?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(self.path.parts().map(|part| part.as_ref().to_string()));
        }
        f.write_str(url.as_str())
    }
}

/// Refuses a step up, however it is written: decoded as often as it is encoded.
pub(crate) fn refuse_parents(text: &str) -> Result<()> {
    let mut decoded = text.to_string();
    loop {
        if decoded.split(['/', '\\']).any(|part| part == "..") {
            return Err(Error::sql(format!("'{text}' holds '..'")).hint("name the folder itself"));
        }
        let next = percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
        if next == decoded {
            return Ok(());
        }
        decoded = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Location {
        Location::parse(text).unwrap()
    }

    #[test]
    fn folders_hold_what_lies_below_them() {
        for (inner, outer, expected) in [
            ("/data/a/b.parquet", "/data/a", true),
            ("/data/a", "/data/a/", true),
            ("/data/ab", "/data/a", false),
            ("/data", "/data/a", false),
            ("file:///data/a/x", "/data/a", true),
            ("/data/./a/x", "/data/a", true),
            ("s3://bucket/a/x", "s3://bucket/a", true),
            ("s3a://bucket/a/x", "s3://bucket/a", true),
            ("s3://bucket-2/a/x", "s3://bucket/a", false),
            ("s3://bucket/a%20b/x", "s3://bucket/a b", true),
            ("https://host/a/x", "https://host/a", true),
            ("https://host:81/a/x", "https://host/a", false),
            ("/data/a", "s3://data/a", false),
        ] {
            assert_eq!(at(inner).is_within(&at(outer)), expected, "{inner} in {outer}");
        }
    }

    #[test]
    fn steps_up_are_refused() {
        for text in
            ["/data/../etc", "../x", "s3://b/a/../../c", "/data/%2e%2e/etc", "s3://b/a/%252e%252e/c", "file:///a/%2E./b", "a\\..\\b"]
        {
            assert!(Location::parse(text).is_err(), "{text}");
        }
        assert!(Location::parse("/data/a..b/..c").is_ok());
        assert!(Location::parse("").is_err());
        assert!(Location::parse("https://host/a?x=1").is_err());
    }

    #[test]
    fn its_text_reads_as_itself() {
        for text in ["/data/a b/ü", "s3://bucket/a/b", "s3://bucket", "/", "https://host:8080/x", "/data/50%25"] {
            assert_eq!(at(&at(text).to_string()), at(text), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("secret")).unwrap();
        std::os::unix::fs::symlink(real.join("secret"), real.join("link")).unwrap();
        std::os::unix::fs::symlink(real.join("nowhere"), real.join("dangling")).unwrap();
        let path = |name: &str| at(real.join(name).to_str().unwrap()).real_path();
        assert_eq!(path("link/new/file").unwrap(), Some(real.join("secret/new/file")));
        assert_eq!(path("new").unwrap(), Some(real.join("new")));
        assert!(path("dangling/x").is_err());
        assert_eq!(at("s3://b/x").real_path().unwrap(), None);
    }
}
