//! Generates bindings from Linux's headers, and compares them with what crates have: the stored bindings of V4L2 and of
//! dma-buf files, and the structures of DRM.

use crate::sh::{self, cmd};
use crate::{setup, vm};
use anyhow::{Context as _, Result};
use fs_err as fs;
use quote::ToTokens as _;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

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
        sh::run(sh::cargo("install --quiet --locked bindgen-cli@^0.73 --root").arg(&tools))?;
    }
    let include = vm::lab::Lab::open()?.headers();
    let mut faults = Vec::new();
    for (name, headers) in CRATES {
        faults.extend(compare(&bindgen, &include, name, headers)?);
    }
    faults.extend(compare_drm(&bindgen, &include)?);
    sh::expect_none("bindings", &faults)?;
    println!("bindings: every stored item is what Linux's headers give");
    Ok(())
}

/// Returns a fault for each stored item of a crate that the headers do not give.
fn compare(bindgen: &Path, include: &Path, name: &str, headers: &[&str]) -> Result<Vec<String>> {
    let dir = sh::root().join("crates/api").join(name).join("src/sys");
    let headers = headers.iter();
    let headers: Vec<_> = headers.map(|header| format!("linux/{header}")).collect();
    let args = fs::read_to_string(dir.join("BINDGEN.args"))?;
    let args = args.lines().map(str::trim);
    let args = args.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let args: Vec<_> = args.map(str::to_owned).collect();
    let made = generate(bindgen, include, (name, &headers), &args)?;
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

/// Generates bindings of these headers for a crate. Returns the file.
fn generate(
    bindgen: &Path,
    include: &Path,
    (name, headers): (&str, &[String]),
    args: &[String],
) -> Result<PathBuf> {
    let work = sh::target().join("bindings").join(name);
    let (header, made) = (work.join("all.h"), work.join("bindings.rs"));
    fs::create_dir_all(&work)?;
    let lines = headers.iter();
    let lines = lines.map(|header| format!("#include <{header}>\n"));
    fs::write(&header, lines.collect::<String>())?;
    sh::quietly(cmd!(
        "{bindgen} {args...} --output {made} {header} -- --target=x86_64-unknown-linux-gnu -nostdinc
             -isystem {include} -isystem {include}/x86_64-linux-gnu"
    ))?;
    Ok(made)
}

/// The fields of structures: each structure's name, and the name and type of each field.
type Fields = BTreeMap<String, Vec<(String, String)>>;

/// Returns a fault for each structure of crates/api/drm whose fields are not those of the headers.
fn compare_drm(bindgen: &Path, include: &Path) -> Result<Vec<String>> {
    let sys = sh::root().join("crates/api/drm/src/sys.rs");
    let ours = listed_fields(&fs::read_to_string(sys)?)?;
    let names: Vec<&str> = ours.keys().map(String::as_str).collect();
    let args = [
        "--use-core".to_owned(),
        "--no-doc-comments".to_owned(),
        format!("--allowlist-type={}", names.join("|")),
    ];
    let made = generate(bindgen, include, ("drm", &["drm/drm.h".to_owned()]), &args)?;
    let theirs = struct_fields(&fs::read_to_string(made)?)?;
    let differ = ours.iter();
    let differ = differ.filter(|(name, fields)| theirs.get(*name) != Some(*fields));
    let fault = |(name, fields): (&String, _)| {
        let wanted = theirs.get(name);
        format!("crates/api/drm has struct {name} with {fields:?}, the headers {wanted:?}")
    };
    Ok(differ.map(fault).collect())
}

/// Returns the structures that the macro `structs` of crates/api/drm lists.
fn listed_fields(text: &str) -> Result<Fields> {
    let found = text.split_once("\nstructs! {");
    let (_, rows) = found.context("crates/api/drm/src/sys.rs has no `structs!`")?;
    let (rows, _) = rows.split_once("\n}").context("`structs!` does not end")?;
    let rows = rows.split('}').filter_map(|row| row.split_once('{'));
    let structs = rows.map(|(name, groups)| {
        let groups = groups.split(',').filter_map(|group| group.split_once(": "));
        let fields = groups.flat_map(|(ty, names)| {
            let names = names.split_whitespace();
            names.map(|name| (name.to_owned(), ty.trim().to_owned()))
        });
        (name.trim().to_owned(), fields.collect())
    });
    Ok(structs.collect())
}

/// Returns the structures of bindings.
fn struct_fields(text: &str) -> Result<Fields> {
    let file = syn::parse_file(text).context("bindings that are not Rust")?;
    let structs = file.items.into_iter().filter_map(|item| match item {
        syn::Item::Struct(of) => {
            let fields = of.fields.into_iter().map(|field| {
                let name = field.ident.map(|name| name.to_string());
                let ty = field.ty.into_token_stream().to_string();
                (name.unwrap_or_default(), plain_type(&ty.replace(' ', "")))
            });
            Some((of.ident.to_string(), fields.collect()))
        }
        _ => None,
    });
    Ok(structs.collect())
}

/// Returns a type of bindings as a type of Rust, with addresses and `unsigned long` of 64 bits.
fn plain_type(ty: &str) -> String {
    let array = ty
        .strip_prefix('[')
        .and_then(|ty| ty.strip_suffix("usize]"));
    if let Some((element, count)) = array.and_then(|array| array.split_once(';')) {
        return format!("[{}; {count}]", plain_type(element));
    }
    let name = ty.trim_start_matches("::core::ffi::");
    match name {
        "c_char" => "u8",
        "__u16" => "u16",
        "__u32" | "c_uint" | "drm_magic_t" | "drm_vblank_seq_type" => "u32",
        "__s32" | "c_int" => "i32",
        "__u64" | "c_ulong" | "__kernel_size_t" => "u64",
        "__s64" | "c_long" => "i64",
        _ if name.starts_with("*mut") => "u64",
        _ => name,
    }
    .to_owned()
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
