//! The licences of all crates that are linked into the binary.

use crate::sh;
use anyhow::Result;
use fs_err as fs;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Names of licence files.
const NAMES: [&str; 5] = ["license", "licence", "copying", "copyright", "notice"];
/// How many levels below a crate its licences are searched, because a crate may contain other projects'
/// sources.
const DEPTH: usize = 3;

/// Returns the linked crates of a package with their licences, then each licence text with its crates.
pub(super) fn text(package: &str, target: &str) -> Result<String> {
    let tree = format!("tree --package {package} --target {target} --edges normal --prefix none");
    let tree = sh::text(sh::cargo(&tree).args(["--format", "{p}"]))?;
    // A line is the crate's name, its version after a `v`, and more.
    let linked = |name: &str| {
        tree.lines()
            .any(|line| format!("{line} ").starts_with(name))
    };
    let mut list = String::from("The program is made of these crates:\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in sh::packages(&format!("--filter-platform {target}"))? {
        let field = |name: &str| part[name].as_str().unwrap_or_default();
        let name = format!("{} v{}", field("name"), field("version"));
        if field("source").is_empty() || !linked(&format!("{name} ")) {
            continue;
        }
        let licence = part["license"].as_str().unwrap_or("see its text");
        list += &format!("{name}: {licence}\n");
        let dir = Path::new(field("manifest_path")).parent();
        for file in dir.map(|dir| files(dir, DEPTH)).unwrap_or_default() {
            let Ok(text) = fs::read_to_string(file) else {
                continue;
            };
            let crates = texts.entry(text.trim().to_owned()).or_default();
            if !crates.contains(&name) {
                crates.push(name.clone());
            }
        }
    }
    for (text, crates) in texts {
        list += &format!("\n{}\n\n{}:\n\n{text}\n", "-".repeat(78), crates.join(", "));
    }
    Ok(list)
}

fn files(dir: &Path, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().to_lowercase();
        let path = entry.path();
        if path.is_dir() && depth > 0 {
            found.extend(files(&path, depth - 1));
        } else if path.is_file() && NAMES.iter().any(|known| name.starts_with(known)) {
            found.push(path);
        }
    }
    found.sort();
    found
}
