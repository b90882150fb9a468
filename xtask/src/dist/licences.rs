//! The licences of all crates that are linked into the binary.

use crate::sh;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Names of licence files.
const NAMES: [&str; 5] = ["license", "licence", "copying", "copyright", "notice"];
/// How many levels below a crate its licences are searched: crates contain sources of others.
const DEPTH: usize = 3;

/// Returns every crate of a package's binary with its licence, then every licence text once with its crates.
pub(super) fn text(package: &str, target: &str) -> Result<String> {
    let mut cargo = sh::cargo();
    cargo.args(["metadata", "--format-version=1", "--filter-platform"]);
    cargo.arg(target);
    let metadata = sh::quietly(&mut cargo)?;
    let metadata: Value =
        serde_json::from_slice(&metadata).context("the output of cargo metadata is not JSON")?;
    let linked = linked(package, target)?;
    let mut list = String::from("The program is made of these crates:\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in metadata["packages"].as_array().into_iter().flatten() {
        let field = |name: &str| part[name].as_str().unwrap_or_default();
        let crate_name = format!("{} v{}", field("name"), field("version"));
        if field("source").is_empty() || !linked.contains(&crate_name) {
            continue;
        }
        let licence = match field("license") {
            "" => "see its text",
            licence => licence,
        };
        let _ = writeln!(list, "{crate_name}: {licence}");
        let dir = Path::new(field("manifest_path")).parent();
        for file in dir.map(|dir| files(dir, DEPTH)).unwrap_or_default() {
            if let Ok(text) = std::fs::read_to_string(file) {
                let crates = texts.entry(text.trim().to_owned()).or_default();
                if !crates.contains(&crate_name) {
                    crates.push(crate_name.clone());
                }
            }
        }
    }
    for (text, crates) in texts {
        let _ = write!(
            list,
            "\n{}\n\n{}:\n\n{text}\n",
            "-".repeat(78),
            crates.join(", ")
        );
    }
    Ok(list)
}

/// Returns the crates that are linked, each as `name vVERSION`.
fn linked(package: &str, target: &str) -> Result<Vec<String>> {
    let mut cargo = sh::cargo();
    cargo.args(["tree", "--package", package, "--target", target]);
    cargo.args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let name = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    Ok(sh::text(&mut cargo)?.lines().map(name).collect())
}

fn files(dir: &Path, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
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
