//! Running a program on a machine, with an eye on what the display records.

use crate::sh;
use anyhow::{Context as _, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest a machine may take beyond the clip's own time.
const EXTRA_TIME: Duration = Duration::from_secs(30);

/// One run of a pipeline on a machine.
pub(super) struct Run {
    pub(super) machine: String,
    /// Where the display records.
    pub(super) recorded: PathBuf,
    report: PathBuf,
    log: PathBuf,
    /// Text that is shown during the run.
    label: String,
    pub(super) frames: u32,
    /// Bytes of a recorded frame.
    pub(super) frame_len: u64,
    /// How long it should take.
    pub(super) time: Duration,
}

impl Run {
    /// A run whose files are called `name` in `dir`.
    pub(super) fn new(dir: &Path, name: &str, machine: &str) -> Self {
        let file = |ending: &str| dir.join(format!("{name}-{machine}.{ending}"));
        Self {
            machine: machine.to_owned(),
            recorded: file("y4m"),
            report: file("json"),
            log: file("log"),
            label: format!("{name} {machine}"),
            frames: 0,
            frame_len: 1,
            time: Duration::ZERO,
        }
    }

    /// Runs `vb3 run` with devices and a program, and gives its report.
    pub(super) fn go(&self, vb3: &Path, devices: &[String], program: &[String]) -> Result<Value> {
        for old in [&self.recorded, &self.report] {
            let _ = std::fs::remove_file(old);
        }
        let mut command = Command::new(vb3);
        command.args(["run", "--machine", &self.machine]);
        for device in devices {
            command.args(["--device", device]);
        }
        command
            .arg("--report")
            .arg(&self.report)
            .arg("--")
            .args(program);
        eprintln!("+ {}", sh::shown(&command));
        let output = std::fs::File::create(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot run {}", vb3.display()))?;
        if let Err(e) = self.watch(child) {
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            bail!("{e:#}\n{}", said.trim_end());
        }
        let text = std::fs::read(&self.report)
            .with_context(|| format!("no report at {}", self.report.display()))?;
        serde_json::from_slice(&text).context("the report is not JSON")
    }

    /// Waits for the program, showing how many frames the display has recorded.
    fn watch(&self, mut child: Child) -> Result<()> {
        let style = ProgressStyle::with_template("  {msg:24} {wide_bar} {pos}/{len} frames")?;
        let bar = ProgressBar::new(u64::from(self.frames))
            .with_style(style)
            .with_message(self.label.clone());
        let patience = self.time + EXTRA_TIME;
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if start.elapsed() > patience {
                // The supervisor ends its program when it ends.
                let _ = child.kill();
                let _ = child.wait();
                bar.finish_and_clear();
                bail!("it has not ended after {} s", patience.as_secs());
            }
            let len = std::fs::metadata(&self.recorded).map_or(0, |file| file.len());
            bar.set_position(len / self.frame_len.max(1));
            std::thread::sleep(Duration::from_millis(50));
        };
        bar.finish_and_clear();
        ensure!(status.success(), "gst-launch-1.0 failed: {status}");
        Ok(())
    }
}

/// A file's name in a SPEC: commas and backslashes are escaped.
pub(super) fn in_spec(path: &Path) -> String {
    path.to_string_lossy()
        .replace('\\', r"\\")
        .replace(',', r"\,")
}
