//! Checks that a run neither overwrites its own input nor writes two outputs to one file.

use crate::cli::RunOptions;
use anyhow::{Result, bail};
use std::borrow::Cow;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use vb3_devices::Placeholder;
use vb3_devices::sink::further_file;
use vb3_devices::spec::{DeviceKind, DeviceSpec, SinkSpec, SourceSpec};
use vb3_report::page;

/// Identity of a file: its inode if it exists, else its directory's inode and its name.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    File(u64, u64),
    Name(u64, u64, PathBuf),
}

/// Returns the file's identity. `None` for devices and pipes, which several writers may share, and
/// for paths that cannot be created.
fn identity(path: &Path) -> Option<Identity> {
    if let Ok(meta) = path.metadata() {
        return meta
            .is_file()
            .then(|| Identity::File(meta.dev(), meta.ino()));
    }
    // Writing through a dangling link creates the file that the link names.
    if let Ok(target) = path.read_link() {
        let target = path
            .parent()
            .map_or_else(|| target.clone(), |dir| dir.join(&target));
        return by_name(&target);
    }
    by_name(path)
}

fn by_name(path: &Path) -> Option<Identity> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir: Metadata = dir.unwrap_or(Path::new(".")).metadata().ok()?;
    let name = PathBuf::from(path.file_name()?);
    Some(Identity::Name(dir.dev(), dir.ino(), name))
}

/// A file of the run and its purpose.
struct Use<'a> {
    path: Cow<'a, Path>,
    what: &'static str,
    writes: bool,
}

/// Returns the recordings of a display, or of each connector of a card.
fn sinks(spec: &DeviceSpec) -> Vec<SinkSpec> {
    match &spec.kind {
        DeviceKind::Display { sink } => vec![sink.clone()],
        DeviceKind::Kms { sink, card } => {
            let all = 0..card.connectors;
            all.map(|connector| sink.of_connector(connector)).collect()
        }
        _ => Vec::new(),
    }
}

/// Displays number their pictures and further recordings. For each file in `uses` whose name has the form of a
/// display's numbered files, returns the file of this name in the display's directory, which the display may write.
fn further<'a>(specs: &[DeviceSpec], uses: &[Use<'_>]) -> Vec<Use<'a>> {
    let displays = specs.iter().flat_map(sinks);
    let written = displays.flat_map(|display| {
        let names = uses
            .iter()
            .filter_map(|file| further_file(&display, &file.path));
        let names: Vec<PathBuf> = names.collect();
        names.into_iter().map(|path| Use {
            path: Cow::Owned(path),
            what: "a file of a display",
            writes: true,
        })
    });
    written.collect()
}

/// Refuses a report file unless its name ends in `.json` or `.html`. Devices and pipes get JSON.
///
/// # Errors
/// The message names the allowed endings and suggests a name.
fn check_report(path: &Path) -> Result<()> {
    let is_special = path
        .metadata()
        .is_ok_and(|meta| !meta.is_file() && !meta.is_dir());
    let is_json = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    if is_special || is_json || page::is_page(path) {
        return Ok(());
    }
    bail!(
        "--report {}: a report is FILE.json (data) or FILE.html (a page); did you mean \
         {}?",
        path.display(),
        path.with_extension("json").display()
    )
}

/// Refuses a run that would overwrite its own input, or write two outputs to one file. `inputs` are the
/// machine's and the script's files.
///
/// # Errors
/// The message names both uses of the file.
pub(crate) fn check(
    specs: &[DeviceSpec],
    inputs: &[(&'static str, PathBuf)],
    options: &RunOptions,
) -> Result<()> {
    let reads = |path, what| Use {
        path: Cow::Borrowed(path),
        what,
        writes: false,
    };
    let writes = |path, what| Use {
        path: Cow::Borrowed(path),
        what,
        writes: true,
    };
    let inputs = inputs.iter().map(|(what, path)| reads(path, what));
    let mut uses: Vec<Use<'_>> = inputs.collect();
    for spec in specs {
        let like = spec.like.as_ref().and_then(|like| like.path.as_deref());
        uses.extend(like.map(|path| reads(path, "the description of a camera")));
        uses.extend(match &spec.kind {
            DeviceKind::Camera {
                source: SourceSpec::Clip(path),
                ..
            } => Some(reads(path, "the clip of a camera")),
            DeviceKind::Loopback {
                placeholder: Some(Placeholder::File(path)),
                ..
            } => Some(reads(path, "the placeholder of a loopback")),
            _ => None,
        });
        uses.extend(
            sinks(spec)
                .into_iter()
                .filter_map(|sink| match sink {
                    SinkSpec::Y4m(path) | SinkSpec::Raw(path) => {
                        Some(("the recording of a display", path))
                    }
                    SinkSpec::Png(name) => Some(("the pictures of a display", name.into())),
                    SinkSpec::Null => None,
                })
                .map(|(what, path)| Use {
                    path: Cow::Owned(path),
                    what,
                    writes: true,
                }),
        );
    }
    let written = [
        ("the trace", &options.trace),
        ("the file of --ready", &options.ready),
    ];
    uses.extend(options.report.iter().map(|path| writes(path, "the report")));
    uses.extend(
        written
            .into_iter()
            .filter_map(|(what, path)| Some(writes(path.as_ref()?, what))),
    );
    let further = further(specs, &uses);
    uses.extend(further);
    let mut known: Vec<(Identity, &Use<'_>)> = Vec::new();
    for file in &uses {
        let Some(id) = identity(&file.path) else {
            continue;
        };
        let other = known
            .iter()
            .find(|(known, other)| *known == id && (other.writes || file.writes));
        if let Some((_, other)) = other {
            bail!(
                "{} ({}) and {} ({}) are one file, which would be overwritten; give one of them \
                 another name",
                other.path.display(),
                other.what,
                file.path.display(),
                file.what
            );
        }
        known.push((id, file));
    }
    options
        .report
        .iter()
        .try_for_each(|path| check_report(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn checked(dir: &Path, devices: &[&str], options: &[&str]) -> Result<()> {
        let mut words: Vec<String> = vec!["vb3".into(), "run".into()];
        let absolute = |text: &str| text.replace("DIR", &dir.display().to_string());
        words.extend(options.iter().map(|option| absolute(option)));
        words.extend(["--".into(), "true".into()]);
        let Command::Run(args) = Cli::try_parse_from(words).unwrap().command else {
            panic!("not run")
        };
        let specs = devices.iter().map(|spec| absolute(spec).parse().unwrap());
        let specs = specs.collect::<Vec<_>>();
        let script = args.script.iter().map(|file| ("the script", file.into()));
        check(&specs, &script.collect::<Vec<_>>(), &args.options)
    }

    #[test]
    fn a_file_has_one_use_if_one_of_them_writes() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("clip.mp4"), b"clip").unwrap();
        symlink("clip.mp4", at("link.y4m")).unwrap();
        fs::hard_link(at("clip.mp4"), at("hard.rgb")).unwrap();
        fs::create_dir(at("sub")).unwrap();
        let (_, described) = vb3_devices::description::SHIPPED[0];
        fs::write(at("cam.toml"), described).unwrap();
        symlink("new.y4m", at("later.y4m")).unwrap();
        for name in ["f0007.png", "a.2.y4m", "a.02.y4m"] {
            fs::write(at(name), b"picture").unwrap();
        }
        let camera = "camera=DIR/clip.mp4";
        let refused: &[(&[&str], &[&str])] = &[
            (&[camera, "display=DIR/link.y4m"], &[]),
            (&[camera, "display=DIR/hard.rgb"], &[]),
            (&["display=DIR/new.y4m", "display=DIR/sub/../new.y4m"], &[]),
            (&["display=DIR/new.y4m", "display=DIR/later.y4m"], &[]),
            (&["display=DIR/f%04d.png", "display=DIR/f%04d.png"], &[]),
            (&["camera=DIR/f0007.png", "display=DIR/f%04d.png"], &[]),
            (&["camera=DIR/a.2.y4m", "display=DIR/a.y4m"], &[]),
            (&["display=DIR/b.y4m", "display=DIR/b.3.y4m"], &[]),
            (&["display=DIR/b.raw"], &["--trace", "DIR/b.2.raw"]),
            (&[camera], &["--report", "DIR/clip.mp4"]),
            (&[camera], &["--trace", "DIR/link.y4m"]),
            (&["display=DIR/new.y4m"], &["--trace", "DIR/new.y4m"]),
            (&[camera], &["--ready", "DIR/link.y4m"]),
            (&["camera,like=DIR/cam.toml"], &["--ready", "DIR/cam.toml"]),
            (&["DIR/cam.toml"], &["--trace", "DIR/cam.toml"]),
            (
                &["loopback,placeholder=DIR/clip.mp4", "display=DIR/hard.rgb"],
                &[],
            ),
            (
                &[],
                &["--script", "DIR/clip.mp4", "--trace", "DIR/link.y4m"],
            ),
        ];
        for (devices, options) in refused {
            let e = checked(dir.path(), devices, options).expect_err("one file, two uses");
            assert!(e.to_string().contains("are one file"), "{e}");
        }
        let fine: &[(&[&str], &[&str])] = &[
            (
                &[camera, camera, "display=DIR/new.y4m"],
                &["--report", "DIR/report.json"],
            ),
            (&["display=null", "display=null"], &[]),
            (&["display=DIR/a.y4m", "display=DIR/sub/a.y4m"], &[]),
            (&["camera=DIR/f0007.png", "display=DIR/f%d.png"], &[]),
            (&["camera=DIR/a.2.y4m", "display=DIR/a.2.y4m.y4m"], &[]),
            (&["camera=DIR/a.02.y4m", "display=DIR/a.y4m"], &[]),
            (&["camera=DIR/f0007.png", "display=DIR/sub/f%04d.png"], &[]),
            (
                &[camera],
                &["--trace", "/dev/null", "--report", "/dev/null"],
            ),
        ];
        for (devices, options) in fine {
            checked(dir.path(), devices, options).expect(devices[0]);
        }
        assert_eq!(fs::read(at("clip.mp4")).unwrap(), b"clip");
    }

    #[test]
    fn a_report_is_data_or_a_page_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let options = |name: &str| {
            let report = format!("DIR/{name}");
            checked(dir.path(), &[], &["--report", &report])
        };
        for (name, guess) in [("r.txt", "r.json?"), ("r", "r.json?"), ("r.jsn", "r.json?")] {
            let said = options(name).expect_err(name).to_string();
            assert!(said.contains("FILE.json (data) or FILE.html"), "{said}");
            assert!(said.ends_with(guess), "{said}");
        }
        for name in ["r.json", "R.JSON", "r.html", "r.htm"] {
            options(name).expect(name);
        }
    }
}
