//! `cargo xtask fluster`: decodes conformance streams. fluster compares the checksums of the pictures.

use crate::sh::{self, cmd};
use crate::{clip, setup};
use anyhow::{Context as _, Result, ensure};
use fs_err as fs;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The package of fluster. The checksums of the streams belong to this version.
const PACKAGE: &str = "fluster-conformance==0.8.0";
/// The directory of the lists of streams, in the package.
const SUITES: &str = "share/fluster/test_suites";
/// Runs fluster as its package's command does.
const MAIN: &str = "from fluster.main import fluster_main; fluster_main()";
/// Longest time for one stream, in seconds, also on a machine that does other work.
const TIMEOUT: &str = "120";

/// Lists of streams: fluster's name and directory, the device that decodes them, fluster's codec.
const KNOWN: [[&str; 4]; 6] = [
    ["JVT-AVC_V1", "h.264", "h264dec", "H.264"],
    ["JVT-FR-EXT", "h.264", "h264dec", "H.264"],
    ["JCT-VC-HEVC_V1", "h.265", "hevcdec", "H.265"],
    ["VP8-TEST-VECTORS", "vp8", "vp8dec", "VP8"],
    ["VP9-TEST-VECTORS", "vp9", "vp9dec", "VP9"],
    ["MPEG2_VIDEO-MAIN", "mpeg2v", "mpeg2dec", "MPEG2_VIDEO"],
];

/// Arguments of `fluster`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Conformance streams, each a file of this directory; those that are not there are not run
    #[arg(long, value_name = "DIR")]
    vectors: PathBuf,
    /// fluster's list of streams
    #[arg(long, value_name = "NAME", default_value = KNOWN[0][0])]
    suite: String,
    /// A machine of `vb3 machines`
    #[arg(long, value_name = "NAME", default_value = "pc")]
    machine: String,
}

/// Runs those streams whose files exist.
///
/// # Errors
/// A stream's pictures have a wrong checksum, fluster cannot be installed, or there are no streams.
pub(crate) fn run(args: &Args) -> Result<()> {
    let known = KNOWN.iter().find(|[name, ..]| *name == args.suite);
    let [name, directory, device, codec] = known.with_context(|| {
        let names = KNOWN.map(|[name, ..]| name).join(", ");
        format!("there is no list {}; known are {names}", args.suite)
    })?;
    setup::install(setup::ALL)?;
    let (fluster, machine) = (clip::python_package(PACKAGE)?, &args.machine);
    let suites = fluster.join(SUITES);
    let list = fs::read_to_string(suites.join(format!("{directory}/{name}.json")))?;
    let work = sh::target().join("fluster");
    sh::fresh(&work)?;
    let (resources, pictures) = (work.join("resources"), work.join("pictures"));
    let wanted = streams(&serde_json::from_str(&list)?)?;
    let found = lay_out(&wanted, &args.vectors, &resources.join(name))?;
    let (all, count, place) = (wanted.len(), found.len(), args.vectors.display());
    ensure!(count > 0, "{place} has none of the {all} streams of {name}");
    let count = count.to_string();
    sh::run(sh::cargo("build --quiet --package vb3"))?;
    let vb3 = sh::target().join("debug/vb3");
    let decoders = [
        format!("GStreamer-{codec}-V4L2-Gst1.0"),
        format!("FFmpeg-{codec}-v4l2m2m"),
    ];
    for decoder in &decoders {
        let found = &found;
        // With this threshold, fluster fails if fewer streams have right pictures, or if no stream has run.
        let mut run = cmd!(
            "{vb3} run --machine {machine} --device {device} -- /usr/bin/python3 -c {MAIN} --no-emoji
                 --test-suites-dir {suites} --resources {resources} --output {pictures}
                 run --testsuites {name} --jobs 1 --timeout {TIMEOUT} --decoders {decoder}
                 --threshold {count} --testvectors {found...}"
        );
        sh::run(run.env("PYTHONPATH", &fluster))?;
    }
    println!(
        "{name}: all {count} available streams, of {all} in the list, by {device} on machine {machine}: {}",
        decoders.join(", ")
    );
    Ok(())
}

/// Returns the names of a list's streams, and the path of each stream's file.
fn streams(list: &Value) -> Result<BTreeMap<String, PathBuf>> {
    let vectors = list["test_vectors"].as_array();
    let vectors = vectors.context("the list has no test_vectors")?.iter();
    let stream = |vector: &Value| {
        let text = |key| vector[key].as_str();
        let stream = text("name").zip(text("input_file"));
        let (name, file) = stream.with_context(|| format!("a strange entry: {vector}"))?;
        Ok((name.to_owned(), file.into()))
    };
    vectors.map(stream).collect()
}

/// Places the existing files where fluster looks for them. Returns the names of their streams.
fn lay_out(
    wanted: &BTreeMap<String, PathBuf>,
    vectors: &Path,
    place: &Path,
) -> Result<BTreeSet<String>> {
    let lower = |path: &Path| Some(path.file_name()?.to_str()?.to_lowercase());
    let files = fs::read_dir(std::path::absolute(vectors)?)?.flatten();
    let files = files.filter_map(|entry| Some((lower(&entry.path())?, entry.path())));
    let files: BTreeMap<String, PathBuf> = files.collect();
    let mut found = BTreeSet::new();
    for (name, input) in wanted {
        let Some(file) = lower(input).and_then(|input| files.get(&input)) else {
            continue;
        };
        let link = place.join(name).join(input);
        if let Some(dir) = link.parent() {
            fs::create_dir_all(dir)?;
        }
        fs_err::os::unix::fs::symlink(file, &link)?;
        found.insert(name.clone());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn streams_at_hand_are_found_whatever_their_case() {
        let list = json!({ "test_vectors": [
            { "name": "A", "input_file": "x/One.264" },
            { "name": "B", "input_file": "two.264" },
        ]});
        let wanted = streams(&list).unwrap();
        let dir = std::env::temp_dir().join(format!("fluster-{}", std::process::id()));
        let (vectors, place) = (dir.join("vectors"), dir.join("place"));
        std::fs::create_dir_all(&vectors).unwrap();
        std::fs::write(vectors.join("one.264"), "1").unwrap();
        let found = lay_out(&wanted, &vectors, &place).unwrap();
        let read = std::fs::read_to_string(place.join("A/x/One.264"));
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(found, BTreeSet::from(["A".to_owned()]));
        assert_eq!(read.unwrap(), "1");
    }

    #[test]
    fn a_list_that_is_none_is_named() {
        let error = streams(&json!({ "test_vectors": [{ "name": "A" }] })).unwrap_err();
        assert!(error.to_string().contains(r#"{"name":"A"}"#), "{error}");
    }
}
