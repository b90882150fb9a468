//! Runs v4l2-compliance on every kind of device, on two machines by default and on all in full. It must
//! report no failure and no warning.

use crate::common::{Run, lacks, patience};

const DEVICES: [&str; 4] = [
    "camera=pattern,pace=free,size=320x240",
    "display=null,pace=free,size=320x240",
    "camera=pattern,mplane=on,pace=free,size=320x240",
    "display=null,mplane=on,pace=free,size=320x240",
];

const HDMI: &str = "hdmi=pattern,pace=free,size=640x480";
const SCALER: &str = "capture-convert=pattern,pace=free,size=160x120";

/// Returns the failures and warnings of a run, from its last line.
pub(crate) fn summary(stdout: &str) -> Option<(u32, u32)> {
    let line = stdout
        .lines()
        .rev()
        .find(|line| line.starts_with("Total for"))?;
    let number = |key: &str| {
        let rest = line.split_once(key)?.1;
        rest.split(',').next()?.trim().parse().ok()
    };
    Some((number("Failed:")?, number("Warnings:")?))
}

/// Returns the number of tests that failed because v4l2-compliance first looks for events, and only then
/// waits for a codec's last buffer. It misses an event that comes in between, with Linux's drivers, too.
///
/// Source: v4l2-compliance 1.22 to 1.32 v4l2-test-buffers.cpp `captureBufs`, the loop around
/// `buf.dqbuf(node_m2m_cap)`.
fn missed_events(stdout: &str) -> u32 {
    let lines = stdout.lines();
    let missed = lines.filter(|line| line.ends_with("): !got_eos && !got_source_change"));
    u32::try_from(missed.count()).unwrap()
}

/// Frames of each of v4l2-compliance's streams. Its own default is 60.
pub(crate) const FRAMES: u32 = 20;

/// Returns v4l2-compliance with patience. `None` if there is no C compiler.
pub(crate) fn program() -> Option<[String; 3]> {
    let [env, preload] = patience()?;
    Some([env, preload, "v4l2-compliance".into()])
}

/// Runs v4l2-compliance on the first device. Returns failures and warnings.
fn comply(machine: &str, specs: &[&str], words: &[&str]) -> Option<(u32, u32)> {
    if lacks("v4l2-compliance") {
        return None;
    }
    let program = program()?;
    let mut run = Run::on(machine).real_time("its polls have timeouts");
    for spec in specs {
        run = run.device(*spec);
    }
    let outcome = run
        .program(program)
        .and(words)
        .and(["-d".into(), "/dev/video0".into(), format!("-s{}", FRAMES)])
        .run();
    let (failed, warned) = summary(&outcome.stdout)
        .unwrap_or_else(|| panic!("no summary in\n{}\n{}", outcome.stdout, outcome.stderr));
    for line in outcome.stdout.split(['\r', '\n']) {
        if line.to_lowercase().contains("fail") || line.contains("warn:") {
            eprintln!("{line}");
        }
    }
    outcome.expect_nothing_held();
    Some((failed - missed_events(&outcome.stdout), warned))
}

pub(crate) fn expect_compliant(machine: &str, specs: &[&str], words: &[&str]) {
    if let Some(found) = comply(machine, specs, words) {
        assert_eq!(found, (0, 0), "failed and warned: {machine} {specs:?}");
    }
}

#[test]
fn summary_is_read_from_the_last_line() {
    let text =
        "Total for uvcvideo device /dev/video0: 54, Succeeded: 53, Failed: 1, Warnings: 12\n";
    assert_eq!(summary(text), Some((1, 12)));
    assert_eq!(summary("no such line"), None);
    let missed = "\t\tfail: v4l2-test-buffers.cpp(1145): !got_eos && !got_source_change\n\
                  \t\tfail: v4l2-test-buffers.cpp(1455): captureBufs(node, q)\n";
    assert_eq!((missed_events(missed), missed_events(text)), (1, 0));
}

/// A webcam delivers metadata only while its camera streams.
#[test]
fn a_webcams_metadata_node_complies() {
    if lacks("v4l2-compliance") || lacks("v4l2-ctl") {
        return;
    }
    // The camera streams first. The nodes share a priority, and while v4l2-compliance raises it, other programs'
    // calls fail.
    let script = "mkfifo frames ready
                  v4l2-ctl -d /dev/video0 --stream-mmap --stream-to=frames & camera=$!
                  { head -c 1; echo >ready; cat; } <frames >/dev/null &
                  read line <ready; v4l2-compliance -d /dev/video1 -s; kill $camera";
    let outcome = Run::on("pc")
        .device("camera=pattern,size=320x240")
        .program(["sh", "-c", script])
        .run();
    let found = summary(&outcome.stdout);
    assert_eq!(found, Some((0, 0)), "{}", outcome.stdout);
}

macro_rules! on_machine {
    ($($module:ident $machine:literal $(#[$full:meta])?)*) => {$(
        mod $module {
            use super::{DEVICES, HDMI, SCALER, expect_compliant};

            #[test]
            $(#[$full])?
            fn camera() {
                expect_compliant($machine, &DEVICES[..1], &[]);
            }

            #[test]
            $(#[$full])?
            fn display() {
                expect_compliant($machine, &DEVICES[1..2], &[]);
            }

            #[test]
            $(#[$full])?
            fn camera_mplane() {
                expect_compliant($machine, &DEVICES[2..3], &[]);
            }

            #[test]
            $(#[$full])?
            fn display_mplane() {
                expect_compliant($machine, &DEVICES[3..], &[]);
            }

            #[test]
            $(#[$full])?
            fn capture_convert() {
                expect_compliant($machine, &[SCALER], &[]);
            }

            #[test]
            $(#[$full])?
            fn hdmi() {
                expect_compliant($machine, &[HDMI], &[]);
            }

            #[test]
            $(#[$full])?
            fn camera_with_the_displays_dmabufs() {
                expect_compliant($machine, &DEVICES[..2], &["-e", "/dev/video1"]);
            }

            #[test]
            $(#[$full])?
            fn display_with_the_cameras_dmabufs() {
                let turned = [DEVICES[1], DEVICES[0]];
                expect_compliant($machine, &turned, &["-e", "/dev/video1"]);
            }
        }
    )*};
}

on_machine! {
    pc "pc"
    pc_untrusted "pc-untrusted" #[ignore = "full: runs on a further machine"]
    soc_64k "soc-64k" #[ignore = "full: runs on a further machine"]
    soc_boundary "soc-boundary" #[ignore = "full: runs on a further machine"]
    soc_cma "soc-cma" #[ignore = "full: runs on a further machine"]
    soc_iommu "soc-iommu" #[ignore = "full: runs on a further machine"]
    soc_noncoherent "soc-noncoherent"
    soc_sram "soc-sram" #[ignore = "full: runs on a further machine"]
    vm_bounce "vm-bounce" #[ignore = "full: runs on a further machine"]
}

/// Tests in real time, unlike other tests. Devices keep their frame rate. A busy machine may drop some
/// frames, which v4l2-compliance reports as a warning.
#[test]
fn against_the_clock() {
    for spec in ["camera=pattern,fps=60", "display=null,fps=60"] {
        if let Some((failed, _)) = comply("pc", &[spec], &[]) {
            assert_eq!(failed, 0, "{spec}");
        }
    }
}

#[test]
#[ignore = "full: repeats v4l2-compliance with other options"]
fn mplane_with_the_others_dmabufs() {
    expect_compliant("soc-noncoherent", &DEVICES[2..], &["-e", "/dev/video1"]);
    let turned = [DEVICES[3], DEVICES[2]];
    expect_compliant("soc-noncoherent", &turned, &["-e", "/dev/video1"]);
}

#[test]
#[ignore = "full: repeats v4l2-compliance with other options"]
fn devices_of_long_lines() {
    let long = |spec: &str| format!("{spec},stride=1024");
    for spec in DEVICES.into_iter().chain([SCALER]).map(long) {
        expect_compliant("soc-iommu", &[&spec], &[]);
    }
}

#[test]
#[ignore = "full: repeats v4l2-compliance with other options"]
fn vmalloc_devices() {
    let vmalloc = |spec: &str| format!("{spec},alloc=vmalloc");
    for spec in DEVICES.map(vmalloc) {
        expect_compliant("soc-noncoherent", &[&spec], &[]);
    }
}
