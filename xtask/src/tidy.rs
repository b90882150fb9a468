//! Checks house rules: layers, rooms, imports, lengths of files, places of unsafe code, docs and words.

mod circles;
mod docs;
mod places;
mod python;
mod rooms;
mod words;

use crate::sh;
use anyhow::{Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A crate, the crates it may depend on, and whether it may have unsafe code.
/// Lower rooms come first. Tests may use any room below their own.
struct Room {
    name: &'static str,
    may_use: &'static [&'static str],
    may_unsafe: bool,
}

const fn room(name: &'static str, may_use: &'static [&'static str], may_unsafe: bool) -> Room {
    Room {
        name,
        may_use,
        may_unsafe,
    }
}

/// The table of ARCHITECTURE.md.
const ROOMS: &[Room] = &[
    room("vb3-dma", &[], false),
    room("vb3-machine", &["vb3-dma"], true),
    room("vb3-dmabuf", &["vb3-dma"], false),
    room("vb3-plane", &["vb3-dma", "vb3-dmabuf"], false),
    room("vb3-queue", &["vb3-dma", "vb3-plane"], false),
    room("vb3-v4l2", &["vb3-dma", "vb3-plane", "vb3-queue"], false),
    // Works on elementary streams and pictures in plain memory. Depends on no other crate of ours.
    room("vb3-codec", &[], true),
    // Codecs of libavcodec for vb3-codec. Only the program vb3-codec uses this crate.
    room("vb3-avcodec", &["vb3-codec"], true),
    room(
        "vb3-devices",
        &["vb3-codec", "vb3-dma", "vb3-plane", "vb3-queue", "vb3-v4l2"],
        false,
    ),
    // The interface between a host of devices and a front end. Depends on no other crate of ours.
    room("vb3-host", &[], false),
    // Reports and traces of a run. Does not know how devices work.
    room("vb3-report", &["vb3-host", "vb3-v4l2"], false),
    room("vb3-intercept", &["vb3-host"], true),
    // A client of a run's socket, for tests of other projects. Depends on no other crate of ours.
    room("vb3-control", &[], false),
    // Assembles a run. Has no code for seccomp or the command line.
    room(
        "vb3-world",
        &[
            "vb3-codec",
            "vb3-devices",
            "vb3-dma",
            "vb3-dmabuf",
            "vb3-host",
            "vb3-machine",
            "vb3-plane",
            "vb3-queue",
            "vb3-report",
            "vb3-v4l2",
        ],
        false,
    ),
    // Simulates programs on a world by seed. No crate depends on it.
    room(
        "vb3-sim",
        &[
            "vb3-codec",
            "vb3-devices",
            "vb3-host",
            "vb3-machine",
            "vb3-v4l2",
            "vb3-world",
        ],
        false,
    ),
    // Reads device trees. Depends on no other crate of ours.
    room("vb3-board", &[], false),
    room(
        "vb3",
        &[
            "vb3-avcodec",
            "vb3-board",
            "vb3-codec",
            "vb3-control",
            "vb3-devices",
            "vb3-dma",
            "vb3-host",
            "vb3-intercept",
            "vb3-machine",
            "vb3-report",
            "vb3-world",
        ],
        false,
    ),
    room("xtask", &[], false),
];

/// Libraries for others to build on, and whether each teaches.
/// A README of a library that teaches has a program, which is tested. Its documentation names each errno and
/// unit.
const LIBRARIES: &[(&str, bool)] = &[
    ("vb3-dma", true),
    ("vb3-dmabuf", true),
    ("vb3-plane", true),
    ("vb3-queue", true),
    ("vb3-v4l2", false),
    ("vb3-machine", false),
    ("vb3-host", false),
    ("vb3-board", false),
    ("vb3-control", false),
];

/// Packages whose modules still import in circles. In other packages, only [`CIRCLES`] are allowed.
const TANGLED: &[&str] = &["vb3-codec", "vb3-devices", "vb3-intercept", "xtask"];

/// Circles of imports that may stay. The modules of a circle must be exactly those listed.
const CIRCLES: &[circles::Allowed] = &[circles::Allowed {
    package: "vb3-v4l2",
    modules: &["context", "contexts", "device", "gate", "requests"],
    reason: "a device has contexts, whose buffers wait at the gate for requests, which name contexts",
}];

/// Directories whose files must not import each other in circles, either: package and directory.
const INSIDE: &[(&str, &str)] = &[("vb3-dma", "iopt"), ("vb3-dma", "mapper")];

/// Lints that require documentation of every public item and its errors.
const DOC_LINTS: &[&str] = &["missing_docs", "missing_errors_doc"];

/// The test that lists whether each public type of a library is `Send` and `Sync`.
const THREADS: &str = "fn types_say_which_threads_they_may_visit";

/// Maximum number of lines of `vb3-dma`'s smallest host, which its README shows and runs.
const MAX_HOST_LINES: usize = 60;

/// Maximum number of lines of a source file, except for tests and generated files.
const MAX_LINES: usize = 800;

/// Checks the tree, and prints every fault.
///
/// # Errors
/// The tree has a fault, or cannot be read.
pub(crate) fn run() -> Result<()> {
    let packages = sh::packages()?;
    let mut faults = layer_faults(&packages);
    for package in &packages {
        let Some(dir) = Path::new(text(package, "manifest_path")).parent() else {
            continue;
        };
        let name = text(package, "name");
        let may_unsafe = ROOMS.iter().any(|r| r.name == name && r.may_unsafe);
        faults.extend(crate_faults(dir, may_unsafe));
        faults.extend(words::repeated_types(name, &sources(dir)));
        if name == rooms::PACKAGE {
            faults.extend(room_faults(dir));
        }
        if !TANGLED.contains(&name) {
            let teaches = LIBRARIES.contains(&(name, true));
            faults.extend(module_faults(name, dir, teaches));
        }
    }
    faults.extend(doc_faults());
    faults.extend(python_faults());
    faults.extend(crate::docs::faults(false)?);
    for fault in &faults {
        eprintln!("tidy: {fault}");
    }
    if !faults.is_empty() {
        bail!("{} faults", faults.len());
    }
    println!(
        "tidy: layers, rooms, circles, file lengths, unsafe, documentation and words are in order"
    );
    Ok(())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Returns the dependencies of crates that point upwards or sideways.
fn layer_faults(packages: &[Value]) -> Vec<String> {
    let rank = |name: &str| ROOMS.iter().position(|room| room.name == name);
    let mut faults = Vec::new();
    for package in packages {
        let name = text(package, "name");
        let Some((own, room)) = ROOMS.iter().enumerate().find(|(_, room)| room.name == name) else {
            faults.push(format!(
                "{name} has no place in the table of layers (xtask/src/tidy.rs)"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = text(dependency, "name");
            let Some(other) = rank(on) else { continue };
            let allowed = match text(dependency, "kind") {
                // A crate's tests may depend on the crate itself, with other features.
                "dev" => other <= own,
                _ => room.may_use.contains(&on),
            };
            if !allowed {
                faults.push(format!(
                    "{name} depends on {on}, which its layer may not know"
                ));
            }
        }
    }
    faults
}

/// Returns the faults of one crate's files.
fn crate_faults(dir: &Path, may_unsafe: bool) -> Vec<String> {
    let mut faults = Vec::new();
    if !may_unsafe {
        let roots = [dir.join("src/lib.rs"), dir.join("src/main.rs")];
        let forbids = |root: &PathBuf| {
            std::fs::read_to_string(root).is_ok_and(|text| text.contains("#![forbid(unsafe_code)]"))
        };
        if !roots.iter().any(forbids) {
            faults.push(format!("{} lacks #![forbid(unsafe_code)]", shown(dir)));
        }
    }
    if may_unsafe
        && !rust_files(&dir.join("src"))
            .iter()
            .any(|file| has_unsafe(file))
    {
        faults.push(format!(
            "{} has no unsafe code; the table of layers says that it may",
            shown(dir)
        ));
    }
    for file in rust_files(dir) {
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                faults.extend(file_faults(&file, &text));
                faults.extend(words::faults(&file, &text));
            }
            Err(e) => faults.push(format!("{} cannot be read: {e}", shown(&file))),
        }
    }
    faults
}

/// Returns the source files of a crate without its tests.
fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let is_test = |file: &PathBuf| {
        file.iter()
            .any(|part| part == "tests" || part == "tests.rs")
    };
    let files = rust_files(&dir.join("src")).into_iter();
    let files = files.filter(|file| !is_test(file));
    let read = |file: PathBuf| Some((file.clone(), std::fs::read_to_string(file).ok()?));
    files.filter_map(read).collect()
}

/// Returns whether a file has an unsafe block, function or implementation.
fn has_unsafe(file: &Path) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let words = ["unsafe {", "unsafe fn", "unsafe impl"];
    code.into_iter()
        .any(|line| words.iter().any(|word| line.contains(word)))
}

/// Returns the faulty imports between the rooms of a crate.
fn room_faults(dir: &Path) -> Vec<String> {
    let src = dir.join("src");
    let files = sources(dir);
    let files = files.iter();
    let files = files.filter_map(|(file, text)| Some((file.strip_prefix(&src).ok()?, &**text)));
    let files: Vec<(&Path, &str)> = files.collect();
    rooms::faults(&files)
}

/// Returns circles between a crate's modules. For a library that teaches, also gaps in its documentation.
fn module_faults(package: &str, dir: &Path, teaches: bool) -> Vec<String> {
    let src = dir.join("src");
    let root = std::fs::read_to_string(src.join("lib.rs")).unwrap_or_default();
    let exports = circles::exports(&root);
    let files = sources(dir).into_iter().filter_map(|(file, text)| {
        let module = circles::module_of(file.strip_prefix(&src).ok()?)?;
        Some((module, file, text))
    });
    let files: Vec<_> = files.collect();
    let modules = files.iter().map(|(module, ..)| module.clone()).collect();
    let mut imports = circles::Imports::new();
    for (module, _, text) in &files {
        circles::add(&mut imports, &modules, &exports, module, text);
    }
    let mut faults = circles::faults(package, &imports, CIRCLES);
    for (_, directory) in INSIDE.iter().filter(|(of, _)| *of == package) {
        let inside = files.iter().filter(|(module, ..)| module == directory);
        let inside: Vec<_> = inside
            .filter_map(|(_, file, text)| Some((file.file_stem()?.to_str()?.to_owned(), text)))
            .collect();
        let modules = inside.iter().map(|(module, _)| module.clone()).collect();
        let mut imports = circles::Imports::new();
        for (module, text) in &inside {
            let text = text.replace("super::", "crate::");
            circles::add(&mut imports, &modules, &Default::default(), module, &text);
        }
        let place = format!("{package}, {directory}");
        faults.extend(circles::faults(&place, &imports, &[]));
    }
    if teaches {
        let said = files
            .iter()
            .flat_map(|(_, file, text)| docs::faults(file, text));
        faults.extend(said);
        let tests = rust_files(dir).into_iter();
        let tests = tests.filter_map(|file| std::fs::read_to_string(file).ok());
        let tests: String = tests.filter(|text| text.contains(THREADS)).collect();
        for (_, file, text) in &files {
            for name in docs::public_types(text) {
                if !docs::words(&tests).any(|word| word == name) {
                    let file = shown(file);
                    faults.push(format!(
                        "{file}: no test says which threads {name} may visit"
                    ));
                }
            }
        }
    }
    if teaches && !root.contains("include_str!(\"../README.md\")") {
        faults.push(format!("{}: its README is not among its tests", shown(dir)));
    }
    faults
}

/// Returns faults of the settings for documentation, such as a lint that is not enabled.
fn doc_faults() -> Vec<String> {
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let workspace = read(sh::root().join("Cargo.toml"));
    let mut faults: Vec<String> = DOC_LINTS
        .iter()
        .filter(|lint| !workspace.contains(&format!("{lint} = \"warn\"")))
        .map(|lint| format!("Cargo.toml: the lint {lint} is gone"))
        .collect();
    for (name, _) in LIBRARIES {
        let dir = name.strip_prefix("vb3-").unwrap_or(name);
        let manifest = read(sh::root().join("crates").join(dir).join("Cargo.toml"));
        if !manifest.contains("[lints]\nworkspace = true") {
            faults.push(format!(
                "crates/{dir}/Cargo.toml does not take the workspace's lints"
            ));
        }
    }
    let contributing = read(sh::root().join("CONTRIBUTING.md"));
    faults.extend(places::faults(&contributing, &sh::root()));
    let host = host_lines(&read(sh::root().join("crates/dma/README.md")));
    if !(1..=MAX_HOST_LINES).contains(&host) {
        faults.push(format!(
            "crates/dma/README.md: a host with pages alone takes {host} lines; {MAX_HOST_LINES} are \
             the most"
        ));
    }
    for room in ROOMS.iter().filter(|room| room.may_unsafe) {
        let name = room.name.strip_prefix("vb3-").unwrap_or(room.name);
        let rule = contributing
            .split("**`unsafe`**")
            .nth(1)
            .unwrap_or_default();
        let rule = rule.split(';').next().unwrap_or_default();
        if !rule.contains(&format!("`{name}`")) {
            faults.push(format!(
                "CONTRIBUTING.md does not say that {name} has unsafe code"
            ));
        }
    }
    faults
}

/// Returns the faults of the Python module's files.
fn python_faults() -> Vec<String> {
    let list = |dir: &str| std::fs::read_dir(sh::root().join("python").join(dir));
    let files = ["src/vb3", "tests"]
        .into_iter()
        .filter_map(|dir| list(dir).ok());
    let files = files.flatten().flatten().map(|entry| entry.path());
    let files = files.filter(|file| file.extension().is_some_and(|end| end == "py"));
    let read = |file: PathBuf| Some((std::fs::read_to_string(&file).ok()?, file));
    let files = files.filter_map(read);
    let faults = files.flat_map(|(text, file)| python::faults(Path::new(&shown(&file)), &text));
    faults.collect()
}

/// Returns how many lines a README's first program has before its `main`, without blank lines.
fn host_lines(readme: &str) -> usize {
    let program = readme.split("\n```rust\n").nth(1).unwrap_or_default();
    let host = program.split("\nfn main").next().unwrap_or_default();
    host.lines().filter(|line| !line.trim().is_empty()).count()
}

/// Returns a path relative to the root.
pub(crate) fn shown(path: &Path) -> String {
    path.strip_prefix(sh::root())
        .unwrap_or(path)
        .display()
        .to_string()
}

fn file_faults(file: &Path, text: &str) -> Vec<String> {
    let is_test = file.components().any(|part| part.as_os_str() == "tests")
        || file.file_name().is_some_and(|name| name == "tests.rs");
    let generated = file.file_name().is_some_and(|name| name == "bindings.rs");
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > MAX_LINES && !is_test && !generated {
        faults.push(format!(
            "{} has {lines} lines; the limit is {MAX_LINES}",
            shown(file)
        ));
    }
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("#[ignore]") {
            faults.push(format!(
                "{}:{}: a test is ignored, and no reason given",
                shown(file),
                number + 1
            ));
        }
    }
    faults
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    files(dir, "rs")
}

/// Returns the files below a directory with an ending, sorted. Skips hidden files and cargo's output.
pub(crate) fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in dir.read_dir().into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if name.starts_with('.') || name == "target" || name.starts_with("target-") {
                continue;
            } else if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|end| end == ending) {
                files.push(path);
            }
        }
    }
    files.sort();
    files
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
    fn the_lines_of_a_host_are_counted_up_to_main() {
        let readme =
            "# A\n\n```toml\na\n```\n\nB:\n\n```rust\nuse a;\n\nimpl B {}\n\nfn main() {}\n```\n";
        assert_eq!(host_lines(readme), 2);
        assert_eq!(host_lines("# A\n"), 0);
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
    fn long_files_and_bare_ignores_are_faults() {
        let long = "\n".repeat(MAX_LINES + 1);
        assert_eq!(file_faults(Path::new("a/src/x.rs"), &long).len(), 1);
        assert!(file_faults(Path::new("a/src/x/tests.rs"), &long).is_empty());
        let text = "\n  #[ignore]\n  #[ignore = \"slow\"]\n";
        assert_eq!(file_faults(Path::new("a/src/x.rs"), text).len(), 1);
    }
}
