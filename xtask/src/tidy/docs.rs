//! Checks the documentation of a library's public items: the errno of each error, and the unit of
//! each size, address and time.
//!
//! Lints in the root's Cargo.toml check that there is documentation, and a section on errors. They do not
//! check their content.

use super::RULES;
use serde::Deserialize;
use std::path::Path;
use syn::{
    Attribute, Expr, Field, Fields, FnArg, ImplItem, Item, Lit, Meta, Pat, ReturnType, Signature,
    TraitItem, Type, Visibility,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    quantities: Vec<String>,
    units_in_names: Vec<String>,
    units: Vec<String>,
    passed_on: Vec<String>,
}

pub(super) fn faults(path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    match syn::parse_file(text) {
        Ok(file) => items(&file.items, &mut found),
        Err(e) => found.push(format!("is not valid Rust: {e}")),
    }
    let (path, found) = (super::shown(path), found.iter());
    found.map(|fault| format!("{path}: {fault}")).collect()
}

/// Returns the public structs and enums of a file; with `all`, its public traits and type aliases, too.
pub(super) fn public_types(text: &str, all: bool) -> Vec<String> {
    let name = |item: &Item| {
        let (visibility, name) = match item {
            Item::Struct(item) => (&item.vis, &item.ident),
            Item::Enum(item) => (&item.vis, &item.ident),
            Item::Type(item) if all => (&item.vis, &item.ident),
            Item::Trait(item) if all => (&item.vis, &item.ident),
            _ => return None,
        };
        is_public(visibility).then(|| name.to_string())
    };
    let items = syn::parse_file(text).map(|file| file.items);
    items.unwrap_or_default().iter().filter_map(name).collect()
}

pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

fn items(list: &[Item], found: &mut Vec<String>) {
    for item in list {
        match item {
            Item::Fn(item) if is_public(&item.vis) => function(&item.sig, &item.attrs, "", found),
            Item::Impl(block) if block.trait_.is_none() => {
                for item in &block.items {
                    if let ImplItem::Fn(item) = item
                        && is_public(&item.vis)
                    {
                        function(&item.sig, &item.attrs, &type_name(&block.self_ty), found);
                    }
                }
            }
            Item::Trait(block) if is_public(&block.vis) => {
                for item in &block.items {
                    if let TraitItem::Fn(item) = item {
                        function(&item.sig, &item.attrs, &block.ident.to_string(), found);
                    }
                }
            }
            Item::Struct(item) if is_public(&item.vis) => {
                let public = item.fields.iter().filter(|field| is_public(&field.vis));
                fields(public, &docs(&item.attrs), &item.ident.to_string(), found);
            }
            Item::Enum(item) if is_public(&item.vis) => {
                for variant in &item.variants {
                    if let Fields::Named(named) = &variant.fields {
                        let owner = format!("{}::{}", item.ident, variant.ident);
                        fields(named.named.iter(), &docs(&variant.attrs), &owner, found);
                    }
                }
            }
            Item::Mod(item) if is_public(&item.vis) => {
                if let Some((_, inner)) = &item.content {
                    items(inner, found);
                }
            }
            _ => {}
        }
    }
}

/// Checks the errors of a function, and the units of its arguments and result.
fn function(sig: &Signature, attrs: &[Attribute], owner: &str, found: &mut Vec<String>) {
    let docs = docs(attrs);
    let name = match owner {
        "" => sig.ident.to_string(),
        owner => format!("{owner}::{}", sig.ident),
    };
    let answer = match &sig.output {
        ReturnType::Type(_, answer) => Some(&**answer),
        ReturnType::Default => None,
    };
    if answer.is_some_and(|answer| type_name(answer) == "Result") {
        let errors = docs.split("# Errors").nth(1);
        let errors = errors.and_then(|errors| errors.split("\n# ").next());
        if !errors.is_some_and(names_errno) {
            found.push(format!("{name}: no section `# Errors` names an errno"));
        }
    }
    if docs_have_unit(&docs) {
        return;
    }
    for input in &sig.inputs {
        if let FnArg::Typed(input) = input
            && let Pat::Ident(argument) = &*input.pat
            && wants_unit(&argument.ident.to_string(), &input.ty)
        {
            found.push(format!("{name}: `{}` has no unit", argument.ident));
        }
    }
    if answer.is_some_and(|answer| wants_unit(&sig.ident.to_string(), answer)) {
        found.push(format!("{name}: its result has no unit"));
    }
}

fn fields<'a>(
    fields: impl Iterator<Item = &'a Field>,
    outer: &str,
    owner: &str,
    found: &mut Vec<String>,
) {
    for field in fields {
        let Some(name) = &field.ident else { continue };
        let said = docs_have_unit(&docs(&field.attrs)) || docs_have_unit(outer);
        if wants_unit(&name.to_string(), &field.ty) && !said {
            found.push(format!("{owner}: `{name}` has no unit"));
        }
    }
}

/// Returns whether a number is a quantity whose name does not say the unit.
fn wants_unit(name: &str, of: &Type) -> bool {
    let is_number = matches!(type_name(of).as_str(), "u16" | "u32" | "u64" | "usize");
    let has = |words: &[String]| {
        words
            .iter()
            .any(|one| name.split('_').any(|word| one == word))
    };
    let rules = &RULES.documentation;
    is_number && has(&rules.quantities) && !has(&rules.units_in_names)
}

/// Returns whether documentation names a unit, or refers to another item that does.
fn docs_have_unit(docs: &str) -> bool {
    if docs.trim_start().starts_with("As [`") {
        return true;
    }
    let mut words = docs.split(|c: char| !c.is_ascii_alphabetic());
    let units = &RULES.documentation.units;
    words.any(|word| units.contains(&word.to_ascii_lowercase()))
}

/// Returns whether a section on errors names an errno, links to another item, or says that the errors are passed on
/// (`passed_on` in `rules.toml`). The link leads to the item that lists these errors, or to an error that has no
/// errno.
fn names_errno(section: &str) -> bool {
    let is_capital = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let is_errno =
        |word: &str| word.len() >= 3 && word.starts_with('E') && word.bytes().all(is_capital);
    let passed_on = &RULES.documentation.passed_on;
    let passes_on = passed_on.iter().any(|words| section.contains(words));
    words(section).any(is_errno) || section.contains("[`") || passes_on
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn type_name(of: &Type) -> String {
    match of {
        Type::Path(of) => of.path.segments.last().map(|last| last.ident.to_string()),
        _ => None,
    }
    .unwrap_or_default()
}

fn docs(attrs: &[Attribute]) -> String {
    let mut docs = String::new();
    for attribute in attrs {
        if let Meta::NameValue(pair) = &attribute.meta
            && pair.path.is_ident("doc")
            && let Expr::Lit(text) = &pair.value
            && let Lit::Str(text) = &text.lit
        {
            docs.push('\n');
            docs.push_str(text.value().trim());
        }
    }
    docs
}
