//! Circles of imports between the modules of a crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Which modules of a crate name which others by path (`crate::module::…`), each by the first part
/// of its path. What comes by way of the crate's root names no module.
pub(super) type Imports = BTreeMap<String, BTreeSet<String>>;

/// Adds the imports of one file. `modules` are those of the crate.
pub(super) fn add(imports: &mut Imports, modules: &BTreeSet<String>, module: &str, text: &str) {
    let code = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let own = imports.entry(module.to_owned()).or_default();
    for rest in code.split("crate::").skip(1) {
        let names = match rest.strip_prefix('{') {
            // `use crate::{a::X, b::Y}`: each name that a path follows.
            Some(list) => {
                let list = list.split(';').next().unwrap_or_default();
                let paths: Vec<&str> = list.split("::").collect();
                let leading = paths.split_last().map_or(&[][..], |(_, leading)| leading);
                leading.iter().map(|path| last_word(path)).collect()
            }
            None => vec![first_word(rest)],
        };
        own.extend(
            names
                .into_iter()
                .filter(|name| *name != module && modules.contains(*name))
                .map(str::to_owned),
        );
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

fn last_word(text: &str) -> &str {
    let start = text.rfind(|c| !is_word(c)).map_or(0, |at| at + 1);
    text.get(start..).unwrap_or_default()
}

/// The module that a file below `src` belongs to: the first part of its path.
pub(super) fn module_of(below_src: &Path) -> Option<String> {
    let first = below_src.iter().next()?.to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!["lib", "main", "tests"].contains(&name)).then(|| name.to_owned())
}

/// The modules that reach themselves.
pub(super) fn circles(imports: &Imports) -> Vec<String> {
    imports
        .keys()
        .filter(|start| {
            let mut seen = BTreeSet::new();
            let mut open: Vec<&String> = vec![start];
            while let Some(module) = open.pop() {
                let next = imports.get(module).into_iter().flatten();
                open.extend(next.filter(|module| seen.insert(*module)));
            }
            seen.contains(start)
        })
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let modules = files.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut imports = Imports::new();
        for (name, text) in files {
            add(&mut imports, &modules, name, text);
        }
        circles(&imports)
    }

    #[test]
    fn circles_are_found_however_they_are_written() {
        let forms = [
            "use crate::b::X;",
            "use crate::{Root, b::X};",
            "use crate::{b::{X, Y}, Root};",
            "fn f(x: crate::b::X) {}",
        ];
        for form in forms {
            let circle = found(&[("a", form), ("b", "use crate::c::Z;"), ("c", "crate::a::W")]);
            assert_eq!(circle, ["a", "b", "c"], "{form}");
        }
    }

    #[test]
    fn arrows_comments_and_the_root_make_no_circle() {
        let files = [
            ("a", "use crate::{Root, b};\nuse crate::b::X;"),
            ("b", "// crate::a::W\nuse crate::{a, Other};"),
        ];
        assert_eq!(found(&files), [""; 0]);
    }
}
