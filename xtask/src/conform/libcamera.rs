//! Builds libcamera's own tests from source, and runs them without a camera and with three cameras.
//! The cameras are two devices of `vb3 run`, and the kernel's vimc in a virtual machine.

use crate::sh::{self, cmd};
use crate::vm::{self, lab};
use crate::{setup, table};
use anyhow::{Context as _, Result, ensure};
use clap::Parser as _;
use fs_err as fs;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Longest time of a test, in seconds. One test streams in all formats of a webcam for two minutes.
const LIMIT: &str = "600";

/// The table's columns: the test's name, and the places where the tests run. The first three places are this machine,
/// with the devices of `DEVICES`. The last place is a virtual machine with the kernel's vimc.
const HEADER: [&str; 5] = ["test", "no camera", "vimc", "webcam", "stock vimc"];
const DEVICES: [Option<&str>; 3] = [None, Some("vimc"), Some("camera=pattern")];

/// Results by test name: pass, skip or FAIL. With vimc, commands of v4l-utils count as tests, too; their results are
/// short forms of what they print.
type Results = BTreeMap<String, String>;

/// Selects the results of `kernel/lab/libcamera-tests.py` among the steps of a run.
fn results(steps: &[Value]) -> Results {
    let own = steps.iter().filter(|step| step["step"] == "libcamera");
    let text = |fact: &Value| fact.as_str().unwrap_or_default().to_owned();
    own.map(|step| (text(&step["name"]), text(&step["result"])))
        .collect()
}

/// Runs all tests here, with a simulated device if there is one.
fn here(built: &Path, device: Option<&str>, vb3: &Path) -> Result<Results> {
    let tests = sh::root().join("kernel/lab/libcamera-tests.py");
    let mut command = match device {
        Some(device) => cmd!("{vb3} run --quiet --device {device} -- /usr/bin/python3 {tests}"),
        None => cmd!("/usr/bin/python3 {tests}"),
    };
    let out = command.arg(built).arg(LIMIT).stdin(Stdio::null());
    let out = out.stderr(Stdio::inherit()).output();
    let out = out.context("the tests do not start")?;
    let status = out.status;
    ensure!(status.success(), "the tests did not end: {status}");
    let lines = serde_json::Deserializer::from_slice(&out.stdout).into_iter();
    let steps: Vec<Value> = lines.collect::<Result<_, _>>()?;
    Ok(results(&steps))
}

/// Runs all tests with the kernel's vimc.
fn stock(built: &Path) -> Result<Results> {
    let append = format!("--append=built={}", built.display());
    let words = "vm libcamera --kernel=6.12 --count".split(' ');
    let args = vm::Args::parse_from(words.chain([&*append]));
    let file = vm::run(&args)?.pop().context("no results")?;
    let steps: Vec<Value> = serde_json::from_str(&fs::read_to_string(file)?)?;
    Ok(results(&steps))
}

/// Runs each test in each place. Prints the tests that do not pass everywhere.
pub(super) fn run() -> Result<()> {
    setup::install(&["libcamera"])?;
    let built = built()?;
    let vb3 = sh::release_vb3()?;
    let mut columns = Vec::new();
    for device in DEVICES {
        columns.push(here(&built, device, &vb3)?);
    }
    columns.push(stock(&built)?);
    let names: BTreeSet<&String> = columns.iter().flat_map(BTreeMap::keys).collect();
    let row = |name: &String| {
        let cell = |column: &Results| column.get(name).map_or("-", String::as_str).to_owned();
        let cells = columns.iter().map(cell);
        std::iter::once(name.clone()).chain(cells).collect()
    };
    let mut rows: Vec<Vec<String>> = names.into_iter().map(row).collect();
    ensure!(!rows.is_empty(), "libcamera has no tests");
    let wrong = rows.iter().filter(|row| is_wrong(row)).count();
    for (place, column) in HEADER.iter().skip(1).zip(&columns) {
        let passed = column.values().filter(|result| *result == "pass").count();
        println!("{place}: {passed} pass");
    }
    rows.retain(|row| row.iter().skip(1).any(|result| result != "pass"));
    println!("{}", table::format(&HEADER, &rows));
    ensure!(wrong == 0, "{wrong} tests went wrong");
    Ok(())
}

/// Returns whether a test failed on this machine; passed without a camera, but not with each of our devices; passed
/// with the kernel's vimc, but not with ours; or, for `media-ctl -p`, printed another graph for our vimc than for the
/// kernel's.
fn is_wrong(row: &[String]) -> bool {
    let [name, native, vimc, webcam, stock] = row else {
        return true;
    };
    let passes = |result: &String| result == "pass";
    let mut simulated = [native, vimc, webcam].into_iter();
    let fails = simulated.any(|result| result == "FAIL");
    let differs = name == "media-ctl -p" && stock != "-" && vimc != stock;
    let lost = passes(native) && !(passes(vimc) && passes(webcam));
    fails || differs || lost || passes(stock) && !passes(vimc)
}

/// Returns the directory of the build. Makes it if it is not kept.
fn built() -> Result<PathBuf> {
    const SCRIPT: &str = "make-libcamera-tests.sh";
    let suite = sh::text(cmd!("sh -c '. /etc/os-release; echo $VERSION_CODENAME'"))?;
    let out = sh::cache("lab")?.join(format!("libcamera-tests-{suite}-{}", lab::key(SCRIPT)?));
    let (last, what) = (out.join("tests.json"), "building libcamera with its tests");
    lab::make(&last, what, 30, SCRIPT, &[suite.as_ref(), out.as_ref()])?;
    Ok(out)
}
