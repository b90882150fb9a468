//! Compares the table of drivers with kernel sources. Each string must occur in the file that its row
//! names, and so must the words about mask, allocator and codecs. A row that names a kernel is compared
//! with the first directory whose Makefile has that version.
//!
//! `cargo run -p vb3-devicetree --example sources -- linux-source-6.12 linux-source-7.2`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vb3_devicetree::{Driver, KERNEL, drivers, sensors};

/// Returns the kernel version of a source directory, as rows name it.
fn kernel_of(linux: &Path) -> Option<String> {
    let makefile = std::fs::read_to_string(linux.join("Makefile")).ok()?;
    let value = |name: &str| {
        let mut lines = makefile.lines().filter_map(|line| line.split_once(" = "));
        lines.find_map(|(key, value)| (key == name).then(|| value.to_owned()))
    };
    Some(format!(
        "Linux {}.{}",
        value("VERSION")?,
        value("PATCHLEVEL")?
    ))
}

/// Lists statements of a row that the kernel source does not confirm.
fn differences(linux: &Path, row: &Driver) -> Vec<String> {
    let read = |file: &str| {
        std::fs::read(linux.join(file))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(|e| format!("{file}: {e}"))
    };
    let source = match read(&row.source) {
        Ok(source) => source,
        Err(sentence) => return vec![sentence],
    };
    let mut out: Vec<String> = row
        .compatible
        .iter()
        .filter(|string| !source.contains(&format!("\"{string}\"")))
        .map(|string| format!("{}: has no \"{string}\"", row.source))
        .collect();
    let mask_file = row.mask_source.as_ref().unwrap_or(&row.source);
    let mask = row.mask.as_ref().map(|mask| (mask_file, mask));
    let codec = row.codec.as_ref().map(|said| (&said.file, &said.says));
    let alloc = (&row.alloc.file, &row.alloc.says);
    for (file, words) in [Some(alloc), codec, mask].into_iter().flatten() {
        match read(file) {
            Ok(source) if source.contains(words.as_str()) => {}
            Ok(_) => out.push(format!("{file}: has no {words}")),
            Err(sentence) => out.push(sentence),
        }
    }
    out
}

fn main() -> ExitCode {
    let sources: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if sources.is_empty() {
        eprintln!("sources: name directories of kernels' sources, such as {KERNEL}'s");
        return ExitCode::from(2);
    }
    let kernels: Vec<Option<String>> = sources.iter().map(|path| kernel_of(path)).collect();
    let rows = drivers();
    let strings: usize = rows.iter().map(|row| row.compatible.len()).sum();
    let mut found: Vec<String> = Vec::new();
    for row in rows {
        let wanted = row.kernel();
        match kernels
            .iter()
            .position(|has| has.as_deref() == Some(wanted))
        {
            Some(at) => found.extend(
                sources
                    .get(at)
                    .iter()
                    .flat_map(|path| differences(path, row)),
            ),
            None => found.push(format!("{}: no source of {wanted} is given", row.source)),
        }
    }
    let of_table = kernels
        .iter()
        .position(|has| has.as_deref() == Some(KERNEL));
    if let Some(linux) = of_table.and_then(|at| sources.get(at)) {
        for row in sensors() {
            let string = format!("\"{}\"", row.compatible);
            let source = std::fs::read_to_string(linux.join(&row.source));
            if !source.is_ok_and(|source| source.contains(&string)) {
                found.push(format!("{}: has no {string}", row.source));
            }
        }
    }
    for sentence in &found {
        println!("{sentence}");
    }
    println!(
        "{} drivers, {strings} devices, {} differences",
        rows.len(),
        found.len()
    );
    if found.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
