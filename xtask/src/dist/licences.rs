//! The licences of all crates that are linked into the binary.

use crate::{sh, tidy};
use anyhow::Result;
use fs_err as fs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const NAMES: [&str; 5] = ["license", "licence", "copying", "copyright", "notice"];

/// Returns the linked crates of a package with their licences, then each licence text with its crates.
pub(super) fn text(package: &str, target: &str) -> Result<String> {
    let tree = format!("tree --package {package} --target {target} --edges normal --prefix none");
    let tree = sh::text(sh::cargo(&tree).args(["--format", "{p}"]))?;
    // A line begins with the crate's name, and its version after a `v`.
    let linked = |name: &str| {
        tree.lines()
            .any(|line| format!("{line} ").starts_with(name))
    };
    let mut list = String::from("The program is made of these crates:\n\n");
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for part in sh::packages(&format!("--filter-platform {target}"))? {
        let field = |name: &str| part[name].as_str().unwrap_or_default();
        let name = format!("{} v{}", field("name"), field("version"));
        if field("source").is_empty() || !linked(&format!("{name} ")) {
            continue;
        }
        let licence = part["license"].as_str().unwrap_or("see its text");
        list += &format!("{name}: {licence}\n");
        let dir = Path::new(field("manifest_path")).parent();
        // A crate may contain other projects' sources.
        let files = dir.map(tidy::all_files).transpose()?.unwrap_or_default();
        for file in files.into_iter().filter(|file| is_licence(file)) {
            let Ok(text) = fs::read_to_string(file) else {
                continue;
            };
            let crates = texts.entry(text.trim().to_owned()).or_default();
            crates.insert(name.clone());
        }
    }
    for (text, crates) in texts {
        let crates = Vec::from_iter(crates).join(", ");
        list += &format!("\n{}\n\n{crates}:\n\n{text}\n", "-".repeat(78));
    }
    Ok(list)
}

fn is_licence(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let name = name.to_lowercase();
    NAMES.iter().any(|known| name.starts_with(known))
}
