//! Tries uses and tests on other kernels and another processor, in virtual machines.

use super::matrix::{USES, WAITS};
use super::same;
use crate::guest::{self, Guest, Kind};
use crate::sh;
use anyhow::{Context as _, Result, bail};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest time for one use. The guest's instructions are translated.
const USE: Duration = Duration::from_secs(300);

/// Longest time for tests.
const TESTS: Duration = Duration::from_secs(3 * 3600);

/// Number of tests at a time. A translated processor keeps some tests' time limits only one by one.
const THREADS: &str = "1";
/// Factor by which programs may take longer in a guest.
const SLOWNESS: &str = "10";

/// Maximum number of open files, as systemd sets it.
/// The kernel's own limit, 4,096, is too low for some tests.
const FILES: u32 = 524_288;

/// The beginning of every script.
const BEGIN: &str = "export HOME=/tmp PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\n";

/// Makes an empty directory for a guest's input and output.
fn out(kind: Kind) -> Result<PathBuf> {
    let out = sh::target().join("reach").join(kind.name);
    sh::fresh(&out)?;
    Ok(out)
}

/// Tries every use of the table in a guest. Returns the row's name and the results.
/// A run on a virtual clock must be the same in the guest as here.
///
/// # Errors
/// `vb3` cannot be built for the guest, the guest does not boot or ends early, or that run differs.
pub(super) fn uses(guest: &Guest) -> Result<(String, Vec<bool>)> {
    let kind = guest.kind;
    let (vb3, _) = guest::programs(kind, false)?;
    let out = out(kind)?;
    std::fs::write(out.join("waits.py"), WAITS)?;
    std::fs::write(out.join("run.sh"), script(&vb3))?;
    for (i, (_, command)) in USES.iter().enumerate() {
        std::fs::write(out.join(format!("use-{i}")), command)?;
    }
    same::prepare(&out)?;
    let uses = u32::try_from(USES.len() + 1).unwrap_or(u32::MAX);
    guest.run(&out, USE * uses)?;
    let said = std::fs::read_to_string(out.join("said")).context("the guest said nothing")?;
    let found = judge(&said)?;
    let run = same::compare(&sh::release_vb3()?, &out);
    run.with_context(|| format!("a run in {} is not the same as here", kind.name))?;
    eprintln!(
        "reach: {}: report, trace and pictures of a run as here",
        kind.name
    );
    Ok((format!("{} (Linux {})", kind.name, guest.version()), found))
}

/// Tries to run a program on a kernel that is too old for `vb3 run`. Returns the row's name.
///
/// # Errors
/// As [`uses`]; or the program ran, or the reason was not reported in one sentence.
pub(super) fn refusal(guest: &Guest) -> Result<String> {
    let kind = guest.kind;
    let (vb3, _) = guest::programs(kind, false)?;
    let out = out(kind)?;
    let script = format!(
        "{BEGIN}cd /tmp; timeout -k 5 {limit} {vb3} run -d camera=pattern -- touch /out/ran \
         >/out/refusal 2>&1; echo $? >/out/refused-with; {vb3} doctor >/out/doctor 2>&1; \
         echo $? >/out/doctor-ended-with\n",
        limit = USE.as_secs() - 10,
        vb3 = vb3.display(),
    );
    std::fs::write(out.join("run.sh"), script)?;
    guest.run(&out, USE * 3)?;
    let read = |name: &str| {
        std::fs::read_to_string(out.join(name)).with_context(|| format!("no {name} was written"))
    };
    let (said, doctor) = (read("refusal")?, read("doctor")?);
    if out.join("ran").exists() || read("refused-with")?.trim() == "0" {
        bail!("{}: a program was run: {said}", kind.name);
    }
    if read("doctor-ended-with")?.trim() == "0" {
        bail!("{}: vb3 doctor finds nothing wrong: {doctor}", kind.name);
    }
    if said.lines().count() != 1 || !said.contains("Linux 5.19") {
        bail!(
            "{}: this is not one sentence with the reason: {said}",
            kind.name
        );
    }
    eprintln!(
        "reach: {}: refused, as expected: {}",
        kind.name,
        said.trim()
    );
    Ok(format!("{} (Linux {})", kind.name, guest.version()))
}

/// Returns the guest's script, which tries each use under `vb3 run`.
fn script(vb3: &Path) -> String {
    let mut text = String::from(BEGIN);
    text.push_str("export WAITS=\"$(cat /out/waits.py)\"\n");
    for (i, (name, _)) in USES.iter().enumerate() {
        let _ = writeln!(
            text,
            "timeout -k 5 {limit} {vb3} run -d camera=pattern -d display=null -- sh /out/use-{i} \
             >/out/use-{i}.log 2>&1 && echo 'ok {name}' >>/out/said \
             || echo \"lost {name}: $(tail -n 3 /out/use-{i}.log | tr '\\n' ' ')\" >>/out/said",
            limit = USE.as_secs() - 10,
            vb3 = vb3.display(),
        );
    }
    let same = same::command(vb3, "/out");
    let _ = writeln!(text, "({same}) >/out/same.log 2>&1");
    text
}

/// Parses the results: one line for each use, in the order of the uses.
fn judge(said: &str) -> Result<Vec<bool>> {
    let mut lines = said.lines();
    USES.iter()
        .map(|(name, _)| {
            let line = lines.next().unwrap_or_default();
            if line == format!("ok {name}") {
                Ok(true)
            } else if line.starts_with(&format!("lost {name}")) {
                Ok(false)
            } else {
                bail!("of {name} the guest said {line:?}")
            }
        })
        .collect()
}

/// Runs tests with real programs in guests.
pub(super) fn run_tests(only: &[String], filters: &[String]) -> Result<()> {
    let kinds: Vec<Kind> = guest::ALL
        .iter()
        .copied()
        .filter(|kind| only.iter().any(|name| name == kind.name))
        .collect();
    if kinds.is_empty() {
        let names: Vec<_> = guest::ALL.iter().map(|kind| kind.name).collect();
        bail!("tests run in a virtual machine: {}", names.join(", "));
    }
    let mut failed = Vec::new();
    for kind in kinds {
        let guest = Guest::get(kind)?;
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        let lost = tests_in(&guest, &filters)?;
        if !lost.is_empty() {
            failed.push(format!("{}: {}", kind.name, lost.join(", ")));
        }
    }
    if !failed.is_empty() {
        bail!("tests failed on {}", failed.join("; "));
    }
    Ok(())
}

/// Runs tests in a guest. Returns the names of the failed tests.
fn tests_in(guest: &Guest, filters: &[&str]) -> Result<Vec<String>> {
    let kind = guest.kind;
    let (_, e2e) = guest::programs(kind, true)?;
    let e2e = e2e.context("no tests were built")?;
    let out = out(kind)?;
    // Tests write to a directory next to `release/deps`. There is one for each processor.
    let temporary = e2e.ancestors().nth(3).context("no target directory")?;
    let temporary = temporary.join("tmp");
    let script = format!(
        "{BEGIN}ulimit -Hn {FILES}\nmkdir -p {tmp}; mount -t tmpfs tmp {tmp}\n\
         export VB3_SLOWNESS={SLOWNESS}\n\
         cd {own}/crates/vb3 && {e2e} --test-threads={THREADS} {filters} 2>/out/stderr \
         | tee -a /out/said | grep -q '^test result: ok'\n",
        own = sh::root().display(),
        tmp = temporary.display(),
        e2e = e2e.display(),
        filters = filters.join(" "),
    );
    std::fs::write(out.join("run.sh"), script)?;
    guest.run(&out, TESTS)?;
    if std::fs::read_to_string(out.join("status"))?.trim() == "0" {
        return Ok(Vec::new());
    }
    let said = std::fs::read_to_string(out.join("said")).unwrap_or_default();
    let lost = said.lines();
    let lost = lost.filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    let lost: Vec<String> = lost.map(str::to_owned).collect();
    let ended = said.lines().any(|line| line.starts_with("test result: "));
    if !ended || lost.is_empty() {
        bail!("{}: the tests failed: see {}", kind.name, out.display());
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_stops_half_way_is_a_fault() {
        let all: String = USES
            .iter()
            .map(|(name, _)| format!("ok {name}\n"))
            .collect();
        assert!(judge(&all).unwrap().iter().all(|works| *works));
        let (name, _) = USES[0];
        let lost = all.replacen(&format!("ok {name}"), &format!("lost {name}: why"), 1);
        assert!(!judge(&lost).unwrap()[0]);
        let (half, _) = all.split_at(all.len() / 2);
        assert!(judge(half).is_err());
    }
}
