//! A buffer with many handles is one row in the list of buffers, as long as any handle is open.

use crate::common::{Run, RunOutput, compiled, size_option};
use std::path::Path;
use vb3_report::BufferReport;

/// Runs a program with a buffer of this kind.
fn runs(kind: &str) -> Option<RunOutput> {
    let program = compiled("handles.c")?;
    let display = format!("display=null,format=YUYV,{}", size_option());
    let run = Run::on("soc-iommu")
        .real_time("the lists are read while the camera fills a buffer")
        .device(format!("camera=pattern,format=YUYV,{}", size_option()))
        .device(display.clone())
        .device(display);
    let script = format!(
        "export VB3={}; exec {} {kind} /dev/video0 /dev/video1 /dev/video2",
        env!("CARGO_BIN_EXE_vb3"),
        program.display()
    );
    let outcome = run.program(["sh", "-c", &script]).run();
    outcome.expect_success();
    Some(outcome)
}

/// Returns the rows listed at a moment, without the numbers of processes and buffers.
fn rows(outcome: &RunOutput, when: &str) -> Vec<Vec<String>> {
    let parts = outcome.stdout.split("== ");
    let part = parts.filter_map(|part| part.split_once('\n'));
    let mut part = part.filter(|(title, _)| *title == when);
    let (_, list) = part.next().unwrap_or_else(|| panic!("{}", outcome.stdout));
    let mut rows: Vec<Vec<String>> = Vec::new();
    for line in list.lines() {
        match (line.strip_prefix("  "), rows.last_mut()) {
            (Some(holder), Some(row)) => {
                let words = holder.split(' ');
                let words = words.filter(|word| word.parse::<u32>().is_err());
                row.push(words.collect::<Vec<_>>().join(" "));
            }
            _ => rows.push(vec![line.to_owned()]),
        }
    }
    // Cameras have at least two buffers.
    rows.retain(|row| !row[0].contains(" buffer 1 "));
    rows.iter_mut().for_each(|row| {
        if let Some(holders) = row.get_mut(1..) {
            holders.sort_unstable();
        }
    });
    rows
}

const MAPPING: &str = "a mapping in process (handles-c)";
const DESCRIPTOR: &str = "a descriptor given to process (handles-c)";
const IMPORT: &str = "/dev/video1, in use";

#[test]
fn buffer_is_one_row_until_its_last_handle_closes() {
    let kinds: [(&str, &str, &[&str]); 3] = [
        (
            "v4l2",
            "EFAULT",
            &[
                IMPORT,
                DESCRIPTOR,
                DESCRIPTOR,
                MAPPING,
                MAPPING,
                "its queue",
            ],
        ),
        ("heap", "EFAULT", &[IMPORT, DESCRIPTOR, MAPPING]),
        (
            "udmabuf",
            "ok",
            &[
                IMPORT,
                DESCRIPTOR,
                MAPPING,
                "pages of process (handles-c), pinned by /dev/video2",
            ],
        ),
    ];
    for (kind, user_pointer, holders) in kinds {
        let has_udmabuf = Path::new("/dev/udmabuf").exists();
        if kind == "udmabuf" && has_udmabuf {
            vb3_skip::elsewhere("the host has /dev/udmabuf, so that the run offers none");
            continue;
        }
        let Some(outcome) = runs(kind) else { return };
        // A kernel cannot pin a device's shared memory for another device.
        let said = format!("a user pointer to it: {user_pointer}\nthe same bytes: yes\n");
        assert!(outcome.stdout.starts_with(&said), "{}", outcome.stdout);
        let all = rows(&outcome, "all");
        let [row] = &all[..] else {
            panic!("{kind}: {all:?}")
        };
        let mut holders = holders.to_vec();
        if kind == "v4l2" && has_udmabuf {
            // The two exports are two dma-bufs of the kernel, and the display imports both.
            holders.insert(0, IMPORT);
        }
        assert_eq!(row[1..], holders, "{kind}: {all:?}");
        for when in [
            "without its queue and the first mapping",
            "without all but a copy and a device",
            "without all but a device",
        ] {
            let left = rows(&outcome, when);
            assert_eq!(left.len(), 1, "{kind}, {when}: {left:?}");
            let is_import = |holder: &String| holder == IMPORT;
            assert!(left[0].iter().any(is_import), "{kind}, {when}: {left:?}");
        }
        assert_eq!(rows(&outcome, "none"), [[""; 0]; 0], "{kind}");
        // The report also lists the buffer, without a holder at the end. If a device has pinned pages before a
        // udmabuf was made of them, the pages have a separate row, whose number begins with u.
        let is_shared = |row: &&BufferReport| row.buffer == 0 && !row.number.starts_with('u');
        let first = outcome.report.buffers.iter().filter(is_shared);
        let [buffer] = first.collect::<Vec<_>>()[..] else {
            panic!("{kind}: {:?}", outcome.report.buffers)
        };
        assert!(buffer.holders.iter().all(|holder| !holder.at_end));
        let pages = buffer.holders.iter().find(|h| h.kind == "user-pages");
        let pinned_by = pages.map(|holder| &*holder.device);
        assert_eq!(pinned_by, (kind == "udmabuf").then_some("/dev/video2"));
    }
}

#[test]
fn user_memory_is_listed_with_process_and_range() {
    let Some(outcome) = runs("own") else { return };
    let (addr, _) = outcome.stdout.split_once('\n').unwrap();
    let addr = u64::from_str_radix(addr.trim_start_matches("0x"), 16).unwrap();
    let all = rows(&outcome, "all");
    let [row] = &all[..] else { panic!("{all:?}") };
    let place = "/dev/video2 video-output buffer 0 plane 0: 150 KiB of process ";
    let range = format!(" (handles-c) at {addr:#x} to {:#x}", addr + 153_599);
    assert!(
        row[0].starts_with('u') && row[0].contains(place) && row[0].ends_with(&range),
        "{row:?}"
    );
    assert_eq!(row[1..], ["its queue"]);
    assert_eq!(rows(&outcome, "none"), [[""; 0]; 0]);
    let [buffer] = &outcome.report.buffers[..] else {
        panic!("{:?}", outcome.report.buffers)
    };
    assert_eq!((buffer.address, buffer.bytes), (addr, 153_600));
    let holders = buffer.holders.iter();
    let holders: Vec<_> = holders.map(|h| (&*h.kind, &*h.name, h.at_end)).collect();
    assert_eq!(
        holders,
        [("queue", "", false), ("user-pages", "handles-c", false)]
    );
}

#[test]
fn many_closes_finish_before_the_next_call() {
    let Some(program) = compiled("ends.c") else {
        return;
    };
    let rounds = "3";
    // Exactly twelve buffers fit into the 64 MiB of contiguous memory.
    let run = Run::on("soc-cma").device("camera=pattern,size=1920x1080,format=YUYV");
    let program = program.display().to_string();
    let outcome = run.program([&*program, "/dev/video0", rounds]).run();
    outcome.expect_success();
    assert_eq!(outcome.stdout, "12 buffers\n");
}
