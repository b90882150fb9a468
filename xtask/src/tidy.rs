//! Checks house rules: layers of crates, rooms (directories of modules), imports, file lengths, unsafe code,
//! documentation and words.

mod circles;
mod docs;
mod places;
mod rooms;
mod steps;
mod words;

use crate::sh::{self, cmd};
use anyhow::Result;
use fs_err as fs;
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The lists that `rules.toml` holds and explains.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    folders: Vec<String>,
    layer: Vec<Layer>,
    steps: steps::Rules,
    documentation: docs::Rules,
    words: words::Rules,
}

/// The rules of a crate: its place in the layers, and its exceptions.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Layer {
    name: String,
    may_use: Vec<String>,
    may_unsafe: bool,
    teaches: bool,
    tangled: bool,
    circles: Vec<circles::Allowed>,
    inside: Vec<String>,
    largest_circle: Option<usize>,
    max_public_types: Option<usize>,
    rooms: Option<rooms::Rules>,
}

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let rules = toml::from_str(include_str!("tidy/rules.toml"));
    rules.unwrap_or_else(|e| panic!("rules.toml: {e}"))
});

/// The test that lists whether each public type of a library is `Send` and `Sync`.
const THREADS: &str = "fn types_say_which_threads_they_may_visit";

/// Maximum number of lines of a source file, except for tests and generated files.
const MAX_LINES: usize = 800;

/// A file of a crate: its path, its path below `src`, and its text.
struct Source<'a> {
    path: &'a Path,
    below: &'a Path,
    text: &'a str,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Fill the generated blocks of docs/ from docs/data
    #[arg(long)]
    write: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let packages = sh::packages("--no-deps")?;
    let mut faults = layer_faults(&packages);
    faults.extend(RULES.steps.stale());
    for package in &packages {
        let name = text(package, "name");
        let layer = RULES.layer.iter().find(|layer| layer.name == name);
        let dir = Path::new(text(package, "manifest_path")).parent();
        if let (Some(layer), Some(dir)) = (layer, dir) {
            faults.extend(crate_faults(layer, dir)?);
        }
    }
    faults.extend(contributing_faults()?);
    for dir in ["python/src/vb3", "python/tests"] {
        for path in files(&sh::root().join(dir), "py")? {
            faults.extend(python_faults(&path, &fs::read_to_string(&path)?));
        }
    }
    faults.extend(crate::docs::faults(args.write)?);
    sh::expect_none("tidy", &faults)?;
    println!(
        "tidy: layers, rooms, circles, file lengths, unsafe, documentation, words and steps are in order"
    );
    Ok(())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Returns a fault for each dependency that the crate's row in `rules.toml` does not allow, or that lies in a higher
/// folder of `crates/`. A crate's tests may use any crate of a row above its own, and any folder.
fn layer_faults(packages: &[Value]) -> Vec<String> {
    let rank = |name: &str| RULES.layer.iter().position(|layer| layer.name == name);
    let folder = |name: &str| {
        let package = packages.iter().find(|package| package["name"] == name)?;
        let mut dirs = Path::new(text(package, "manifest_path"))
            .ancestors()
            .skip(2);
        let folder = dirs.next()?.file_name()?.to_str()?;
        RULES.folders.iter().position(|name| name == folder)
    };
    let mut faults = Vec::new();
    for package in packages {
        let name = text(package, "name");
        let Some(own) = rank(name) else {
            faults.push(format!("{name} has no place in xtask/src/tidy/rules.toml"));
            continue;
        };
        let may_use = &RULES.layer[own].may_use;
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = text(dependency, "name");
            let Some(other) = rank(on) else { continue };
            let is_allowed = match text(dependency, "kind") {
                "dev" => other < own,
                _ if folder(on) > folder(name).or(folder(on)) => false,
                _ => may_use.iter().any(|name| name == on),
            };
            if !is_allowed {
                faults.push(format!(
                    "{name} depends on {on}, which its layer may not use"
                ));
            }
        }
    }
    faults
}

fn crate_faults(layer: &Layer, dir: &Path) -> Result<Vec<String>> {
    let (src, name) = (dir.join("src"), &layer.name);
    let mut all = Vec::new();
    for path in files(dir, "rs")? {
        all.push((fs::read_to_string(&path)?, path));
    }
    let mut faults = Vec::new();
    let manifest = fs::read_to_string(dir.join("Cargo.toml"))?;
    if !manifest.contains("[lints]\nworkspace = true") {
        faults.push(format!("{name} does not take the workspace's lints"));
    }
    for (text, path) in &all {
        faults.extend(long_file(path, text));
        faults.extend(words::faults(path, text));
    }
    let sources = all.iter().filter(|(_, path)| !is_test(path));
    let sources = sources.filter_map(|(text, path)| {
        let below = path.strip_prefix(&src).ok()?;
        Some(Source { path, below, text })
    });
    let sources: Vec<Source<'_>> = sources.collect();
    let roots = ["lib.rs", "main.rs"].map(Path::new);
    let root = sources.iter().find(|source| roots.contains(&source.below));
    let root = root.map_or("", |source| source.text);
    if !layer.may_unsafe && !root.contains("#![forbid(unsafe_code)]") {
        faults.push(format!("{name} lacks #![forbid(unsafe_code)]"));
    }
    let mut inside = all.iter().filter(|(_, path)| path.starts_with(&src));
    if layer.may_unsafe && !inside.any(|(text, _)| has_unsafe(text)) {
        faults.push(format!(
            "{name} has no unsafe code, which rules.toml allows"
        ));
    }
    faults.extend(words::repeated_types(name, &sources));
    if let Some(most) = layer.max_public_types {
        faults.extend(words::too_many_types(name, &sources, most));
    }
    if RULES.steps.crates.contains(name) {
        faults.extend(RULES.steps.faults(&sources));
    }
    let imports = circles::imports(&sources);
    if let Some(rooms) = &layer.rooms {
        faults.extend(rooms.faults(name, &sources, &imports));
    }
    if let Some(most) = layer.largest_circle {
        faults.extend(circles::large(name, &imports, most));
    }
    for directory in &layer.inside {
        let place = format!("{name}, {directory}");
        faults.extend(circles::large(
            &place,
            &circles::inside(&imports, directory),
            1,
        ));
    }
    if !layer.tangled {
        let modules = circles::of_modules(&imports);
        faults.extend(circles::faults(name, &modules, &layer.circles));
    }
    if layer.teaches {
        let tests = all.iter().filter(|(text, _)| text.contains(THREADS));
        let tests: Vec<&str> = tests.flat_map(|(text, _)| docs::words(text)).collect();
        for Source { path, text, .. } in &sources {
            faults.extend(docs::faults(path, text));
            let (file, types) = (shown(path), docs::public_types(text, false));
            let untested = types.iter().filter(|name| !tests.contains(&name.as_str()));
            let fault = |name| format!("{file}: no test says which threads {name} may visit");
            faults.extend(untested.map(fault));
        }
        if !root.contains("include_str!(\"../README.md\")") {
            faults.push(format!("{name}: its README is not among its tests"));
        }
    }
    Ok(faults)
}

/// Returns whether a file has an unsafe block, function or implementation.
fn has_unsafe(text: &str) -> bool {
    let words = ["unsafe {", "unsafe fn", "unsafe impl"];
    let has = |line: &str| words.iter().any(|word| line.contains(word));
    text.lines()
        .any(|line| !line.trim_start().starts_with("//") && has(line))
}

fn contributing_faults() -> Result<Vec<String>> {
    let contributing = fs::read_to_string(sh::root().join("CONTRIBUTING.md"))?;
    let mut faults = places::faults(&contributing, &sh::root());
    let rule = contributing.split_once("**`unsafe`**");
    let rule = rule.map_or("", |(_, rest)| rest.split(';').next().unwrap_or_default());
    for layer in RULES.layer.iter().filter(|layer| layer.may_unsafe) {
        let name = &layer.name;
        if !rule.contains(&format!("`{name}`")) {
            faults.push(format!("CONTRIBUTING.md: {name} has unsafe code, too"));
        }
    }
    Ok(faults)
}

/// Returns a path relative to the root.
pub(crate) fn shown(path: &Path) -> String {
    let below = path.strip_prefix(sh::root()).unwrap_or(path);
    below.display().to_string()
}

fn is_test(path: &Path) -> bool {
    path.iter()
        .any(|part| part == "tests" || part == "tests.rs")
}

fn long_file(file: &Path, text: &str) -> Option<String> {
    let generated = file.file_name().is_some_and(|name| name == "bindings.rs");
    let (lines, name) = (text.lines().count(), shown(file));
    let is_long = lines > MAX_LINES && !is_test(file) && !generated;
    is_long.then(|| format!("{name} has {lines} lines; the limit is {MAX_LINES}"))
}

fn python_faults(file: &Path, text: &str) -> Vec<String> {
    let (name, words) = (shown(file), RULES.words.forbidden_in_python.iter());
    let found = words.filter(|word| text.contains(*word));
    let found = found.map(|word| format!("{name} contains {word:?}"));
    let lacks_docs = !text.starts_with("\"\"\"");
    let lacks_docs = lacks_docs.then(|| format!("{name} does not begin with its documentation"));
    let found = found.chain(lacks_docs);
    found.chain(long_file(file, text)).collect()
}

/// Returns the files below a directory with an ending, sorted. Skips hidden files and cargo's output.
pub(crate) fn files(dir: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut files = all_files(dir)?;
    files.retain(|path| path.extension().is_some_and(|end| end == ending));
    Ok(files)
}

/// Returns the files below a directory, sorted. Skips hidden files and cargo's output.
pub(crate) fn all_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let found = sh::text(cmd!(
        "find -L {dir} -mindepth 1 ( -name .* -o -name target -o -name target-* ) -prune -o -type f -print"
    ))?;
    let mut files: Vec<PathBuf> = found.lines().map(PathBuf::from).collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(name: &str, kind: Value, on: &str) -> usize {
        let dependencies = json!([{ "name": on, "kind": kind }]);
        layer_faults(&[json!({ "name": name, "dependencies": dependencies })]).len()
    }

    #[test]
    fn arrows_point_down_only() {
        let normal = Value::Null;
        assert_eq!(faults("vb3-plane", normal.clone(), "vb3-dmabuf"), 0);
        assert_eq!(faults("vb3-plane", normal.clone(), "serde"), 0);
        assert_eq!(faults("vb3-dmabuf", normal.clone(), "vb3-plane"), 1);
        assert_eq!(faults("vb3-plane", normal.clone(), "vb3-machine"), 1);
        assert_eq!(faults("vb3-plane", json!("dev"), "vb3-machine"), 0);
        assert_eq!(faults("vb3-plane", json!("dev"), "vb3-queue"), 1);
        assert_eq!(faults("vb3-new", normal, "vb3-dma"), 1);
    }

    #[test]
    fn folders_are_layers() {
        let found = |folder: &str, kind: Value| {
            let dependencies = json!([{ "name": "vb3-dmabuf", "kind": kind }]);
            let path = |folder: &str| format!("/x/crates/{folder}/y/Cargo.toml");
            let packages = [
                json!({ "name": "vb3-plane", "manifest_path": path("core"), "dependencies": dependencies }),
                json!({ "name": "vb3-dmabuf", "manifest_path": path(folder) }),
            ];
            layer_faults(&packages).len()
        };
        assert_eq!(found("front", Value::Null), 1);
        assert_eq!(found("core", Value::Null), 0);
        assert_eq!(found("front", json!("dev")), 0);
    }
}
