//! Differences between machines, and vb3's explanations.

use crate::common::{Run, RunOutput, compiled, expect_pattern, finish, size_option};
use vb3_report::Room;
use vb3_v4l2::pixfmt;

fn calls(machine: &str, options: &str, words: &[&str]) -> Option<RunOutput> {
    let program = compiled("calls.c")?;
    let shape = format!("format=YUYV,pace=free,{}", size_option());
    Some(
        Run::on(machine)
            .device(format!("camera=pattern,{shape}{options}"))
            .device(format!("display=null,{shape}"))
            .program([program.as_os_str()])
            .and(words)
            .run(),
    )
}

#[test]
fn soc_cma_offers_no_userptr_unless_told_to() {
    let Some(outcome) = calls("soc-cma", "", &["userptr"]) else {
        return;
    };
    assert_eq!(outcome.expect_success().stdout, "REQBUFS EINVAL\n");
}

#[test]
fn soc_cma_explains_refused_scattered_memory() {
    let Some(outcome) = calls("soc-cma", ",userptr=on", &["userptr"]) else {
        return;
    };
    assert_eq!(outcome.expect_success().stdout, "REQBUFS 0\nQBUF EFAULT\n");
    let [refusal] = &outcome.report.refusals[..] else {
        panic!("{:?}", outcome.report.refusals)
    };
    assert_eq!(
        (refusal.device.as_str(), refusal.call.as_str()),
        ("/dev/video0", "QBUF")
    );
    assert_eq!(
        (refusal.errno, refusal.constraint.as_str()),
        (14, "contiguous")
    );
    assert_eq!(refusal.wanted, 320 * 240 * 2);
    assert!(refusal.found < refusal.wanted, "{refusal:?}");
    assert!(outcome.stderr.contains("vb3 why"), "{}", outcome.stderr);
}

#[test]
fn soc_iommu_takes_the_same_user_memory() {
    let Some(outcome) = calls("soc-iommu", ",userptr=on", &["userptr"]) else {
        return;
    };
    assert_eq!(outcome.expect_success().stdout, "REQBUFS 0\nQBUF 0\n");
    assert!(outcome.report.refusals.is_empty());
}

#[test]
fn soc_64k_explains_refused_shared_iommu_pages() {
    let Some(outcome) = calls("soc-64k", "", &["userptr"]) else {
        return;
    };
    assert_eq!(outcome.expect_success().stdout, "REQBUFS EINVAL\n");
    let Some(outcome) = calls("soc-64k", ",userptr=on", &["userptr"]) else {
        return;
    };
    assert_eq!(outcome.expect_success().stdout, "REQBUFS 0\nQBUF EFAULT\n");
    let [refusal] = &outcome.report.refusals[..] else {
        panic!("{:?}", outcome.report.refusals)
    };
    assert_eq!(
        (refusal.errno, refusal.constraint.as_str(), refusal.wanted),
        (14, "iommu-granule", 64 << 10)
    );
    assert!(refusal.found > 0 && refusal.found < 64 << 10, "{refusal:?}");
    assert!(outcome.stderr.contains("vb3 why"), "{}", outcome.stderr);
    let said = vb3_report::sentence::refusal(refusal, &[]);
    for (part, text) in [
        ("QBUF on /dev/video0 failed with EFAULT", &said.what),
        ("the IOMMU maps whole pages of 64 KiB", &said.what),
        ("let the device allocate (MMAP)", &said.hint),
        ("--machine soc-iommu", &said.hint),
    ] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
}

#[test]
fn soc_cma_runs_out_of_contiguous_memory_and_says_so() {
    let bytes: u64 = 128 << 20;
    let Some(outcome) = calls("soc-cma", "", &["create", &bytes.to_string()]) else {
        return;
    };
    assert_eq!(outcome.expect_success().stdout, "CREATE_BUFS ENOMEM\n");
    let [refusal] = &outcome.report.refusals[..] else {
        panic!("{:?}", outcome.report.refusals)
    };
    assert_eq!((refusal.call.as_str(), refusal.errno), ("CREATE_BUFS", 12));
    assert_eq!(
        (refusal.constraint.as_str(), refusal.wanted),
        ("cma-size", bytes)
    );
    assert!(refusal.found <= 64 << 20, "{refusal:?}");
}

/// Calls REQBUFS for 18 pictures if 16 fit, then for 16 and 17.
fn asks_for_more_than_fit(options: &str) -> Option<RunOutput> {
    let program = compiled("calls.c")?;
    Some(
        Run::on("soc-cma")
            .device(format!("camera,size=1920x1080,sizes=1920x1080{options}"))
            .program([program.as_os_str()])
            .and(["request", "18", "16", "17"])
            .run(),
    )
}

#[test]
fn admission_chooses_fewer_buffers_or_none() {
    let Some(outcome) = asks_for_more_than_fit("") else {
        return;
    };
    let given = "18: 16, 16 queued\n16: 16, 16 queued\n17: 16, 16 queued\n";
    assert_eq!(outcome.expect_success().stdout, given);
    let refusals = &outcome.report.refusals;
    assert!(
        refusals
            .iter()
            .all(|refusal| refusal.errno == 0 && refusal.room.is_none())
    );
    let Some(outcome) = asks_for_more_than_fit(",admission=on") else {
        return;
    };
    let given = "18: ENOMEM\n16: 16, 16 queued\n17: ENOMEM\n";
    assert_eq!(outcome.expect_success().stdout, given);
    // Equal refusals are one entry, with the values of the first.
    let [refusal] = &outcome.report.refusals[..] else {
        panic!("{:?}", outcome.report.refusals)
    };
    assert_eq!((&*refusal.call, refusal.errno), ("REQBUFS", 12));
    let room = Room {
        wanted: 18,
        fits: 16,
        free_bytes: 64 << 20,
        longest_bytes: 64 << 20,
        runs: 1,
    };
    assert_eq!(refusal.room, Some(room));
    let why = outcome.why();
    for part in [
        "REQBUFS on /dev/video0 failed with ENOMEM",
        "16 of 18 buffers would fit, and admission=on allocates all or none",
        "of the CMA area were free; the call released its buffers again, and 64 MiB are free, in one run",
        "ask for no more than 16; or, only in vb3, leave out admission=on; or ",
    ] {
        assert!(why.contains(part), "{part} is missing in: {why}");
    }
}

#[test]
fn soc_sram_reports_exhausted_device_memory() {
    let bytes: u64 = 48 << 20;
    let Some(outcome) = calls("soc-sram", "", &["create", &bytes.to_string()]) else {
        return;
    };
    assert_eq!(outcome.expect_success().stdout, "CREATE_BUFS ENOMEM\n");
    let [refusal] = &outcome.report.refusals[..] else {
        panic!("{:?}", outcome.report.refusals)
    };
    assert_eq!((refusal.call.as_str(), refusal.errno), ("CREATE_BUFS", 12));
    assert_eq!(
        (refusal.constraint.as_str(), refusal.wanted, refusal.found),
        ("coherent-region", bytes, 32 << 20)
    );
}

#[test]
fn pc_untrusted_only_copies_the_shared_page() {
    // The buffer ends in the middle of a page of the program's memory.
    let tail = 320 * 240 * 2 % 4096;
    assert_eq!(tail, 2048);
    for (machine, least, most) in [("pc", 0, 0), ("pc-untrusted", tail, 2 * tail)] {
        let Some(outcome) = calls(machine, ",userptr=on", &["userptr"]) else {
            return;
        };
        assert_eq!(outcome.expect_success().stdout, "REQBUFS 0\nQBUF 0\n");
        let bounced = outcome.report.total(|q| q.bytes_bounced);
        assert!((least..=most).contains(&bounced), "{machine}: {bounced}");
        outcome.expect_nothing_held();
    }
}

#[test]
fn soc_noncoherent_shows_stale_bytes_without_sync() {
    for map in ["node", "dmabuf"] {
        let Some(outcome) = calls("soc-noncoherent", "", &["stale", "skip", map]) else {
            return;
        };
        outcome.expect_success();
        let seen = outcome.read("seen.raw");
        let old = seen.iter().all(|byte| *byte == 0);
        assert!(
            old,
            "{map}: the CPU's view is what it was before the camera"
        );
    }
}

#[test]
fn soc_noncoherent_names_buffer_and_missing_sync() {
    for map in ["node", "dmabuf"] {
        let Some(outcome) = calls("soc-noncoherent", "", &["stale", "skip", map]) else {
            return;
        };
        let [missing] = &outcome.report.missing_syncs[..] else {
            panic!("{map}: {:?}", outcome.report.missing_syncs)
        };
        assert_eq!(
            (missing.device.as_str(), missing.queue.as_str()),
            ("/dev/video1", "video-output"),
            "{map}"
        );
        assert_eq!(
            (missing.buffer, missing.plane, missing.sync.as_str()),
            (0, 0, "for-cpu"),
            "{map}"
        );
        assert!(outcome.stderr.contains("vb3 why"), "{}", outcome.stderr);
    }
}

#[test]
fn soc_noncoherent_shows_the_picture_after_sync() {
    for map in ["node", "dmabuf"] {
        let Some(outcome) = calls("soc-noncoherent", "", &["stale", "sync", map]) else {
            return;
        };
        outcome.expect_success();
        assert_eq!(
            expect_pattern(&pixfmt::YUYV, &outcome.read("seen.raw")),
            [1]
        );
        assert!(
            outcome.report.missing_syncs.is_empty(),
            "{:?}",
            outcome.report.missing_syncs
        );
    }
}

#[test]
fn coherent_machine_needs_no_sync() {
    let Some(outcome) = calls("pc", "", &["stale", "skip", "dmabuf"]) else {
        return;
    };
    outcome.expect_success();
    assert_eq!(
        expect_pattern(&pixfmt::YUYV, &outcome.read("seen.raw")),
        [1]
    );
    assert!(
        outcome.report.missing_syncs.is_empty(),
        "{:?}",
        outcome.report.missing_syncs
    );
}

/// Runs vb3. Returns status, stdout and stderr.
fn vb3(dir: &tempfile::TempDir, words: &[&str]) -> (i32, String, String) {
    finish(crate::common::vb3(dir.path()).args(words), dir.path())
}

#[test]
fn exit_status_is_the_programs() {
    let dir = crate::common::tempdir();
    for (script, status) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 128 + 9)] {
        let (found, _, stderr) = vb3(&dir, &["run", "--", "sh", "-c", script]);
        assert_eq!(found, status, "{script}: {stderr}");
    }
    let (status, stdout, stderr) = vb3(&dir, &["run", "--", "no-such-program-anywhere"]);
    assert_eq!((status, stdout.as_str()), (127, ""));
    assert!(stderr.contains("no-such-program-anywhere"), "{stderr}");
}

#[test]
fn files_of_earlier_runs_stay_if_a_run_cannot_begin() {
    let dir = crate::common::tempdir();
    let names = ["seen.y4m", "seen.raw", "calls.txt", "calls.perfetto.json"];
    let files = |dir: &tempfile::TempDir| {
        let read = |name| std::fs::read_to_string(dir.path().join(name)).unwrap();
        names.map(read)
    };
    for name in names {
        std::fs::write(dir.path().join(name), "an earlier run's").unwrap();
    }
    let displays = ["-d", "display=seen.y4m", "-d", "display=seen.raw"];
    for trace in ["calls.txt", "calls.perfetto.json"] {
        let start = [&["run", "--trace", trace], &displays[..]].concat();
        for more in [
            &["--", "no-such-program-anywhere"][..],
            &["-d", "camera=/no/such/clip.mp4", "--", "true"],
            &["--ready", "/no/such/file", "--", "true"],
        ] {
            let (status, ..) = vb3(&dir, &[&start, more].concat());
            assert_ne!(status, 0);
            assert_eq!(files(&dir), ["an earlier run's"; 4], "{more:?}");
        }
    }
    for trace in ["calls.txt", "calls.perfetto.json"] {
        let start = [&["run", "--trace", trace], &displays[..]].concat();
        let (status, ..) = vb3(&dir, &[&start, &["--", "true"][..]].concat());
        assert_eq!(status, 0);
    }
    assert_eq!(files(&dir), ["", "", "", "[]\n"]);
}

#[test]
fn programs_output_is_untouched() {
    let dir = crate::common::tempdir();
    let (_, stdout, stderr) = vb3(&dir, &["run", "--", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((stdout.as_str(), stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn a_printed_profile_can_be_used_and_changed() {
    let dir = crate::common::tempdir();
    for machine in crate::common::MACHINES {
        let (status, toml, stderr) = vb3(&dir, &["machines", machine]);
        assert_eq!(status, 0, "{stderr}");
        std::fs::write(dir.path().join("mine.toml"), &toml).unwrap();
        let (status, _, stderr) = vb3(&dir, &["run", "--machine", "mine.toml", "--", "true"]);
        assert_eq!(status, 0, "{machine}: {stderr}");
    }
    let (status, list, _) = vb3(&dir, &["machines"]);
    assert_eq!(status, 0);
    for machine in crate::common::MACHINES {
        assert!(list.lines().any(|line| line.starts_with(machine)), "{list}");
    }
}

#[test]
fn a_wrong_field_is_named_with_its_line() {
    let dir = crate::common::tempdir();
    let (_, toml, _) = vb3(&dir, &["machines", "soc-cma"]);
    let lines = toml.lines().count();
    std::fs::write(
        dir.path().join("mine.toml"),
        format!("{toml}\nno_such_field = 1\n"),
    )
    .unwrap();
    let (status, _, stderr) = vb3(&dir, &["run", "--machine", "mine.toml", "--", "true"]);
    assert_eq!(status, 125);
    assert!(stderr.contains("no_such_field"), "{stderr}");
    assert!(stderr.contains("mine.toml"), "{stderr}");
    assert!(
        stderr.contains(&(lines + 2).to_string()),
        "line {} in: {stderr}",
        lines + 2
    );
}

#[test]
fn mistakes_on_the_command_line_are_one_sentence() {
    let dir = crate::common::tempdir();
    for (words, part) in [
        (
            &["run", "--machine", "toaster", "--", "true"][..],
            "toaster",
        ),
        (&["run", "--device", "scanner=x", "--", "true"], "scanner"),
        (
            &["run", "--device", "camera=/no/such.mp4", "--", "true"],
            "/no/such.mp4",
        ),
        (
            &["run", "--device", "display=/no/dir/x.y4m", "--", "true"],
            "/no/dir/x.y4m",
        ),
        (
            &["run", "--report", "/no/dir/r.json", "--", "true"],
            "/no/dir/r.json",
        ),
        (&["why", "/no/report.json"], "/no/report.json"),
        (&["machines", "toaster"], "toaster"),
    ] {
        let (status, stdout, stderr) = vb3(&dir, words);
        assert_eq!((status, stdout.as_str()), (125, ""), "{words:?}: {stderr}");
        assert!(
            stderr.starts_with("vb3: ") && stderr.contains(part),
            "{words:?}: {stderr}"
        );
        assert!(
            !stderr.contains("panicked") && !stderr.contains("RUST_BACKTRACE"),
            "{stderr}"
        );
    }
}

#[test]
fn why_lists_the_last_runs_refusals() {
    let Some(program) = compiled("calls.c") else {
        return;
    };
    let dir = crate::common::tempdir();
    let (status, _, stderr) = vb3(&dir, &["why"]);
    assert_eq!(status, 125);
    assert!(stderr.contains("vb3 run"), "{stderr}");
    let program = program.to_string_lossy().into_owned();
    let words = [
        "run",
        "--machine",
        "soc-cma",
        "--",
        &program,
        "create",
        "134217728",
    ];
    assert_eq!(vb3(&dir, &words).0, 0);
    let (status, stdout, _) = vb3(&dir, &["why"]);
    assert_eq!(status, 0);
    for part in [
        "CREATE_BUFS on /dev/video0 failed with ENOMEM",
        "128 MiB",
        "hint: ",
    ] {
        assert!(stdout.contains(part), "{part} is missing in:\n{stdout}");
    }
    let (_, json, _) = vb3(&dir, &["why", "--json"]);
    let report: vb3_report::Report = serde_json::from_str(&json).unwrap();
    assert_eq!(report.machine, "soc-cma");
}
