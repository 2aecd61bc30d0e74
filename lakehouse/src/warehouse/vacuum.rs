//! Removing files that no version within the retention needs: those that later commits replaced, and those that no commit ever named, because their writer
//! was killed. Which ones these are is worked out by the log library; how old they must be is the table's `delta.deletedFileRetentionDuration`.

use std::collections::{HashMap, HashSet};
use std::path::{Path as FilePath, PathBuf};
use std::time::{Duration, SystemTime};

use deltalake_core::DeltaTable;
use deltalake_core::operations::vacuum::VacuumMode;
use deltalake_core::table::config::TablePropertiesExt as _;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;

use super::Warehouse;
use crate::error::{Error, Result, storage_error};
use crate::log::unwritable;
use crate::names::TableName;
use crate::table::Table;

/// What a vacuum is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Vacuum {
    /// Age that a file must have reached since it was replaced, or written if it was never committed; the table's own retention when absent.
    pub retain: Option<Duration>,
    /// Accepts less than the table's retention. Then time travel to older versions fails, and a writer that has been at work for longer loses its files.
    pub force: bool,
    /// Remove nothing.
    pub dry_run: bool,
}

/// A file that a vacuum removed, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VacuumedFile {
    /// Relative to the table's folder.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

impl Warehouse {
    /// Removes the files of a table that no version within the retention needs. Returns them, sorted by path; none is missed by a reader of a version
    /// that is younger than the retention. Running it again after a failure goes on.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for a retention below the table's own without `force`; [`Error::Unsupported`] for tables whose rules this
    /// engine does not know; faults of the store.
    pub async fn vacuum(&self, name: &TableName, vacuum: Vacuum) -> Result<Vec<VacuumedFile>> {
        let table = self.newest(name).await?;
        if let Some(what) = unwritable(&table.table_use()) {
            return Err(Error::Unsupported { what, table: name.to_string() });
        }
        let least = table.snapshot().table_properties().deleted_file_retention_duration();
        let retain = vacuum.retain.unwrap_or(least);
        if retain < least && !vacuum.force {
            return Err(Error::Invalid(format!(
                "table {name} keeps removed files for {} hours (delta.deletedFileRetentionDuration); retaining them for {} hours could break readers and \
                 writers that are at work. VACUUM … RETAIN … HOURS FORCE does it all the same",
                hours(least),
                hours(retain)
            )));
        }
        let doomed = self.unneeded(&table, retain).await?;
        let sizes = self.sizes(name).await?;
        let mut files: Vec<VacuumedFile> =
            doomed.iter().filter_map(|path| Some(VacuumedFile { path: path.to_string(), bytes: *sizes.get(path)? })).collect();
        let unfinished = self.unfinished_uploads(name, retain).await?;
        files.extend(unfinished.iter().map(|(_, file)| file.clone()));
        files.sort_by(|a, b| a.path.cmp(&b.path));
        if !vacuum.dry_run {
            self.delete(name, doomed).await?;
            for (path, _) in unfinished {
                remove_file(&path)?;
            }
            self.remove_empty_folders(&[&name.catalog, &name.schema, &name.table]).await?;
        }
        Ok(files)
    }

    async fn newest(&self, name: &TableName) -> Result<std::sync::Arc<Table>> {
        name.check()?;
        match self.load_table(name).await? {
            Some(table) => Ok(table),
            None => Err(Error::NotFound(format!("table {name} does not exist"))),
        }
    }

    /// Paths below the table's folder.
    async fn unneeded(&self, table: &Table, retain: Duration) -> Result<Vec<Path>> {
        let retain = chrono::Duration::from_std(retain).unwrap_or(chrono::Duration::MAX);
        let found = DeltaTable::new(table.log().delta().clone())
            .vacuum()
            .with_mode(VacuumMode::Full)
            .with_retention_period(retain)
            .with_enforce_retention_duration(false)
            .with_dry_run(true)
            .await;
        let (_, found) = match found {
            Ok(found) => found,
            Err(error) => return Err(table.log().diagnose(error).await),
        };
        // What was committed while the folder was being listed is needed after all.
        let newest = self.newest(table.name()).await?;
        let prefix = table.log().table_path();
        let live: HashSet<String> = newest.files()?.iter().filter_map(|file| relative(prefix, &file.location)).collect();
        let paths = found.files_deleted.into_iter().filter(|path| !live.contains(path));
        let parsed = paths.map(|path| Path::parse(&path).map_err(|error| storage_error(&path, error)));
        let mut parsed: Vec<Path> = parsed.collect::<Result<_>>()?;
        parsed.sort_unstable();
        parsed.dedup();
        Ok(parsed)
    }

    /// Sizes of all objects of a table by their paths below its folder.
    async fn sizes(&self, name: &TableName) -> Result<HashMap<Path, u64>> {
        let prefix = self.table_path(name)?;
        let fault = |error| storage_error(prefix.as_ref(), error);
        let mut listed = self.store().list(Some(&prefix));
        let mut sizes = HashMap::new();
        while let Some(object) = listed.try_next().await.map_err(fault)? {
            if let Some(path) = relative(&prefix, &object.location).and_then(|path| Path::parse(path).ok()) {
                sizes.insert(path, object.size);
            }
        }
        Ok(sizes)
    }

    async fn delete(&self, name: &TableName, doomed: Vec<Path>) -> Result<()> {
        let prefix = self.table_path(name)?;
        let whole = doomed.into_iter().map(move |path| Ok(prefix.parts().chain(path.parts()).collect::<Path>()));
        let mut deleted = self.store().delete_stream(futures::stream::iter(whole.collect::<Vec<_>>()).boxed());
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(storage_error(&name.to_string(), error)),
            }
        }
        Ok(())
    }

    /// Uploads that a killed writer left on a local disk: the store writes under another name until a file is complete, and lists only complete ones.
    async fn unfinished_uploads(&self, name: &TableName, retain: Duration) -> Result<Vec<(PathBuf, VacuumedFile)>> {
        let Some(folder) = self.local_folder(&self.table_path(name)?) else { return Ok(Vec::new()) };
        let before = SystemTime::now().checked_sub(retain).unwrap_or(SystemTime::UNIX_EPOCH);
        let found = tokio::task::spawn_blocking(move || {
            let mut found = Vec::new();
            collect_unfinished(&folder, &folder, before, &mut found).map(|()| found)
        });
        let fault = |error: std::io::Error| storage_error(&name.to_string(), error);
        found.await.map_err(|error| storage_error(&name.to_string(), error))?.map_err(fault)
    }
}

fn relative(prefix: &Path, path: &Path) -> Option<String> {
    Some(path.prefix_match(prefix)?.collect::<Path>().to_string())
}

fn hours(duration: Duration) -> String {
    let hours = duration.as_secs_f64() / 3600.0;
    if hours.fract() == 0.0 { format!("{hours:.0}") } else { format!("{hours:.2}") }
}

fn remove_file(path: &FilePath) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(storage_error(&path.display().to_string(), error)),
        _ => Ok(()),
    }
}

/// Files named `<data file>.parquet#<number>`, last written before a moment.
fn collect_unfinished(
    root: &FilePath,
    folder: &FilePath,
    before: SystemTime,
    found: &mut Vec<(PathBuf, VacuumedFile)>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if entry.file_type()?.is_dir() {
            let is_partition = name.contains('=');
            if is_partition || !name.starts_with(['_', '.']) {
                collect_unfinished(root, &path, before, found)?;
            }
            continue;
        }
        let is_upload =
            name.rsplit_once(".parquet#").is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
        // One that is gone meanwhile was finished or given up by its writer.
        let Ok(metadata) = entry.metadata() else { continue };
        if is_upload && metadata.modified()? <= before {
            let relative = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            found.push((path, VacuumedFile { path: relative, bytes: metadata.len() }));
        }
    }
    Ok(())
}
