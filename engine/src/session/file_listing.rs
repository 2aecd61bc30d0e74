//! Paths, globs and folders → files, on any object store.

use datafusion::datasource::listing::ListingTableUrl;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::session_state::SessionState;
use futures::TryStreamExt as _;
use glob::{MatchOptions, Pattern};
use object_store::ObjectMeta;

use crate::{Blame, Error, Result};

/// `*` and `?` stay within a folder; `**` goes through any number of them.
const GLOB: MatchOptions = MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// A path or URL as it was given.
pub(super) struct Place {
    text: String,
    /// The file, the folder, or the folder that a glob starts from.
    url: ListingTableUrl,
    /// What follows the folder.
    glob: Option<Pattern>,
}

impl Place {
    /// Paths may be relative to the working directory. A name that holds a glob's characters and exists is a name.
    ///
    /// # Errors
    /// What is neither path nor URL, and globs that are not closed.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let invalid = |reason: &dyn std::fmt::Display| Error::sql(format!("'{text}' is no path, glob or URL: {reason}"));
        let root = text.find("://").map_or(0, |at| at + 3);
        // A web address has its query after the question mark.
        let is_glob = |c: char| matches!(c, '*' | '[') || c == '?' && !text.starts_with("http");
        let exists = root == 0 && std::fs::metadata(text).is_ok();
        let (folder, glob) = match text[root..].find(is_glob).filter(|_| !exists) {
            None => (text, None),
            Some(first) => {
                let (folder, pattern) = text.split_at(text[..root + first].rfind('/').map_or(0, |at| at + 1));
                (if folder.is_empty() { "./" } else { folder }, Some(Pattern::new(pattern).map_err(|e| invalid(&e))?))
            }
        };
        let url = ListingTableUrl::parse(folder).map_err(|e| invalid(&e.strip_backtrace()))?;
        Ok(Self { text: text.to_string(), url, glob })
    }

    /// What is listed.
    pub(super) fn url(&self) -> &ListingTableUrl {
        &self.url
    }

    pub(super) fn into_url(self) -> ListingTableUrl {
        self.url
    }

    /// All data files of the place in the order of their names, at least one; hidden ones (`_…`, `.…`) below a folder or
    /// glob are left out, as by every engine of this family.
    pub(super) async fn files(&self, state: &SessionState) -> Result<Vec<ObjectMeta>> {
        let store_url = self.url.object_store();
        let store = state.runtime_env().object_store(&store_url)?;
        let listed = match &self.glob {
            Some(_) => store.list(Some(self.url.prefix())).map_err(DataFusionError::from).try_collect().await,
            None => match self.url.list_all_files(state, store.as_ref(), "").await {
                Ok(stream) => stream.try_collect().await,
                Err(error) => Err(error),
            },
        };
        let mut files: Vec<ObjectMeta> = match listed {
            Ok(files) => files,
            Err(error) if is_not_found(&error) => Vec::new(),
            Err(error) => return Err(Error::new(Blame::Storage, format!("cannot list '{}': {}", self.text, error.strip_backtrace()))),
        };
        let base = self.url.prefix().parts().count();
        if self.url.is_collection() {
            files.retain(|file| !file.location.parts().skip(base).any(|part| part.as_ref().starts_with(['_', '.'])));
        }
        if let Some(glob) = &self.glob {
            files.retain(|file| {
                let below: Vec<_> = file.location.parts().skip(base).map(|part| part.as_ref().to_string()).collect();
                glob.matches_with(&below.join("/"), GLOB)
            });
        }
        if files.is_empty() {
            return Err(Error::new(Blame::Storage, format!("no file matches '{}'", self.text)).hint(self.where_looked()));
        }
        files.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(files)
    }

    fn where_looked(&self) -> String {
        if self.text.contains("://") {
            return "check the URL and the credentials in the environment".to_string();
        }
        let dir = std::env::current_dir().map(|d| d.display().to_string()).unwrap_or_default();
        let absolute = std::path::Path::new(&self.text).is_absolute();
        let below = if absolute { String::new() } else { format!("; relative paths start at {dir}") };
        format!("looked below /{}{below}", self.url.prefix())
    }
}

/// The URL of exactly this file.
pub(super) fn url_of(store: &ObjectStoreUrl, file: &ObjectMeta) -> Result<ListingTableUrl> {
    let base: &url::Url = store.as_ref();
    let mut url = base.clone();
    url.set_path(&file.location.as_ref().replace('%', "%25"));
    ListingTableUrl::try_new(url, None).map_err(Error::from)
}

fn is_not_found(error: &DataFusionError) -> bool {
    let text = error.to_string().to_lowercase();
    text.contains("not found") || text.contains("no such file")
}
