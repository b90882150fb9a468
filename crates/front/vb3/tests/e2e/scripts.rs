//! `--script`: events happen when the script says so, under a small client and real programs, and the report
//! lists them.

mod m2m;
mod programs;

use crate::common::{Run, RunOutput, SIZE, compiled, finish, lacks, pattern, size_option, vb3};
use std::fs;
use vb3_v4l2::pixfmt::YUYV;

const FREE: &str = "camera=pattern,format=YUYV,pace=free";

fn camera(more: &str) -> String {
    format!("{FREE},{}{more}", size_option())
}

/// Prepares a run with a script.
fn scripted(machine: &str, device: &str, script: &str) -> Run {
    let run = Run::on(machine).device(device);
    fs::write(run.file("script.toml"), script).unwrap();
    run.options(["--script", "script.toml"])
}

/// Captures `count` frames with the small client; `None` without a compiler.
fn frames(run: Run, count: &str) -> Option<RunOutput> {
    let client = compiled("frames.c")?;
    let run = run.program([client.as_os_str()]);
    Some(run.and([count, "frames.raw"]).run())
}

/// Returns the lines that begin with a word, without it, as numbers.
fn lines(outcome: &RunOutput, word: &str) -> Vec<Vec<i64>> {
    let lines = outcome.stdout.lines();
    let lines = lines.filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    let numbers = |line: &str| line.split(' ').filter_map(|n| n.parse().ok()).collect();
    lines.map(numbers).collect()
}

/// Returns a step on /dev/video0.
fn step(lines: &str) -> String {
    format!("[[step]]\ndevice = \"/dev/video0\"\n{lines}\n")
}

/// Returns the frame or call of each event of an action.
fn rows(outcome: &RunOutput, action: &str) -> Vec<Option<u64>> {
    let events = outcome.report.script.iter();
    let events = events.filter(|event| event.action == action);
    events.map(|event| event.frame.or(event.call)).collect()
}

#[test]
fn every_frame_fault_happens_as_scripted() {
    let steps = [
        "frame = 2\nlate = \"150ms\"",
        "frame = 4\ntwice = true",
        "frame = 7\ntorn = true",
        "frame = 8\nerror = true",
        "frame = 9\nshort = 1000",
        "frame = 10\nevery = 2\ncount = 2\nlose = true",
        "frame = 11\ncorrupt = 16",
        "frame = 1000\nlose = true",
    ];
    let script: String = steps.iter().map(|lines| step(lines)).collect();
    for machine in ["pc", "soc-noncoherent", "soc-sram", "vm-bounce"] {
        let run = scripted(machine, &camera(""), &script);
        let run = run.real_time("the client measures how late a frame is");
        let Some(outcome) = frames(run, "12") else {
            return;
        };
        outcome.expect_success();
        let got = lines(&outcome, "frame");
        let sequences: Vec<i64> = got.iter().map(|frame| frame[0]).collect();
        let wanted = [0, 1, 2, 3, 4, 4, 6, 7, 8, 9, 11, 13];
        assert_eq!(sequences, wanted, "{machine}: {}", outcome.stdout);
        let whole = i64::from(SIZE.0 * SIZE.1 * 2);
        for frame in &got {
            let used = if frame[0] == 9 { 1000 } else { whole };
            assert_eq!((frame[1], frame[2]), (used, i64::from(frame[0] == 8)));
            assert!(frame[0] != 2 || frame[3] >= 150, "{machine}: {frame:?}");
        }
        let bytes = outcome.read("frames.raw");
        let mut rest = &bytes[..];
        for frame in &got {
            let (data, behind) = rest.split_at(frame[1] as usize);
            rest = behind;
            let sent = pattern(&YUYV, frame[0] as u32);
            let mut sent = sent.bytes()[..data.len()].to_vec();
            if frame[0] == 7 {
                let before = pattern(&YUYV, 6);
                let half = sent.len() / 2;
                sent[half..].copy_from_slice(&before.bytes()[half..]);
            }
            let wrong: Vec<(&u8, &u8)> = sent.iter().zip(data).filter(|(a, b)| a != b).collect();
            let corrupt = if frame[0] == 11 { 16 } else { 0 };
            assert_eq!(wrong.len(), corrupt, "{machine}: frame {}", frame[0]);
            assert!(wrong.iter().all(|(a, b)| **a == !**b));
        }
        assert!(rest.is_empty());
        assert_eq!(rows(&outcome, "lose"), [Some(10), Some(12)], "{machine}");
        for action in ["late", "twice", "torn", "error", "short", "corrupt"] {
            assert_eq!(rows(&outcome, action).len(), 1, "{machine}: {action}");
        }
        let missed = &outcome.report.script_missed;
        let [(8, why)] = missed.iter().map(|m| (m.step, &m.why)).collect::<Vec<_>>()[..] else {
            panic!("{missed:?}")
        };
        assert!(why.starts_with("the device delivered only "), "{why}");
    }
}

#[test]
fn scripted_call_failures_do_not_reach_the_device() {
    let script = [
        step("call = 1\nfail = \"STREAMON\"\nerrno = \"EPROTO\""),
        step("call = 5\nevery = 2\ncount = 2\nfail = \"VIDIOC_QBUF\"\nerrno = \"EIO\""),
        step("frame = 6\nfail = \"DQBUF\"\nerrno = 110"),
        step("time = \"1us\"\nfail = \"G_FMT\"\nerrno = \"EBUSY\""),
    ];
    let run = scripted("pc", &camera(""), &script.concat());
    let run = run.real_time("a step waits for a time before the first frame");
    let Some(outcome) = frames(run, "10") else {
        return;
    };
    outcome.expect_success();
    let failed: Vec<&str> = outcome
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("failed "))
        .collect();
    let wanted = ["G_FMT 16", "STREAMON 71", "QBUF 5", "QBUF 5", "DQBUF 110"];
    assert_eq!(failed, wanted, "{}", outcome.stdout);
    let sequences: Vec<i64> = lines(&outcome, "frame").iter().map(|f| f[0]).collect();
    assert_eq!(sequences, (0..10).collect::<Vec<_>>());
    // Calls count from the start of the step.
    let rows = rows(&outcome, "fail");
    assert_eq!(rows, [Some(1), Some(1), Some(5), Some(7), Some(1)]);
}

#[test]
fn the_source_changes_and_loses_its_signal() {
    let script = [
        step("frame = 5\nsource = \"64x48\""),
        step("frame = 9\nsignal = \"lost\""),
        step("time = \"900ms\"\nsignal = \"back\""),
    ];
    let device = "camera=pattern,format=YUYV,size=320x240,fps=25,sizes=320x240:64x48";
    let run = scripted("pc", device, &script.concat());
    let Some(outcome) = frames(run, "14") else {
        return;
    };
    outcome.expect_success();
    assert_eq!(
        lines(&outcome, "format")[..2],
        [vec![320, 240], vec![64, 48]],
        "{}",
        outcome.stdout
    );
    // V4L2_EVENT_SOURCE_CHANGE, V4L2_EVENT_SRC_CH_RESOLUTION, V4L2_IN_ST_NO_SIGNAL.
    let events = lines(&outcome, "event");
    assert_eq!(
        events,
        [[5, 1, 0], [5, 1, 2], [5, 1, 0]],
        "{}",
        outcome.stdout
    );
    let sizes: Vec<i64> = lines(&outcome, "frame").iter().map(|f| f[1]).collect();
    let large = sizes.iter().filter(|size| **size == 320 * 240 * 2).count();
    assert_eq!(large, 5, "{}", outcome.stdout);
    let small = sizes[5..].iter().all(|size| *size == 64 * 48 * 2);
    assert!(small, "{}", outcome.stdout);
    assert_eq!(rows(&outcome, "signal").len(), 2);
}

#[test]
fn contiguous_memory_is_taken_and_comes_back() {
    let script = "[[step]]\noccupy_cma = \"128KiB\"\n[[step]]\ndevice = \"/dev/video0\"\n\
                  call = 3\nof = \"REQBUFS\"\nfree_cma = true\n";
    let run = scripted("soc-cma", &camera(""), script);
    let Some(outcome) = frames(run, "3") else {
        return;
    };
    outcome.expect_success();
    let failed: Vec<&str> = outcome
        .stdout
        .lines()
        .filter(|line| line.starts_with("failed"))
        .collect();
    // 153,600 bytes in one run.
    assert_eq!(failed, ["failed REQBUFS 12", "failed REQBUFS 12"]);
    let refusal = &outcome.report.refusals[0];
    assert_eq!((&*refusal.constraint, refusal.times), ("contiguous", 2));
    assert_eq!(refusal.found, 128 << 10);
    assert_eq!(outcome.report.script.len(), 2);
}

#[test]
fn iommu_fault_loses_one_frame() {
    let run = scripted(
        "soc-iommu",
        &camera(""),
        &step("frame = 3\niommu_fault = true"),
    );
    let Some(outcome) = frames(run, "8") else {
        return;
    };
    outcome.expect_success();
    let bad: Vec<i64> = lines(&outcome, "frame").iter().map(|f| f[2]).collect();
    assert_eq!(bad.iter().sum::<i64>(), 1, "{}", outcome.stdout);
    assert_eq!(rows(&outcome, "iommu_fault"), [None]);
}

#[test]
fn stopped_clock_loses_no_frame() {
    let script = "[[step]]\ntime = \"200ms\"\nstop_clock = \"600ms\"\n";
    let device = "camera=pattern,format=YUYV,size=64x48,fps=25";
    let run = scripted("pc", device, script).real_time("the step stops it");
    let Some(outcome) = frames(run, "20") else {
        return;
    };
    outcome.expect_success();
    let got = lines(&outcome, "frame");
    // Afterwards the devices' time is behind the system's.
    assert!(got.first().unwrap()[3] < 600, "{}", outcome.stdout);
    assert!(got.last().unwrap()[3] >= 600, "{}", outcome.stdout);
    assert_eq!(rows(&outcome, "stop_clock"), [None]);
}

#[test]
fn v4l2_ctl_sees_gaps_bad_frames_and_no_signal() {
    if lacks("v4l2-ctl") {
        return;
    }
    let script = [
        step("frame = 4\ncount = 2\nlose = true"),
        step("frame = 8\nerror = true"),
        step("call = 2\nof = \"STREAMOFF\"\nsignal = \"lost\""),
        step("call = 1\nof = \"STREAMOFF\"\nsignal = \"lost\""),
    ];
    let run = scripted("pc", &camera(""), &script.concat());
    let stream = "v4l2-ctl --stream-mmap=3 --stream-count=10 --verbose && v4l2-ctl --list-inputs";
    let outcome = run.program(["sh", "-c", stream]).run();
    outcome.expect_success();
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(said.contains("seq:      6"), "{said}");
    assert!(
        !said.contains("seq:      4 ") && !said.contains("seq:      5 "),
        "{said}"
    );
    assert!(said.contains("no signal"), "{said}");
    assert_eq!(
        said.lines().filter(|l| l.contains("error")).count(),
        1,
        "{said}"
    );
}

#[test]
fn v4l2_ctl_finds_a_scripted_camera_after_replug() {
    if lacks("v4l2-ctl") {
        return;
    }
    let run = scripted("pc", &camera(""), &step("frame = 4\nunplug = true"));
    let stream = "v4l2-ctl --stream-mmap=3 --stream-count=100 2>&1
                  \"$0\" ctl plug video0
                  v4l2-ctl --stream-mmap=3 --stream-count=3 --stream-to=after.raw";
    let outcome = (run.program(["sh", "-c", stream, env!("CARGO_BIN_EXE_vb3")])).run();
    outcome.expect_success();
    let said = "VIDIOC_DQBUF: failed: No such device";
    assert!(outcome.stdout.contains(said), "{}", outcome.stdout);
    let frame = (SIZE.0 * SIZE.1 * 2) as usize;
    assert_eq!(outcome.read("after.raw").len(), 3 * frame);
    let told: Vec<&str> = outcome.report.script.iter().map(|e| &*e.action).collect();
    assert_eq!(told, ["unplug"]);
}

#[test]
fn ffmpeg_leaves_out_short_and_bad_frames() {
    if lacks("ffmpeg") {
        return;
    }
    let script = [
        step("frame = 3\nerror = true"),
        step("frame = 5\nshort = \"1KiB\""),
    ];
    let device = camera("").replace("pace=free", "fps=30");
    let run = scripted("pc", &device, &script.concat());
    let ffmpeg = "ffmpeg -nostdin -y -f v4l2 -i /dev/video0 -frames:v 10 -f null -";
    let outcome = run.program(ffmpeg.split(' ')).run();
    outcome.expect_success();
    for said in ["corrupted data", "1024 bytes, but 153600 were expected"] {
        let said = format!("Dequeued v4l2 buffer contains {said}");
        assert_eq!(
            outcome.stderr.matches(&said).count(),
            1,
            "{}",
            outcome.stderr
        );
    }
    assert_eq!(rows(&outcome, "error"), [Some(3)]);
    assert_eq!(rows(&outcome, "short"), [Some(5)]);
}

#[test]
fn gstreamer_reports_a_failed_call() {
    if lacks("gst-launch-1.0") {
        return;
    }
    let script = step("call = 8\nfail = \"DQBUF\"\nerrno = \"ENODEV\"");
    let run = scripted("pc", &camera(""), &script);
    let gst = "gst-launch-1.0 v4l2src num-buffers=100 ! fakesink";
    let outcome = run.program(gst.split(' ')).run();
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(said.contains("ERROR"), "{said}");
    assert_eq!(rows(&outcome, "fail"), [Some(8)]);
    assert_eq!(outcome.report.script[0].value, "VIDIOC_DQBUF with ENODEV");
}

#[test]
fn shipped_scripts_play_and_are_explained() {
    if lacks("v4l2-ctl") {
        return;
    }
    let run = Run::on("soc-cma").device("camera=pattern,pace=free,size=640x480");
    let run = run.options(["--script", "fragmented-cma", "--report", "run.html"]);
    let stream = ["v4l2-ctl", "--stream-mmap=3", "--stream-count=3"];
    let outcome = run.program(stream).run();
    assert_eq!(outcome.report.refusals[0].constraint, "contiguous");
    let page = String::from_utf8(outcome.read("run.html")).unwrap();
    let said = "the longest free run is now 256 KiB";
    assert!(page.contains("<h2>Script</h2>") && page.contains(said));
    let dir = outcome.dir.path();
    let (status, why, _) = finish(vb3(dir).arg("why"), dir);
    assert_eq!(status, 0);
    assert!(why.contains("fragmented-cma.toml:7, at 0."), "{why}");
    assert!(why.contains(said), "{why}");
    let flaky = Run::on("pc")
        .device(camera(""))
        .options(["--script", "flaky-usb-camera"]);
    let stream = ["v4l2-ctl", "--stream-mmap=3", "--stream-count=150"];
    let outcome = flaky.program(stream).run();
    outcome.expect_success();
    // The run may have had further events before its end.
    let (lost, short) = (rows(&outcome, "lose"), rows(&outcome, "short"));
    assert_eq!(lost[..2], [Some(33), Some(94)]);
    assert_eq!(short[..3], [Some(20), Some(67), Some(114)]);
}

#[test]
fn a_replayed_run_has_its_script() {
    if lacks("v4l2-ctl") {
        return;
    }
    let run = scripted("pc", &camera(""), &step("frame = 1\nlose = true"));
    let stream = ["v4l2-ctl", "--stream-mmap=3", "--stream-count=5"];
    let first = run.program(stream).run();
    let dir = first.dir.path();
    fs::remove_file(dir.join("script.toml")).unwrap();
    let replay = ["replay", "report.json", "--report", "again.json"];
    let (status, _, said) = finish(vb3(dir).args(replay), dir);
    assert_eq!(status, 0, "{said}");
    let again: vb3_report::Report = serde_json::from_slice(&first.read("again.json")).unwrap();
    let told = |report: &vb3_report::Report| {
        let events = report.script.iter();
        events.map(|e| (e.line, e.frame)).collect::<Vec<_>>()
    };
    assert_eq!(told(&again), [(1, Some(1))]);
    assert_eq!(told(&again), told(&first.report));
}

#[test]
fn a_bad_script_is_one_sentence_with_its_line() {
    let dir = crate::common::tempdir();
    let dir = dir.path();
    fs::write(dir.join("huge.toml"), vec![b'#'; 1 << 20]).unwrap();
    let long = format!("[[step]]\n{} = 1\n", "k".repeat(100_000));
    for (script, options, wanted) in [
        ("[[step]\n", &[][..], "script.toml:1: "),
        (
            "\n[[step]]\ndevice = \"/dev/video0\"\nlose = 1\n",
            &[],
            "script.toml:4: ",
        ),
        (
            "[[step]]\ndevice = \"/dev/video7\"\nlose = true\n",
            &[],
            "script.toml:1: there is no /dev/video7",
        ),
        (
            "[[step]]\ndevice = \"/dev/video1\"\nlose = true\n",
            &[],
            "script.toml:1: lose needs a device that",
        ),
        (
            "[[step]]\ndevice = \"/dev/video0\"\nsignal = \"lost\"\n",
            &["-d", "convert"],
            "script.toml:1: signal needs a camera",
        ),
        (
            "[[step]]\noccupy_cma = 0\n",
            &[],
            "script.toml:1: machine pc has no contiguous memory",
        ),
        (
            "[[step]]\ndevice = \"/dev/video0\"\niommu_fault = true\n",
            &["-m", "soc-cma"],
            "has no IOMMU on machine soc-cma",
        ),
        (
            "[[step]]\ndevice = \"/dev/video0\"\nsource = \"60000x2\"\n",
            &[],
            "does not support pictures of 60000x2",
        ),
        (&long, &[], "script.toml:2: "),
    ] {
        fs::write(dir.join("script.toml"), script).unwrap();
        let mut command = vb3(dir);
        command
            .args(["run", "--script", "script.toml"])
            .args(options);
        let (status, _, said) = finish(command.args(["--", "true"]), dir);
        assert_eq!((status, said.lines().count()), (125, 1), "{said}");
        assert!(said.contains(wanted) && said.len() < 800, "{said}");
    }
    for (name, wanted) in [
        ("huge.toml", "more than 256 KiB"),
        ("/dev/zero", "it is not a regular file"),
        ("nightmare", "`vb3 scripts` lists all"),
    ] {
        let run = ["run", "--script", name, "--", "true"];
        let (status, _, said) = finish(vb3(dir).args(run), dir);
        assert_eq!((status, said.lines().count()), (125, 1), "{said}");
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn scripts_are_listed_and_printed() {
    let dir = crate::common::tempdir();
    let (status, list, _) = finish(vb3(dir.path()).arg("scripts"), dir.path());
    assert_eq!(status, 0);
    for (name, text) in vb3_run::script::SHIPPED {
        assert!(list.contains(name), "{list}");
        let mut command = vb3(dir.path());
        let (_, printed, _) = finish(command.args(["scripts", name]), dir.path());
        assert_eq!(printed, *text);
    }
}
