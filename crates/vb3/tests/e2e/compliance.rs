//! v4l2-compliance on every kind of device, on every machine: nothing fails, nothing warns.

use crate::common::{Run, lacks};

const DEVICES: [&str; 4] = [
    "camera=pattern,fps=120,size=320x240",
    "display=null,fps=120,size=320x240",
    "camera-mplane=pattern,fps=120,size=320x240",
    "display-mplane=null,fps=120,size=320x240",
];

/// Failures and warnings of a run, from its last line.
fn summary(stdout: &str) -> Option<(u32, u32)> {
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

fn expect_compliant(machine: &str, spec: &[&str], words: &[&str]) {
    if lacks("v4l2-compliance") {
        return;
    }
    let mut run = Run::on(machine).patience(240);
    for spec in spec {
        run = run.device(*spec);
    }
    let words =
        std::iter::once(&"v4l2-compliance")
            .chain(words)
            .chain(&["-d", "/dev/video0", "-s"]);
    let outcome = run.program(words).run();
    let bad: Vec<&str> = outcome
        .stdout
        .lines()
        .filter(|line| line.contains("fail") || line.contains("warn") || line.contains("FAIL"))
        .take(40)
        .collect();
    assert_eq!(
        summary(&outcome.stdout),
        Some((0, 0)),
        "{machine} {spec:?}\n{}\nstderr: {}",
        bad.join("\n"),
        outcome.stderr
    );
    outcome.expect_success();
}

#[test]
fn summary_is_read_from_the_last_line() {
    let text =
        "Total for uvcvideo device /dev/video0: 54, Succeeded: 53, Failed: 1, Warnings: 12\n";
    assert_eq!(summary(text), Some((1, 12)));
    assert_eq!(summary("no such line"), None);
}

macro_rules! on_machine {
    ($($module:ident $machine:literal)*) => {$(
        mod $module {
            use super::{DEVICES, expect_compliant};

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
    soc_cma "soc-cma"
    soc_iommu "soc-iommu"
    soc_noncoherent "soc-noncoherent"
    vm_bounce "vm-bounce"
}

#[test]
fn mplane_with_the_others_dmabufs() {
    expect_compliant("soc-noncoherent", &DEVICES[2..], &["-e", "/dev/video1"]);
    let turned = [DEVICES[3], DEVICES[2]];
    expect_compliant("soc-noncoherent", &turned, &["-e", "/dev/video1"]);
}

#[test]
fn vmalloc_devices() {
    let vmalloc = |spec: &str| format!("{spec},alloc=vmalloc");
    for spec in DEVICES.map(vmalloc) {
        expect_compliant("soc-noncoherent", &[&spec], &[]);
    }
}
