//! Imports between the files of a crate, and circles of imports: sets of files that import each other, directly or
//! through others of the set.
//!
//! A file is named by its path below `src`, without the ending and without `mod.rs`. The first part of this path is
//! the file's module. If a file imports an item, the file that defines the item counts as imported: where the path of
//! the import leads to a file that only exports the item again, the check follows that file's own import of the item.

use super::Source;
use proc_macro2::token_stream::IntoIter;
use proc_macro2::{Spacing::Joint, TokenStream, TokenTree};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::path::Path;

/// For each file or module of a crate, the others that it imports.
pub(super) type Imports = BTreeMap<String, BTreeSet<String>>;

type Name = Vec<String>;

/// A circle that may stay: modules of a crate that need each other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Allowed {
    modules: Vec<String>,
    /// Why the modules need each other.
    reason: String,
}

/// The files of a crate, and the paths of the names that each file imports.
#[derive(Default)]
struct Files {
    texts: BTreeMap<Name, String>,
    /// For a name in a file's module: the path that the file imports it by.
    imported: BTreeMap<Name, Name>,
}

/// Returns the files of a crate, and the files that each imports.
pub(super) fn imports(sources: &[Source<'_>]) -> Imports {
    let files = Files::new(sources);
    let names = files.texts.iter().map(|(name, text)| {
        let paths = paths(text).into_iter();
        let to = paths.filter_map(|path| files.file_of(&files.absolute(name, path)?, 0));
        let to = to.filter(|to| to != name).map(|to| to.join("/"));
        (name.join("/"), to.collect())
    });
    names.collect()
}

/// Returns the first part of a file's name.
pub(super) fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap_or(file)
}

/// Returns the imports of the files inside a directory, without its `mod.rs`.
pub(super) fn inside(imports: &Imports, directory: &str) -> Imports {
    let is_inside = |file: &str| Path::new(file).parent() == Some(Path::new(directory));
    let mut inside = imports.clone();
    inside.retain(|file, _| is_inside(file));
    inside
}

/// Returns the imports between the modules of a crate.
pub(super) fn of_modules(imports: &Imports) -> Imports {
    let mut modules = Imports::new();
    for (from, to) in imports {
        let own = module_of(from);
        let others = to.iter().map(|to| module_of(to)).filter(|to| *to != own);
        let named = modules.entry(own.to_owned()).or_default();
        named.extend(others.map(str::to_owned));
    }
    modules
}

/// Removes the scopes of visibility, which are no imports: `pub(in crate::x)` becomes `pub`.
fn without_scopes(text: &str) -> String {
    let mut parts = text.split("pub(in ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let rest = part.split_once(')').map_or(part, |(_, rest)| rest);
        text + "pub" + rest
    })
}

/// Removes the new names of imports, and the types of casts, which are no imports.
fn without_aliases(text: &str) -> String {
    let mut parts = text.split(" as ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        text + part.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_')
    })
}

/// Returns the paths in a file that may lead to other files.
fn paths(text: &str) -> Vec<Name> {
    let text = &without_aliases(text);
    let from = |word: &str| {
        let paths = paths_after(word, text).into_iter();
        paths
            .map(|path| [vec![word.to_owned()], path].concat())
            .collect()
    };
    let [at_crate, at_super, at_self]: [Vec<Name>; 3] = ["crate", "super", "self"].map(from);
    let used = paths_after("use", text);
    [at_crate, at_super, at_self, used].concat()
}

impl Files {
    fn new(sources: &[Source<'_>]) -> Self {
        let mut files = Self::default();
        for source in sources {
            let mut name: Name = source
                .below
                .with_extension("")
                .iter()
                .filter_map(|part| part.to_str().map(str::to_owned))
                .collect();
            name.pop_if(|last| last == "mod" || last == "lib");
            files.texts.insert(name, without_scopes(source.text));
        }
        for (name, text) in &files.texts {
            for path in paths_after("use", text) {
                if let (Some(last), Some(to)) = (path.last().cloned(), files.absolute(name, path)) {
                    let key = [name.clone(), vec![last]].concat();
                    files.imported.entry(key).or_insert(to);
                }
            }
        }
        files
    }

    /// Converts a path in a file to a path from the crate's root; `None` for a path to another crate.
    fn absolute(&self, file: &Name, path: Name) -> Option<Name> {
        let first = path.first()?;
        match &**first {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([file.clone(), path[1..].to_vec()].concat()),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let base = file.get(..file.len().checked_sub(ups)?)?;
                Some([base.to_vec(), path[ups..].to_vec()].concat())
            }
            _ => {
                let child = [file.clone(), vec![first.clone()]].concat();
                self.texts
                    .contains_key(&child)
                    .then(|| [file.clone(), path].concat())
            }
        }
    }

    /// Returns the file that defines the name at the end of a path. `depth` limits how far names are followed.
    fn file_of(&self, path: &Name, depth: u32) -> Option<Name> {
        let at = (0..=path.len())
            .rev()
            .find(|at| self.texts.contains_key(&path[..*at]))?;
        if let Some(key) = path.get(..=at)
            && depth < 8
            && let Some(to) = self.imported.get(key)
            && to != path
        {
            return self.file_of(&[to.clone(), path[at + 1..].to_vec()].concat(), depth + 1);
        }
        // The crate's root (`lib.rs`) never counts as imported: its own names are modules and exports, which lead to
        // other files.
        (at > 0).then(|| path[..at].to_vec())
    }
}

/// Returns the modules inside directories that a file names by their full path, such as `folder` and `module` for
/// `crate::folder::module::Name`. Instead, the file should import the name from the directory's root, `mod.rs` (the
/// *front door*): `crate::folder::Name`.
pub(super) fn behind_doors(text: &str) -> Vec<(String, String)> {
    let behind = |path: Vec<String>| match &path[..] {
        [folder, module, _, ..] if module.starts_with(char::is_lowercase) => {
            Some((folder.clone(), module.clone()))
        }
        _ => None,
    };
    paths_after("crate", text)
        .into_iter()
        .filter_map(behind)
        .collect()
}

/// Returns the paths that follow a word in a file, without the tests at the end of the file.
/// For example, `use a::{b, c::d};` has `a::b` and `a::c::d` after `use`.
pub(super) fn paths_after(word: &str, text: &str) -> Vec<Vec<String>> {
    let code = text.split("#[cfg(test)]\nmod tests {").next();
    let tokens = code.unwrap_or_default().parse::<TokenStream>();
    let mut paths = Vec::new();
    search(tokens.unwrap_or_default(), word, &mut paths);
    paths
}

fn search(tokens: TokenStream, word: &str, paths: &mut Vec<Vec<String>>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => search(group.stream(), word, paths),
            TokenTree::Ident(found) if found == word => tree(&mut tokens, Vec::new(), paths),
            _ => {}
        }
    }
}

/// Parses a path or a tree of imports, which follows `path`.
fn tree(tokens: &mut Peekable<IntoIter>, mut path: Vec<String>, paths: &mut Vec<Vec<String>>) {
    let mut is_joined = true;
    while let Some(token) = tokens.peek() {
        match token {
            TokenTree::Ident(word) if is_joined => {
                path.push(word.to_string());
                is_joined = false;
            }
            TokenTree::Ident(word) if word == "as" => {
                path.pop();
                is_joined = true;
            }
            TokenTree::Punct(colon) if colon.as_char() == ':' && colon.spacing() == Joint => {
                tokens.next();
                is_joined = true;
            }
            TokenTree::Group(group) if is_joined => {
                let mut inside = group.stream().into_iter().peekable();
                while inside.peek().is_some() {
                    tree(&mut inside, path.clone(), paths);
                    // Skips the comma.
                    inside.next();
                }
                path.clear();
                is_joined = false;
            }
            _ => break,
        }
        tokens.next();
    }
    if !path.is_empty() {
        paths.push(path);
    }
}

fn reached<'a>(imports: &'a Imports, start: &'a str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open = vec![start];
    while let Some(module) = open.pop() {
        let next = imports.get(module).into_iter().flatten();
        open.extend(next.map(String::as_str).filter(|next| seen.insert(*next)));
    }
    seen
}

/// Returns the circles: sets of files or modules that reach each other by imports.
fn circles(imports: &Imports) -> BTreeSet<Vec<&str>> {
    let circles = imports.keys().map(|module| {
        let mut circle = Vec::from_iter(reached(imports, module));
        circle.retain(|other| reached(imports, other).contains(module.as_str()));
        circle
    });
    circles.filter(|circle| !circle.is_empty()).collect()
}

/// Returns a fault for each circle of more than `most` files.
pub(super) fn large(package: &str, imports: &Imports, most: usize) -> Vec<String> {
    let circles = circles(imports).into_iter();
    let fault = |circle: Vec<&str>| {
        let (count, arrows) = (circle.len(), arrows(imports, &circle));
        format!("{package}: {count} files import in a circle, the limit is {most}: {arrows}")
    };
    circles
        .filter(|circle| circle.len() > most)
        .map(fault)
        .collect()
}

/// Returns the circles of a package that are not allowed, and the allowed ones that no longer exist.
pub(super) fn faults(package: &str, imports: &Imports, allowed: &[Allowed]) -> Vec<String> {
    let mut circles = circles(imports);
    let mut faults = Vec::new();
    for Allowed { modules, reason } in allowed {
        let modules: Vec<&str> = modules.iter().map(String::as_str).collect();
        if !circles.remove(&modules) {
            let modules = modules.join(", ");
            faults.push(format!(
                "{package}: the circle of {modules} is allowed ({reason}) and is not there"
            ));
        }
    }
    for circle in circles {
        let arrows = arrows(imports, &circle);
        faults.push(format!("{package}: modules import in a circle: {arrows}"));
    }
    faults
}

/// Returns a text with the imports within a circle.
fn arrows(imports: &Imports, circle: &[&str]) -> String {
    let arrows = circle.iter().flat_map(|from| {
        let to = imports.get(*from).into_iter().flatten();
        let to = to.filter(|to| circle.contains(&to.as_str()));
        to.map(move |to| format!("{from} > {to}"))
    });
    arrows.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "mod a;\npub use c::{Z, deep::{W as V, U}};\npub(crate) use a::W;";

    fn imports(root: &str, files: &[(&str, &str)]) -> Imports {
        let sources = [("lib.rs", root)].into_iter().chain(files.iter().copied());
        let sources = sources.map(|(path, text)| Source {
            path: Path::new(path),
            below: Path::new(path),
            text,
        });
        super::imports(&sources.collect::<Vec<_>>())
    }

    #[test]
    fn circles_are_found_however_they_are_written() {
        let forms = [
            "use crate::b::X;",
            "use crate::{Root, b::X};",
            "use crate::{b::{X, Y}, Root};",
            "use crate::{Root, b};",
            "fn f(x: crate::b::X) {}",
        ];
        let of_c = ["crate::c::Z", "crate::Z", "crate::{Y, V}", "crate::{U}"];
        for form in forms {
            for of_c in of_c {
                let of_c = format!("use {of_c};");
                let files = [("a.rs", form), ("b.rs", &of_c), ("c.rs", "crate::W")];
                let circle = BTreeSet::from([vec!["a", "b", "c"]]);
                assert_eq!(circles(&imports(ROOT, &files)), circle, "{form} {of_c}");
            }
        }
    }
}
