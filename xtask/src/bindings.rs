//! Generates the bindings of V4L2 and of dma-buf files from Linux's headers, and compares them with the stored ones.

use crate::sh::{self, cmd};
use crate::{setup, vm};
use anyhow::{Context as _, Result};
use fs_err as fs;
use quote::ToTokens as _;
use std::collections::HashSet;
use std::path::Path;

/// The crates in `crates/api` with bindings, and the headers below `linux/` that they are made of.
const CRATES: [(&str, &[&str]); 2] = [
    ("v4l2", &["videodev2.h", "media.h", "v4l2-subdev.h"]),
    (
        "dmabuf-files",
        &["dma-buf.h", "dma-heap.h", "sync_file.h", "udmabuf.h"],
    ),
];

/// Generates the bindings from Debian 13's headers, which the lab has, and compares them with the stored ones.
pub(crate) fn run() -> Result<()> {
    setup::install(&["libclang-dev"])?;
    // Installs bindgen, because Debian 12's is too old.
    let tools = sh::target().join("tools");
    let bindgen = tools.join("bin/bindgen");
    if !bindgen.exists() {
        sh::run(sh::cargo("install --quiet --locked bindgen-cli@^0.72 --root").arg(&tools))?;
    }
    let include = vm::lab::Lab::open(false)?.headers();
    let mut faults = Vec::new();
    for (name, headers) in CRATES {
        faults.extend(compare(&bindgen, &include, name, headers)?);
    }
    sh::expect_none("bindings", &faults)?;
    println!("bindings: every stored item is what Linux's headers give");
    Ok(())
}

/// Returns a fault for each stored item of a crate that the headers do not give.
fn compare(bindgen: &Path, include: &Path, name: &str, headers: &[&str]) -> Result<Vec<String>> {
    let dir = sh::root().join("crates/api").join(name).join("src/sys");
    let work = sh::target().join("bindings").join(name);
    let (header, made) = (work.join("all.h"), work.join("bindings.rs"));
    fs::create_dir_all(&work)?;
    let lines = headers.iter();
    let lines = lines.map(|header| format!("#include <linux/{header}>\n"));
    fs::write(&header, lines.collect::<String>())?;
    let args = fs::read_to_string(dir.join("BINDGEN.args"))?;
    let args = args.lines().map(str::trim);
    let args = args.filter(|line| !line.is_empty() && !line.starts_with('#'));
    sh::quietly(cmd!(
        "{bindgen} {args...} --output {made} {header} -- --target=x86_64-unknown-linux-gnu -nostdinc
             -isystem {include} -isystem {include}/x86_64-linux-gnu"
    ))?;
    // The module that includes the file allows these lints, and says why.
    let lints = "#[allow(clippy::unnecessary_operation, clippy::identity_op)]\n";
    let text = fs::read_to_string(&made)?.replace(lints, "");
    fs::write(&made, &text)?;
    let stored = dir.join("bindings.rs");
    let missing = missing_items(&fs::read_to_string(&stored)?, &text)?;
    let fault = |item: &String| {
        let start: String = item.chars().take(60).collect();
        let made = made.display();
        format!(
            "the headers here give another {start}; if they are newer, look at {made} and copy the file"
        )
    };
    Ok(missing.iter().map(fault).collect())
}

/// Returns the items of `ours` that `theirs` lacks.
/// Newer headers only add items, so further items of `theirs` do not count.
fn missing_items(ours: &str, theirs: &str) -> Result<Vec<String>> {
    let theirs = HashSet::<String>::from_iter(items(theirs)?);
    let mut missing = items(ours)?;
    missing.retain(|item| !theirs.contains(item));
    Ok(missing)
}

/// Returns the items of a file, with attributes, as tokens, so that formatting makes no difference.
fn items(text: &str) -> Result<Vec<String>> {
    let file = syn::parse_file(text).context("bindings that are not Rust")?;
    // The number of commas depends on the line breaks in a list.
    let text = |item: syn::Item| {
        let tokens = item.into_token_stream().to_string();
        tokens
            .replace(" , }", " }")
            .replace(", }", " }")
            .replace(", )", ")")
    };
    Ok(file.items.into_iter().map(text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formatting_is_no_difference_and_values_are() {
        let ours =
            "pub const A: u32 = 1;\n#[repr(C)]\npub struct S {\n    pub a: [u8; 2usize],\n}\n";
        let same = "pub const   A : u32 = 1;\n#[repr(C)]\npub struct S { pub a: [u8; 2usize] }\n\
                    pub const NEW: u32 = 2;\n";
        assert_eq!(missing_items(ours, same).unwrap(), [""; 0]);
        let other = same.replace("= 1", "= 3").replace("2usize]", "4usize]");
        assert_eq!(missing_items(ours, &other).unwrap().len(), 2);
    }
}
