//! The tests of `vb3 run` with other people's programs, tried once more.
//!
//! Those programs wait a second or two for a frame and then give up, which a busy machine may not
//! keep. One or two such tests that failed beside all others are run again by themselves, and said
//! by name: what fails twice fails, and who sees one name often has a fault to find.

use crate::sh;
use anyhow::{Context as _, Result, bail, ensure};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::thread;

/// Most tests that may fail and be tried again.
const MOST: usize = 2;
/// How cargo names the tests with other people's programs.
const PROGRAMS: &str = "`-p vb3 --test e2e`";

/// Runs `cargo test` with these arguments, and again what [`worth_another_try`].
///
/// # Errors
/// Cargo cannot be run, a test fails twice, or one fails that is not tried again.
pub(super) fn test(command: &mut Command, again: impl FnOnce() -> Command) -> Result<()> {
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
    command.args(["--test", "e2e", "--", "--test-threads=1", "--exact"]);
    let (success, out, _) = passed_on(command.args(&names))?;
    ensure!(success, "failed twice: {}", names.join(", "));
    let ran = out.iter().filter(|line| line.ends_with("... ok")).count();
    ensure!(ran == names.len(), "{ran} of {} ran again", names.len());
    eprintln!("passed alone, failed beside others: {}", names.join(", "));
    Ok(())
}

/// The failed tests, if they are few and all among those with other people's programs.
fn worth_another_try(out: &[String], err: &[String]) -> Option<Vec<String>> {
    let mut targets = err.iter().map(|line| line.trim());
    targets.find(|line| line.starts_with("error: 1 target failed"))?;
    if targets.next() != Some(PROGRAMS) {
        return None;
    }
    let failed = out.iter().filter_map(|line| {
        let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
        Some(name.to_owned())
    });
    let failed: Vec<String> = failed.collect();
    (1..=MOST).contains(&failed.len()).then_some(failed)
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

    const FAILED: &str = "test a::one ... ok\ntest a::two ... FAILED\n";

    #[test]
    fn a_few_failures_of_programs_are_tried_again() {
        let err = of("warning: x\nerror: 1 target failed:\n    `-p vb3 --test e2e`\n");
        assert_eq!(
            worth_another_try(&of(FAILED), &err),
            Some(vec!["a::two".to_owned()])
        );
        let many = FAILED.repeat(3);
        assert_eq!(worth_another_try(&of(&many), &err), None);
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
