//! `vb3 fits`: computes whether buffers fit a machine, without running a program.

use crate::cli::FitsArgs;
use crate::codecs;
use crate::machines::{VERSION, print_json};
use crate::target::Target;
use anyhow::Result;
use serde_json::{Value, json};
use std::io::Write;
use vb3_devices::spec::{DeviceKind, SinkSpec};
use vb3_report::sentence;
use vb3_run::{Fit, Run};

/// Prints how many buffers of each queue fit. Returns 0 if all fit, else 1.
///
/// # Errors
/// The machine or a device is invalid, or `out` cannot be written.
pub fn print(args: &FitsArgs, out: &mut dyn Write) -> Result<u8> {
    let Target {
        profile, mut specs, ..
    } = Target::find(&args.target, &args.devices)?;
    for spec in &mut specs {
        // The display records nothing, so that it does not overwrite an existing recording.
        if let DeviceKind::Display { sink } | DeviceKind::Kms { sink, .. } = &mut spec.kind {
            *sink = SinkSpec::Null;
        }
    }
    let machine = profile.name.clone();
    let mut run = Run::with(profile, &specs, args.seed, codecs::outside())?;
    let fits = run.fits(args.buffers);
    let all = fits.iter().all(|fit| fit.buffers >= fit.wanted);
    if args.json {
        let queues: Vec<Value> = fits.iter().map(queue).collect();
        let answer =
            json!({ "version": VERSION, "machine": machine, "fits": all, "queues": queues });
        print_json(&answer, out)?;
    } else {
        for fit in &fits {
            writeln!(out, "{}", line(fit, args.buffers))?;
        }
        let all = if all { "all fit" } else { "not all fit" };
        writeln!(out, "{machine}: {all}")?;
    }
    Ok(u8::from(!all))
}

/// Describes a queue, and the constraint that one more buffer would violate, with the values needed and found.
fn queue(fit: &Fit) -> Value {
    let mut queue = json!({
        "device": fit.device,
        "kind": fit.kind,
        "queue": fit.queue,
        "wanted": fit.wanted,
        "buffers": fit.buffers,
        "size_bytes": fit.size_bytes,
    });
    if let Some(reason) = fit.reason {
        queue["shortfall"] = json!({
            "constraint": reason.constraint.name(),
            "wanted": reason.wanted,
            "found": reason.found,
        });
    }
    queue
}

/// Formats the line of a queue. `asked` is the number of buffers on the command line.
fn line(fit: &Fit, asked: u32) -> String {
    let Fit {
        device,
        kind,
        queue,
        wanted,
        buffers,
        size_bytes,
        reason,
    } = fit;
    let size = sentence::bytes(*size_bytes);
    let fits = format!("{device} {kind} {queue}: {buffers} of {wanted} buffers of {size}");
    let why = reason.and_then(|r| sentence::reason(r.constraint.name(), r.wanted, r.found));
    match why {
        Some((why, _)) => format!("{fits}; {why}"),
        None if *wanted < asked => format!("{fits}, the most that this queue accepts"),
        None => fits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::TargetArgs;

    fn told(machine: &str, buffers: u32, devices: &[&str]) -> (u8, String) {
        let args = FitsArgs {
            target: TargetArgs {
                machine: machine.to_owned(),
                ..TargetArgs::default()
            },
            buffers,
            seed: 0,
            json: false,
            devices: devices.iter().map(|&spec| spec.to_owned()).collect(),
        };
        let mut out = Vec::new();
        let status = print(&args, &mut out).expect("a machine");
        (status, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn print_says_how_many_fit_and_what_is_short() {
        let camera = "camera,size=1920x1080,sizes=1920x1080";
        let (status, text) = told("soc-cma", 4, &[camera]);
        assert_eq!(status, 0);
        let line = "/dev/video0 camera video-capture: 4 of 4 buffers of 3.9 MiB\n";
        assert_eq!(text, format!("{line}soc-cma: all fit\n"));
        let (status, text) = told("soc-cma", 18, &[camera]);
        assert_eq!(status, 1);
        let short = "/dev/video0 camera video-capture: 16 of 18 buffers of 3.9 MiB; it asked for \
                     3.9 MiB of contiguous memory when";
        assert!(text.starts_with(short), "{text}");
    }

    #[test]
    fn a_queue_takes_no_more_than_its_limit() {
        let (status, text) = told("soc-cma", 100, &["camera,size=64x48"]);
        let line = "/dev/video0 camera video-capture: 64 of 64 buffers of 6 KiB, the most that this \
                    queue accepts\n";
        assert_eq!((status, text), (0, format!("{line}soc-cma: all fit\n")));
    }

    #[test]
    fn print_leaves_a_recording_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("shown.raw");
        std::fs::write(&file, "kept").expect("a file");
        let spec = format!("display={}", file.display());
        assert_eq!(told("pc", 4, &[&spec]).0, 0);
        assert_eq!(std::fs::read(&file).expect("the file"), b"kept");
    }
}
