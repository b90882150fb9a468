//! `vb3 why --kernel`: explains the refusals that the kernel module `vb2-why` has recorded.

use crate::sentence::errno_name;
use anyhow::{Context as _, Error, Result, anyhow};
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write};
use std::path::Path;

#[cfg(test)]
mod tests;

/// Where debugfs is mounted.
pub const DEBUGFS: &str = "/sys/kernel/debug";

/// Maximum number of bytes to read from a file of the module, which keeps only 256 lines.
const MAX_BYTES: u64 = 1 << 20;

/// One line of the module's file `refusals`:
/// `DEVICE: KIND, N bytes, by PROGRAM[PID], S s ago: CONSTRAINT: wanted W, found F, DETAILS, errno E`.
struct Refusal<'a> {
    device: &'a str,
    kind: &'a str,
    program: &'a str,
    age: &'a str,
    constraint: &'a str,
    wanted: u64,
    found: u64,
    details: &'a str,
    errno: i32,
}

/// Prints the refusals below `debugfs`, oldest first, and the holders of each buffer.
///
/// # Errors
/// The module is not loaded, its files cannot be read, or output fails. The message says what to do.
pub fn print(debugfs: &Path, out: &mut dyn Write) -> Result<()> {
    let read = |name| lines(debugfs, name).context("the kernel's refusals are unavailable");
    let refusals = read("refusals")?;
    if refusals.is_empty() {
        writeln!(
            out,
            "The kernel has refused no buffer since vb2-why was loaded."
        )?;
    }
    for line in refusals.lines() {
        match parse(line) {
            Some(refusal) => explain(&refusal, out)?,
            None => writeln!(out, "{line}")?,
        }
    }
    let buffers = read("buffers")?;
    if !buffers.is_empty() {
        write!(out, "Buffers held now:\n{buffers}")?;
    }
    Ok(())
}

/// Returns the text of one of the module's files.
fn lines(debugfs: &Path, name: &str) -> Result<String> {
    let path = debugfs.join("vb2-why").join(name);
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
        .map_err(|e| unreadable(e, debugfs, &path))?;
    // A program chooses its own name, which could contain control characters.
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.replace(|c: char| c.is_control() && c != '\n', "?"))
}

/// Says what to do about a file that cannot be read.
fn unreadable(error: io::Error, debugfs: &Path, path: &Path) -> Error {
    let is_empty = || debugfs.read_dir().is_ok_and(|mut all| all.next().is_none());
    match error.kind() {
        ErrorKind::PermissionDenied => anyhow!(
            "only root may read {}: run `sudo vb3 why --kernel`",
            path.display()
        ),
        ErrorKind::NotFound if !debugfs.exists() => anyhow!(
            "there is no {}: this kernel has no debugfs (CONFIG_DEBUG_FS)",
            debugfs.display()
        ),
        ErrorKind::NotFound if is_empty() => anyhow!(
            "debugfs is not mounted: run `sudo mount -t debugfs debugfs {}`",
            debugfs.display()
        ),
        ErrorKind::NotFound => anyhow!(
            "the kernel module vb2-why is not loaded: build it (docs/kernel-modules.md), \
             and run `sudo insmod vb2-why.ko`"
        ),
        _ => anyhow!(error).context(format!("cannot read {}", path.display())),
    }
}

/// Parses a line from its end, because the program's name may contain separators.
fn parse(line: &str) -> Option<Refusal<'_>> {
    let (line, errno) = line.rsplit_once(", errno ")?;
    let (line, found) = line.rsplit_once(", found ")?;
    let (found, details) = found.split_once(", ")?;
    let (line, wanted) = line.rsplit_once(": wanted ")?;
    let (line, constraint) = line.rsplit_once(" s ago: ")?;
    let (line, age) = line.rsplit_once(", ")?;
    let (device, line) = line.split_once(": ")?;
    let (kind, line) = line.split_once(", ")?;
    let (_, program) = line.split_once(" bytes, by ")?;
    Some(Refusal {
        device,
        kind,
        program,
        age,
        constraint,
        wanted: wanted.parse().ok()?,
        found: found.parse().ok()?,
        details,
        errno: errno.parse().ok()?,
    })
}

fn explain(r: &Refusal<'_>, out: &mut dyn Write) -> Result<()> {
    let what = match r.kind {
        "MMAP" => "an allocation",
        "USERPTR" => "user memory",
        _ => "a dma-buf",
    };
    writeln!(
        out,
        "{} refused {what} of {}, {} s ago ({}).",
        r.device, r.program, r.age, r.constraint
    )?;
    let (reason, remedy) = reason(r);
    let errno = errno_name(r.errno);
    writeln!(out, "  {reason} Details: {}, {errno}.", r.details)?;
    writeln!(out, "  Instead: {remedy}.")?;
    Ok(())
}

/// Returns what the device needs, and the remedy.
fn reason(r: &Refusal<'_>) -> (String, &'static str) {
    let Refusal { wanted, found, .. } = r;
    let of_device = "a buffer that this device allocates";
    let fewer =
        "smaller or fewer buffers, or more contiguous memory that this device reaches (cma=)";
    match (r.constraint, r.kind) {
        ("dma-mask", _) => (
            format!(
                "The memory ends at {wanted:#x}; the device reaches addresses up to {found:#x}."
            ),
            "memory up to the address found: a buffer that this device allocates",
        ),
        ("contiguous", "MMAP") => (
            format!(
                "No free memory has {wanted} bytes in one piece, although {found} are possible."
            ),
            fewer,
        ),
        ("contiguous", _) => (
            format!("The device needs {wanted} bytes in one piece; the first piece has {found}."),
            "memory in one piece: a buffer that this device allocates, or one of a contiguous heap",
        ),
        ("cma-size", _) => (
            format!("The device needs {wanted} bytes in one piece; at most {found} were possible."),
            fewer,
        ),
        ("buffer-size", "USERPTR") => ("The length is 0.".to_owned(), "a length above 0"),
        ("buffer-size", _) => (
            format!("{wanted} bytes are needed; there are {found}."),
            "a dma-buf of the size wanted",
        ),
        ("ram", _) => (
            format!("{wanted} bytes are needed; {found} were available."),
            "smaller or fewer buffers",
        ),
        ("alignment", _) => (
            format!("Address and length must be multiples of {wanted}, not of {found}."),
            "address and length at multiples of what was wanted",
        ),
        ("user-pages", _) => (
            format!("The {wanted} pages are not memory of the program that it may use so."),
            "memory that the program has mapped, and may write if the device writes",
        ),
        ("bounce-pool", _) if wanted > found => (
            format!("A segment has {wanted} bytes; a bounce has at most {found}."),
            of_device,
        ),
        ("bounce-pool", _) => (
            format!("The bounce pool had no room for segments of up to {wanted} bytes."),
            of_device,
        ),
        ("iova-space", _) => (
            format!("The IOMMU had no room for {wanted} bytes."),
            "smaller or fewer buffers mapped at one time",
        ),
        ("cpu-mapping", _) => (
            "The exporter gave the CPU no mapping of the memory.".to_owned(),
            of_device,
        ),
        ("exporter-errno", _) => {
            let errno = i32::try_from(*found).map(errno_name);
            let errno = errno.unwrap_or_else(|_| found.to_string());
            (format!("The exporter answered with {errno}."), of_device)
        }
        _ => (format!("Wanted {wanted}, found {found}."), of_device),
    }
}
