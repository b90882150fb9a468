//! Checks the words of code: names of constants and tests, first sentences of doc comments, and
//! names of public types.

use super::docs;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Vague names of constants, which do not say what the constant limits.
const VAGUE: [&str; 3] = ["MOST", "LEAST", "PATIENCE"];

/// Maximum length of a function's name. Only names of tests come close to it.
const MAX_NAME: usize = 50;

/// Returns the faults of one file.
pub(super) fn faults(file: &Path, text: &str) -> Vec<String> {
    let name = super::shown(file);
    let mut faults = vague_constants(&name, text);
    faults.extend(long_names(&name, text));
    faults.extend(unfinished_summaries(&name, text));
    faults
}

fn long_names(name: &str, text: &str) -> Vec<String> {
    let long = |line: &str| {
        let rest = line.split("fn ").nth(1)?;
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
        (end > MAX_NAME).then(|| rest[..end].to_owned())
    };
    let lines = text.lines().enumerate();
    lines
        .filter_map(|(number, line)| {
            let (function, number) = (long(line)?, number + 1);
            Some(format!(
                "{name}:{number}: {function} has {} characters; {MAX_NAME} are allowed",
                function.len()
            ))
        })
        .collect()
}

fn vague_constants(name: &str, text: &str) -> Vec<String> {
    let is_vague = |line: &str| {
        let constant = line.split("const ").nth(1)?.split(':').next()?;
        VAGUE.iter().find(|vague| **vague == constant).copied()
    };
    let code = text.lines().enumerate();
    let code = code.filter(|(_, line)| !line.trim_start().starts_with("//"));
    code.filter_map(|(number, line)| {
        let constant = is_vague(line)?;
        let number = number + 1;
        Some(format!(
            "{name}:{number}: {constant} does not say what it limits; use a name such as MAX_FRAMES"
        ))
    })
    .collect()
}

/// Finds doc comments whose first paragraph does not end like a sentence.
///
/// clap shows the doc comments of options without a full stop, so files that use it are exempt.
fn unfinished_summaries(name: &str, text: &str) -> Vec<String> {
    if text.contains("clap") {
        return Vec::new();
    }
    let mut faults = Vec::new();
    let mut summary = None;
    let mut marker = "";
    for (number, line) in text.lines().chain([""]).enumerate() {
        let line = line.trim_start();
        let found = ["///", "//!"].into_iter().find(|m| line.starts_with(m));
        let words = found.and_then(|m| line.get(m.len()..)).map(str::trim);
        let ended = match (words, &summary) {
            // A comment may follow another item's comment without a blank line.
            (Some(words), Some(_)) => words.is_empty(),
            (Some(_), None) => found == Some(marker),
            (None, _) => true,
        };
        match (words, &mut summary) {
            (Some(words), None) if found != Some(marker) => {
                marker = found.unwrap_or_default();
                summary = Some((number + 1, words.to_owned()));
            }
            (Some(words), Some((_, so_far))) if !ended => {
                so_far.push(' ');
                so_far.push_str(words);
            }
            _ => {}
        }
        if ended
            && let Some((at, words)) = summary.take()
            && !is_sentence(&words)
        {
            faults.push(format!(
                "{name}:{at}: the first paragraph of a doc comment lacks its full stop"
            ));
        }
        if words.is_none() {
            marker = "";
        }
    }
    faults
}

/// Returns whether a summary ends like a sentence, or is a heading, list, table or example.
fn is_sentence(summary: &str) -> bool {
    let ends = summary.trim_end_matches(['"', '\'', '`', ')', '*', ']']);
    summary.is_empty()
        || summary.starts_with(['#', '|', '!', '*', '-'])
        || summary.starts_with("```")
        || ends.ends_with(['.', ':', '?', '!'])
}

/// Returns a fault for each name that several public types of a package have.
pub(super) fn repeated_types(package: &str, files: &[(PathBuf, String)]) -> Vec<String> {
    let mut types: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, text) in files {
        for name in docs::public_types(text)
            .into_iter()
            .chain(docs::public_aliases(text))
        {
            types.entry(name).or_default().push(super::shown(file));
        }
    }
    types
        .into_iter()
        .filter(|(_, files)| files.len() > 1)
        .map(|(name, files)| {
            format!(
                "{package}: several public types are called {name}: {}",
                files.join(", ")
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        faults(Path::new("crates/a/src/b.rs"), text).len()
    }

    #[test]
    fn constants_say_what_they_limit() {
        let vague = format!("const {}: u32 = 3;\n", VAGUE[0]);
        assert_eq!(found(&format!("{vague}pub(crate) {vague}")), 2);
        assert_eq!(found(&format!("const MAX_FRAMES: u32 = 3;\n// {vague}")), 0);
    }

    #[test]
    fn names_of_tests_have_at_most_50_characters() {
        let name = "a".repeat(MAX_NAME);
        assert_eq!(found(&format!("fn {name}() {{}}\n")), 0);
        assert_eq!(found(&format!("    async fn {name}s() {{}}\n")), 1);
    }

    #[test]
    fn summaries_end_with_a_full_stop() {
        assert_eq!(found("/// Returns the size\nfn f() {}\n"), 1);
        assert_eq!(found("//! A module\n\n/// Fine.\nfn f() {}\n"), 1);
        assert_eq!(found("/// Returns the size,\n/// or zero.\nfn f() {}\n"), 0);
        assert_eq!(
            found("/// Returns it.\n///\n/// * one\n/// * two\nfn f() {}\n"),
            0
        );
        assert_eq!(found("/// # Safety\n/// None\nunsafe fn f() {}\n"), 0);
        assert_eq!(found("/// Returns (a `Size`.)\nfn f() {}\n"), 0);
        assert_eq!(found("use clap::Args;\n/// Show the size\nfn f() {}\n"), 0);
    }

    #[test]
    fn public_types_of_a_package_have_distinct_names() {
        let file = |name: &str, text: &str| (PathBuf::from(name), text.to_owned());
        let files = [
            file("a.rs", "pub struct Size; struct Other;"),
            file("b.rs", "pub enum Size {} pub(crate) struct Other;"),
        ];
        assert_eq!(repeated_types("p", &files).len(), 1);
        assert!(repeated_types("p", &files[..1]).is_empty());
        let alias = file("c.rs", "pub type Size = (u32, u32);");
        assert_eq!(repeated_types("p", &[files[0].clone(), alias]).len(), 1);
    }
}
