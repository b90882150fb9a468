//! `vb3 clone`: a clone answers like its original, and its frames come at the same intervals.

use crate::common::{Run, RunOutput, finish, lacks, vb3};
use std::fs;

/// Shell commands, and the files of their answers, which are compared line by line.
const QUERIES: [(&str, &str); 5] = [
    ("v4l2-ctl -d /dev/video0 --all", "all"),
    ("v4l2-ctl -d /dev/video0 -L", "controls"),
    ("v4l2-ctl -d /dev/video0 --list-formats-ext", "formats"),
    ("[ ! -e /dev/media0 ] || media-ctl -p", "media"),
    // Comes last, since it changes controls. Odd devices fail some of its tests, and so do their clones.
    ("v4l2-compliance -d /dev/video0 || true", "compliance"),
];

/// A description with what the simulated cameras lack: menus that begin at 1, numbers, bits, a 64-bit
/// range, long lines, stepwise intervals, several inputs, no USB.
const ODD: &str = include_str!("clone/odd.toml");

/// Returns a shell script that runs `first`, and then stores the answers to all queries and a clone.
fn script(first: &str) -> String {
    let vb3 = env!("CARGO_BIN_EXE_vb3");
    let clone = format!("{vb3} clone --serial --seconds 0 /dev/video0 >clone.toml");
    let queries = QUERIES.map(|(query, file)| format!("{{ {query}; }} >{file}"));
    format!("set -e; {first}; {clone}; {}", queries.join("; "))
}

/// Runs a script on a device.
fn asked(device: &str, script: &str, clone: Option<&[u8]>) -> RunOutput {
    let run = Run::on("pc").device(device);
    if let Some(clone) = clone {
        fs::write(run.file("camera.toml"), clone).unwrap();
    }
    let outcome = run.program(["sh", "-c", script]).run();
    outcome.expect_success();
    outcome
}

/// Compares a device with its clone, and the clone with the clone's clone.
fn expect_same(device: &str, first: &str, file: Option<&[u8]>) {
    if ["v4l2-ctl", "media-ctl", "v4l2-compliance"].map(lacks) != [false; 3] {
        return;
    }
    let original = asked(device, &script(first), file);
    let description = original.read("clone.toml");
    let clone = asked("camera.toml", &script(":"), Some(&description));
    // v4l2-compliance writes to all controls. With inject=on, some of them inject faults, so its tests fail.
    let complies = !device.contains("inject=on");
    let queries = QUERIES.iter();
    for (query, file) in queries.filter(|(_, file)| complies || *file != "compliance") {
        let text = |run: &RunOutput| String::from_utf8(run.read(file)).unwrap();
        let (wanted, found) = (text(&original), text(&clone));
        let is_long = wanted.lines().count() > 5;
        assert!(is_long || *file == "media", "{device}: {wanted}");
        for (wanted, found) in wanted.lines().zip(found.lines()) {
            assert_eq!(wanted, found, "{device} {query}");
        }
        assert_eq!(
            wanted.lines().count(),
            found.lines().count(),
            "{device} {query}"
        );
    }
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert_eq!(
        text(description),
        text(clone.read("clone.toml")),
        "{device}"
    );
}

#[test]
fn webcam_and_its_clone_answer_alike() {
    expect_same("camera,usb=046d:0825,name=Webcam", ":", None);
}

#[test]
fn stepwise_sizes_and_menus_are_cloned() {
    expect_same("camera,profile=sensor,inject=on", ":", None);
}

#[test]
fn changed_controls_and_format_are_cloned() {
    let first = "v4l2-ctl -d /dev/video0 -c brightness=77,white_balance_automatic=0,auto_exposure=1 \
                 -v width=320,height=240,pixelformat=MJPG -p 15";
    expect_same("camera", first, None);
}

#[test]
fn odd_description_survives_its_clone() {
    let first = "v4l2-ctl -d /dev/video0 -c mode=2";
    expect_same("camera.toml", first, Some(ODD.as_bytes()));
}

#[test]
fn shipped_webcam_survives_its_clone() {
    expect_same("camera,like=logitech-c920", ":", None);
}

/// Returns the lines of `[stream]` that a virtual clock makes exact.
fn stream(description: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(description);
    let table = text.split_once("\n[stream]\n").expect("a stream").1;
    let lines = table.lines().take_while(|line| !line.is_empty());
    let exact = lines.filter(|line| !line.starts_with("first_frame_us"));
    exact.map(str::to_owned).collect()
}

/// Measures the stream of a device for a second of its virtual time.
fn measured(device: &str, file: Option<&[u8]>) -> RunOutput {
    let run = Run::on("pc").device(device).options(["--clock", "virtual"]);
    if let Some(file) = file {
        fs::write(run.file("camera.toml"), file).unwrap();
    }
    let vb3 = env!("CARGO_BIN_EXE_vb3");
    let program = format!("{vb3} clone --seconds 1 /dev/video0 >clone.toml");
    let outcome = run.program(["sh", "-c", &program]).run();
    outcome.expect_success();
    outcome
}

#[test]
fn clone_repeats_intervals_and_lost_frames() {
    let told = "\n[stream]\nsize = \"640x480\"\ninterval = \"1/30\"\nfirst_frame_us = 1\n\
                intervals_us = [300000, 200000, 433333]\nlost = [[1, 5]]\n\n[[input]]";
    let plain = measured("camera", None).read("clone.toml");
    let plain = String::from_utf8(plain).unwrap();
    let (before, rest) = plain.split_once("\n[stream]").unwrap();
    let (_, after) = rest.split_once("[[input]]").unwrap();
    let uneven = format!("{before}{told}{after}");
    let first = measured("camera.toml", Some(uneven.as_bytes()));
    let wanted = [
        "size = \"640x480\"",
        "interval = \"1/30\"",
        "intervals_us = [300000, 200000, 433333, 300000]",
        "lost = [[1, 5]]",
    ];
    assert_eq!(stream(&first.read("clone.toml")), wanted);
    let report = first.queue("/dev/video0");
    assert!(report.dropped >= 5, "{report:?}");
}

#[test]
#[ignore = "full: measures three streams of ten seconds"]
fn clone_repeats_the_sizes_of_jpeg_files() {
    let webcam = measured("camera,formats=MJPG", None);
    let description = webcam.read("clone.toml");
    let told = stream(&description);
    let clone = measured("camera.toml", Some(&description));
    assert_eq!(stream(&clone.read("clone.toml")), told);
    let bytes = told.iter().find(|line| line.starts_with("image_bytes"));
    let text = String::from_utf8(description.clone()).unwrap();
    let larger = text.replace(bytes.unwrap(), "image_bytes = [150000, 90000]");
    let clone = measured("camera.toml", Some(larger.as_bytes()));
    let wanted = "image_bytes = [150000, 90000, 150000, 90000, ";
    let found = stream(&clone.read("clone.toml"));
    assert!(
        found.iter().any(|line| line.starts_with(wanted)),
        "{found:?}"
    );
}

#[test]
fn unclonable_devices_and_files_get_a_reason() {
    let run = Run::on("pc").device("display").device("camera,mplane=on");
    let vb3_ = env!("CARGO_BIN_EXE_vb3");
    let clones = [0, 1, 2].map(|node| format!("! {vb3_} clone /dev/video{node}"));
    let run = run.device("convert");
    let outcome = run.program(["sh", "-c", &clones.join(" && ")]).run();
    outcome.expect_success();
    for said in [
        "/dev/video0: it captures no pictures",
        "/dev/video1: it has the multi-planar API",
        "/dev/video2: it is a codec or a converter",
    ] {
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    }
    let dir = crate::common::tempdir();
    fs::write(dir.path().join("new.toml"), "version = 9\nnovel = true\n").unwrap();
    for (words, said) in [
        (
            &["clone", "/dev/null"][..],
            "/dev/null: it is no video device",
        ),
        (&["clone", "/dev/missing"], "cannot open /dev/missing"),
        (
            &["run", "-d", "new.toml", "--", "true"],
            "new.toml:1: version = 9",
        ),
        (
            &["run", "-d", "gone.toml", "--", "true"],
            "cannot read gone.toml",
        ),
    ] {
        let (status, _, stderr) = finish(vb3(dir.path()).args(words), dir.path());
        assert!(
            status == 125 && stderr.contains(said),
            "{words:?}: {status} {stderr}"
        );
    }
}

#[test]
fn left_out_formats_are_announced() {
    let run = Run::on("pc").device("camera,like=logitech-c920");
    let outcome = run.program(["true"]).run();
    let said = "H264 is left out: vb3 cannot make such pictures";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
}
