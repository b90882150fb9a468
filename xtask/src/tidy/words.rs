//! Checks the words of code: names of constants, of tests and of public types.

use super::{RULES, Source, docs};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    vague: Vec<String>,
    pub(super) forbidden_in_python: Vec<String>,
}

/// Maximum length of a function's name. Only names of tests come close to it.
const MAX_NAME: usize = 50;

pub(super) fn faults(file: &Path, text: &str) -> Vec<String> {
    let (name, mut faults) = (super::shown(file), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let found = long_name(line).into_iter().chain(vague_constant(line));
        faults.extend(found.map(|fault| format!("{name}:{number}: {fault}")));
    }
    faults
}

fn long_name(line: &str) -> Option<String> {
    let rest = line.split("fn ").nth(1)?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    let function = &rest[..end];
    (end > MAX_NAME).then(|| format!("{function} has {end} characters; {MAX_NAME} are allowed"))
}

fn vague_constant(line: &str) -> Option<String> {
    let constant = line.split("const ").nth(1)?.split(':').next()?;
    let is_code = !line.trim_start().starts_with("//");
    (is_code && RULES.words.vague.iter().any(|vague| vague == constant))
        .then(|| format!("{constant} does not say what it limits; use a name such as MAX_FRAMES"))
}

/// Returns a fault for each name that several public types of a package have.
pub(super) fn repeated_types(package: &str, files: &[Source<'_>]) -> Vec<String> {
    let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Source { path, text, .. } in files {
        for name in docs::public_types(text, true) {
            types.entry(name).or_default().push(super::shown(path));
        }
    }
    let repeated = types.into_iter().filter(|(_, files)| files.len() > 1);
    let sentence = |(name, files): (String, Vec<String>)| {
        let files = files.join(", ");
        format!("{package}: several public types are called {name}: {files}")
    };
    repeated.map(sentence).collect()
}

/// Returns a fault if a package declares more than `most` public types, besides those of macros and of tests.
pub(super) fn too_many_types(package: &str, files: &[Source<'_>], most: usize) -> Option<String> {
    let is_test = |path: &Path| path.iter().any(|part| part == "tests");
    let files = files.iter().filter(|file| !is_test(file.path));
    let count: usize = files
        .map(|file| docs::public_types(file.text, true).len())
        .sum();
    (count > most).then(|| format!("{package} has {count} public types; rules.toml allows {most}"))
}
