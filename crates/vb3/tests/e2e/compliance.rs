//! v4l2-compliance on every kind of device, on every machine: nothing fails, nothing warns.

use crate::common::{Run, lacks};

const DEVICES: [&str; 4] = [
    "camera=pattern,pace=free,size=320x240",
    "display=null,pace=free,size=320x240",
    "camera=pattern,mplane=on,pace=free,size=320x240",
    "display=null,mplane=on,pace=free,size=320x240",
];

const SCALER: &str = "capture-convert=pattern,pace=free,size=160x120";

/// Failures and warnings of a run, from its last line.
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

/// Where v4l2-compliance gives a device or a thread a second or two and no more, which a busy
/// machine may not keep: a wait for a frame or an event, and a thread that is to end.
const LIMITS: [&str; 2] = [": ret == 0", ": !thread_streamoff.done"];

/// Whether every test that failed ran out of time at one of [`LIMITS`]. The first of the lines
/// before a test's result says where it failed, those after it only who called.
fn ran_out_of_time(stdout: &str) -> bool {
    let mut cause = None;
    let mut all = true;
    let mut any = false;
    for line in stdout.split(['\r', '\n']).map(str::trim) {
        if line.starts_with("fail:") {
            cause = cause.or(Some(line));
        } else if line.starts_with("test ") {
            if line.ends_with(": FAIL") {
                any = true;
                all &= cause.is_some_and(|line| LIMITS.iter().any(|end| line.ends_with(end)));
            }
            cause = None;
        }
    }
    any && all
}

/// What v4l2-compliance printed, its failures and its warnings.
type Found = (String, (u32, u32));

/// Runs v4l2-compliance on the first device; gives failures and warnings. A run that only ran
/// out of time is none.
fn comply(machine: &str, specs: &[&str], words: &[&str]) -> Option<(u32, u32)> {
    for _ in 0..4 {
        match comply_once(machine, specs, words)? {
            Some((stdout, found)) if !ran_out_of_time(&stdout) => return Some(found),
            _ => {}
        }
    }
    let found = comply_once(machine, specs, words)?;
    Some(found.expect("v4l2-compliance ends by itself").1)
}

/// What it says as it ends where one of its threads began only when it had been given up: the
/// thread calls what its destructor has taken away.
const GAVE_UP: &str = "pure virtual method called";

/// What it printed and found; `None` inside where it gave up.
fn comply_once(machine: &str, specs: &[&str], words: &[&str]) -> Option<Option<Found>> {
    if lacks("v4l2-compliance") {
        return None;
    }
    let mut run = Run::on(machine).patience(240);
    for spec in specs {
        run = run.device(*spec);
    }
    let words =
        std::iter::once(&"v4l2-compliance")
            .chain(words)
            .chain(&["-d", "/dev/video0", "-s"]);
    let outcome = run.program(words).run();
    if outcome.stderr.contains(GAVE_UP) {
        return Some(None);
    }
    let found = summary(&outcome.stdout)
        .unwrap_or_else(|| panic!("no summary in\n{}\n{}", outcome.stdout, outcome.stderr));
    for line in outcome
        .stdout
        .lines()
        .filter(|line| line.to_lowercase().contains("fail"))
    {
        eprintln!("{line}");
    }
    for line in outcome
        .stdout
        .split(['\t', '\n'])
        .filter(|line| line.contains("warn:"))
    {
        eprintln!("{line}");
    }
    outcome.expect_nothing_held();
    Some(Some((outcome.stdout, found)))
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
}

#[test]
fn only_limits_of_time_are_tried_again() {
    let late = "\t\tfail: v4l2-test-buffers.cpp(1446): ret == 0\n\ttest MMAP (epoll): FAIL\n";
    let stuck = "\t\tfail: v4l2-test-buffers.cpp(2645): !thread_streamoff.done\n\
                 \t\tfail: v4l2-test-buffers.cpp(2673): testBlockingDQBuf(node, q)\n\
                 \ttest blocking wait: FAIL\n";
    let wrong = "\t\tfail: v4l2-test-buffers.cpp(800): q.reqbufs(node, 2)\n\
                 \t\tfail: v4l2-test-buffers.cpp(801): ret == 0\n\ttest USERPTR (select): FAIL\n";
    assert!(ran_out_of_time(late));
    assert!(ran_out_of_time(&format!(
        "{stuck}\ttest Cropping: OK\n{late}"
    )));
    assert!(!ran_out_of_time(&format!("{late}{wrong}")));
    assert!(!ran_out_of_time("\ttest blocking wait: FAIL\n"));
    assert!(!ran_out_of_time("\ttest blocking wait: OK\n"));
}

macro_rules! on_machine {
    ($($module:ident $machine:literal)*) => {$(
        mod $module {
            use super::{DEVICES, SCALER, expect_compliant};

            #[test]
            fn camera() {
                expect_compliant($machine, &DEVICES[..1], &[]);
            }

            #[test]
            fn display() {
                expect_compliant($machine, &DEVICES[1..2], &[]);
            }

            #[test]
            fn camera_mplane() {
                expect_compliant($machine, &DEVICES[2..3], &[]);
            }

            #[test]
            fn display_mplane() {
                expect_compliant($machine, &DEVICES[3..], &[]);
            }

            #[test]
            fn capture_convert() {
                expect_compliant($machine, &[SCALER], &[]);
            }

            #[test]
            fn camera_with_the_displays_dmabufs() {
                expect_compliant($machine, &DEVICES[..2], &["-e", "/dev/video1"]);
            }

            #[test]
            fn display_with_the_cameras_dmabufs() {
                let turned = [DEVICES[1], DEVICES[0]];
                expect_compliant($machine, &turned, &["-e", "/dev/video1"]);
            }
        }
    )*};
}

on_machine! {
    pc "pc"
    pc_untrusted "pc-untrusted"
    soc_64k "soc-64k"
    soc_boundary "soc-boundary"
    soc_cma "soc-cma"
    soc_iommu "soc-iommu"
    soc_noncoherent "soc-noncoherent"
    soc_sram "soc-sram"
    vm_bounce "vm-bounce"
}

/// Against the clock, where a busy machine may drop frames, which is a warning.
#[test]
fn against_the_clock() {
    for spec in ["camera=pattern,fps=60", "display=null,fps=60"] {
        if let Some((failed, _)) = comply("pc", &[spec], &[]) {
            assert_eq!(failed, 0, "{spec}");
        }
    }
}

#[test]
fn mplane_with_the_others_dmabufs() {
    expect_compliant("soc-noncoherent", &DEVICES[2..], &["-e", "/dev/video1"]);
    let turned = [DEVICES[3], DEVICES[2]];
    expect_compliant("soc-noncoherent", &turned, &["-e", "/dev/video1"]);
}

#[test]
fn devices_of_long_lines() {
    let long = |spec: &str| format!("{spec},stride=1024");
    for spec in DEVICES.into_iter().chain([SCALER]).map(long) {
        expect_compliant("soc-iommu", &[&spec], &[]);
    }
}

#[test]
fn vmalloc_devices() {
    let vmalloc = |spec: &str| format!("{spec},alloc=vmalloc");
    for spec in DEVICES.map(vmalloc) {
        expect_compliant("soc-noncoherent", &[&spec], &[]);
    }
}
