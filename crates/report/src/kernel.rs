//! `vb3 why --kernel`: explains the refusals that the kernel module `vb2-why` has recorded.

use anyhow::{Context as _, Result, anyhow};
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write};
use std::path::Path;

#[cfg(test)]
mod tests;

/// Where debugfs is mounted.
pub const DEBUGFS: &str = "/sys/kernel/debug";

/// Bytes that are read: the module keeps 256 lines.
const MAX_BYTES: u64 = 1 << 20;

/// One line of the module: `N DEVICE, PROGRAM[PID], S s ago: WHAT, CONSTRAINT: wanted W, found F…`.
struct Refusal<'a> {
    device: &'a str,
    program: &'a str,
    age: &'a str,
    what: &'a str,
    constraint: &'a str,
    wanted: u64,
    found: u64,
    /// Details and errno.
    rest: &'a str,
    remedy: &'a str,
}

/// Prints the refusals below `debugfs`, oldest first.
///
/// # Errors
/// The module is not loaded, or its file cannot be read; the message says what to do. Output fails.
pub fn print(debugfs: &Path, out: &mut dyn Write) -> Result<()> {
    let path = debugfs.join("vb2-why/refusals");
    let mut text = String::new();
    File::open(&path)
        .and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
        .map_err(|e| match e.kind() {
            ErrorKind::NotFound => anyhow!(
                "there is no {}: load the kernel module first (`sudo insmod vb2-why.ko`, docs/kernel-modules.md), with debugfs \
                 mounted (`sudo mount -t debugfs debugfs {DEBUGFS}`)",
                path.display()
            ),
            ErrorKind::PermissionDenied => anyhow!(
                "cannot read {}: only root may; run `sudo vb3 why --kernel`",
                path.display()
            ),
            _ => anyhow!(e),
        })
        .with_context(|| "the kernel's refusals are unavailable")?;
    if text.is_empty() {
        writeln!(
            out,
            "The kernel has refused no buffer since vb2-why was loaded."
        )?;
    }
    // A program chooses its name, and could put control characters there.
    let shown = text.replace(|c: char| c.is_control() && c != '\n', "?");
    for line in shown.lines() {
        match parse(line) {
            Some(refusal) => explain(&refusal, out)?,
            None => writeln!(out, "{line}")?,
        }
    }
    Ok(())
}

fn parse(line: &str) -> Option<Refusal<'_>> {
    let (_, line) = line.split_once(' ')?;
    let (reason, remedy) = line.rsplit_once("; would do: ")?;
    let (device, reason) = reason.split_once(", ")?;
    // The program's name may contain separators; what follows its age does not.
    let (before, reason) = reason.rsplit_once(" s ago: ")?;
    let (program, age) = before.rsplit_once(", ")?;
    let (what, reason) = reason.split_once(", ")?;
    let (constraint, reason) = reason.split_once(": wanted ")?;
    let (wanted, reason) = reason.split_once(", found ")?;
    let (found, rest) = reason.split_once(", ")?;
    Some(Refusal {
        device,
        program,
        age,
        what,
        constraint,
        wanted: wanted.parse().ok()?,
        found: found.parse().ok()?,
        rest,
        remedy,
    })
}

fn explain(r: &Refusal<'_>, out: &mut dyn Write) -> Result<()> {
    let Refusal {
        device,
        program,
        age,
        what,
        constraint,
        wanted,
        found,
        rest,
        remedy,
    } = r;
    writeln!(
        out,
        "{device} refused {what} of {program}, {age} s ago ({constraint})."
    )?;
    let reason = match *constraint {
        "dma-mask" => {
            format!(
                "The memory ends at {wanted:#x}; the device reaches addresses up to {found:#x}."
            )
        }
        "contiguous" => {
            format!("The device needs {wanted} bytes in one piece; the first piece has {found}.")
        }
        "cma-size" => {
            format!("The device needs {wanted} bytes in one piece; at most {found} were free.")
        }
        "buffer-size" => format!("{wanted} bytes are needed; there are {found}."),
        "ram" => format!("{wanted} bytes are needed; {found} were available."),
        "alignment" => format!("Address and length must be multiples of {wanted}, not of {found}."),
        "user-pages" => {
            format!("The {wanted} pages are not memory of the program that it may use so.")
        }
        "bounce-pool" => format!("A segment has {wanted} bytes; a bounce has at most {found}."),
        "exporter-errno" => format!("The exporter answered with errno {found}."),
        _ => format!("Wanted {wanted}, found {found}."),
    };
    writeln!(out, "  {reason} Details: {rest}.")?;
    writeln!(out, "  Instead: {remedy}.")?;
    Ok(())
}
