//! `vb3 doctor`: shows what this machine or container allows, and which features work.

use crate::cli::DoctorArgs;
use crate::run;
use anyhow::Result;
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use vb3_devices::spec::DEFAULTS;
use vb3_intercept::{Error, Feature, Power, Powers};

/// Exit status: programs run, but some feature does not work.
pub const SOME: u8 = 1;
/// Exit status: no program can be run.
pub const NOTHING: u8 = 2;

/// Facts about this machine.
#[derive(Debug)]
struct Facts {
    kernel: String,
    powers: Powers,
    /// Number of seccomp filters of this process. A program that `vb3` runs inherits them.
    filters: Option<u64>,
    /// `kernel.yama.ptrace_scope`; `None` without Yama.
    yama: Option<u64>,
    ffmpeg: Option<String>,
    /// The library of `vb3-codec`, or the reason why it is missing.
    codec: Result<String, String>,
    /// The library of each codec device, or the reason why it is missing.
    codecs: Vec<(&'static str, Result<String, String>)>,
    udmabuf: bool,
    /// The temporary directory, and the error if it is not writable.
    temp: (PathBuf, Option<String>),
    descriptors: Option<u64>,
    /// Why the limit of descriptors allows no run.
    too_few: Option<String>,
}

impl Facts {
    fn find() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).ok();
        let uname = rustix::system::uname();
        let filters = text("/proc/self/status").and_then(|status| {
            let mut lines = status.lines();
            let line = lines.find_map(|line| line.strip_prefix("Seccomp_filters:"))?;
            line.trim().parse().ok()
        });
        Self {
            kernel: format!(
                "{} {}",
                uname.release().to_string_lossy(),
                uname.machine().to_string_lossy()
            ),
            powers: vb3_intercept::probe(),
            filters,
            yama: text("/proc/sys/kernel/yama/ptrace_scope").and_then(|n| n.trim().parse().ok()),
            ffmpeg: ffmpeg(),
            codec: codec(),
            codecs: codecs(),
            udmabuf: vb3_machine::Udmabuf::open().is_some(),
            temp: temporary(),
            descriptors: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
            too_few: run::enough_descriptors(DEFAULTS.len())
                .err()
                .map(|e| e.to_string()),
        }
    }
}

/// Returns the first line of ffmpeg's version text.
fn ffmpeg() -> Option<String> {
    let out = Command::new("ffmpeg")
        .arg("-version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let words: Vec<&str> = text.lines().next()?.split(' ').take(3).collect();
    Some(words.join(" "))
}

/// Returns the library of `vb3-codec` and its licence, or the reason why it is missing.
fn codec() -> Result<String, String> {
    let codecs = crate::codecs::all();
    let library = codecs.other().map_err(str::to_owned)?;
    Ok(format!("{}, {}", library.name, library.license))
}

/// Returns each codec device with its library and licence, or with the reason why it has no library.
fn codecs() -> Vec<(&'static str, Result<String, String>)> {
    let codecs = crate::codecs::all();
    let kinds = vb3_codec::Kind::all();
    kinds
        .map(|kind| (kind.word(), codecs.describe(kind)))
        .collect()
}

/// Returns the preferred directory for a run's files, and the error if it is not writable.
fn temporary() -> (PathBuf, Option<String>) {
    let dir = std::env::var_os("TMPDIR").map_or_else(|| "/dev/shm".into(), PathBuf::from);
    let own = dir.join(format!("vb3-doctor-{}", std::process::id()));
    let refused = std::fs::create_dir(&own).err().map(|e| e.to_string());
    let _gone = std::fs::remove_dir(&own);
    (dir, refused)
}

/// One line of the table.
#[derive(Debug)]
struct Row {
    name: &'static str,
    works: bool,
    found: String,
    change: &'static str,
}

/// The doctor's results.
#[derive(Debug)]
struct Report {
    /// Features of the machine.
    parts: Vec<Row>,
    /// The codec devices.
    codecs: Vec<Row>,
    /// The uses of devices that these features allow or prevent.
    uses: Vec<Row>,
    /// The reason why no program can be run, if any.
    refused: Option<String>,
}

const PTRACE: &str = "in a container, --cap-add SYS_PTRACE";

/// Name of the row for the program `vb3-codec`.
const CODEC_PROGRAM: &str = "vb3-codec";

/// Advice for a missing `vb3-codec`.
pub(crate) const INSTALL_CODEC: &str = "install the package vb3-codec; or install libavcodec-dev and pkg-config, \
                             then vb3 again by cargo";

/// Makes the row of a codec device. A missing library is not a fault of the machine.
fn codec_row(facts: &Facts, name: &'static str, found: &Result<String, String>) -> Row {
    Row {
        name,
        works: found.is_ok(),
        found: match found {
            Ok(library) => library.clone(),
            // The row of vb3-codec gives the reason.
            Err(_) if facts.codec.is_err() => "needs vb3-codec".to_owned(),
            Err(why) => why.clone(),
        },
        change: "",
    }
}

impl Report {
    fn of(facts: &Facts) -> Self {
        let Facts { powers, codecs, .. } = facts;
        Self {
            parts: parts(facts),
            codecs: codecs
                .iter()
                .map(|&(name, ref found)| codec_row(facts, name, found))
                .collect(),
            uses: uses(facts),
            refused: match powers.suffice() {
                Err(e) => Some(e.to_string()),
                Ok(()) => facts.too_few.clone(),
            },
        }
    }

    fn status(&self) -> u8 {
        if self.refused.is_some() {
            NOTHING
        } else if self.uses.iter().all(|row| row.works) {
            0
        } else {
            SOME
        }
    }

    fn json(&self, facts: &Facts) -> Value {
        let rows = |rows: &[Row]| {
            rows.iter()
                .map(|row| json!({"name": row.name, "works": row.works, "found": row.found, "change": row.change}))
                .collect::<Vec<_>>()
        };
        json!({
            "kernel": facts.kernel,
            "status": self.status(),
            "refused": self.refused,
            "parts": rows(&self.parts),
            "codecs": rows(&self.codecs),
            "uses": rows(&self.uses),
        })
    }
}

fn parts(facts: &Facts) -> Vec<Row> {
    let powers = &facts.powers;
    let power = |name, power: Power, change| Row {
        name,
        works: power.is_ok(),
        found: match power {
            Ok(()) => "yes".to_owned(),
            Err(Powers::NOT_TRIED) => "not tried".to_owned(),
            Err(e) => std::io::Error::from_raw_os_error(e.0).to_string(),
        },
        change: match power {
            Ok(()) => "",
            Err(Powers::NOT_TRIED) => "see seccomp notification",
            Err(_) => change,
        },
    };
    let plain = |name, works, found: String, change| Row {
        name,
        works,
        found,
        change: if works { "" } else { change },
    };
    let is_nested = matches!(
        powers.suffice(),
        Err(Error::Kernel {
            feature: Feature::Nested,
            ..
        })
    );
    let yama = facts.yama.unwrap_or(0);
    let filters = facts.filters.unwrap_or(0);
    let (dir, refused) = &facts.temp;
    let descriptors = facts.descriptors.unwrap_or(u64::MAX);
    let said = match refused {
        Some(why) => format!("{}: {why}", dir.display()),
        None => dir.display().to_string(),
    };
    vec![
        plain("kernel", true, facts.kernel.clone(), ""),
        power("/proc", powers.proc, "mount -t proc proc /proc"),
        power(
            "seccomp notification",
            powers.listener,
            if is_nested {
                "run vb3 outside the run or container that already listens; in WSL2, set networkingMode=nat"
            } else {
                "Linux 5.19 or newer, or a seccomp profile that allows it"
            },
        ),
        plain("filters around this process", true, filters.to_string(), ""),
        power(
            "SYNC_WAKE_UP",
            powers.sync_wake_up,
            "Linux 6.6 or newer: ten times faster",
        ),
        power("ADDFD", powers.add_fd, "Linux 5.9 or newer"),
        power("process_vm_readv, _writev", powers.process_vm, PTRACE),
        power("/proc/PID/mem", powers.proc_mem, PTRACE),
        power("pidfd_getfd", powers.getfd, PTRACE),
        power("ptrace", powers.ptrace, PTRACE),
        power("kcmp (not needed)", powers.kcmp, PTRACE),
        plain(
            "Yama ptrace_scope",
            yama < 2,
            facts
                .yama
                .map_or_else(|| "none".to_owned(), |n| n.to_string()),
            "sysctl kernel.yama.ptrace_scope=1",
        ),
        plain(
            "ffmpeg",
            facts.ffmpeg.is_some(),
            facts
                .ffmpeg
                .clone()
                .unwrap_or_else(|| "not found".to_owned()),
            "apt install ffmpeg: lets cameras play clips",
        ),
        plain(
            CODEC_PROGRAM,
            facts.codec.is_ok(),
            match &facts.codec {
                Ok(found) | Err(found) => found.clone(),
            },
            INSTALL_CODEC,
        ),
        plain(
            "/dev/udmabuf",
            facts.udmabuf,
            if facts.udmabuf {
                "yes"
            } else {
                "cannot be opened"
            }
            .to_owned(),
            "modprobe udmabuf: exports that a GPU can import",
        ),
        plain(
            "temporary files",
            refused.is_none(),
            said,
            "set TMPDIR to a writable directory; until then vb3 uses another",
        ),
        plain(
            "descriptor limit",
            descriptors >= 1024,
            if descriptors == u64::MAX {
                "none".to_owned()
            } else {
                descriptors.to_string()
            },
            "ulimit -n 1024",
        ),
    ]
}

fn uses(facts: &Facts) -> Vec<Row> {
    let powers = &facts.powers;
    let run = powers.suffice().is_ok();
    let stop = run && powers.ptrace.is_ok();
    let borrow = run && (powers.getfd.is_ok() || powers.ptrace.is_ok());
    // If no program can run, a permission other than ptrace is missing. An earlier row names it.
    let ptrace = if run { PTRACE } else { "see above" };
    let enough = facts
        .descriptors
        .is_none_or(|n| n >= run::descriptors_for(DEFAULTS.len()));
    let row = |name, works, change| Row {
        name,
        works,
        found: if works { "works" } else { "does not work" }.to_owned(),
        change: if works { "" } else { change },
    };
    vec![
        row("devices in a program", run, "see above"),
        row("read(), write(), user pointers", run, "see above"),
        row("mapped buffers", stop, ptrace),
        row("dma-buf export and import", run, "see above"),
        row("epoll on devices", borrow, ptrace),
        row("poll of devices with other files", borrow, ptrace),
        row("listing of /dev and /sys", borrow, ptrace),
        row("signals that come during calls", run, "see above"),
        row("many buffers and files at once", enough, "ulimit -n 1024"),
    ]
}

/// Prints the table. Returns the exit status.
///
/// # Errors
/// `out` cannot be written.
pub fn print(args: &DoctorArgs, out: &mut dyn Write) -> Result<u8> {
    let facts = Facts::find();
    let report = Report::of(&facts);
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report.json(&facts))
            .map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        write(&report, out)?;
    }
    Ok(report.status())
}

fn write(report: &Report, out: &mut dyn Write) -> std::io::Result<()> {
    let Report {
        parts,
        codecs,
        uses,
        ..
    } = report;
    let rows = || parts.iter().chain(codecs).chain(uses);
    let width = |cell: fn(&Row) -> &str| rows().map(|row| cell(row).chars().count()).max();
    let name = width(|row| row.name).unwrap_or(0);
    let found = width(|row| &row.found).unwrap_or(0).min(48);
    for (title, rows) in [("Here", parts), ("Codecs", codecs), ("What works", uses)] {
        writeln!(out, "{title}:")?;
        for row in rows {
            let mark = if row.works { "ok" } else { "--" };
            let line = format!(
                "  {mark}  {:<name$}  {:<found$}  {}",
                row.name, row.found, row.change
            );
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    writeln!(out, "\n{}", ending(report))
}

/// Returns the closing sentence: what works, and what to install for the rest.
fn ending(report: &Report) -> String {
    if let Some(why) = &report.refused {
        return format!("No program can be run here: {why}");
    }
    let missing: Vec<&str> = report
        .codecs
        .iter()
        .filter(|row| !row.works)
        .map(|row| row.name)
        .collect();
    let mut ending = match report.status() {
        0 if missing.is_empty() => "Everything works here.".to_owned(),
        0 => format!(
            "Everything works here but these codecs: {}.",
            missing.join(", ")
        ),
        _ => "Programs can be run; features marked -- do not work.".to_owned(),
    };
    let has_program = |row: &&Row| row.name == CODEC_PROGRAM && row.works;
    if report.parts.iter().any(|row| has_program(&row)) {
        if !missing.is_empty() {
            ending.push_str(" They need a libavcodec that was built with them.");
        }
    } else if !missing.is_empty() {
        ending.push_str(&format!(" For codecs, {INSTALL_CODEC}."));
    }
    ending
}

#[cfg(test)]
mod tests {
    use super::*;
    use vb3_frontend::Errno;

    const REFUSED: Power = Err(Errno(1));

    fn facts(powers: impl FnOnce(&mut Powers)) -> Facts {
        let mut all = Powers::all();
        powers(&mut all);
        Facts {
            kernel: "6.12.1 x86_64".into(),
            powers: all,
            filters: Some(0),
            yama: Some(1),
            ffmpeg: None,
            codec: Err("there is no vb3-codec next to vb3 or in PATH".into()),
            codecs: vec![
                ("jpegdec", Ok("libjpeg-turbo-rs, MIT".into())),
                ("h264dec", Err("decoding H.264 needs libavcodec".into())),
            ],
            udmabuf: false,
            temp: ("/tmp".into(), None),
            descriptors: Some(1024),
            too_few: None,
        }
    }

    fn printed(facts: &Facts) -> (u8, String) {
        let report = Report::of(facts);
        let mut text = Vec::new();
        write(&report, &mut text).unwrap();
        (report.status(), String::from_utf8(text).unwrap())
    }

    #[test]
    fn programs_run_without_ffmpeg_and_udmabuf() {
        let (status, text) = printed(&facts(|_| {}));
        assert_eq!(status, 0, "{text}");
        assert!(text.contains("--  ffmpeg") && text.contains("apt install ffmpeg"));
        assert!(text.contains("--  vb3-codec") && text.contains("the package vb3-codec"));
        assert!(text.contains("\nCodecs:\n  ok  jpegdec "), "{text}");
        assert!(text.contains("  --  h264dec ") && text.contains("needs vb3-codec"));
    }

    /// Returns the exit status and the last line.
    fn ending(facts: &Facts) -> (u8, String) {
        let (status, text) = printed(facts);
        (
            status,
            text.lines().next_back().unwrap_or_default().to_owned(),
        )
    }

    #[test]
    fn the_last_line_says_what_to_install() {
        let (status, last) = ending(&facts(|_| {}));
        let wanted = "Everything works here but these codecs: h264dec. For codecs, install the \
                      package vb3-codec; or install libavcodec-dev and pkg-config, then vb3 again by cargo.";
        assert_eq!((status, last.as_str()), (0, wanted));
        let (status, last) = ending(&facts(|p| p.ptrace = REFUSED));
        assert_eq!(status, SOME);
        assert!(
            last.starts_with("Programs can be run; features marked"),
            "{last}"
        );
        assert!(last.contains("install the package vb3-codec"), "{last}");
        let with = |codecs| Facts {
            codec: Ok("libavcodec 61, LGPL-2.1-or-later".to_owned()),
            codecs,
            ..facts(|_| {})
        };
        let missing = Err("libavcodec 61 was built without encoding H.264".to_owned());
        let (status, last) = ending(&with(vec![("h264enc", missing)]));
        let wanted = "Everything works here but these codecs: h264enc. They need a libavcodec that \
                      was built with them.";
        assert_eq!((status, last.as_str()), (0, wanted));
        let (status, text) = printed(&with(vec![("h264enc", Ok("libx264".to_owned()))]));
        assert!(text.contains("ok  vb3-codec") && text.contains("libavcodec 61"));
        assert!(text.ends_with("\nEverything works here.\n"), "{text}");
        assert_eq!(status, 0);
    }

    #[test]
    fn default_container_shows_refused_powers() {
        let docker = facts(|p| (p.process_vm, p.getfd, p.kcmp) = (REFUSED, REFUSED, REFUSED));
        let (status, text) = printed(&docker);
        assert_eq!(status, 0, "{text}");
        let line = text
            .lines()
            .find(|line| line.contains("pidfd_getfd"))
            .unwrap();
        assert!(
            line.contains("--  ") && line.contains("Operation not permitted"),
            "{line}"
        );
        assert!(line.contains("--cap-add SYS_PTRACE"), "{line}");
    }

    #[test]
    fn missing_features_are_marked_and_change_status() {
        let (status, text) = printed(&facts(|p| (p.getfd, p.ptrace) = (REFUSED, REFUSED)));
        assert_eq!(status, SOME);
        for lost in ["mapped buffers", "epoll on devices", "listing of /dev"] {
            assert!(
                text.lines()
                    .any(|line| line.contains(lost) && line.contains("--  ")),
                "{lost}"
            );
        }
        let (status, text) = printed(&facts(|p| p.listener = Err(Errno(22))));
        assert_eq!(status, NOTHING);
        assert!(
            text.contains("No program can be run here: this kernel"),
            "{text}"
        );
        assert!(!text.contains("SYS_PTRACE"), "it would not help: {text}");
        let (status, _) = printed(&Facts {
            descriptors: Some(70),
            ..facts(|_| {})
        });
        assert_eq!(status, SOME);
        let (status, text) = printed(&Facts {
            too_few: Some("the limit of open files is 70".into()),
            ..facts(|_| {})
        });
        assert_eq!(status, NOTHING);
        let last = "No program can be run here: the limit of open files is 70\n";
        assert!(text.ends_with(last), "{text}");
    }

    #[test]
    fn json_says_what_the_table_says() {
        let facts = facts(|p| p.ptrace = REFUSED);
        let json = Report::of(&facts).json(&facts);
        assert_eq!(json["status"], 1);
        let uses = json["uses"].as_array().unwrap();
        let maps = uses
            .iter()
            .find(|row| row["name"] == "mapped buffers")
            .unwrap();
        assert_eq!(maps["works"], false);
        let codecs: Vec<_> = json["codecs"].as_array().unwrap().iter().collect();
        assert_eq!(
            (&codecs[0]["name"], &codecs[0]["works"]),
            (&"jpegdec".into(), &true.into())
        );
        assert_eq!(codecs[1]["works"], false);
    }

    #[test]
    fn this_machine_is_examined() {
        let facts = Facts::find();
        assert!(facts.kernel.contains('.'), "{facts:?}");
        assert_eq!(facts.powers.proc, Ok(()));
    }
}
