//! Circles of imports between the files of a crate.
//!
//! A file's name is its path below `src`, without `mod.rs`. An import counts as one from the file that defines the
//! name: if a file imports the name or exports it again, the check goes on to the file that the name comes from.

use super::{Source, circles};
use std::collections::BTreeMap;

type Name = Vec<String>;

/// The files of a crate, and the paths of the names that each file imports.
#[derive(Default)]
struct Files {
    texts: BTreeMap<Name, String>,
    /// For a name in a file's module: the path that the file imports it by.
    imported: BTreeMap<Name, Name>,
}

/// Returns a fault for each circle of more than `most` files.
pub(super) fn faults(package: &str, sources: &[Source<'_>], most: usize) -> Vec<String> {
    let files = Files::new(sources);
    let names = files.texts.iter().map(|(name, text)| {
        let paths = paths(text).into_iter();
        let to = paths.filter_map(|path| files.file_of(&files.absolute(name, path)?, 0));
        let to = to.filter(|to| to != name).map(|to| to.join("/"));
        (name.join("/"), to.collect())
    });
    let imports: circles::Imports = names.collect();
    let circles = circles::circles(&imports);
    let large = circles.iter().filter(|circle| circle.len() > most);
    let fault = |circle: &Vec<&str>| {
        let (count, arrows) = (circle.len(), circles::arrows(&imports, circle));
        format!("{package}: {count} files import in a circle, the limit is {most}: {arrows}")
    };
    large.map(fault).collect()
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
        let paths = circles::paths_after(word, text).into_iter();
        paths
            .map(|path| [vec![word.to_owned()], path].concat())
            .collect()
    };
    let [at_crate, at_super, at_self]: [Vec<Name>; 3] = ["crate", "super", "self"].map(from);
    let used = circles::paths_after("use", text);
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
            for path in circles::paths_after("use", text) {
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
        // The root's own names are modules and exports, which lead on.
        (at > 0).then(|| path[..at].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn faults_of(files: &[(&str, &str)], most: usize) -> Vec<String> {
        let sources = files.iter().map(|&(path, text)| Source {
            path: Path::new(path),
            below: Path::new(path),
            text,
        });
        faults("p", &sources.collect::<Vec<_>>(), most)
    }

    #[test]
    fn circles_of_files_follow_names_to_their_files() {
        let files = [
            ("lib.rs", "mod a; mod b; pub use a::deep::X;"),
            ("a/mod.rs", "pub mod deep; pub use deep::Y;"),
            (
                "a/deep.rs",
                "use super::other::Z; pub struct X; pub struct Y;",
            ),
            ("a/other.rs", "use crate::b::W; pub struct Z;"),
            ("b.rs", "use crate::X; pub struct W;"),
        ];
        let [found] = &faults_of(&files, 2)[..] else {
            panic!("one circle");
        };
        assert!(
            found.contains("3 files") && found.contains("a/other > b"),
            "{found}"
        );
        assert_eq!(faults_of(&files, 3), Vec::<String>::new());
    }

    #[test]
    fn visibility_and_other_crates_are_no_imports() {
        let files = [
            ("a.rs", "pub(in crate::b) struct X; use std::fmt;"),
            ("b.rs", "use crate::a::X;"),
        ];
        assert_eq!(faults_of(&files, 1), Vec::<String>::new());
    }
}
