//! Starts virtual machines with other kernels and another processor. In these machines, tries the ways to use a
//! device, or runs tests.

use super::matrix::{Use, WAITS};
use super::same;
use crate::guest::{self, Guest, Kind};
use crate::sh;
use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest time for one use. Guests are slow, since QEMU translates their instructions.
const USE: Duration = Duration::from_secs(300);

const TESTS: Duration = Duration::from_secs(3 * 3600);

/// Number of tests at a time. On an emulated processor, some keep their time limits only if they run alone.
const THREADS: &str = "1";
/// Factor by which programs may take longer in a guest.
const SLOWNESS: &str = "10";

/// Maximum number of open files, as systemd sets it.
/// The kernel's own limit, 4,096, is too low for some tests.
const FILES: u32 = 524_288;

const BEGIN: &str = "export HOME=/tmp PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\n";

fn out(kind: Kind) -> Result<PathBuf> {
    let out = sh::target().join("reach").join(kind.name);
    sh::fresh(&out)?;
    Ok(out)
}

/// Tries every use of the table in a guest. Returns the row's name and the results.
/// It also compares a run on a virtual clock in the guest with the same run on this machine.
pub(super) fn tried(guest: &Guest, uses: &[Use]) -> Result<(String, Vec<bool>)> {
    let name = guest.kind.name;
    let vb3 = guest::vb3(guest.kind)?;
    let out = out(guest.kind)?;
    fs::write(out.join("waits.py"), WAITS)?;
    fs::write(out.join("run.sh"), script(&vb3, uses))?;
    for (i, one) in uses.iter().enumerate() {
        fs::write(out.join(format!("use-{i}")), &one.command)?;
    }
    fs::write(out.join("same.toml"), same::SCRIPT)?;
    let count = u32::try_from(uses.len() + 1).unwrap_or(u32::MAX);
    guest.run(&out, USE * count)?;
    let found = judge(&fs::read_to_string(out.join("said"))?, uses)?;
    let run = same::compare(&sh::release_vb3()?, &out);
    run.with_context(|| format!("a run in {name} is not the same as here"))?;
    eprintln!("reach: {name}: report, trace and pictures of a run as here");
    Ok((format!("{name} (Linux {})", guest.version()), found))
}

/// Tries to run a program on a kernel that is too old for `vb3 run`. Returns the row's name.
///
/// # Errors
/// The guest does not boot, the program ran, `vb3 doctor` found nothing wrong, or the reason was not reported
/// in one sentence.
pub(super) fn refusal(guest: &Guest) -> Result<String> {
    let name = guest.kind.name;
    let vb3 = guest::vb3(guest.kind)?;
    let out = out(guest.kind)?;
    let script = format!(
        "{BEGIN}set -x; cd /tmp\n\
         timeout -k 5 {limit} {vb3} run -d camera=pattern -- touch /out/ran >/out/refusal 2>&1 && exit 1\n\
         {vb3} doctor >/out/doctor 2>&1 && exit 1\n\
         [ ! -e /out/ran ] && [ \"$(wc -l </out/refusal)\" = 1 ] && grep 'Linux 5[.]19' /out/refusal\n",
        limit = USE.as_secs() - 10,
        vb3 = vb3.display(),
    );
    fs::write(out.join("run.sh"), script)?;
    let is_refused = guest.run(&out, USE * 3)?;
    let said = fs::read_to_string(out.join("refusal"))?;
    let (said, place) = (said.trim(), out.display());
    ensure!(
        is_refused,
        "{name}: not refused in one sentence (see {place}): {said}"
    );
    eprintln!("reach: {name}: refused, as expected: {said}");
    Ok(format!("{name} (Linux {})", guest.version()))
}

/// Returns the guest's script, which tries each use under `vb3 run`.
fn script(vb3: &Path, uses: &[Use]) -> String {
    let mut text = format!("{BEGIN}export WAITS=\"$(cat /out/waits.py)\"\n");
    let (limit, same) = (USE.as_secs() - 10, same::command(vb3, "/out"));
    let vb3 = vb3.display();
    for (i, Use { name, .. }) in uses.iter().enumerate() {
        text += &format!(
            "timeout -k 5 {limit} {vb3} run -d camera=pattern -d display=null -- sh /out/use-{i} \
             >/out/use-{i}.log 2>&1 && echo 'ok {name}' >>/out/said \
             || echo \"lost {name}: $(tail -n 3 /out/use-{i}.log | tr '\\n' ' ')\" >>/out/said\n"
        );
    }
    text + &format!("({same}) >/out/same.log 2>&1\n")
}

/// Parses the results: one line for each use, in the order of the uses.
fn judge(said: &str, uses: &[Use]) -> Result<Vec<bool>> {
    let mut lines = said.lines();
    let works = |Use { name, .. }: &Use| {
        let line = lines.next().unwrap_or_default();
        let works = line == format!("ok {name}");
        let is_known = works || line.starts_with(&format!("lost {name}"));
        ensure!(is_known, "of {name} the guest said {line:?}");
        Ok(works)
    };
    uses.iter().map(works).collect()
}

/// Runs tests with real programs in guests.
pub(super) fn run_tests(only: &[String], filters: &[String]) -> Result<()> {
    let mut kinds = guest::ALL.to_vec();
    kinds.retain(|kind| only.iter().any(|name| name == kind.name));
    if kinds.is_empty() {
        let names: Vec<_> = guest::ALL.iter().map(|kind| kind.name).collect();
        bail!("tests run in a virtual machine: {}", names.join(", "));
    }
    let mut failed = Vec::new();
    for kind in kinds {
        let lost = tests_in(&Guest::get(kind)?, filters)?;
        if !lost.is_empty() {
            failed.push(format!("{}: {}", kind.name, lost.join(", ")));
        }
    }
    ensure!(failed.is_empty(), "tests failed on {}", failed.join("; "));
    Ok(())
}

/// Runs tests in a guest. Returns the names of the failed tests.
fn tests_in(guest: &Guest, filters: &[String]) -> Result<Vec<String>> {
    let e2e = guest::e2e(guest.kind)?;
    let out = out(guest.kind)?;
    // Tests write to a directory next to `release/deps`. There is one for each processor.
    let temporary = e2e.ancestors().nth(3).context("no target directory")?;
    let script = format!(
        "{BEGIN}ulimit -Hn {FILES}\nmkdir -p {tmp}; mount -t tmpfs tmp {tmp}\n\
         export VB3_SLOWNESS={SLOWNESS} VB3_TESTS_NEED_ALL=1\n\
         cd {own}/crates/front/vb3 && {e2e} --test-threads={THREADS} {filters} 2>/out/stderr \
         | tee -a /out/said | grep -q '^test result: ok[.] [1-9]'\n",
        own = sh::root().display(),
        tmp = temporary.join("tmp").display(),
        e2e = e2e.display(),
        filters = filters.join(" "),
    );
    fs::write(out.join("run.sh"), script)?;
    let is_success = guest.run(&out, TESTS)?;
    let said = fs::read_to_string(out.join("said")).unwrap_or_default();
    let (ran, lost) = ran_and_lost(&said);
    if is_success {
        super::expect_matches(&ran, filters)?;
        return Ok(Vec::new());
    }
    let ended = said.lines().any(|line| line.starts_with("test result: "));
    let (name, place, is_known) = (guest.kind.name, out.display(), ended && !lost.is_empty());
    ensure!(is_known, "{name}: the tests failed: see {place}");
    Ok(lost)
}

/// Returns the names of the tests that ran, and of those that failed.
fn ran_and_lost(said: &str) -> (Vec<&str>, Vec<String>) {
    let tests = said.lines();
    let tests = tests.filter_map(|line| line.strip_prefix("test ")?.split_once(" ... "));
    let ran = tests.filter(|(_, result)| !result.starts_with("ignored"));
    let lost = ran.clone().filter(|(_, result)| result.ends_with("FAILED"));
    let lost = lost.map(|(name, _)| name.to_owned()).collect();
    (ran.map(|(name, _)| name).collect(), lost)
}
