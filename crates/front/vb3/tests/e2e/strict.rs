//! `--strict`, the closing line of a run, and the verdict of `vb3 why`.

use crate::common::{Run, RunOutput, finish, lacks, vb3};
use std::fs;

/// A camera with pace=free, so that a busy machine does not lose frames.
const CAMERA: &str = "camera=pattern,format=YUYV,sizes=320x240,fps=30,pace=free";

/// Returns the lines that `vb3` itself wrote.
fn own_lines(outcome: &RunOutput) -> Vec<&str> {
    let lines = outcome.stderr.lines();
    lines.filter(|line| line.starts_with("vb3: ")).collect()
}

/// Runs a shell with a camera, with options.
fn run(options: &[&str], script: &str, shell: &str) -> RunOutput {
    let run = Run::on("pc").device(CAMERA).options(options);
    fs::write(run.file("steps.toml"), script).unwrap();
    run.program(["sh", "-c", shell]).run()
}

#[test]
fn clean_runs_of_real_programs_are_strictly_well() {
    for (tool, shell) in [
        (
            "v4l2-ctl",
            "v4l2-ctl --all --list-formats-ext --stream-mmap=4 --stream-count=20 >&2",
        ),
        (
            "ffmpeg",
            "ffmpeg -nostdin -v error -f v4l2 -i /dev/video0 -frames:v 20 -f null -",
        ),
        (
            "gst-launch-1.0",
            "gst-launch-1.0 -q v4l2src num-buffers=20 ! fakesink",
        ),
    ] {
        if lacks(tool) {
            continue;
        }
        let run = Run::on("pc").device(CAMERA).options(["--strict"]);
        let outcome = run.program(["sh", "-c", shell]).run();
        assert_eq!(outcome.report.refusals, [], "{tool}");
        assert_eq!(own_lines(&outcome), Vec::<&str>::new(), "{tool}");
        outcome.expect_success();
        let why = outcome.why();
        let start = "device  kind    frames  lost  refused   copies\nvideo0  camera  ";
        assert!(why.starts_with(start), "{why}");
        let good = "\n\nNo problems; everything was released.\n";
        assert!(why.contains(good), "{why}");
    }
}

#[test]
fn frames_that_a_program_took_back_are_counted() {
    if lacks("v4l2-ctl") {
        return;
    }
    let run = Run::on("pc").options(["--strict"]);
    let shown = run.file("shown.y4m");
    let display = format!("display={},format=YU12,size=32x16", shown.display());
    let shell = "v4l2-ctl -d /dev/video0 --stream-out-mmap=8 --stream-count=60 >&2";
    let outcome = run.device(&display).program(["sh", "-c", shell]).run();
    outcome.expect_success();
    let queue = &outcome.report.devices[0].queues[0];
    let (frames, others) = (queue.frames, queue.taken_back);
    assert_eq!(frames + others, 60);
    assert!(others > 0, "v4l2-ctl ends streaming without waiting");
    let said = format!(
        "No problems; everything was released. video0 showed {frames} of 60 queued frames, because"
    );
    assert!(outcome.why().contains(&said), "{}", outcome.why());
    let frame_bytes = "FRAME\n".len() as u64 + 32 * 16 * 3 / 2;
    let bytes = fs::metadata(&shown).unwrap().len();
    assert_eq!(bytes / frame_bytes, frames, "frames of the recording");
}

#[test]
fn refused_calls_fail_a_strict_run() {
    if lacks("v4l2-ctl") {
        return;
    }
    // The device has only one input.
    let refused = "for n in 1 2 3; do v4l2-ctl -d /dev/video0 -i 7; done; true";
    let line = "vb3: video0: 0 frames, 3 refused. `vb3 why` explains.";
    let strict = format!("{line} --strict: exit status 123.");
    for (options, status, said) in [
        (&[][..], 0, vec![line]),
        (&["--strict"], 123, vec![&*strict]),
        (&["--strict", "--quiet"], 123, vec![]),
    ] {
        let outcome = run(options, "", refused);
        assert_eq!(outcome.status, status, "{}", outcome.stderr);
        assert_eq!(own_lines(&outcome), said);
        let why = outcome.why();
        let told = "S_INPUT on /dev/video0 failed with EINVAL (3 times): invalid argument.";
        assert!(why.contains(told), "{why}");
    }
    let failed = run(&["--strict"], "", "v4l2-ctl -d /dev/video0 -i 7; exit 4");
    assert_eq!(failed.status, 4, "the program's own status comes first");
}

#[test]
fn a_refused_call_on_a_buffer_fails_a_strict_run() {
    // Exports a buffer, and begins an access with flags that do not exist.
    let script = "import fcntl, os, struct\n\
        fd = os.open('/dev/video0', os.O_RDWR)\n\
        fcntl.ioctl(fd, 0xc0145608, bytearray(struct.pack('5I', 2, 1, 1, 0, 0)))\n\
        arg = bytearray(struct.pack('4Ii11I', 1, 0, 0, os.O_RDWR, -1, *[0] * 11))\n\
        fcntl.ioctl(fd, 0xc0405610, arg)\n\
        buf = struct.unpack_from('i', arg, 16)[0]\n\
        try: fcntl.ioctl(buf, 0x40086200, struct.pack('Q', 0xff))\n\
        except OSError as e: print(e.errno)\n";
    if lacks("python3") {
        return;
    }
    let run = Run::on("pc").device(CAMERA).options(["--strict"]);
    let outcome = run.program(["python3", "-c", script]).run();
    assert_eq!((outcome.status, &*outcome.stdout), (123, "22\n"));
    let why = outcome.why();
    let told = "DMA_BUF_IOCTL_SYNC on /dev/video0 failed with EINVAL: invalid argument.";
    assert!(why.contains(told), "{why}");
}

#[test]
fn steps_that_never_happen_fail_a_strict_run() {
    if lacks("v4l2-ctl") {
        return;
    }
    let script = "[[step]]\ndevice = \"/dev/video0\"\nframe = 1\nlose = true\n\n\
                  [[step]]\ndevice = \"/dev/video0\"\ncall = 500\nfail = \"QBUF\"\nerrno = \"EIO\"\n\n\
                  [[step]]\ndevice = \"/dev/video0\"\ntime = \"10min\"\nunplug = true\n";
    let client = "v4l2-ctl --stream-mmap=3 --stream-count=5 >&2";
    let with = ["--script", "steps.toml", "--strict"];
    let line = "vb3: steps 2 and 3 never happened. `vb3 why` explains.";
    for (options, status) in [(&with[..2], 0), (&with, 123)] {
        let outcome = run(options, script, client);
        assert_eq!(outcome.status, status, "{}", outcome.stderr);
        let lines = own_lines(&outcome);
        assert!(lines.len() == 1 && lines[0].starts_with(line), "{lines:?}");
        let why = outcome.why();
        let called = "steps.toml:6: step 2 (fail) never happened: QBUF was called only ";
        let late = "steps.toml:12: step 3 (unplug) never happened: the run ended earlier.";
        assert!(why.contains(called) && why.contains(late), "{why}");
        assert!(why.contains("steps.toml:1, at "), "{why}");
    }
    // Faults of a script are not problems: a lost frame, a failed call.
    let script = "[[step]]\ndevice = \"/dev/video0\"\nframe = 1\nlose = true\n\
                  [[step]]\ndevice = \"/dev/video0\"\nframe = 2\nerror = true\n\
                  [[step]]\ndevice = \"/dev/video0\"\nfail = \"G_INPUT\"\nerrno = \"EIO\"\n";
    let client = "v4l2-ctl --stream-mmap=3 --stream-count=5 >&2; v4l2-ctl --get-input; true";
    let outcome = run(&with, script, client);
    assert_eq!((outcome.status, own_lines(&outcome)), (0, vec![]));
    let why = outcome.why();
    let good = "The script injected 3 faults. No other problems; everything was released.";
    assert!(why.contains(good), "{why}");
}

#[test]
fn missed_frames_fail_a_strict_run() {
    if lacks("gst-launch-1.0") {
        return;
    }
    let slow = "gst-launch-1.0 -q v4l2src num-buffers=20 ! identity sleep-time=150000 ! fakesink";
    let run = Run::on("pc").device("camera=pattern,format=YUYV,sizes=320x240,fps=30");
    let run = run.real_time("the player is too slow");
    let outcome = run.options(["--strict"]).program(slow.split(' ')).run();
    let lost = outcome.queue("/dev/video0").lost;
    assert!(lost > 0, "{:?}", outcome.report);
    assert_eq!(outcome.status, 123, "{}", outcome.stderr);
    let said = format!("{lost} lost. `vb3 why` explains. --strict: exit status 123.");
    let lines = own_lines(&outcome);
    assert!(lines.len() == 1 && lines[0].ends_with(&said), "{lines:?}");
}

#[test]
fn wrong_report_names_get_a_suggestion() {
    let dir = crate::common::tempdir();
    let dir = dir.path();
    fs::write(dir.join("r.json"), "{\"format\": 1").unwrap();
    fs::write(dir.join("r.html"), "<!DOCTYPE html>").unwrap();
    let run = ["run", "--report", "r.txt", "--", "true"];
    for (words, wanted) in [
        (
            &run[..],
            "vb3: --report r.txt: a report is FILE.json (data) or FILE.html (a page); \
             did you mean r.json?",
        ),
        (
            &["why", "r.html"],
            "vb3: r.html is an HTML page, not a JSON report (did you mean r.json?); \
             --report FILE.json writes one",
        ),
        (
            &["why", "r.json"],
            "vb3: r.json is not a report: it is cut off at line 1, after 12 bytes; `vb3 run --report \
             FILE.json -- PROGRAM` writes a report",
        ),
        (
            &["diff", "r", "r.json"],
            "vb3: there is no report r (did you mean r.json?); `vb3 run -- PROGRAM` keeps one for \
             `vb3 why`, and --report FILE.json writes one",
        ),
    ] {
        let (status, out, said) = finish(vb3(dir).args(words), dir);
        assert_eq!((status, &*out, said.trim_end()), (125, "", wanted));
    }
    assert!(!dir.join("r.txt").exists(), "nothing was run");
}

#[test]
fn a_strict_run_allows_named_problems() {
    if lacks("python3") {
        return;
    }
    let script = "import fcntl\n\
        try: fcntl.ioctl(open('/dev/video0'), 0x40045613, bytearray(4))\n\
        except OSError as e: print(e.errno)\n";
    let strict = |allowed: &[&str]| {
        let run = Run::on("pc").device(CAMERA).options(["--strict"]);
        run.options(allowed)
            .program(["python3", "-c", script])
            .run()
    };
    let outcome = strict(&[]);
    let names: Vec<String> = outcome.report.problem_names().into_iter().collect();
    assert_eq!(outcome.stdout, "22\n");
    assert_eq!(
        (outcome.status, &names[..]),
        (123, &["STREAMOFF".to_owned()][..])
    );
    let said = "--strict: exit status 123";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    let why = outcome.why();
    let line = "`vb3 run --strict --allow STREAMOFF` allows these.";
    assert!(why.contains(line), "{why}");
    assert_eq!(strict(&["--allow", "VIDIOC_STREAMOFF,lost"]).status, 0);
    assert_eq!(strict(&["--allow", "lost"]).status, 123);
}
