//! A program whose own pages, file system or reader stalls: it alone waits, and a camera beside it
//! goes on.

use crate::common::{Outcome, Run, compiled, finish, lacks};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The longest time between two frames of a camera at 60 fps that is no stall, on a machine that
/// is busy with other tests. What stalls in these tests does so for 2 s and more.
const LONGEST_MS: u32 = 1500;

/// What the capture beside a stall told: frames, and the longest time between two of them.
fn watched(stdout: &str) -> (u32, u32) {
    let told = stdout.lines().find(|line| line.starts_with("frames "));
    let words: Vec<&str> = told
        .unwrap_or_else(|| panic!("the capture told nothing: {stdout}"))
        .split(' ')
        .collect();
    let number = |at: usize| words[at].parse().expect("a number");
    (number(1), number(5))
}

/// Runs a stall beside a capture of six seconds. None where the stall cannot be made here.
fn beside_a_capture(stall: impl FnOnce(&Run) -> String) -> Option<Outcome> {
    let stalls = compiled("stalls.c")?;
    let run = Run::on("pc")
        .device("camera=pattern,fps=60")
        .device("camera=pattern")
        .patience(60);
    let stall = stall(&run);
    let stalls = stalls.display();
    let script = format!(
        "{stalls} watch 6 /dev/video0 & sleep 1; {stalls} {stall}; ended=$?; wait $!; exit $ended"
    );
    let outcome = run.program(["sh", "-c", &script]).run();
    if let Some(why) = outcome
        .stdout
        .lines()
        .find(|line| line.starts_with("skipped"))
    {
        eprintln!("{why}");
        return None;
    }
    outcome.expect_success();
    let (frames, longest_ms) = watched(&outcome.stdout);
    eprintln!("{}", outcome.stdout.trim());
    assert!(frames > 60, "{}", outcome.stdout);
    assert!(longest_ms < LONGEST_MS, "{}", outcome.stdout);
    Some(outcome)
}

/// The argument of an ioctl lies on a page that a thread of the program fills after two seconds,
/// having opened and asked a device itself. A kernel's copy_from_user waits for just that.
#[test]
fn a_page_filled_late_by_a_thread_that_calls_devices() {
    let Some(outcome) = beside_a_capture(|_| "page".to_owned()) else {
        return;
    };
    assert!(outcome.stdout.contains("stalled 2."), "{}", outcome.stdout);
    let named = |note: &String| note.contains("waits for itself") && note.contains("ioctl");
    assert!(
        outcome.report.notes.iter().any(named),
        "{:?}",
        outcome.report.notes
    );
}

/// The pages of a user pointer are filled after two seconds. A kernel faults them in when it pins
/// them, in QBUF; a device never waits for one.
#[test]
fn pages_for_a_device_filled_late() {
    let Some(outcome) = beside_a_capture(|_| "userptr".to_owned()) else {
        return;
    };
    assert!(outcome.stdout.contains("stalled 2."), "{}", outcome.stdout);
}

/// A path leads over a file system that the program serves, whose server stats a device before it
/// answers.
#[test]
fn a_file_system_that_the_program_serves_itself() {
    let Some(outcome) = beside_a_capture(|run| {
        let dir = run.file("mounted");
        std::fs::create_dir(&dir).unwrap();
        format!("fuse {}", dir.display())
    }) else {
        return;
    };
    // Two seconds for each time that the name is looked up.
    assert!(outcome.stdout.contains("stalled "), "{}", outcome.stdout);
}

/// A program holds a file of such a file system: what asks it, and what lets go of it, takes two
/// seconds, also where the supervisor does.
#[test]
fn a_held_file_that_answers_late() {
    beside_a_capture(|run| {
        let dir = run.file("mounted");
        std::fs::create_dir(&dir).unwrap();
        format!("held {}", dir.display())
    });
}

/// A program that opens, streams and maps is stopped in whatever it does, and goes on.
#[test]
fn a_program_that_is_stopped() {
    beside_a_capture(|_| "stopped /dev/video1".to_owned());
}

/// A recording goes to where nothing is taken for a while, as a disk that is slow: the display's
/// program waits, and the camera beside it goes on.
#[test]
fn a_disk_that_is_slow() {
    let Some(stalls) = compiled("stalls.c") else {
        return;
    };
    if lacks("v4l2-ctl") {
        return;
    }
    let run = Run::on("pc").device("camera=pattern,fps=60").patience(60);
    let [disk, go] = ["disk.y4m", "go"].map(|name| {
        let path = run.file(name);
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        path
    });
    let run = run.device(format!("display={},fps=60", disk.display()));
    let disk = std::thread::spawn(move || {
        let mut disk = std::fs::File::open(disk).unwrap();
        // To its end, which is the end of the capture.
        std::fs::read(go).unwrap();
        std::io::copy(&mut disk, &mut std::io::sink()).unwrap()
    });
    let script = format!(
        "(v4l2-ctl -d /dev/video1 --stream-out-mmap --stream-count=60 >shown 2>&1; echo shown >>order) & \
         {} watch 4 /dev/video0; echo watched >>order; : >go; wait",
        stalls.display()
    );
    let outcome = run.program(["sh", "-c", &script]).run();
    outcome.expect_success();
    let (frames, longest_ms) = watched(&outcome.stdout);
    assert!(frames > 60, "{}", outcome.stdout);
    assert!(longest_ms < LONGEST_MS, "{}", outcome.stdout);
    assert_eq!(outcome.read("order"), b"watched\nshown\n");
    // Frames of 640x480 in YUYV. v4l2-ctl takes the last it has queued back.
    let recorded = disk.join().unwrap();
    assert!(recorded > 50 * 640 * 480 * 2, "{recorded} bytes");
}

/// The thread that scales a camera's pictures is stopped: the camera's own calls and those of its
/// sibling go on, and its frame comes when the thread goes on.
#[test]
fn a_scaler_that_is_held() {
    let Some(hold) = compiled("hold.c") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut run = Command::new(&hold);
    run.current_dir(dir.path())
        .env("XDG_STATE_HOME", dir.path())
        .args(["vb3-convert", env!("CARGO_BIN_EXE_vb3")])
        .args([
            "run",
            "--machine",
            "pc",
            "--device",
            "capture-convert=pattern",
        ])
        .args(["--device", "camera=pattern,fps=60", "--"])
        .arg(&hold)
        .args(["scaled", "/dev/video0", "/dev/video1"]);
    let (status, stdout, stderr) = finish(&mut run, dir.path(), Duration::from_secs(120));
    assert_eq!(status, 0, "{stdout}{stderr}");
    let told = "frames beside 60, the scaled one waits\nit came\n";
    assert_eq!(stdout, told, "{stderr}");
}

/// What vb3 has to say goes to a pipe that nobody reads for a while: the programs go on.
#[test]
fn a_full_pipe_on_stderr() {
    let Some(stalls) = compiled("stalls.c") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    // Full, so that the first word waits.
    let filled = fill(&writer);
    let stalls = stalls.display();
    let done = dir.path().join("done");
    let script = format!(
        "{stalls} watch 4 /dev/video0 2>/dev/null & sleep 1; {stalls} traced 2>/dev/null; \
         ended=$?; wait $!; echo $ended > {}",
        done.display()
    );
    let mut vb3 = Command::new(env!("CARGO_BIN_EXE_vb3"))
        .env("XDG_STATE_HOME", dir.path())
        .args(["run", "--machine", "pc"])
        .args(["--device", "camera=pattern,fps=60"])
        .args(["--device", "camera=pattern", "--", "sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(writer)
        .spawn()
        .unwrap();
    let began = Instant::now();
    while !done.exists() && began.elapsed() < Duration::from_secs(40) {
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let in_time = done.exists();
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
    assert!(in_time, "the programs waited for the reader of stderr");
    assert!(said.contains("a buffer was not mapped"), "{said}");
    assert_eq!(
        std::fs::read_to_string(&done).unwrap().trim(),
        "0",
        "{said}"
    );
    let (_, longest_ms) = watched(&stdout);
    assert!(longest_ms < LONGEST_MS, "{stdout}");
}

/// Fills a pipe; how many bytes it holds.
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
