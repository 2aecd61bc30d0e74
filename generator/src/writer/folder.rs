//! The output directory: what it may hold beforehand, and that a failed generation leaves nothing of its own in it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::options::Format;

/// Opens a new file for writing.
pub(crate) type Opener = fn(&Path) -> io::Result<Box<dyn Write + Send>>;

/// What the names of unfinished files have before and after the final name. The dot hides them from globs.
const UNFINISHED: (&str, &str) = (".", ".unfinished");

/// The directory of one generation. Unless the generation is completed, dropping this removes the files it created.
pub(crate) struct Folder {
    directory: PathBuf,
    open: Opener,
    finished: Vec<PathBuf>,
    unfinished: Vec<PathBuf>,
    completed: bool,
}

impl Folder {
    /// Creates the directory if it is missing, and makes sure that no earlier generation's files mix with the new ones.
    pub fn prepare(directory: &Path, overwrite: bool, open: Opener) -> Result<Self, Error> {
        fs::create_dir_all(directory).map_err(|source| Error::storage("create", directory, source))?;
        let mut finished = Vec::new();
        for entry in fs::read_dir(directory).map_err(|source| Error::storage("read", directory, source))? {
            let name = entry.map_err(|source| Error::storage("read", directory, source))?.file_name();
            let Some(name) = name.to_str() else { continue };
            let unfinished = name.strip_prefix(UNFINISHED.0).and_then(|rest| rest.strip_suffix(UNFINISHED.1));
            if unfinished.is_some_and(is_generated) {
                // Left by a process that was killed: never data, and nobody else would remove it.
                remove(&directory.join(name))?;
            } else if is_generated(name) {
                finished.push(name.to_owned());
            }
        }
        finished.sort_unstable();
        if let (Some(example), false) = (finished.first(), overwrite) {
            return Err(Error::AlreadyGenerated { directory: directory.to_owned(), count: finished.len(), example: example.clone() });
        }
        for name in finished {
            remove(&directory.join(name))?;
        }
        Ok(Folder { directory: directory.to_owned(), open, finished: Vec::new(), unfinished: Vec::new(), completed: false })
    }

    /// Where the file of this name is until it is finished.
    pub fn unfinished_path(&self, name: &str) -> PathBuf {
        self.directory.join([UNFINISHED.0, name, UNFINISHED.1].concat())
    }

    /// Opens a file under its unfinished name.
    pub fn create(&mut self, name: &str) -> Result<Box<dyn Write + Send>, Error> {
        let path = self.unfinished_path(name);
        let file = (self.open)(&path).map_err(|source| Error::storage("create", &path, source))?;
        self.unfinished.push(path);
        Ok(file)
    }

    /// Gives a file, completely written, its final name.
    pub fn finish(&mut self, name: &str) -> Result<(), Error> {
        let (from, to) = (self.unfinished_path(name), self.directory.join(name));
        fs::rename(&from, &to).map_err(|source| Error::storage("rename", &from, source))?;
        self.unfinished.retain(|path| *path != from);
        self.finished.push(to);
        Ok(())
    }

    /// Keeps the files, and names them.
    pub fn complete(mut self) -> Vec<PathBuf> {
        self.completed = true;
        std::mem::take(&mut self.finished)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.completed {
            for path in self.finished.iter().chain(&self.unfinished) {
                // The error that brought us here is the one to report.
                let _ = fs::remove_file(path);
            }
        }
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    fs::remove_file(path).map_err(|source| Error::storage("remove", path, source))
}

/// Whether a name is one that this crate gives: `events-`, digits and the extension of a format.
fn is_generated(name: &str) -> bool {
    let number = name.strip_prefix("events-").and_then(|rest| {
        let (number, extension) = rest.split_once('.')?;
        Format::ALL.iter().any(|format| format.extension() == extension).then_some(number)
    });
    number.is_some_and(|number| number.len() >= 5 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::open_local;

    #[test]
    fn an_incomplete_generation_takes_all_its_files_along() {
        let directory = tempfile::TempDir::new().unwrap();
        let count = || fs::read_dir(directory.path()).unwrap().count();
        let write = |folder: &mut Folder| {
            for name in ["events-00000.csv", "events-00001.csv"] {
                folder.create(name).unwrap().write_all(b"text").unwrap();
            }
            folder.finish("events-00000.csv").unwrap();
        };
        let mut folder = Folder::prepare(directory.path(), false, open_local).unwrap();
        write(&mut folder);
        assert_eq!(count(), 2);
        drop(folder);
        assert_eq!(count(), 0);

        let mut folder = Folder::prepare(directory.path(), false, open_local).unwrap();
        write(&mut folder);
        folder.finish("events-00001.csv").unwrap();
        assert_eq!(folder.complete().len(), 2);
        assert_eq!(count(), 2);
    }

    #[test]
    fn generated_names_are_told_from_others() {
        for name in ["events-00000.parquet", "events-00017.csv", "events-12345.csv.gz"] {
            assert!(is_generated(name), "{name}");
        }
        for name in ["events.parquet", "events-1.parquet", "events-mine0.csv", "events-00000.json", "sessions-00000.csv", "events-00000"] {
            assert!(!is_generated(name), "{name}");
        }
    }
}
