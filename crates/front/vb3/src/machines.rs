//! `vb3 machines`: lists the machines, or prints a profile.

use crate::board;
use crate::cli::MachinesArgs;
use anyhow::{Context as _, Result, anyhow, bail};
use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};
use std::io::{Read as _, Write};
use std::path::Path;
use vb3_devices::spec::did_you_mean;
use vb3_devicetree::{BOARDS, Board};
use vb3_dma::{BounceMode, FlushPolicy, SegmentMode};
use vb3_machine::Profile;
use vb3_machine::profile::{Allocator, BUILTINS, CACHE_LINE, FIELDS, IommuProfile, PAGE_SIZE};
use vb3_report::sentence::bytes;

/// Maximum length of a TOML parser's message, in characters.
const MAX_SAID: usize = 300;
/// Maximum size of a profile file, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Returns the names and profiles of the built-in machines and boards.
fn shipped() -> impl Iterator<Item = (&'static str, &'static str)> {
    let boards = BOARDS.iter().map(|board| (board.name, board.profile));
    BUILTINS.iter().copied().chain(boards)
}

/// A machine that was found by its name or read from a file.
pub(crate) struct Found {
    pub(crate) name: String,
    /// The profile, as TOML.
    pub(crate) text: String,
    /// The board, if the profile was made from a device tree.
    pub(crate) board: Option<Board>,
}

/// Finds a machine by the name of a shipped machine, a TOML file or a device tree. `ram` replaces
/// the size of its memory, in bytes.
///
/// # Errors
/// There is no such machine, or the file is invalid.
pub(crate) fn find(machine: &str, ram: Option<u64>) -> Result<Found> {
    let path = Path::new(machine);
    if board::is_tree(path) {
        let board = board::read(path)?;
        return Ok(Found {
            name: board.name().to_owned(),
            text: board::profile(&board, ram)?.0,
            board: Some(board),
        });
    }
    let text = text(machine)?;
    Ok(Found {
        name: machine.to_owned(),
        text: match ram {
            Some(bytes) => with_ram(machine, &text, bytes)?,
            None => text,
        },
        board: None,
    })
}

/// Replaces the size of a profile's memory. The returned text has no comments.
fn with_ram(machine: &str, text: &str, ram_bytes: u64) -> Result<String> {
    parse(machine, text)?;
    let mut table: toml::Table = text.parse()?;
    let ram = i64::try_from(ram_bytes).context("--ram is larger than 8 EiB")?;
    table.insert("ram".to_owned(), ram.into());
    let text = table.to_string();
    if let Err(e) = Profile::parse(&text) {
        // Omits the line's number: it counts lines of the new text, which the user has not seen.
        let field = e.field.as_deref().unwrap_or("ram");
        bail!(
            "{machine} with --ram {}: {field}: {}",
            bytes(ram_bytes),
            e.message
        );
    }
    Ok(text)
}

/// Returns the text of a profile: a shipped one by name, or a TOML file.
///
/// # Errors
/// There is no such machine. The message suggests the nearest name.
fn text(machine: &str) -> Result<String> {
    if let Some((_, text)) = shipped().find(|(name, _)| *name == machine) {
        return Ok(text.to_owned());
    }
    let path = Path::new(machine);
    let looks_like_a_file = machine.contains('/') || machine.ends_with(".toml");
    if !looks_like_a_file && !path.is_file() {
        let guess = did_you_mean(machine, shipped().map(|(name, _)| name));
        bail!(
            "there is no machine \"{machine}\"{guess} `vb3 machines` lists all; a machine may also \
            be a TOML file or a device tree (.dtb, .dts)"
        );
    }
    read_at_most(path, MAX_FILE).with_context(|| format!("cannot read {machine}"))
}

/// Reads a regular file of at most `most` bytes.
pub(crate) fn read_at_most(path: &Path, most: u64) -> Result<String> {
    // With NONBLOCK, opening a FIFO does not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        bail!("it is not a regular file");
    }
    let mut text = String::new();
    // Checks the bytes read, not the size of the file: files in /proc have size zero.
    if file.take(most + 1).read_to_string(&mut text)? as u64 > most {
        bail!("it has more than {}", bytes(most));
    }
    Ok(text)
}

/// Parses the profile of a machine.
///
/// # Errors
/// The text is invalid. The error names the field and its line.
pub fn parse(machine: &str, text: &str) -> Result<Profile> {
    Profile::parse(text).map_err(|e| {
        let said = cut(&e.to_string());
        anyhow!("{machine}, {said}; `vb3 machines` explains the fields")
    })
}

/// Shortens a parser's message, which may quote long input.
pub(crate) fn cut(said: &str) -> String {
    match said.char_indices().nth(MAX_SAID) {
        Some((end, _)) => format!("{}…", said.get(..end).unwrap_or_default()),
        None => said.to_owned(),
    }
}

/// Prints the table of machines, or one profile.
///
/// # Errors
/// The machine is unknown, or `out` cannot be written.
pub fn print(args: &MachinesArgs, out: &mut dyn Write) -> Result<()> {
    let profile = |(name, text): (&str, &str)| parse(name, text);
    match &args.name {
        Some(name) => print_one(name, args, out),
        None if args.json => {
            let all: Result<Vec<Value>> = shipped()
                .map(|entry| Ok(json_of(&profile(entry)?)))
                .collect();
            let all = all?;
            print_json(&json!({ "version": VERSION, "machines": all }), out)
        }
        None => {
            for entry in shipped() {
                print_row(&profile(entry)?, out)?;
            }
            print_fields(out)
        }
    }
}

fn print_one(name: &str, args: &MachinesArgs, out: &mut dyn Write) -> Result<()> {
    let found = find(name, args.ram)?;
    let profile = parse(name, &found.text)?;
    if !args.json {
        return Ok(out.write_all(found.text.as_bytes())?);
    }
    let mut value = json_of(&profile);
    value["version"] = json!(VERSION);
    if let Some(board) = &found.board {
        value["not_taken"] = json!(board.not_taken);
    }
    print_json(&value, out)
}

/// Version of the JSON that commands print. It changes if a field goes or changes its meaning.
pub(crate) const VERSION: u32 = 1;

pub(crate) fn print_json(value: &Value, out: &mut dyn Write) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(std::io::Error::from)?;
    Ok(writeln!(out)?)
}

fn print_row(p: &Profile, out: &mut dyn Write) -> Result<()> {
    let limit = |value: u64, unit: &str| {
        if value == u64::MAX {
            String::new()
        } else {
            format!(", {unit} {}", bytes(value))
        }
    };
    let iommu = p.iommu.as_ref().map_or_else(
        || "no IOMMU".to_owned(),
        |iommu| {
            let lazy = match iommu.flush {
                FlushPolicy::Strict => "",
                FlushPolicy::Lazy => ", lazily flushed",
            };
            let pages = match iommu.granule() {
                granule if granule == p.page_size => String::new(),
                other => format!(" in pages of {}", bytes(other)),
            };
            let bits = iommu.aperture_bits;
            format!("IOMMU with {bits}-bit addresses{pages}{lazy}")
        },
    );
    let iommu = match p.iommus.len() {
        0 => iommu,
        count => format!("{iommu} for all, {count} by name"),
    };
    let cma = if p.cma == 0 {
        "no CMA".to_owned()
    } else {
        format!("{} CMA", bytes(p.cma))
    };
    let caches = if p.coherent {
        "coherent caches"
    } else {
        "caches that are not coherent"
    };
    let bounce = match p.bounce.mode {
        BounceMode::Never => String::new(),
        BounceMode::WhenNeeded => format!(", bounces through {}", bytes(p.bounce.pool)),
        BounceMode::Always => format!(", always bounces, through {}", bytes(p.bounce.pool)),
    };
    let private = if p.private_memory {
        ", private memory"
    } else {
        ""
    };
    let untrusted = if p.untrusted {
        ", untrusted devices"
    } else {
        ""
    };
    let sram = match p.sram {
        0 => String::new(),
        own => format!(", {} of memory in each device", bytes(own)),
    };
    let areas: String = (p.areas.iter())
        .map(|area| {
            let what = match (area.protected, area.pages) {
                (true, _) => "protected",
                (false, true) => "reserved",
                (false, false) => "on the chip",
            };
            format!(", {} {what} as {}", bytes(area.bytes), area.name)
        })
        .collect();
    let pages = match p.page_size {
        PAGE_SIZE => String::new(),
        larger => format!(" in pages of {}", bytes(larger)),
    };
    let devices = match p.devices.len() {
        0 => String::new(),
        count => format!(", {count} devices"),
    };
    writeln!(out, "{:<16} {}", p.name, p.description)?;
    writeln!(
        out,
        "{:<16} {} RAM{pages}, {cma}{areas}{sram}, {iommu}, {caches}, {}-bit DMA{}{}{bounce}{private}{untrusted}{devices}",
        "",
        bytes(p.ram),
        p.dma_mask_bits,
        limit(p.max_segment, "segments up to"),
        limit(p.boundary.saturating_add(1), "boundary"),
    )?;
    Ok(())
}

fn print_fields(out: &mut dyn Write) -> Result<()> {
    writeln!(
        out,
        "\nFields of a profile (`vb3 machines NAME > mine.toml`, edit the file, then"
    )?;
    writeln!(out, "`vb3 run --machine mine.toml -- PROGRAM`):")?;
    for (name, meaning) in FIELDS {
        writeln!(out, "  {name}\n      {meaning}")?;
    }
    Ok(())
}

fn json_of_iommu(iommu: &IommuProfile) -> Value {
    let bits = (0..64).filter(|bit| iommu.page_sizes >> bit & 1 == 1);
    json!({
        "format": iommu.format.name(),
        "page_sizes": bits.map(|bit| 1_u64 << bit).collect::<Vec<_>>(),
        "aperture": iommu.aperture_bits,
        "reserved": iommu.reserved,
        "flush": match iommu.flush {
            FlushPolicy::Strict => "strict",
            FlushPolicy::Lazy => "lazy",
        },
        "segments": match iommu.segments {
            SegmentMode::Contiguous => "contiguous",
            SegmentMode::Compatible => "compatible",
        },
    })
}

/// Converts a profile to JSON: sizes in bytes, `null` for absent fields and missing limits.
fn json_of(p: &Profile) -> Value {
    let limit = |value: u64| (value != u64::MAX).then_some(value);
    json!({
        "name": p.name,
        "description": p.description,
        "page_size": p.page_size,
        "ram": p.ram,
        "cma": p.cma,
        "cma_heap": p.cma_heap,
        "coherent": p.coherent,
        "cache_line": CACHE_LINE,
        "iommu": p.iommu.as_ref().map(json_of_iommu),
        "iommus": p
            .iommus
            .iter()
            .map(|(name, iommu)| (name.clone(), json_of_iommu(iommu)))
            .collect::<serde_json::Map<_, _>>(),
        "dma_mask": p.dma_mask_bits,
        "max_segment": limit(p.max_segment),
        "boundary": limit(p.boundary).map(|mask| mask.saturating_add(1)),
        "bounce": match p.bounce.mode {
            BounceMode::Never => Value::Null,
            BounceMode::WhenNeeded => json!({ "mode": "when-needed", "pool": p.bounce.pool }),
            BounceMode::Always => json!({ "mode": "always", "pool": p.bounce.pool }),
        },
        "private_memory": p.private_memory,
        "untrusted": p.untrusted,
        "sram": p.sram,
        "areas": p.areas.iter().map(|area| {
            json!({ "name": area.name, "bytes": area.bytes, "pages": area.pages, "protected": area.protected })
        }).collect::<Vec<_>>(),
        "scattered": p.scattered,
        "userptr": p.userptr,
        "allocator": match p.allocator {
            Allocator::Contig => "contig",
            Allocator::Vmalloc => "vmalloc",
        },
        "devices": p.devices,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(machine: &str) -> Result<Profile> {
        parse(machine, &super::find(machine, None)?.text)
    }

    fn printed(name: Option<&str>, json: bool) -> Result<String> {
        let mut out = Vec::new();
        print(
            &MachinesArgs {
                name: name.map(str::to_owned),
                ram: None,
                json,
            },
            &mut out,
        )?;
        Ok(String::from_utf8(out)?)
    }

    #[test]
    fn every_builtin_is_listed_and_found() {
        let list = printed(None, false).unwrap();
        for (name, text) in shipped() {
            assert!(list.lines().any(|line| line.starts_with(name)), "{list}");
            assert_eq!(parse(name, text).unwrap().name, name);
            assert_eq!(printed(Some(name), false).unwrap(), text);
        }
        for (field, _) in FIELDS {
            assert!(list.contains(field), "{field} is not explained");
        }
    }

    #[test]
    fn json_has_every_machine_and_real_numbers() {
        let all: Value = serde_json::from_str(&printed(None, true).unwrap()).unwrap();
        assert_eq!(all["machines"].as_array().unwrap().len(), shipped().count());
        let one: Value = serde_json::from_str(&printed(Some("soc-cma"), true).unwrap()).unwrap();
        assert_eq!(one["cma"], 64 << 20);
        assert_eq!((&one["iommu"], &one["sram"]), (&Value::Null, &json!(0)));
        let one: Value =
            serde_json::from_str(&printed(Some("soc-boundary"), true).unwrap()).unwrap();
        assert_eq!(one["boundary"], 64 << 10);
        assert_eq!(one["iommu"]["format"], "arm-lpae-s1");
        assert_eq!(one["iommu"]["flush"], "lazy");
        let one: Value = serde_json::from_str(&printed(Some("soc-64k"), true).unwrap()).unwrap();
        assert_eq!(one["iommu"]["page_sizes"], json!([64 << 10, 512_u64 << 20]));
        let list = printed(None, false).unwrap();
        assert_eq!(list.matches(" in pages of 64 KiB,").count(), 1, "{list}");
        let one: Value =
            serde_json::from_str(&printed(Some("pc-untrusted"), true).unwrap()).unwrap();
        assert_eq!(one["untrusted"], true);
        assert_eq!(one["iommu"]["format"], "vt-d");
        assert_eq!(
            one["iommu"]["reserved"],
            json!([[0xfee0_0000_u32, 0xfeef_ffff_u32]])
        );
    }

    #[test]
    fn unknown_machine_names_the_known_ones() {
        let e = find("toaster").unwrap_err().to_string();
        assert!(
            e.contains("\"toaster\"") && e.contains("`vb3 machines`"),
            "{e}"
        );
        let e = find("rpi4").unwrap_err().to_string();
        assert!(e.contains("did you mean rpi-4?"), "{e}");
        let e = format!("{:#}", find("/no/such.toml").unwrap_err());
        assert!(e.contains("/no/such.toml"), "{e}");
    }

    #[test]
    fn invalid_profiles_are_refused_in_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo.toml");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        let huge = dir.path().join("huge.toml");
        std::fs::write(&huge, vec![b'#'; 2 << 20]).unwrap();
        let long = dir.path().join("long.toml");
        std::fs::write(&long, format!("{} = 1\n", "k".repeat(100_000))).unwrap();
        let dir = dir.path().to_owned();
        for (path, said) in [
            (Path::new("/dev/zero"), "it is not a regular file"),
            (&fifo, "it is not a regular file"),
            (&dir, "it is not a regular file"),
            (&huge, "more than 1 MiB"),
            (&long, "line 1"),
        ] {
            let e = format!("{:#}", find(path.to_str().unwrap()).unwrap_err());
            assert!(e.contains(said), "{}: {e}", path.display());
            assert!(e.len() < 800, "{}: {} bytes", path.display(), e.len());
        }
    }

    #[test]
    fn wrong_field_is_named_with_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.toml");
        let text = text("pc").unwrap().replacen("ram =", "rma =", 1);
        let line = text
            .lines()
            .position(|line| line.starts_with("rma"))
            .unwrap()
            + 1;
        std::fs::write(&path, text).unwrap();
        let e = find(path.to_str().unwrap()).unwrap_err().to_string();
        assert!(
            e.contains("mine.toml") && e.contains(&format!("line {line}:")),
            "{e}"
        );
        assert!(e.contains("rma"), "{e}");
    }
}
