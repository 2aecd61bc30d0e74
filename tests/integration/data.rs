//! Where test data are: the shared real data sets when they lie beside the checkout, generated events otherwise.

use std::path::{Path, PathBuf};

/// The folder of a real data set, or `None` with a note, so that a test can say that it skips.
pub fn real(name: &str) -> Option<PathBuf> {
    let path = root().join("../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: the real data set {} is not here", path.display());
    None
}

/// The checkout.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Generated events, the same in every test run.
pub fn generated(out: &Path, events: u64, format: &str, dirty: f64) -> PathBuf {
    let folder = out.join(format!("events-{format}"));
    let ran = super::orrery::run(
        out,
        &[
            "generate",
            "clickstream",
            "--events",
            &events.to_string(),
            "--format",
            format,
            "--dirty",
            &dirty.to_string(),
            "--out",
            folder.to_str().unwrap(),
            "--quiet",
        ],
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    folder
}
