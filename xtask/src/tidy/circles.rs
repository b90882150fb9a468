//! Circles of imports between the modules of a crate.

use proc_macro2::token_stream::IntoIter;
use proc_macro2::{Spacing::Joint, TokenStream, TokenTree};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::path::Path;

/// For each module of a crate, the modules that it imports. A module is the first part of a path. An import
/// names it directly (`crate::module::…`), or by an item that the root exports (`crate::Name`).
pub(super) type Imports = BTreeMap<String, BTreeSet<String>>;

/// Each name that a crate's root exports, and the module that the name comes from.
pub(super) type Exports = BTreeMap<String, String>;

/// A circle that may stay: modules of a crate that need each other.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Allowed {
    modules: Vec<String>,
    /// Why the modules need each other.
    reason: String,
}

/// Returns the names that a crate's root exports. If an export is renamed, this is the new name.
pub(super) fn exports(root: &str) -> Exports {
    let paths = paths_after("use", root).into_iter();
    let export = |mut path: Vec<String>| Some((path.pop()?, path.into_iter().next()?));
    paths.filter_map(export).collect()
}

/// Returns the imports of files, each with its module.
pub(super) fn imports<S: AsRef<str>>(files: &[(String, S)], exports: &Exports) -> Imports {
    let modules = files.iter().map(|(module, _)| module.clone()).collect();
    let mut imports = Imports::new();
    for (module, text) in files {
        let mut named = named(text.as_ref(), &modules, exports);
        named.remove(module);
        imports.entry(module.clone()).or_default().extend(named);
    }
    imports
}

/// Returns those of the crate's modules that a file names.
pub(super) fn named(text: &str, modules: &BTreeSet<String>, exports: &Exports) -> BTreeSet<String> {
    let names = paths_after("crate", text).into_iter();
    let names = names.filter_map(|path| path.into_iter().next());
    let module = |name: String| {
        let from = exports.get(&name).filter(|_| !modules.contains(&name));
        let from = from.unwrap_or(&name);
        modules.contains(from).then(|| from.clone())
    };
    names.filter_map(module).collect()
}

/// Returns the modules inside directories that a file names by their full path, such as
/// `crate::folder::module::Name`. Each is returned with its directory, by whose root (the *front door*) the file
/// should import the name.
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

/// Returns the module that a file below `src` belongs to: the first part of the file's path.
pub(super) fn module_of(below_src: &Path) -> Option<String> {
    let first = below_src.iter().next()?.to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!["lib", "main", "tests"].contains(&name)).then(|| name.to_owned())
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

/// Returns the circles. Each is a set of modules that reach one another.
pub(super) fn circles(imports: &Imports) -> BTreeSet<Vec<&str>> {
    let circles = imports.keys().map(|module| {
        let mut circle = Vec::from_iter(reached(imports, module));
        circle.retain(|other| reached(imports, other).contains(module.as_str()));
        circle
    });
    circles.filter(|circle| !circle.is_empty()).collect()
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
pub(super) fn arrows(imports: &Imports, circle: &[&str]) -> String {
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

    fn imports(files: &[(&str, &str)]) -> Imports {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), text));
        super::imports(&files.collect::<Vec<_>>(), &exports(ROOT))
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
                let imports = imports(&[("a", form), ("b", &of_c), ("c", "crate::W")]);
                let circle = BTreeSet::from([vec!["a", "b", "c"]]);
                assert_eq!(circles(&imports), circle, "{form} {of_c}");
            }
        }
    }

    #[test]
    fn comments_tests_and_unknown_names_are_no_circle() {
        let files = [
            ("a", "use crate::{Root, b};\nuse crate::b::X;"),
            (
                "b",
                "// crate::a::W\nuse crate::Other;\n#[cfg(test)]\nmod tests {\nuse crate::a::W;}",
            ),
        ];
        assert_eq!(circles(&imports(&files)), BTreeSet::new());
    }

    #[test]
    fn listed_circles_must_exist_unchanged() {
        let allowed = |modules: &[&str]| {
            let modules = modules.iter().map(|&name| name.to_owned()).collect();
            [Allowed {
                modules,
                reason: "halves of one thing".to_owned(),
            }]
        };
        let two = imports(&[
            ("a", "crate::b::X"),
            ("b", "crate::W"),
            ("c", "crate::b::X"),
        ]);
        assert_eq!(faults("p", &two, &allowed(&["a", "b"])), [""; 0]);
        assert_eq!(
            faults("p", &two, &[]),
            ["p: modules import in a circle: a > b, b > a"]
        );
        assert_eq!(faults("p", &two, &allowed(&["a", "b", "c"])).len(), 2);
        let none = imports(&[("a", "crate::b::X")]);
        assert_eq!(faults("p", &none, &allowed(&["a", "b"])).len(), 1);
    }
}
