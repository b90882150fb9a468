use super::*;
use crate::report::{DeviceReport, MissedStep, QueueReport, Report, ScriptEvent};
use vb3_dma::Constraint;

const ALL: [Constraint; 26] = [
    Constraint::Contiguous,
    Constraint::ContiguousPool,
    Constraint::Ram,
    Constraint::Mask,
    Constraint::MaxSegment,
    Constraint::Boundary,
    Constraint::IovaSpace,
    Constraint::BouncePool,
    Constraint::NoBounce,
    Constraint::UserPages,
    Constraint::Alignment,
    Constraint::BufferSize,
    Constraint::SizeLimit,
    Constraint::PagesBehind,
    Constraint::CoherentRegion,
    Constraint::SegmentCount,
    Constraint::InjectedFault,
    Constraint::Hardware,
    Constraint::CpuMapping,
    Constraint::Imports,
    Constraint::IommuGranule,
    Constraint::Revoked,
    Constraint::BusWindow,
    Constraint::Protected,
    Constraint::Unprotected,
    Constraint::Coherent,
];

fn refused(constraint: &str, wanted: u64, found: u64) -> Refusal {
    Refusal {
        device: "/dev/video0".into(),
        call: "QBUF".into(),
        errno: 14,
        constraint: constraint.into(),
        wanted,
        found,
        times: 1,
        remedy: None,
        holder: String::new(),
        room: None,
    }
}

#[test]
fn each_dma_constraint_has_its_own_sentence() {
    let mut seen = std::collections::BTreeSet::new();
    for constraint in ALL {
        let (why, hint) = reason(constraint.name(), 614_400, 4096)
            .unwrap_or_else(|| panic!("no sentence for {}", constraint.name()));
        assert!(!hint.is_empty());
        assert!(
            seen.insert(why),
            "{} has another one's sentence",
            constraint.name()
        );
    }
}

#[test]
fn refusal_names_call_device_errno_and_values() {
    let said = refusal(&refused("contiguous", 614_400, 4096), &[]);
    assert_eq!(
        said.what,
        "QBUF on /dev/video0 failed with EFAULT: the device needs 600 KiB in one run of addresses \
         and the memory gives 4 KiB"
    );
    assert!(said.hint.contains("IOMMU"));
}

#[test]
fn refusal_names_a_remedy() {
    let mut one = refused("dma-mask", 0x1_2000_0000, 0xffff_ffff);
    let devices = ["camera", "convert", "display"].map(str::to_owned).to_vec();
    one.remedy = Some(Remedy {
        devices: devices.clone(),
        heap: "default_cma_region".to_owned(),
        buffers: 1,
        size_bytes: 3_110_400,
        stride_bytes: 1920,
        ..Remedy::default()
    });
    assert_eq!(
        refusal(&one, &[]).hint,
        "allocate from heap default_cma_region (/dev/dma_heap/default_cma_region), 3110400 bytes, \
         stride 1920: that suits camera, convert and display"
    );
    if let Some(found) = &mut one.remedy {
        found.lazy = "/dev/video0".to_owned();
    }
    let hint = refusal(&one, &[]).hint;
    assert!(
        hint.ends_with("and display; or, only in vb3, give /dev/video0 place=lazy"),
        "{hint}"
    );
    one.remedy = Some(Remedy {
        devices: devices.clone(),
        lazy: "/dev/video0".to_owned(),
        ..Remedy::default()
    });
    assert_eq!(
        refusal(&one, &[]).hint,
        "only in vb3: give /dev/video0 place=lazy, so that its buffers go where camera, convert \
        and display reach them; on the board: let /dev/video0 allocate (MMAP), and copy each picture"
    );
    one.remedy = Some(Remedy {
        devices,
        conflict: vec![Demand {
            device: "convert".to_owned(),
            constraint: "dma-mask".to_owned(),
            value: 0xfffff,
            enough: Some(0x40f_ffff),
        }],
        ..Remedy::default()
    });
    let hint = refusal(&one, &[]).hint;
    assert!(
        hint.starts_with(
            "no memory of this machine suits camera, convert and display: convert reaches \
             addresses up to 0xfffff (0x40fffff would be enough); let the device allocate"
        ),
        "{hint}"
    );
}

#[test]
fn each_demand_has_its_own_words() {
    let rules = [
        "first-address",
        "dma-mask",
        "contiguous",
        "max-segment",
        "boundary",
        "alignment",
        "iommu-granule",
        "iova-space",
        "segment-count",
        "pages",
        "coherent",
        "protected",
        "unprotected",
        "stride",
        "max-stride",
        "buffer-size",
        "size-align",
    ];
    let mut seen = std::collections::BTreeSet::new();
    for constraint in rules {
        let said = demand(&Demand {
            constraint: constraint.to_owned(),
            value: 4096,
            ..Demand::default()
        });
        assert!(!said.contains(&format!("needs {constraint},")), "{said}");
        assert!(
            seen.insert(said),
            "{constraint} has the words of another constraint"
        );
    }
}

#[test]
fn unknown_constraint_still_shows_its_values() {
    let said = refusal(&refused("later-invention", 8, 3), &[]).what;
    assert!(
        said.contains("later-invention") && said.contains('8') && said.contains('3'),
        "{said}"
    );
}

#[test]
fn refusal_counts_repeats() {
    let mut one = refused("ram", 1, 0);
    assert!(!refusal(&one, &[]).what.contains("times"));
    one.times = 3;
    assert!(refusal(&one, &[]).what.contains("(3 times)"));
}

#[test]
fn bytes_are_readable_and_never_overflow() {
    for (count, text) in [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (4097, "4097 bytes"),
        (614_400, "600 KiB"),
        (10 * 1024 + 512, "10.5 KiB"),
        (64 << 20, "64 MiB"),
        ((64 << 20) + 1, "64.0 MiB"),
        (u64::MAX, "15.9 EiB"),
        (1 << 63, "8 EiB"),
    ] {
        assert_eq!(bytes(count), text);
    }
}

#[test]
fn held_lists_resources_or_returns_none() {
    assert_eq!(held(&Held::default()), None);
    let leak = Held {
        pages: 3,
        fds: 1,
        ..Held::default()
    };
    assert_eq!(
        held(&leak).as_deref(),
        Some("still held at the end: 3 pages of RAM, 1 file descriptors")
    );
}

#[test]
fn early_access_names_buffer_owner_and_accessor() {
    let by_device = EarlyAccess {
        device: "/dev/video0".into(),
        queue: "video-capture".into(),
        buffer: 2,
        owner: "/dev/video0".into(),
        owner_access: "write".into(),
        by: "/dev/video1".into(),
        access: "read".into(),
        call: "QBUF".into(),
        times: 3,
        ..EarlyAccess::default()
    };
    let said = early_access(&by_device);
    assert_eq!(
        said.what,
        "buffer 2, plane 0 of /dev/video0 (video-capture): while /dev/video0 was writing it, it was \
         queued at /dev/video1, which reads it (3 times)"
    );
    assert!(
        said.hint
            .contains("(DMA_BUF_IOCTL_IMPORT_SYNC_FILE) before QBUF")
    );
    let by_program = EarlyAccess {
        by: String::new(),
        process: 77,
        access: "write".into(),
        owner_access: "read".into(),
        call: "DMA_BUF_IOCTL_SYNC".into(),
        times: 1,
        ..by_device
    };
    let said = early_access(&by_program);
    assert!(
        said.what.ends_with(
            "while /dev/video0 was reading it, process 77 began to write it (DMA_BUF_IOCTL_SYNC)"
        ),
        "{}",
        said.what
    );
}

#[test]
fn missing_sync_names_the_buffer_and_the_call() {
    let missing = MissingSync {
        device: "/dev/video0".into(),
        queue: "video-capture".into(),
        buffer: 2,
        plane: 0,
        sync: "for-cpu".into(),
        times: 30,
    };
    let said = missing_sync(&missing);
    assert!(
        said.what.starts_with("buffer 2, plane 0 of /dev/video0"),
        "{}",
        said.what
    );
    assert!(said.what.ends_with("(30 times)") && said.hint.contains("SYNC_START"));
}

#[test]
fn refused_admission_says_how_many_fit() {
    let room = Room {
        wanted: 18,
        fits: 3,
        free_bytes: 12 << 20,
        longest_bytes: 5 << 20,
        runs: 4,
    };
    let mut refused = Refusal {
        call: "REQBUFS".into(),
        errno: 12,
        room: Some(room),
        ..refused("contiguous", 6 << 20, 5 << 20)
    };
    let said = refusal(&refused, &[]);
    assert_eq!(
        said.what,
        "REQBUFS on /dev/video0 failed with ENOMEM: 3 of 18 buffers would fit, and admission=on \
        allocates all or none; for one more, the device needs 6 MiB in one run of addresses and \
        the memory gives 5 MiB; the call released its buffers again, and 12 MiB are free, in 4 \
        runs of at most 5 MiB"
    );
    let start = "ask for no more than 3; or, only in vb3, leave out admission=on; or ask for smaller buffers";
    assert!(said.hint.starts_with(start), "{}", said.hint);
    // If not even one buffer fits, the hint suggests no smaller number, and free bytes are not mentioned.
    refused.room = Some(Room {
        fits: 0,
        runs: 0,
        ..room
    });
    let said = refusal(&refused, &[]);
    assert!(
        said.what.ends_with("the memory gives 5 MiB"),
        "{}",
        said.what
    );
    assert!(
        said.hint.starts_with("ask for smaller buffers"),
        "{}",
        said.hint
    );
}

#[test]
fn a_display_tells_how_many_queued_frames_it_showed() {
    let queue = QueueReport {
        frames: 52,
        taken_back: 8,
        ..QueueReport::default()
    };
    let mut device = DeviceReport {
        node: "/dev/video0".into(),
        kind: "display".into(),
        queues: vec![queue],
        ..DeviceReport::default()
    };
    let said = |device: &DeviceReport| {
        verdict(&Report {
            devices: vec![device.clone()],
            ..Report::default()
        })
    };
    let (shown, well) = (
        "video0 showed 52 of 60 queued frames, because the program then ended streaming.",
        "No problems; everything was released.",
    );
    assert_eq!(said(&device).text, format!("{well} {shown}"));
    assert!(said(&device).is_good, "STREAMOFF is the program's choice");
    // A decoder's program takes its stream back at each seek.
    device.kind = "decoder".into();
    assert_eq!(said(&device).text, well);
    device.kind = "display".into();
    device.queues[0].taken_back = 0;
    assert_eq!(said(&device).text, well);
}

#[test]
fn problems_are_one_line_for_all_devices() {
    let device = |n: u32, frames| DeviceReport {
        node: format!("/dev/video{n}"),
        queues: vec![QueueReport {
            frames,
            ..QueueReport::default()
        }],
        ..DeviceReport::default()
    };
    let mut report = Report {
        devices: vec![device(0, 100), device(1, 100), device(2, 1)],
        ..Report::default()
    };
    assert_eq!(problems(&report), None);
    assert_eq!(
        verdict(&report),
        Verdict {
            is_good: true,
            text: "No problems; everything was released.".into()
        }
    );
    for times in [97, 0] {
        report.refuse(Refusal {
            device: format!("/dev/video{}", u32::from(times == 0) * 2),
            times,
            ..Refusal::default()
        });
    }
    report.script_missed.push(MissedStep {
        step: 3,
        ..MissedStep::default()
    });
    assert_eq!(
        problems(&report).as_deref(),
        Some("video0: 100 frames, 97 refused; video2: 1 frame, 1 refused; step 3 never happened")
    );
    for line in [4, 0, 0] {
        report.play(ScriptEvent {
            line,
            ..ScriptEvent::default()
        });
    }
    report.exit_status = 1;
    let orders = verdict(&report).text;
    assert!(
        orders.contains("status 1. vb3 ctl injected 3 faults. video0"),
        "{orders}"
    );
    report.setup.script = "[[step]]".into();
    let verdict = verdict(&report);
    assert!(!verdict.is_good);
    let start = "The program ended with status 1. The script injected 1 fault. \
                 vb3 ctl injected 2 faults. video0: ";
    assert!(verdict.text.starts_with(start), "{}", verdict.text);
}

#[test]
fn script_sentences_name_file_and_line() {
    let event = |frame| ScriptEvent {
        line: 8,
        device: "/dev/video0".into(),
        action: "lose".into(),
        at_ns: 1_500_000_000,
        frame: Some(frame),
        ..ScriptEvent::default()
    };
    let said = script("/tmp/flaky-usb-camera.toml", &[event(3), event(5)]);
    let wanted = "flaky-usb-camera.toml:8, at 1.500 s: frames 3 and 5 of /dev/video0 did not come";
    assert_eq!(said, [wanted]);
    assert!(script("", &[event(3)])[0].starts_with("script:8, "));
}
