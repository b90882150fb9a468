use super::*;
use crate::report::{MissedStep, Refusal};

fn report() -> Report {
    let queue = QueueReport {
        queue: "video-capture".into(),
        memory: "mmap".into(),
        frames: 100,
        span_ns: 7,
        ..QueueReport::default()
    };
    let device = DeviceReport {
        node: "/dev/video0".into(),
        kind: "camera".into(),
        allocator: "contig".into(),
        queues: vec![queue],
    };
    Report {
        machine: "pc".into(),
        program: vec!["v4l2-ctl".into(), "--all".into()],
        duration_ms: 5,
        devices: vec![device],
        ..Report::default()
    }
}

#[test]
fn times_are_not_compared() {
    let mut after = report();
    after.duration_ms = 6000;
    after.devices[0].queues[0].span_ns = 9;
    assert_eq!(differences(&report(), &after), Vec::<String>::new());
}

#[test]
fn each_difference_is_a_sentence() {
    let mut after = report();
    after.machine = "soc-cma".into();
    after.exit_status = 1;
    after.devices[0].queues[0].frames = 98;
    after.devices[0].queues[0].bytes_copied = 2048;
    after.devices[0].queues[0].bytes_copied_by_codec = 1024;
    after.devices[0].queues[0].memory = String::new();
    after.devices.push(DeviceReport {
        node: "/dev/video1".into(),
        kind: "display".into(),
        ..DeviceReport::default()
    });
    let refusal = Refusal {
        device: "/dev/video0".into(),
        call: "REQBUFS".into(),
        errno: 12,
        times: 3,
        ..Refusal::default()
    };
    let once = Refusal {
        times: 1,
        ..refusal.clone()
    };
    let refused = sentence::refusal(&once, &[]).what;
    after.refuse(refusal);
    after.early_accesses_left_out = 4;
    after.failures_left_out = 2;
    let missed = MissedStep {
        step: 3,
        ..MissedStep::default()
    };
    let never = sentence::missed_step("", &missed);
    after.script_missed.push(missed);
    assert_eq!(
        differences(&report(), &after),
        [
            "machine: pc before, soc-cma after",
            "exit status: 0 before, 1 after",
            "the run: steps that never happened: 0 before, 1 after (1 more)",
            "the run: calls refused: 0 before, 3 after (3 more)",
            "the run: early accesses: 0 before, 4 after (4 more)",
            "the run: failures of devices: 0 before, 2 after (2 more)",
            "/dev/video0 video-capture: memory: mmap before, none after",
            "/dev/video0 video-capture: frames: 100 before, 98 after (2 less)",
            "/dev/video0 video-capture: copied: 0 bytes before, 2 KiB after (2 KiB more)",
            "/dev/video0 video-capture: copied by the codec: 0 bytes before, 1 KiB after (1 KiB more)",
            "/dev/video1: no device before, display after",
            &format!("only after: {refused}"),
            &format!("only after: {never}"),
        ]
    );
    let back = differences(&after, &report());
    assert!(back.contains(&"/dev/video1: display before, no device after".to_owned()));
    assert!(back.contains(&format!("only before: {refused}")));
}
