//! The tests with programs of their own, tried once more.
//!
//! Other people's programs wait a second or two for a frame and then give up, and ours measure how
//! long a call waits, which a busy machine may not keep. One or two such tests that failed beside all others are run again by themselves, and said
//! by name: what fails twice fails, and who sees one name often has a fault to find.

use crate::sh;
use anyhow::{Context as _, Result, bail, ensure};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::thread;

/// Most tests that may fail and be tried again.
pub(crate) const MOST: usize = 2;
/// How cargo names the tests with other people's programs, and those with ours.
const PROGRAMS: [&str; 2] = ["`-p vb3 --test e2e`", "`-p vb3-intercept --test program`"];

/// Runs `cargo test` with these arguments, and again what [`worth_another_try`].
///
/// # Errors
/// Cargo cannot be run, a test fails twice, or one fails that is not tried again.
pub(crate) fn test(command: &mut Command, again: impl FnOnce() -> Command) -> Result<()> {
    let shown = sh::shown(command);
    eprintln!("+ {shown}");
    let (success, out, err) = passed_on(command).with_context(|| format!("cannot run {shown}"))?;
    if success {
        return Ok(());
    }
    let Some(names) = worth_another_try(&out, &err) else {
        bail!("{shown} failed");
    };
    eprintln!("tried again, alone: {}", names.join(", "));
    let mut command = again();
    command.args(["--test", "e2e", "--test", "program"]);
    command.args(["--", "--test-threads=1", "--exact"]);
    let (success, out, _) = passed_on(command.args(&names))?;
    ensure!(success, "failed twice: {}", names.join(", "));
    let ran = out.iter().filter(|line| line.ends_with("... ok")).count();
    ensure!(ran == names.len(), "{ran} of {} ran again", names.len());
    eprintln!("passed alone, failed beside others: {}", names.join(", "));
    Ok(())
}

/// The failed tests, if they are few and all among those with programs.
fn worth_another_try(out: &[String], err: &[String]) -> Option<Vec<String>> {
    let mut lines = err.iter().map(|line| line.trim());
    lines.find(|line| line.starts_with("error: ") && line.ends_with(" failed:"))?;
    let targets: Vec<&str> = lines.take_while(|line| line.starts_with('`')).collect();
    // One that broke down in between has no result, and did not run all its tests.
    let ended = out.iter().filter(|l| l.starts_with("test result: FAILED"));
    if ended.count() != targets.len() || !targets.iter().all(|t| PROGRAMS.contains(t)) {
        return None;
    }
    let failed = failed(out.iter().map(String::as_str));
    (1..=MOST).contains(&failed.len()).then_some(failed)
}

/// The names of the tests that failed, from what their program printed.
pub(crate) fn failed<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names = lines.filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    names.map(str::to_owned).collect()
}

/// Runs a command, passing on what it prints; gives whether it succeeded, and the lines.
fn passed_on(command: &mut Command) -> Result<(bool, Vec<String>, Vec<String>)> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let err = child.stderr.take().context("no standard error")?;
    let out = child.stdout.take().context("no standard output")?;
    let err = thread::spawn(move || lines(err, &mut std::io::stderr()));
    let out = lines(out, &mut std::io::stdout())?;
    let Ok(err) = err.join() else {
        bail!("the thread that reads standard error broke down");
    };
    Ok((child.wait()?.success(), out, err?))
}

/// Reads lines to the end, writing each as it comes.
fn lines(from: impl Read, to: &mut dyn Write) -> Result<Vec<String>> {
    let mut from = BufReader::new(from);
    let (mut all, mut line) = (Vec::new(), Vec::new());
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        all.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        line.clear();
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    const FAILED: &str =
        "test a::one ... ok\ntest a::two ... FAILED\ntest result: FAILED. 1 passed\n";

    #[test]
    fn a_few_failures_of_programs_are_tried_again() {
        let one = "warning: x\nerror: 1 target failed:\n    `-p vb3 --test e2e`\n";
        let two = "error: 2 targets failed:\n    `-p vb3 --test e2e`\n    \
                   `-p vb3-intercept --test program`\n";
        let wanted = |names: &[&str]| Some(names.iter().map(|&n| n.to_owned()).collect());
        assert_eq!(
            worth_another_try(&of(FAILED), &of(one)),
            wanted(&["a::two"])
        );
        let both = FAILED.repeat(2);
        let names = worth_another_try(&of(&both), &of(two));
        assert_eq!(names, wanted(&["a::two", "a::two"]));
        // The second broke down before its end.
        assert_eq!(worth_another_try(&of(FAILED), &of(two)), None);
        let many = format!("{}test a::six ... FAILED\n", FAILED.repeat(2));
        assert_eq!(worth_another_try(&of(&many), &of(two)), None);
        let err = of(one);
        assert_eq!(worth_another_try(&of("test a::one ... ok\n"), &err), None);
    }

    #[test]
    fn other_failures_are_final() {
        for err in [
            "error: 1 target failed:\n    `-p vb3-dma --lib`\n",
            "error: 2 targets failed:\n    `-p vb3 --test e2e`\n    `-p vb3-dma --lib`\n",
            "error: could not compile `vb3`\n",
        ] {
            assert_eq!(worth_another_try(&of(FAILED), &of(err)), None, "{err}");
        }
    }

    #[test]
    fn output_is_passed_on_whole() {
        let mut written = Vec::new();
        let read = lines(&b"one\ntwo \xff\nthree"[..], &mut written).unwrap();
        assert_eq!(written, b"one\ntwo \xff\nthree");
        assert_eq!(read, ["one", "two \u{fffd}", "three"]);
    }
}
