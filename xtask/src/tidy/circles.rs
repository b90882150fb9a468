//! Circles of imports between the modules of a crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Which modules of a crate name which others, each by the first part of its path: directly
/// (`crate::module::…`), or by a name that the crate's root exports again (`crate::Name`).
pub(super) type Imports = BTreeMap<String, BTreeSet<String>>;

/// Where the names that a crate's root exports again come from: name and module.
pub(super) type Exports = BTreeMap<String, String>;

/// A circle that stays: modules of a crate that cannot do without each other.
#[derive(Debug)]
pub(super) struct Allowed {
    pub(super) package: &'static str,
    pub(super) modules: &'static [&'static str],
    /// Why they cannot.
    pub(super) reason: &'static str,
}

/// The names that a crate's root exports again.
pub(super) fn exports(root: &str) -> Exports {
    let code = code_of(root);
    let mut exports = Exports::new();
    for rest in code.split(" use ").skip(1) {
        let tree = rest.split(';').next().unwrap_or_default();
        for path in paths(tree) {
            let mut words = path.split("::").map(str::trim);
            let module = words.next().unwrap_or_default();
            let name = words.last().unwrap_or_default();
            // Later code uses the new name of a renamed import.
            let name = name.rsplit(" as ").next().unwrap_or_default().trim();
            exports.insert(name.to_owned(), module.to_owned());
        }
    }
    exports
}

/// Adds the imports of one file. `modules` are those of the crate.
pub(super) fn add(
    imports: &mut Imports,
    modules: &BTreeSet<String>,
    exports: &Exports,
    module: &str,
    text: &str,
) {
    let code = code_of(text);
    let own = imports.entry(module.to_owned()).or_default();
    for rest in code.split("crate::").skip(1) {
        let tree = match rest.starts_with('{') {
            true => rest.split(';').next().unwrap_or_default(),
            false => first_word(rest),
        };
        for path in paths(tree) {
            let name = first_word(path.trim());
            let named = exports.get(name).map_or(name, String::as_str);
            let named = if modules.contains(name) { name } else { named };
            if named != module && modules.contains(named) {
                own.insert(named.to_owned());
            }
        }
    }
}

/// The modules of folders that one file names through the folder: `crate::folder::module::Name`.
pub(super) fn behind_doors(text: &str) -> Vec<(String, String)> {
    let mut behind = Vec::new();
    for rest in code_of(text).split("crate::").skip(1) {
        let tree = rest.split(';').next().unwrap_or_default();
        for path in paths(tree) {
            let mut words = path.split("::").map(|word| first_word(word.trim()));
            let (folder, module) = (words.next(), words.next());
            let is_module = |word: &&str| word.starts_with(char::is_lowercase);
            if let (Some(folder), Some(module), Some(_)) =
                (folder, module.filter(is_module), words.next())
            {
                behind.push((folder.to_owned(), module.to_owned()));
            }
        }
    }
    behind
}

/// A file without comments and without the tests at its end.
fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next();
    let lines = code.unwrap_or_default().lines();
    let lines = lines.map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths of a tree of imports: `a::{b, c::{d, e}}` is `a::b`, `a::c::d`, `a::c::e`.
fn paths(tree: &str) -> Vec<String> {
    let mut paths = Vec::new();
    // What stands before each brace that is open, and before the name that is read.
    let (mut open, mut path) = (vec![String::new()], String::new());
    let mut end = |path: &mut String| {
        let whole = std::mem::take(path);
        if !whole.trim().is_empty() && !whole.trim_end().ends_with("::") {
            paths.push(whole.trim().to_owned());
        }
    };
    for c in tree.chars() {
        let before = open.last().cloned().unwrap_or_default();
        match c {
            '{' => {
                open.push(std::mem::take(&mut path));
                path = open.last().cloned().unwrap_or_default();
            }
            '}' => {
                end(&mut path);
                open.pop();
            }
            ',' => {
                end(&mut path);
                path = before;
            }
            c if c.is_whitespace() && path.is_empty() => {}
            c => path.push(c),
        }
    }
    end(&mut path);
    paths
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// The module that a file below `src` belongs to: the first part of its path.
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

/// The circles: each the modules that reach one another.
pub(super) fn circles(imports: &Imports) -> BTreeSet<Vec<&str>> {
    let all: BTreeMap<&str, _> = imports
        .keys()
        .map(|module| (module.as_str(), reached(imports, module)))
        .collect();
    let reaches = |from: &str, to: &str| all.get(from).is_some_and(|seen| seen.contains(to));
    all.keys()
        .filter(|module| reaches(module, module))
        .map(|module| {
            let both = |other: &&&str| reaches(module, other) && reaches(other, module);
            all.keys().filter(both).copied().collect()
        })
        .collect()
}

/// Circles of a package that are not allowed, and those that are allowed and gone.
pub(super) fn faults(package: &str, imports: &Imports, allowed: &[Allowed]) -> Vec<String> {
    let mut circles = circles(imports);
    let mut faults = Vec::new();
    for known in allowed.iter().filter(|known| known.package == package) {
        if !circles.remove(known.modules) {
            let modules = known.modules.join(", ");
            faults.push(format!(
                "{package}: the circle of {modules} is allowed ({}) and is not there",
                known.reason
            ));
        }
    }
    for circle in circles {
        let arrows = circle.iter().flat_map(|from| {
            let to = imports.get(*from).into_iter().flatten();
            let to = to.filter(|to| circle.contains(&to.as_str()));
            to.map(move |to| format!("{from} > {to}"))
        });
        let arrows = arrows.collect::<Vec<_>>().join(", ");
        faults.push(format!("{package}: modules import in a circle: {arrows}"));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "mod a;\npub use c::{Z, deep::{W as V, U}};\npub(crate) use a::W;";

    fn imports(files: &[(&str, &str)]) -> Imports {
        let modules = files.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut imports = Imports::new();
        for (name, text) in files {
            add(&mut imports, &modules, &exports(ROOT), name, text);
        }
        imports
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
        let allowed = |modules| {
            [Allowed {
                package: "p",
                modules,
                reason: "halves of one thing",
            }]
        };
        let two = imports(&[
            ("a", "crate::b::X"),
            ("b", "crate::W"),
            ("c", "crate::b::X"),
        ]);
        assert_eq!(faults("p", &two, &allowed(&["a", "b"])), [""; 0]);
        assert_eq!(faults("other", &two, &allowed(&["a", "b"])).len(), 1);
        assert_eq!(
            faults("p", &two, &[]),
            ["p: modules import in a circle: a > b, b > a"]
        );
        assert_eq!(faults("p", &two, &allowed(&["a", "b", "c"])).len(), 2);
        let none = imports(&[("a", "crate::b::X")]);
        assert_eq!(faults("p", &none, &allowed(&["a", "b"])).len(), 1);
    }
}
