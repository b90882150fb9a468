//! Generates the V4L2 bindings from the system's headers, and compares them with the stored ones.

use crate::sh;
use anyhow::{Context as _, Result, bail};
use quote::ToTokens as _;
use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

/// The header that bindgen gets.
const HEADER: &str = "#include <linux/videodev2.h>\n#include <linux/dma-buf.h>\n\
                      #include <linux/media.h>\n#include <linux/v4l2-subdev.h>\n";

/// Generates the bindings and compares them with the stored ones. If it cannot, prints the reason.
pub(crate) fn run() -> Result<()> {
    let dir = sh::root().join("crates/v4l2/src/sys");
    let checked_in = dir.join("bindings.rs");
    if !sh::has("bindgen") {
        eprintln!(
            "bindings: not compared, there is no bindgen here (Debian: `apt-get install bindgen`, \
             or `cargo install bindgen-cli`)"
        );
        return Ok(());
    }
    if !read(Path::new("/usr/include/linux/videodev2.h"))?.contains("VIDIOC_REMOVE_BUFS") {
        eprintln!(
            "bindings: not compared, the V4L2 header here is older than Linux 6.10's (Debian 13's \
             linux-libc-dev is new enough)"
        );
        return Ok(());
    }
    let work = sh::target().join("bindings");
    std::fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let header = work.join("v4l2.h");
    std::fs::write(&header, HEADER)
        .with_context(|| format!("cannot write {}", header.display()))?;
    let made = work.join("bindings.rs");
    sh::quietly(
        Command::new("bindgen")
            .args(arguments(&dir.join("BINDGEN.args"))?)
            .arg("--output")
            .arg(&made)
            .arg(&header)
            .args(["--", "--target=x86_64-unknown-linux-gnu"]),
    )?;
    let missing = missing_items(&read(&checked_in)?, &read(&made)?)?;
    if missing.is_empty() {
        println!("bindings: every item checked in is what the system's headers give");
        return Ok(());
    }
    for item in missing.iter().take(20) {
        let start: String = item.chars().take(60).collect();
        eprintln!("bindings: the headers here give another {start}");
    }
    bail!(
        "{} items of {} differ from {}; if the headers are newer, look at them and copy the file",
        missing.len(),
        checked_in.display(),
        made.display()
    )
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Returns the lines of an arguments file that are no comments.
fn arguments(path: &Path) -> Result<Vec<String>> {
    let text = read(path)?;
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect())
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
