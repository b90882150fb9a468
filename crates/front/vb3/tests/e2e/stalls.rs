//! Programs whose pages, file system or reader answer late. Only such a program waits; other programs'
//! cameras continue.

use crate::common::{Run, RunOutput, compiled, finish, lacks, tempdir, vb3};
use crate::lifecycle::wait_for;
use crate::streams::{encode_to, encoded};
use crate::surroundings::command;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Number of frames that another program's camera must deliver during a stall, at 60 per second: five seconds'
/// worth, because a note comes after three to four seconds of one wait. The test runs in real time, because the
/// supervisor detects stalls by the system's clock.
const LATE: u32 = 300;

/// What a capture at 60 frames per second got: frames, lost frames, and the longest time between two in milliseconds.
pub(crate) fn captured(line: &str) -> Option<[u32; 3]> {
    let words: Vec<&str> = line.split(' ').collect();
    let ["frames", frames, "lost", lost, "gap", gap] = words[..] else {
        return None;
    };
    Some([frames, lost, gap].map(|number| number.parse().unwrap()))
}

/// Returns what a capture got, from the output of its program.
pub(crate) fn find_captured(text: &str) -> [u32; 3] {
    let found = text.lines().find_map(captured);
    found.unwrap_or_else(|| panic!("the capture told nothing: {text}"))
}

/// A capture in another run, which the stall does not affect. It shows how much the machine's other load delays a
/// capture.
pub(crate) struct Elsewhere {
    run: Child,
    _dir: TempDir,
}

impl Elsewhere {
    pub(crate) fn start(stalls: &Path) -> Self {
        let dir = tempdir();
        let script = format!(
            "{} watch 100000 /dev/video0 & watch=$!; read end; kill $watch; wait $watch",
            stalls.display()
        );
        let mut run = vb3(dir.path());
        run.args([
            "run",
            "--quiet",
            "--machine",
            "pc",
            "--device",
            "camera=pattern,identity=plain,fps=60",
            "--",
        ])
        .args(["sh", "-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
        Self {
            run: run.spawn().unwrap(),
            _dir: dir,
        }
    }

    /// Ends the capture. Returns what it got, as [`captured`].
    pub(crate) fn end(mut self) -> [u32; 3] {
        // The program ends at the end of its input.
        drop(self.run.stdin.take());
        let other = self.run.wait_with_output().unwrap();
        find_captured(&String::from_utf8_lossy(&other.stdout))
    }

    /// Asserts that a capture beside a stall got about what this one got, and more than [`LATE`] frames. The limits
    /// are wide, because other load does not meet both alike: a tenth of the frames, and a second.
    fn expect_like(self, stdout: &str) {
        let [_, usually_lost, usual_gap] = self.end();
        let [frames, lost, gap] = find_captured(stdout);
        let told = format!(
            "{lost} of {frames} lost, {gap} ms apart; elsewhere {usually_lost}, {usual_gap} ms"
        );
        println!("{told}");
        assert!(frames > LATE, "{told}: {stdout}");
        assert!(lost <= frames / 10 + 3 * usually_lost, "{told}: {stdout}");
        assert!(gap <= 1000 + 3 * usual_gap, "{told}: {stdout}");
    }
}

/// Returns shell commands that start a capture and wait for its first frame. It ends when `$watch`
/// gets a signal.
pub(crate) fn watching(stalls: &Path) -> String {
    let stalls = stalls.display();
    format!(
        "mkfifo frames; exec 9<>frames; {stalls} watch 100000 /dev/video0 & watch=$!; \
         head -c 1 <&9 >first; "
    )
}

/// Returns shell commands that run a stall during a capture.
fn script(stalls: &Path, stall: &str) -> String {
    let watching = watching(stalls);
    let stalls = stalls.display();
    format!("{watching}{stalls} {stall}; ended=$?; kill $watch; wait $watch && exit $ended")
}

/// Runs a stall during a capture. The stall ends after [`LATE`] frames. `None` if the stall cannot
/// be caused here.
fn beside_a_capture(stall: impl FnOnce(&Run) -> String) -> Option<RunOutput> {
    let stalls = compiled("stalls.c")?;
    let run = Run::on("pc")
        .real_time("a frame is lost if a call delays its camera")
        .device("camera=pattern,identity=plain,fps=60")
        .device("camera=pattern,identity=plain");
    let stall = stall(&run);
    let script = script(&stalls, &stall);
    let elsewhere = Elsewhere::start(&stalls);
    let outcome = run.program(["sh", "-c", &script]).run();
    if let Some(why) = outcome
        .stdout
        .lines()
        .find(|line| line.starts_with("skipped"))
    {
        vb3_skip::skip(why);
        return None;
    }
    outcome.expect_success();
    elsewhere.expect_like(&outcome.stdout);
    assert!(outcome.stdout.contains("stalled"), "{}", outcome.stdout);
    Some(outcome)
}

/// As [`beside_a_capture`], and the stall's program serves a file system.
fn beside_a_capture_with_files(stall: &str) {
    beside_a_capture(|run| {
        let dir = run.file("mounted");
        std::fs::create_dir(&dir).unwrap();
        format!("{stall} {}", dir.display())
    });
}

/// The argument of an ioctl lies on a page that another thread of the program fills late, after its
/// own calls on a device. A kernel's copy_from_user also waits for the page.
#[test]
fn a_page_filled_late_by_a_thread_that_calls_devices() {
    let Some(outcome) = beside_a_capture(|_| "page".to_owned()) else {
        return;
    };
    let named = |note: &String| note.contains("blocks itself") && note.contains("ioctl");
    assert!(
        outcome.report.notes.iter().any(named),
        "{:?}",
        outcome.report.notes
    );
}

/// The pages of a user pointer are filled late. A kernel faults them in at QBUF, when it pins them;
/// a device never waits for them.
#[test]
fn pages_for_a_device_filled_late() {
    beside_a_capture(|_| "userptr".to_owned());
}

/// A path crosses a file system that the program serves. The server stats a device before it
/// answers.
#[test]
fn a_file_system_that_the_program_serves_itself() {
    beside_a_capture_with_files("fuse");
}

/// A program holds a file of a file system that the program serves. Queries about the file and its release
/// take long, also in the supervisor.
#[test]
fn a_held_file_that_answers_late() {
    beside_a_capture_with_files("held");
}

/// A program queues a file as a dma-buf. The file's system never answers, also not when the supervisor
/// closes the file.
#[test]
fn a_queued_file_that_never_answers() {
    beside_a_capture_with_files("queued");
}

/// A dup2() puts a camera at a file's number, which closes the file. The file's system never answers this close.
/// Meanwhile the program copies the camera's descriptor.
#[test]
fn a_replaced_file_that_never_answers() {
    beside_a_capture_with_files("replaced");
}

/// A program holds a file whose system never answers. Its threads' calls on the file never return. A second
/// program opens, polls, locks, reads and streams a device meanwhile.
#[test]
fn a_held_file_that_never_answers() {
    beside_a_capture_with_files("shared");
}

/// As [`beside_a_capture`], and a wrapper runs `vb3`.
fn beside_a_capture_in(dir: &Path, wrapper: &[&OsStr], stall: &str) {
    let Some(stalls) = compiled("stalls.c") else {
        return;
    };
    let script = script(&stalls, stall);
    let mut run = command(wrapper[0], dir);
    run.args(&wrapper[1..])
        .args([env!("CARGO_BIN_EXE_vb3"), "run", "--machine", "pc"])
        .args(["--device", "camera=pattern,identity=plain,fps=60"])
        .args([
            "--device",
            "camera=pattern,identity=plain",
            "--",
            "sh",
            "-c",
            &script,
        ]);
    let elsewhere = Elsewhere::start(&stalls);
    let (status, stdout, stderr) = finish(&mut run, dir);
    if stdout.contains("skipped") {
        return vb3_skip::skip(stdout);
    }
    assert_eq!(status, 0, "{stdout}{stderr}");
    assert!(stdout.contains("stalled"), "{stdout}{stderr}");
    elsewhere.expect_like(&stdout);
}

/// Makes the directory of a file system in a temporary directory.
fn directory() -> (tempfile::TempDir, PathBuf) {
    let dir = crate::common::tempdir();
    let mounted = dir.path().join("mounted");
    std::fs::create_dir(&mounted).unwrap();
    (dir, mounted)
}

/// As [`a_held_file_that_never_answers`], and a program that `vb3` does not run serves the file's system.
#[test]
fn a_file_served_outside_that_never_answers() {
    let Some(stalls) = compiled("stalls.c") else {
        return;
    };
    let (dir, mounted) = directory();
    let wrapper = [stalls.as_os_str(), "around".as_ref(), mounted.as_os_str()];
    let stall = format!("within {}", mounted.display());
    beside_a_capture_in(dir.path(), &wrapper, &stall);
}

/// As [`a_queued_file_that_never_answers`], without pidfd_getfd: the program sends the file to the supervisor.
#[test]
fn a_sent_file_that_never_answers() {
    let Some(refuse) = compiled("refuse.c") else {
        return;
    };
    let (dir, mounted) = directory();
    let stall = format!("queued {}", mounted.display());
    beside_a_capture_in(dir.path(), &[refuse.as_os_str(), "getfd".as_ref()], &stall);
}

/// Starts a client of the second device, which writes to descriptor 8 while it streams. Stops the helper process of
/// `vb3` that satisfies a condition, and kills the client. Another client then succeeds.
fn beside_a_stopped_helper(run: Run, condition: &str, client: &str, another: &str) {
    let Some(stalls) = compiled("stalls.c") else {
        return;
    };
    let script = format!(
        r#"{watching} vb3=$PPID; stalls={stalls}; mkfifo output; exec 8<>output
        {client} & client=$!
        head -c 1 <&8 >first
        for process in $(cat /proc/$vb3/task/*/children); do
          {condition} && kill -STOP $process && echo stopped
        done
        kill -9 $client; $stalls frames; {another}; ended=$?
        kill $watch; wait $watch && exit $ended"#,
        watching = watching(&stalls),
        stalls = stalls.display()
    );
    let elsewhere = Elsewhere::start(&stalls);
    let outcome = run.program(["sh", "-c", &script]).run();
    outcome.expect_success();
    assert!(outcome.stdout.contains("stopped"), "{}", outcome.stdout);
    elsewhere.expect_like(&outcome.stdout);
}

/// The client of a decoder is killed while its codec process is stopped.
#[test]
fn a_codec_process_that_is_stopped() {
    if lacks("gst-launch-1.0") {
        return;
    }
    let Some(stream) = encoded("320x240", 60, "bframes=0") else {
        return;
    };
    let run = Run::on("pc")
        .real_time("a frame is lost if a call delays its camera")
        .device("camera=pattern,identity=plain,fps=60")
        .device("h264dec");
    std::fs::write(run.file("stream.h264"), stream).unwrap();
    let decode =
        "gst-launch-1.0 -q filesrc location=stream.h264 ! h264parse ! v4l2h264dec ! filesink";
    beside_a_stopped_helper(
        run,
        "grep -q memfd:vb3-codec /proc/$process/maps",
        &format!("{decode} location=output"),
        &format!("{decode} location=pictures && test -s pictures"),
    );
}

/// The client of a camera is killed while the ffmpeg that plays the camera's clip is stopped.
#[test]
fn an_ffmpeg_that_is_stopped() {
    if lacks("ffmpeg") {
        return;
    }
    let run = Run::on("pc")
        .real_time("a frame is lost if a call delays its camera")
        .device("camera=pattern,identity=plain,fps=60")
        .device("camera=clip.mkv");
    encode_to(&run.file("clip.mkv"), "320x240", 300, "bframes=0");
    beside_a_stopped_helper(
        run,
        "grep -q ffmpeg /proc/$process/comm",
        "$stalls watch 100000 /dev/video1 9>&8",
        "$stalls watch 3 /dev/video1 9>&- >again",
    );
}

/// The kernel holds the lock of an epoll set while it writes events to a page that the program fills
/// late. The set contains a camera, and the thread that fills the page captures its frames.
#[test]
fn an_epoll_set_whose_events_are_written_late() {
    beside_a_capture(|_| "set".to_owned());
}

/// A program is stopped at any moment while it opens, streams and maps, and continues later.
#[test]
fn a_program_that_is_stopped() {
    beside_a_capture(|_| "stopped /dev/video1".to_owned());
}

/// A recording's destination accepts nothing for a while, like a slow disk. The display's program
/// waits, and the other program's camera continues.
#[test]
fn a_disk_that_is_slow() {
    let Some(stalls) = compiled("stalls.c") else {
        return;
    };
    if lacks("v4l2-ctl") {
        return;
    }
    let run = Run::on("pc")
        .real_time("a frame is lost if a call delays its camera")
        .device("camera=pattern,identity=plain,fps=60");
    let [disk, go] = ["disk.y4m", "go"].map(|name| {
        let path = run.file(name);
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        path
    });
    let run = run.device(format!("display={},fps=60", disk.display()));
    let disk = std::thread::spawn(move || {
        let mut disk = std::fs::File::open(disk).unwrap();
        // Reads until the capture ends.
        std::fs::read(go).unwrap();
        std::io::copy(&mut disk, &mut std::io::sink()).unwrap()
    });
    let script = format!(
        "(v4l2-ctl -d /dev/video1 --stream-out-mmap --stream-count=60 >shown 2>&1; echo shown >>order) & \
         {} watch 240 /dev/video0; echo watched >>order; : >go; wait",
        stalls.display()
    );
    let outcome = run.program(["sh", "-c", &script]).run();
    outcome.expect_success();
    let mut lines = outcome.stdout.lines();
    assert_eq!(lines.find_map(captured).expect("a capture")[0], 240);
    assert_eq!(outcome.read("order"), b"watched\nshown\n");
    // Frames of 640x480 in YUYV. v4l2-ctl cancels its last queued frames.
    let recorded = disk.join().unwrap();
    assert!(recorded > 50 * 640 * 480 * 2, "{recorded} bytes");
}

/// The thread that scales a camera's pictures is stopped. Calls on this camera and on another
/// continue; the frame comes when the thread continues.
#[test]
fn a_scaler_that_is_held() {
    let Some(hold) = compiled("hold.c") else {
        return;
    };
    let dir = crate::common::tempdir();
    let mut run = command(&hold, dir.path());
    run.args(["vb3-convert", env!("CARGO_BIN_EXE_vb3")])
        .args([
            "run",
            "--machine",
            "pc",
            "--device",
            "capture-convert=pattern",
        ])
        .args(["--device", "camera=pattern,identity=plain,fps=60", "--"])
        .arg(&hold)
        .args(["scaled", "/dev/video0", "/dev/video1"]);
    let (status, stdout, stderr) = finish(&mut run, dir.path());
    assert_eq!(status, 0, "{stdout}{stderr}");
    let told = "frames beside 60, the scaled one waits\nit came\n";
    assert_eq!(stdout, told, "{stderr}");
}

/// Standard error of vb3 is a full pipe. The programs continue.
#[test]
fn a_full_pipe_on_stderr() {
    let Some(stalls) = compiled("stalls.c") else {
        return;
    };
    let dir = crate::common::tempdir();
    let (mut reader, writer) = std::io::pipe().unwrap();
    // The pipe is full, so the first message waits.
    let filled = fill(&writer);
    let done = dir.path().join("done");
    let script = format!(
        "{watching}{stalls} traced 2>/dev/null; ended=$?; {stalls} frames; kill $watch; wait $watch; \
         echo $ended > done",
        watching = watching(&stalls),
        stalls = stalls.display()
    );
    let elsewhere = Elsewhere::start(&stalls);
    let mut vb3 = vb3(dir.path())
        .args(["run", "--machine", "pc"])
        .args(["--device", "camera=pattern,identity=plain,fps=60"])
        .args([
            "--device",
            "camera=pattern,identity=plain",
            "--",
            "sh",
            "-c",
            &script,
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(writer)
        .spawn()
        .unwrap();
    wait_for("the end of the programs", || done.exists().then_some(()));
    let mut said = Vec::new();
    reader.read_to_end(&mut said).unwrap();
    let mut stdout = String::new();
    vb3.stdout
        .take()
        .unwrap()
        .read_to_string(&mut stdout)
        .unwrap();
    vb3.wait().unwrap();
    let said = String::from_utf8_lossy(said.get(filled..).unwrap_or_default()).into_owned();
    assert!(said.contains("a buffer was not mapped"), "{said}");
    assert_eq!(
        std::fs::read_to_string(&done).unwrap().trim(),
        "0",
        "{said}"
    );
    elsewhere.expect_like(&stdout);
}

/// Fills a pipe. Returns its number of bytes.
fn fill(mut writer: &std::io::PipeWriter) -> usize {
    use rustix::fs::{OFlags, fcntl_setfl};
    fcntl_setfl(writer, OFlags::NONBLOCK).unwrap();
    let mut filled = 0;
    while let Ok(n) = writer.write(&[b'.'; 512]) {
        filled += n;
    }
    fcntl_setfl(writer, OFlags::empty()).unwrap();
    filled
}
