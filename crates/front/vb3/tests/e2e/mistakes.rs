//! Messages for common mistakes on the command line.

use crate::common::{finish, vb3};
use std::process::Command;
use tempfile::TempDir;

/// Arguments, and parts of the message: the error, the allowed values, the best guess.
const MISTAKES: &[(&[&str], &[&str])] = &[
    (
        &["run", "--leftove", "--", "true"],
        &["unexpected argument '--leftove'", "'--leftover'"],
    ),
    (
        &["run", "--ra", "1GiB", "--", "true"],
        &["unexpected argument '--ra'", "'--ram'"],
    ),
    (
        &["run", "-x", "--", "true"],
        &["unexpected argument '-x'", "Usage: vb3 run"],
    ),
    (
        &["run", "-d", "h264dec,format=H265", "--", "true"],
        &["there is no such pixel format; h264dec offers NV12"],
    ),
    (
        &["run", "-d", "clip.mp4", "--", "true"],
        &["\"clip.mp4\" is a file, not a device; to play it: camera=clip.mp4"],
    ),
    (
        &["run", "-d", "camera:clip.mp4", "--", "true"],
        &["did you mean camera=clip.mp4?"],
    ),
    (
        &["run", "-d", "machine.toml", "--", "true"],
        &[
            "machine.toml:1: missing field `version`",
            "belongs to --machine",
        ],
    ),
    (
        &["run", "-d", "sensor,size=64x48", "--", "true"],
        &["not sensor) has size=; set the graph's formats with media-ctl"],
    ),
    (
        &["run", "-d", "camera,siz=64x48", "--", "true"],
        &[
            "camera has no option \"siz\"; did you mean size?",
            "`vb3 devices camera`",
        ],
    ),
    (
        &["run", "-d", "camra", "--", "true"],
        &["there is no device \"camra\"; did you mean camera?"],
    ),
    (
        &["run", "-m", "rpi4", "--", "true"],
        &["there is no machine \"rpi4\"; did you mean rpi-4?"],
    ),
    (
        &["run", "-d", "camera,free", "--", "true"],
        &["camera has no option \"free\"; did you mean pace=free?"],
    ),
    (
        &["run", "-d", "camera,", "--", "true"],
        &["an option is missing after a comma; remove the comma"],
    ),
    (
        &["run", "-d", "camera,size=641x480", "--", "true"],
        &["size=641x480 is not understood: use WIDTHxHEIGHT, even numbers"],
    ),
    (
        &["run", "-d", "display=nodir/x.y4m", "--", "true"],
        &["nodir/x.y4m", "there is no directory nodir; make it first"],
    ),
    (
        &["run", "--script", "flaky-usb", "--", "true"],
        &["there is no script \"flaky-usb\"; did you mean flaky-usb-camera?"],
    ),
    (
        &["run", "--set", "camera.siz=64x48", "--", "true"],
        &["--set camera.siz=64x48", "did you mean size?"],
    ),
    (
        &["run", "--set", "video9.fps=5", "--", "true"],
        &["no device video9; the devices are video0 (camera=pattern), video1 (display=null)"],
    ),
    (
        &["ffmpeg", "-i", "x"],
        &["there is no command \"ffmpeg\"", "vb3 run -- ffmpeg"],
    ),
    (
        &["man"],
        &["there is no command \"man\"; did you mean machines?"],
    ),
    (
        &["devices", "camra"],
        &["there is no device \"camra\"; did you mean camera?"],
    ),
    (&["run"], &["<PROGRAM>", "Usage: vb3 run"]),
    (
        &["run", "-d", "camera,loop", "--", "true"],
        &["camera has no option \"loop\"; did you mean end=loop?"],
    ),
    (
        &["run", "-d", "camera=http://host/clip.mp4", "--", "true"],
        &["http://host/clip.mp4", "download it first"],
    ),
    (
        &["run", "--report", "r.txt", "--", "true"],
        &["--report r.txt", "FILE.json (data) or FILE.html"],
    ),
    (&["machines", "--ram", "1GiB"], &["<NAME|FILE>"]),
    (&["--", "ffmpeg", "-i", "x"], &["vb3 run -- ffmpeg"]),
    (
        &["fits", "-b", "three", "camera"],
        &["'three'", "from 1 to 1024, such as -b 4"],
    ),
    (
        &["run", "-d", "camera,format=YUY2", "--", "true"],
        &["did you mean YUYV?"],
    ),
    (
        &["run", "--script", "field.toml", "--", "true"],
        &["field.toml:3", "loose", "did you mean lose?"],
    ),
    (
        &["run", "--script", "device.toml", "--", "true"],
        &[
            "device.toml:2",
            "there is no /dev/video7; the devices are /dev/video0",
        ],
    ),
    (
        &["run", "-m", "soc-cma", "--ram", "32MiB", "--", "true"],
        &["soc-cma with --ram 32 MiB: cma:"],
    ),
    (&["why", "/dev/zero"], &["/dev/zero has more than 256 MiB"]),
    (
        &["why", "damaged.json"],
        &["damaged.json is not a report", "cut off", "vb3 run"],
    ),
    (
        &["run", "-m", "damaged.dtb", "--", "true"],
        &["damaged.dtb", "cut off", "6 of its 40 bytes"],
    ),
];

/// Runs `vb3` in a directory with damaged files. Returns the status and the message as one line.
fn answer(words: &[&str]) -> (i32, String) {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("machine.toml"), "name = \"mine\"\n").unwrap();
    let step = |line: &str| format!("name = \"x\"\n[[step]]\n{line}\n");
    let field = step("loose = true\ndevice = \"/dev/video0\"");
    std::fs::write(dir.path().join("field.toml"), field).unwrap();
    let device = step("device = \"/dev/video7\"\nlose = true");
    std::fs::write(dir.path().join("device.toml"), device).unwrap();
    std::fs::write(dir.path().join("damaged.json"), "{\"format\": 1, \"mach").unwrap();
    std::fs::write(dir.path().join("damaged.dtb"), b"\xd0\x0d\xfe\xed\0\0").unwrap();
    let (status, _, said) = finish(vb3(dir.path()).args(words), dir.path());
    let words: Vec<&str> = said.split_whitespace().collect();
    (status, words.join(" "))
}

#[test]
fn each_mistake_is_explained() {
    for (words, parts) in MISTAKES {
        let (status, said) = answer(words);
        assert_eq!(status, 125, "{words:?}: {said}");
        for part in *parts {
            assert!(said.contains(part), "{words:?}: {said}");
        }
        assert!(!said.contains("defect"), "{words:?}: {said}");
        assert!(said.len() < 500, "{words:?}: {} bytes: {said}", said.len());
    }
}

#[test]
fn a_browser_without_cameras_is_noticed() {
    let option = "--use-fake-device-for-media-stream";
    let (status, said) = answer(&["run", "--", "echo", option]);
    let expected = "hides all cameras from this browser; leave it out";
    assert!(status == 0 && said.contains(expected), "{said}");
}

/// Two programs stream from one camera. The report names the first one.
#[test]
fn a_busy_device_names_its_user() {
    if crate::common::lacks("v4l2-ctl") {
        return;
    }
    let stream = "v4l2-ctl --stream-mmap --stream-count";
    let vb3 = env!("CARGO_BIN_EXE_vb3");
    let text = format!("{stream}=9999 & {vb3} ctl wait video0 3; {stream}=1; kill $!");
    let run = crate::common::Run::on("pc").device("camera");
    let outcome = run.program(["sh", "-c", &text]).run();
    let why = outcome.why();
    let wanted = "REQBUFS on /dev/video0 failed with EBUSY: process ";
    let named = why.split_once(wanted).map(|(_, rest)| rest);
    let named = named.is_some_and(|rest| rest.contains("v4l2-ctl) has buffers of the device"));
    assert!(named, "{why}");
}

#[test]
fn options_after_the_dashes_are_explained() {
    let (status, said) = answer(&["run", "--", "-d", "camera", "true"]);
    let is_explained = said.contains("-d: the program was not found; give its path, ")
        && said.contains("; options of vb3 go before --");
    assert!(status == 127 && is_explained, "{said}");
}

/// A command that prints a list succeeds even if its reader has gone. A command whose status is an answer fails.
#[test]
fn a_closed_pipe_is_no_success_of_a_question() {
    let dir = TempDir::new().unwrap();
    for (words, wanted) in [
        (&["machines"][..], 0),
        (&["devices", "camera"], 0),
        (&["fits", "camera"], 141),
        (&["doctor"], 141),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = vb3(dir.path()).args(words).stdout(writer).status();
        assert_eq!(status.unwrap().code(), Some(wanted), "{words:?}");
    }
}

#[test]
fn a_device_tree_source_is_compiled_or_explained() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("board.dts");
    std::fs::write(&path, "/dts-v1/;\n/ { model = \"x\" };\n").unwrap();
    let (status, said) = answer(&["machines", path.to_str().unwrap()]);
    assert_eq!(status, 125, "{said}");
    let wanted = match Command::new("dtc").arg("--version").output() {
        Ok(_) => "board.dts:2",
        Err(_) => "apt install device-tree-compiler",
    };
    assert!(said.contains(wanted), "{said}");
}

#[test]
fn a_device_tree_that_is_a_fifo_is_refused() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("board.dtb");
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let (status, said) = answer(&["machines", path.to_str().unwrap()]);
    assert_eq!(status, 125, "{said}");
    assert!(said.contains("not a regular file"), "{said}");
}

/// A run that cannot begin leaves the earlier report.
#[test]
fn a_run_that_cannot_begin_keeps_the_report() {
    let dir = TempDir::new().unwrap();
    let report = dir.path().join("run.json");
    std::fs::write(&report, "earlier").unwrap();
    let words = ["-d", "display=/no/dir/x.y4m", "--", "true"];
    let mut run = vb3(dir.path());
    run.args(["run", "--report", "run.json"]).args(words);
    let (status, _, said) = finish(&mut run, dir.path());
    assert_eq!(status, 125, "{said}");
    assert_eq!(std::fs::read(&report).unwrap(), b"earlier");
}

#[test]
fn a_report_that_cannot_be_written_loses_no_other() {
    let dir = crate::common::tempdir();
    std::os::unix::fs::symlink("/dev/full", dir.path().join("full.json")).unwrap();
    let mut run = vb3(dir.path());
    run.args(["run", "--report", "full.json", "--report", "run.json"]);
    let (status, _, said) = finish(run.args(["--", "true"]), dir.path());
    assert_eq!(status, 125, "{said}");
    assert!(said.contains("full.json"), "{said}");
    let report = std::fs::read_to_string(dir.path().join("run.json")).unwrap();
    assert!(report.contains("\"exit_status\": 0"), "{report}");
}
