//! Something that is read from files and read again when they change. Files are looked at every two seconds: a notification of the system does not come
//! through every kind of mount, and where certificates are mounted, they are often replaced by turning a link.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::RwLock;

use crate::Result;

/// How often files are looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(2);
/// How often dates of certificates are looked at.
const DATES_CHECKED_EVERY: Duration = Duration::from_secs(24 * 3600);

/// What can be kept up to date.
pub(crate) trait Dated: Send + Sync + 'static {
    /// Complains in the log of what has expired or soon will.
    fn warn_of_dates(&self);
}

/// See the module documentation.
pub(crate) struct Reloading<T> {
    current: RwLock<(u64, Arc<T>)>,
}

impl<T: Dated> Reloading<T> {
    /// Loads once, and from then on whenever one of `files` changes, until this is dropped. Needs a tokio runtime.
    ///
    /// # Errors
    /// Those of the first `load`. Later ones are logged, and what was loaded last stays in use.
    pub fn start(what: &'static str, files: Vec<PathBuf>, load: impl Fn() -> Result<T> + Send + 'static) -> Result<Arc<Self>> {
        Self::start_looking_every(LOOKED_AT_EVERY, what, files, load)
    }

    pub(crate) fn start_looking_every(
        interval: Duration,
        what: &'static str,
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<T> + Send + 'static,
    ) -> Result<Arc<Self>> {
        // Looked at before it is read: what changes meanwhile is seen as a change.
        let seen = stamps(&files);
        let first = load()?;
        first.warn_of_dates();
        let this = Arc::new(Self { current: RwLock::new((0, Arc::new(first))) });
        tokio::spawn(watch(Arc::downgrade(&this), Watch { interval, what, files, seen, complaint: None }, load));
        Ok(this)
    }

    /// What was loaded last.
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.current.read().1)
    }

    /// How many times it was replaced.
    pub fn generation(&self) -> u64 {
        self.current.read().0
    }

    fn replace(&self, by: T) {
        let mut current = self.current.write();
        *current = (current.0 + 1, Arc::new(by));
    }
}

struct Watch {
    interval: Duration,
    what: &'static str,
    files: Vec<PathBuf>,
    seen: Vec<Option<Stamp>>,
    /// Why the files as they are cannot be used.
    complaint: Option<String>,
}

async fn watch<T: Dated>(target: Weak<Reloading<T>>, mut watch: Watch, load: impl Fn() -> Result<T>) {
    let mut dates_checked = Instant::now();
    loop {
        tokio::time::sleep(watch.interval).await;
        let Some(target) = target.upgrade() else { return };
        watch.look(&target, &load);
        if dates_checked.elapsed() > DATES_CHECKED_EVERY {
            dates_checked = Instant::now();
            target.current().warn_of_dates();
        }
    }
}

impl Watch {
    /// Loads if there is something new, or if what was new last time could not be used: what it lacked may not show in the files' stamps.
    fn look<T: Dated>(&mut self, target: &Reloading<T>, load: impl Fn() -> Result<T>) {
        let stamps = stamps(&self.files);
        if stamps == self.seen && self.complaint.is_none() {
            return;
        }
        self.seen = stamps;
        match load() {
            Ok(loaded) => {
                loaded.warn_of_dates();
                target.replace(loaded);
                self.complaint = None;
                tracing::info!("{} changed; new connections use what is in the files now", self.what);
            }
            Err(error) => {
                let complaint = error.to_string();
                if self.complaint.as_ref() != Some(&complaint) {
                    tracing::warn!("{} changed and cannot be used; what was read before stays in use: {complaint}", self.what);
                }
                self.complaint = Some(complaint);
            }
        }
    }
}

/// What tells one state of a file from another: where it really is, and what the file system knows of it.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
    inode: u64,
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let path = std::fs::canonicalize(path).ok()?;
    let metadata = std::fs::metadata(&path).ok()?;
    Some(Stamp { bytes: metadata.len(), modified: metadata.modified().ok(), inode: inode(&metadata), path })
}

#[cfg(unix)]
fn inode(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    impl Dated for String {
        fn warn_of_dates(&self) {}
    }

    /// A file's text, which may not be empty.
    fn start(path: &Path) -> Result<Arc<Reloading<String>>> {
        let file = path.to_path_buf();
        Reloading::start_looking_every(Duration::from_millis(5), "the text", vec![file.clone()], move || {
            let text = std::fs::read_to_string(&file).map_err(|error| Error::Read(file.clone(), error))?;
            if text.is_empty() { Err(Error::NoCertificate(file.clone())) } else { Ok(text) }
        })
    }

    async fn becomes(text: &Reloading<String>, expected: &str) {
        for _ in 0..2000 {
            if *text.current() == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it is still '{}'", text.current());
    }

    #[tokio::test]
    async fn a_change_is_seen_and_a_broken_one_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        std::fs::write(&path, "one").unwrap();
        let text = start(&path).unwrap();
        assert_eq!((*text.current()).as_str(), "one");
        std::fs::write(&path, "").unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!((*text.current()).as_str(), "one");
        std::fs::remove_file(&path).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(text.generation(), 0);
        std::fs::write(&path, "two").unwrap();
        becomes(&text, "two").await;
        assert_eq!(text.generation(), 1);
    }

    /// As Kubernetes mounts secrets: the file is a link through a link to a folder, which is turned.
    #[cfg(unix)]
    #[tokio::test]
    async fn a_turned_link_is_seen() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (folder, text) in [("..1", "one"), ("..2", "two")] {
            std::fs::create_dir(at(folder)).unwrap();
            std::fs::write(at(folder).join("text"), text).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/text", at("text")).unwrap();
        let text = start(&at("text")).unwrap();
        symlink("..2", at("..new")).unwrap();
        std::fs::rename(at("..new"), at("..data")).unwrap();
        becomes(&text, "two").await;
    }

    #[tokio::test]
    async fn what_is_broken_at_the_start_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let missing = start(&dir.path().join("text")).err().unwrap();
        assert!(missing.to_string().contains("text cannot be read: No such file"), "{missing}");
    }
}
