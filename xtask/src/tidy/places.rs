//! Checks CONTRIBUTING.md's table of where things are added against the tree.

use std::path::Path;

/// Maximum number of files that one addition may need.
const MAX_FILES: usize = 3;

const HEADING: &str = "## Where things are added";

/// Returns faults of the table: a file that does not exist, files of two crates, or too many files.
/// A file whose name contains `NAME` need not exist, because the addition makes it.
pub(super) fn faults(contributing: &str, root: &Path) -> Vec<String> {
    let section = contributing.split(HEADING).nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| a"));
    let rows: Vec<&str> = rows.collect();
    let mut faults = Vec::new();
    if rows.is_empty() {
        faults.push(format!("CONTRIBUTING.md: no table below {HEADING:?}"));
    }
    for row in rows {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let what = cells.next().unwrap_or_default();
        let files = cells.next().unwrap_or_default();
        let files: Vec<&str> = files.split('`').skip(1).step_by(2).collect();
        if files.is_empty() || files.len() > MAX_FILES {
            faults.push(format!(
                "CONTRIBUTING.md: {what} takes {} files; allowed are 1 to {MAX_FILES}",
                files.len()
            ));
        }
        let gone = |file: &&&str| !file.contains("NAME") && !root.join(file).is_file();
        for file in files.iter().filter(gone) {
            faults.push(format!("CONTRIBUTING.md: {what}: there is no {file}"));
        }
        let mut crates: Vec<_> = files.iter().map(|file| crate_of(file)).collect();
        crates.dedup();
        if crates.len() > 1 {
            let crates = crates.join(", ");
            faults.push(format!("CONTRIBUTING.md: {what} is of one crate: {crates}"));
        }
    }
    faults
}

/// Returns the crate that a file belongs to: `dma`, `kernel`.
fn crate_of(file: &str) -> &str {
    let mut parts = file.split('/');
    let crate_at = if file.starts_with("crates/") { 2 } else { 0 };
    parts.nth(crate_at).unwrap_or(file)
}
