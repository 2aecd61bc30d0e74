//! Files and folders → statements in running order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Failure;
use crate::dialect::{StatementText, split};
use crate::{Blame, Error};

/// A script's text and the name it is reported under.
#[derive(Debug, Clone)]
pub struct ScriptFile {
    /// Path as given, or `<command line>`.
    pub path: String,
    /// SQL text.
    pub text: String,
}

/// A statement and where it came from.
#[derive(Debug, Clone)]
pub struct Located {
    /// The file.
    pub file: Arc<str>,
    /// The statement.
    pub text: StatementText,
    /// Place in the whole run, from 1.
    pub number: usize,
}

/// Reads files, and the `.sql` files of folders in the order of their paths.
///
/// # Errors
/// A path that does not exist or cannot be read, a folder without scripts, text that is not UTF-8.
pub fn load(paths: &[PathBuf]) -> Result<Vec<ScriptFile>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            folder(path, &mut files)?;
            if files.len() == before {
                return Err(failure(
                    path,
                    "the folder holds no .sql files",
                    Some("scripts end in .sql and run in the order of their names"),
                ));
            }
        } else {
            files.push(read(path)?);
        }
    }
    Ok(files)
}

/// The statements of all files, numbered through.
///
/// # Errors
/// A string or comment that never ends.
pub fn statements(files: &[ScriptFile]) -> Result<Vec<Located>, Failure> {
    let mut all = Vec::new();
    for file in files {
        let path: Arc<str> = file.path.as_str().into();
        let texts = split(&file.text).map_err(|error| Failure { file: Some(Arc::clone(&path)), number: None, statement: None, error })?;
        for text in texts {
            all.push(Located { file: Arc::clone(&path), text, number: all.len() + 1 });
        }
    }
    Ok(all)
}

fn folder(path: &Path, files: &mut Vec<ScriptFile>) -> Result<(), Failure> {
    let entries =
        std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(|e| failure(path, &e.to_string(), None))?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            folder(&path, files)?;
        } else if path.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("sql")) {
            files.push(read(&path)?);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<ScriptFile, Failure> {
    let bytes = std::fs::read(path).map_err(|e| failure(path, &format!("cannot read the script: {e}"), None))?;
    let text = String::from_utf8(bytes)
        .map_err(|e| failure(path, &format!("the script is not UTF-8 text (byte {})", e.utf8_error().valid_up_to()), None))?;
    Ok(ScriptFile { path: path.display().to_string(), text: text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_string) })
}

fn failure(path: &Path, message: &str, hint: Option<&str>) -> Failure {
    let mut error = Error::new(Blame::Storage, message);
    error.hint = hint.map(str::to_string);
    Failure { file: Some(path.display().to_string().into()), number: None, statement: None, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_folders_in_the_order_of_names() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in
            [("20_b.sql", "SELECT 2;"), ("10_a.sql", "SELECT 1; SELECT 11"), ("notes.txt", "no"), ("15_sub/x.sql", "SELECT 15;")]
        {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let files = load(&[dir.path().to_path_buf()]).unwrap();
        let all = statements(&files).unwrap();
        let texts: Vec<_> = all.iter().map(|l| (l.number, l.text.text.as_str())).collect();
        assert_eq!(texts, [(1, "SELECT 1"), (2, "SELECT 11"), (3, "SELECT 15"), (4, "SELECT 2")]);
    }

    #[test]
    fn names_what_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let empty = load(&[dir.path().to_path_buf()]).unwrap_err();
        assert!(empty.error.message.contains("no .sql files"));
        let missing = load(&[dir.path().join("none.sql")]).unwrap_err();
        assert!(missing.to_string().contains("none.sql"), "{missing}");
        std::fs::write(dir.path().join("latin.sql"), b"SELECT '\xe9'").unwrap();
        let latin = load(&[dir.path().to_path_buf()]).unwrap_err();
        assert!(latin.error.message.contains("UTF-8 text (byte 8)"), "{latin}");
    }
}
