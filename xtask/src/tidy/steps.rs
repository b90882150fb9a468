//! Crates that a step of the devices calls may neither start processes nor use files.

use super::{Source, circles, shown};
use crate::sh;
use serde::Deserialize;

/// Which crates a step calls, and what they may not name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    pub(super) crates: Vec<String>,
    /// Paths of modules, such as `std::process`.
    forbidden: Vec<String>,
    allowed: Vec<Allowed>,
}

/// An exception: a file that may name some of the forbidden modules.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowed {
    file: String,
    /// The forbidden modules that it names.
    names: Vec<String>,
    /// Why no step waits there.
    reason: String,
}

impl Rules {
    /// Returns a fault for each forbidden module that a crate's files name, and for each exception without a use.
    pub(super) fn faults(&self, sources: &[Source<'_>]) -> Vec<String> {
        let files = sources.iter();
        let files = files.map(|source| (shown(source.path), source.text));
        files
            .flat_map(|(file, text)| self.file_faults(&file, text))
            .collect()
    }

    /// Returns a fault for each exception whose file does not exist.
    pub(super) fn stale(&self) -> Vec<String> {
        let files = self.allowed.iter().map(|allowed| &allowed.file);
        let stale = files.filter(|file| !sh::root().join(file).exists());
        stale
            .map(|file| format!("rules.toml: there is no file {file}"))
            .collect()
    }

    fn file_faults(&self, file: &str, text: &str) -> Vec<String> {
        let allowed = self.allowed.iter().find(|allowed| allowed.file == file);
        let may = |name: &String| allowed.is_some_and(|allowed| allowed.names.contains(name));
        let named: Vec<&String> = self
            .forbidden
            .iter()
            .filter(|name| names(text, name))
            .collect();
        let mut faults = Vec::new();
        for name in named.iter().filter(|name| !may(name)) {
            faults.push(format!(
                "{file} uses {name}, but a step may call it: give the work to a thread or to the front end"
            ));
        }
        if let Some(allowed) = allowed {
            let idle = allowed.names.iter().filter(|name| !named.contains(name));
            faults.extend(
                idle.map(|name| format!("rules.toml: {file} does not use {name} any more")),
            );
            if allowed.reason.is_empty() {
                faults.push(format!("rules.toml: no reason why {file} is allowed"));
            }
        }
        faults
    }
}

/// Returns whether a file's code names a module or something in it, except in its tests.
fn names(text: &str, module: &str) -> bool {
    let mut parts = module.split("::");
    let root = parts.next().unwrap_or_default();
    let parts: Vec<&str> = parts.collect();
    let paths = circles::paths_after(root, text);
    paths
        .iter()
        .any(|path| path.len() >= parts.len() && parts.iter().zip(path).all(|(a, b)| a == b))
}
