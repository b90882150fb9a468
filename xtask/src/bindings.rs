//! Generates the V4L2 bindings from Linux's headers, and compares them with the stored ones.

use crate::sh::{self, cmd};
use crate::{setup, vm};
use anyhow::{Context as _, Result};
use fs_err as fs;
use quote::ToTokens as _;
use std::collections::HashSet;

const HEADER: &str = "#include <linux/videodev2.h>\n#include <linux/dma-buf.h>\n\
                      #include <linux/media.h>\n#include <linux/v4l2-subdev.h>\n";

/// Generates the bindings from Debian 13's headers, which the lab has, and compares them with the stored ones.
pub(crate) fn run() -> Result<()> {
    setup::install(&["libclang-dev"])?;
    // Debian 12's is too old.
    let tools = sh::target().join("tools");
    let bindgen = tools.join("bin/bindgen");
    if !bindgen.exists() {
        sh::run(sh::cargo("install --quiet --locked bindgen-cli@0.72 --root").arg(&tools))?;
    }
    let include = vm::lab::Lab::open(false)?.headers();
    let dir = sh::root().join("crates/api/v4l2/src/sys");
    let work = sh::target().join("bindings");
    let (header, made) = (work.join("v4l2.h"), work.join("bindings.rs"));
    fs::create_dir_all(&work)?;
    fs::write(&header, HEADER)?;
    let args = fs::read_to_string(dir.join("BINDGEN.args"))?;
    let args = args.lines().map(str::trim);
    let args = args.filter(|line| !line.is_empty() && !line.starts_with('#'));
    sh::quietly(cmd!(
        "{bindgen} {args...} --output {made} {header} -- --target=x86_64-unknown-linux-gnu -nostdinc
             -isystem {include} -isystem {include}/x86_64-linux-gnu"
    ))?;
    let stored = dir.join("bindings.rs");
    let missing = missing_items(&fs::read_to_string(&stored)?, &fs::read_to_string(&made)?)?;
    let fault = |item: &String| {
        let start: String = item.chars().take(60).collect();
        format!("the headers here give another {start}")
    };
    let faults: Vec<String> = missing.iter().map(fault).collect();
    let made = made.display();
    sh::expect_none("bindings", &faults)
        .with_context(|| format!("if the headers are newer, look at {made} and copy the file"))?;
    println!("bindings: every stored item is what Linux's headers give");
    Ok(())
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
