//! Compares the table of drivers with a kernel's source: each string stands in the file that its
//! row names, and so does the expression that sets the mask.
//!
//! `cargo run -p vb3-board --example sources -- linux-source-6.12`

use std::path::Path;
use std::process::ExitCode;
use vb3_board::{Driver, KERNEL, drivers};

/// What a row says and the source does not.
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
    if let Some(mask) = &row.mask {
        let file = row.mask_source.as_ref().unwrap_or(&row.source);
        match read(file) {
            Ok(source) if source.contains(mask.as_str()) => {}
            Ok(_) => out.push(format!("{file}: has no {mask}")),
            Err(sentence) => out.push(sentence),
        }
    }
    out
}

fn main() -> ExitCode {
    let Some(linux) = std::env::args_os().nth(1) else {
        eprintln!("sources: name the directory of a kernel's source, such as {KERNEL}'s");
        return ExitCode::from(2);
    };
    let rows = drivers();
    let strings: usize = rows.iter().map(|row| row.compatible.len()).sum();
    let found: Vec<String> = rows
        .iter()
        .flat_map(|row| differences(Path::new(&linux), row))
        .collect();
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
