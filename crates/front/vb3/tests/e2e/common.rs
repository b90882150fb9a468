//! Shared helpers of the tests: running a program under vb3, and checking its pictures.

use crate::surroundings::command;
use rustix::fs::{StatVfsMountFlags, statvfs};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use vb3_picture::{Background, Frame, Picture, Size, read_number, render};
use vb3_report::{DeviceReport, QueueReport, Report};
use vb3_v4l2::PixelFormat;

/// The built-in machines that every device must work on. By default, tests use the first two.
pub(crate) const MACHINES: [&str; 9] = [
    "pc",
    "soc-noncoherent",
    "pc-untrusted",
    "soc-64k",
    "soc-boundary",
    "soc-cma",
    "soc-iommu",
    "soc-sram",
    "vm-bounce",
];

/// Makes two tests of a function that takes a list: `usual` for the first list, and `rest`, which only the full
/// tier runs, for the second.
macro_rules! tiers {
    ($($name:ident($usual:expr, $rest:expr))*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "some lists are literals")]
            use super::*;

            #[test]
            fn usual() {
                super::$name($usual);
            }

            #[test]
            #[ignore = "full: the rest of the list"]
            fn rest() {
                super::$name($rest);
            }
        }
    )*};
}
pub(crate) use tiers;

/// As [`tiers`], for a list of machines: `usual` runs on two.
macro_rules! on_machines {
    ($($name:ident)*) => {
        crate::common::tiers! {
            $($name(&crate::common::MACHINES[..2], &crate::common::MACHINES[2..]))*
        }
    };
}
pub(crate) use on_machines;

pub(crate) use vb3_skip::lacks;

/// Returns whether `vb3-codec` was built without libavcodec. If so, says so, as [`lacks`] does.
pub(crate) fn lacks_libavcodec() -> bool {
    let Err(why) = vb3_codec::Library::ask(Path::new(env!("CARGO_BIN_EXE_vb3-codec"))) else {
        return false;
    };
    vb3_skip::skip(format_args!(
        "{why}; `cargo xtask setup` installs libavcodec"
    ));
    true
}

/// Runs ffmpeg, which must succeed. Returns its standard output.
pub(crate) fn ffmpeg<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Vec<u8> {
    ffmpeg_in(Path::new("."), words)
}

/// Runs ffmpeg in a directory, as [`ffmpeg`].
pub(crate) fn ffmpeg_in<W: AsRef<OsStr>>(
    dir: &Path,
    words: impl IntoIterator<Item = W>,
) -> Vec<u8> {
    let mut ffmpeg = Command::new("ffmpeg");
    let ffmpeg = ffmpeg.current_dir(dir);
    let ffmpeg = ffmpeg.args(["-nostdin", "-v", "error", "-y"]).args(words);
    let out = ffmpeg.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{ffmpeg:?}: {said}");
    out.stdout
}

/// Makes a directory with a short path, because paths of sockets have at most 108 bytes. It lies in memory if
/// there is room: on a disk, making the files of hundreds of runs takes a sixth of the tests' time.
pub(crate) fn tempdir() -> TempDir {
    const ROOM: u64 = 4 << 30;
    let memory = Path::new("/dev/shm");
    let is_roomy = statvfs(memory).is_ok_and(|at| {
        at.f_bavail.saturating_mul(at.f_frsize) >= ROOM
            && !at.f_flag.contains(StatVfsMountFlags::NOEXEC)
    });
    let usual = std::env::temp_dir();
    let place = if is_roomy {
        memory
    } else if usual.as_os_str().len() > 40 {
        Path::new("/tmp")
    } else {
        &usual
    };
    tempfile::tempdir_in(place).unwrap()
}

/// A run of vb3 that a test prepares.
pub(crate) struct Run {
    machine: String,
    devices: Vec<String>,
    options: Vec<OsString>,
    program: Vec<OsString>,
    patience: Duration,
    scratch: Option<&'static str>,
    is_real_time: bool,
    pub(crate) dir: TempDir,
}

/// Result of a run.
pub(crate) struct RunOutput {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) report: Report,
    pub(crate) dir: TempDir,
}

impl Run {
    /// Prepares a run on a machine, without devices or program. Time is virtual.
    pub(crate) fn on(machine: &str) -> Self {
        Self {
            machine: machine.to_owned(),
            devices: Vec::new(),
            options: Vec::new(),
            program: Vec::new(),
            patience: COMMAND_TIMEOUT,
            scratch: None,
            is_real_time: false,
            dir: tempdir(),
        }
    }

    /// Adds a device.
    pub(crate) fn device(mut self, spec: impl Into<String>) -> Self {
        self.devices.push(spec.into());
        self
    }

    /// Adds options of `vb3 run`.
    pub(crate) fn options<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        let words = words.into_iter().map(|word| word.as_ref().to_owned());
        self.options.extend(words);
        self
    }

    /// Sets the directory for the run's generated files.
    pub(crate) fn scratch(mut self, place: &'static str) -> Self {
        self.scratch = Some(place);
        self
    }

    /// Uses real time instead of virtual time. `_why` is the reason.
    pub(crate) fn real_time(mut self, _why: &str) -> Self {
        self.is_real_time = true;
        self
    }

    /// Sets a longer time limit.
    pub(crate) fn patience(mut self, seconds: u64) -> Self {
        self.patience = Duration::from_secs(seconds);
        self
    }

    /// Returns the path of a file in the run's directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Chooses the program.
    pub(crate) fn program<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.program = words
            .into_iter()
            .map(|word| word.as_ref().to_owned())
            .collect();
        self
    }

    /// Adds arguments to the program.
    pub(crate) fn and<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.program
            .extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Runs. Panics if the run does not end in time.
    pub(crate) fn run(self) -> RunOutput {
        let report = self.file("report.json");
        let mut command = vb3(self.dir.path());
        command
            .envs(self.scratch.map(|place| ("TMPDIR", place)))
            .args(["run", "--machine", &self.machine, "--report"])
            .arg(&report);
        for device in &self.devices {
            command.args(["--device", device]);
        }
        let chooses = self.options.iter().any(|option| option == "--clock");
        if !self.is_real_time && !chooses {
            command.args(["--clock", "virtual"]);
        }
        command.args(&self.options).arg("--").args(&self.program);
        let (status, stdout, stderr) = finish_within(&mut command, self.dir.path(), self.patience);
        let report = std::fs::read(&report).unwrap_or_default();
        let report = serde_json::from_slice(&report).unwrap_or_else(|e| {
            panic!("no report ({e}); status {status}\nstdout: {stdout}\nstderr: {stderr}")
        });
        RunOutput {
            status,
            stdout,
            stderr,
            report,
            dir: self.dir,
        }
    }
}

/// Time limit of a command, much longer than any command needs.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_secs(300);

/// Makes a `vb3` command that runs in a directory and keeps its last report there.
pub(crate) fn vb3(dir: &Path) -> Command {
    command(env!("CARGO_BIN_EXE_vb3"), dir)
}

/// Returns the factor for time limits. The environment sets it, for example for an emulated processor.
pub(crate) fn slowness() -> u32 {
    let said = std::env::var("VB3_SLOWNESS").ok();
    said.and_then(|said| said.parse().ok()).unwrap_or(1)
}

/// Runs a command to its end. Returns status, stdout and stderr. Both go to files, so that no full
/// pipe can block the command.
pub(crate) fn finish(command: &mut Command, dir: &Path) -> (i32, String, String) {
    finish_within(command, dir, COMMAND_TIMEOUT)
}

fn finish_within(command: &mut Command, dir: &Path, patience: Duration) -> (i32, String, String) {
    let file = |name: &str| dir.join(name);
    let create = |name: &str| std::fs::File::create(file(name)).unwrap();
    let text =
        |name: &str| String::from_utf8_lossy(&std::fs::read(file(name)).unwrap()).into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(create("stdout"))
        .stderr(create("stderr"))
        .spawn()
        .unwrap();
    let patience = patience * slowness();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > patience {
            let waits = waits_below(child.id());
            let _ = child.kill();
            let _ = child.wait();
            panic!(
                "not ended after {patience:?}: {command:?}\nstdout: {}\nstderr: {}\n{waits}",
                text("stdout"),
                text("stderr")
            );
        }
        // Only the deadline counts; the sleep just limits polling.
        std::thread::sleep(Duration::from_millis(5));
    };
    (status.code().unwrap_or(-1), text("stdout"), text("stderr"))
}

/// Lists the threads of a process and of its descendants: state, the kernel's function that waits, system call.
fn waits_below(pid: u32) -> String {
    let mut list = String::new();
    let mut pids = vec![pid];
    while let Some(pid) = pids.pop() {
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let read = |name| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let children = read("children");
            let children = children.split_whitespace();
            pids.extend(children.filter_map(|child| child.parse::<u32>().ok()));
            let (stat, call) = (read("stat"), read("syscall"));
            let state = stat
                .rsplit(')')
                .next()
                .and_then(|rest| rest.split_whitespace().next());
            let _ = writeln!(
                list,
                "process {pid}, thread {} {:?}: {} in {:?}, call {}",
                task.file_name().display(),
                read("comm").trim_end(),
                state.unwrap_or("gone"),
                read("wchan"),
                call.trim_end()
            );
        }
    }
    list
}

#[test]
fn waits_of_a_commands_children_are_listed() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "cat; true"]).stdin(Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    let start = Instant::now();
    while !waits_below(shell.id()).contains("\"cat\": S in \"") {
        assert!(start.elapsed() < COMMAND_TIMEOUT, "cat does not read");
        std::thread::yield_now();
    }
    // The end of its input ends cat, and then the shell.
    assert!(shell.wait().unwrap().success());
}

impl RunOutput {
    /// Returns the output of `vb3 why` for the run.
    pub(crate) fn why(&self) -> String {
        let dir = self.dir.path();
        let mut why = vb3(dir);
        why.args(["why", "report.json"]);
        let (status, stdout, stderr) = finish(&mut why, dir);
        assert_eq!(status, 0, "{stderr}");
        stdout
    }

    /// Asserts that the program succeeded, made no early access, and released everything.
    pub(crate) fn expect_success(&self) -> &Self {
        self.expect_end();
        assert_eq!(self.report.early_accesses, []);
        self
    }

    /// Asserts that the program succeeded and released everything. Early accesses are allowed.
    pub(crate) fn expect_end(&self) -> &Self {
        assert_eq!(
            self.status, 0,
            "stdout: {}\nstderr: {}",
            self.stdout, self.stderr
        );
        self.expect_nothing_held()
    }

    /// Asserts that no call was refused, and that no program forgot a DMA_BUF_IOCTL_SYNC.
    pub(crate) fn expect_no_refusal_or_missing_sync(&self, name: &str) {
        let report = &self.report;
        assert!(report.refusals.is_empty(), "{name}: {:?}", report.refusals);
        let missing = &report.missing_syncs;
        assert!(missing.is_empty(), "{name}: {missing:?}");
    }

    /// Asserts that everything was released.
    pub(crate) fn expect_nothing_held(&self) -> &Self {
        assert!(
            self.report.held.is_empty(),
            "{:?}\nstderr: {}",
            self.report.held,
            self.stderr
        );
        let (maps, unmaps) = (
            self.report.total(|q| q.maps),
            self.report.total(|q| q.unmaps),
        );
        assert_eq!(maps, unmaps, "DMA mappings made and given back");
        self
    }

    /// Reads a file of the run's directory.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(name)).unwrap_or_else(|e| {
            panic!(
                "{name}: {e}\nstdout: {}\nstderr: {}",
                self.stdout, self.stderr
            )
        })
    }

    /// Returns the report of a device.
    pub(crate) fn device(&self, node: &str) -> &DeviceReport {
        self.report
            .devices
            .iter()
            .find(|d| d.node == node)
            .unwrap_or_else(|| panic!("no {node} in {:?}", self.report.devices))
    }

    /// Returns the report of a device's only queue.
    pub(crate) fn queue(&self, node: &str) -> &QueueReport {
        let [queue] = &self.device(node).queues[..] else {
            panic!("{:?}", self.device(node))
        };
        queue
    }
}

/// Size of pictures in tests: small, but large enough for the frame number in the pattern.
pub(crate) const SIZE: (u32, u32) = (320, 240);

/// Returns `size=…` with [`SIZE`], for a SPEC.
pub(crate) fn size_option() -> String {
    format!("size={}x{}", SIZE.0, SIZE.1)
}

fn size() -> Size {
    Size::new(SIZE.0, SIZE.1).unwrap()
}

/// Returns the pattern's picture with this number.
pub(crate) fn pattern(layout: &'static PixelFormat, number: u32) -> Frame {
    render(
        layout,
        size(),
        number,
        Background::Bars,
        &Picture::default(),
    )
}

/// Returns a recording of the pattern's pictures 0 to `count - 1`.
pub(crate) fn recording(layout: &'static PixelFormat, count: u32) -> Vec<u8> {
    (0..count)
        .flat_map(|number| pattern(layout, number).bytes().to_vec())
        .collect()
}

/// Asserts that `bytes` are unchanged pictures of the pattern, in order. Returns their numbers.
pub(crate) fn expect_pattern(layout: &'static PixelFormat, bytes: &[u8]) -> Vec<u32> {
    let len = vb3_picture::bytes(layout, size());
    assert_eq!(
        bytes.len() % len,
        0,
        "{} bytes are no whole pictures of {len}",
        bytes.len()
    );
    let mut numbers = Vec::new();
    for (place, data) in bytes.chunks_exact(len).enumerate() {
        let frame = Frame::from_bytes(layout, size(), data.to_vec()).unwrap();
        let (number, bits) = read_number(&frame);
        assert_eq!(bits, 32);
        let sent = pattern(layout, number);
        let wrong = sent.bytes().iter().zip(data).position(|(a, b)| a != b);
        assert_eq!(
            wrong, None,
            "picture {place} (number {number}): first wrong byte"
        );
        numbers.push(number);
    }
    assert!(
        numbers.is_sorted_by(|a, b| a < b),
        "out of order: {numbers:?}"
    );
    numbers
}

/// Returns words to put before a program. They make all its timeouts thirty times as long, since on a busy machine a
/// device can take longer than the program waits. `None` without a C compiler.
pub(crate) fn patience() -> Option<[String; 2]> {
    let library = compiled("patient.so.c")?;
    Some(["env".into(), format!("LD_PRELOAD={}", library.display())])
}

/// Returns the words to run a shell command with [`patience`], if there is a C compiler.
pub(crate) fn patiently(line: &str) -> Vec<String> {
    let shell = ["sh", "-c", line].map(str::to_owned);
    patience().into_iter().flatten().chain(shell).collect()
}

/// Compiles a test program, once for each version of its sources. Returns its path, or `None`
/// without a compiler.
pub(crate) fn compiled(source: &str) -> Option<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    const STATIC: [&str; 7] = [
        "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-pthread", "-o",
    ];
    const SHARED: [&str; 7] = [
        "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o",
    ];
    let (compiler, words): (_, &[&str]) = match source.split_once('.')?.1 {
        "c" => ("gcc", &STATIC),
        "so.c" => ("gcc", &SHARED),
        _ => ("go", &["build", "-o"]),
    };
    if lacks(compiler) {
        return None;
    }
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs");
    let dir = all.join(format!("{:016x}", version(source)));
    let binary = dir.join(source.replace('.', "-"));
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if !binary.exists() {
        std::fs::create_dir_all(&dir).unwrap();
        // Another process may compile the same program.
        let new = dir.join(std::process::id().to_string());
        let out = Command::new(compiler)
            .env("CGO_ENABLED", "0")
            .env("GOCACHE", all.join("gocache"))
            .env("GOFLAGS", "-mod=mod")
            .args(words)
            .arg(&new)
            .arg(programs().join(source))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{said}");
        std::fs::rename(&new, &binary).unwrap();
    }
    Some(binary)
}

/// Returns the first two numbers of a program's version; zeroes if it prints none. Clients of different versions use
/// devices differently.
pub(crate) fn version_of(program: &str, option: &str) -> (u32, u32) {
    let out = Command::new(program).arg(option).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    let text = text.split_once("version ").map_or("", |(_, rest)| rest);
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Returns GStreamer's version.
pub(crate) fn gstreamer_version() -> (u32, u32) {
    version_of("gst-launch-1.0", "--version")
}

/// Returns the directory of the test programs' sources.
fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs")
}

/// Returns a hash of a source and all headers.
fn version(source: &str) -> u64 {
    let is_header = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "h");
    let entries = std::fs::read_dir(programs()).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(is_header);
    files.sort();
    files.push(programs().join(source));
    let mut hasher = DefaultHasher::new();
    for file in files {
        hasher.write(&std::fs::read(file).unwrap());
    }
    hasher.finish()
}

/// Runs one subtest of `files.c` on a camera. It must succeed and release everything. Returns its
/// output, or `None` without a compiler.
pub(crate) fn runs_files(word: &str) -> Option<String> {
    let files = compiled("files.c")?;
    let outcome = Run::on("pc")
        .device(format!(
            "camera=pattern,identity=plain,format=YUYV,fps=60,{}",
            size_option()
        ))
        .patience(240)
        .program([files.as_os_str()])
        .and([word, "/dev/video0"])
        .run();
    outcome.expect_success();
    Some(outcome.stdout)
}
