use super::*;
use crate::report::{BufferReport, HolderReport, Refusal};
use crate::timeline::Stay;

fn queue(queue: &str) -> QueueReport {
    QueueReport {
        queue: queue.into(),
        memory: "mmap".into(),
        frames: 3,
        span_ns: 80_000_000,
        bytes_copied_by_codec: 1024,
        bytes_bounced: 2048,
        ..QueueReport::default()
    }
}

fn report() -> Report {
    let device = DeviceReport {
        node: "/dev/video0".into(),
        kind: "camera".into(),
        queues: vec![queue("video-capture")],
        ..DeviceReport::default()
    };
    Report {
        machine: "pc".into(),
        program: vec!["sh".into(), "<script>alert(1)</script>".into()],
        devices: vec![device],
        ..Report::default()
    }
}

#[test]
fn what_comes_from_outside_is_text() {
    let page = page(&report(), &Timeline::default(), &[]).into_string();
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    assert!(page.contains("3 frames by mmap, 0 bytes copied, 1 KiB by the codec, 2 KiB bounced"));
    assert!(page.contains("<td>25.00</td>"), "frames a second");
}

#[test]
fn refusals_stand_in_sentences_and_nothing_is_said_well_then() {
    let well = "Nothing was refused";
    assert!(
        page(&report(), &Timeline::default(), &[])
            .into_string()
            .contains(well)
    );
    let mut refused = report();
    refused.refuse(Refusal {
        device: "/dev/video0".into(),
        call: "REQBUFS".into(),
        errno: 12,
        ..Refusal::default()
    });
    let page = page(&refused, &Timeline::default(), &[]).into_string();
    assert!(page.contains("REQBUFS on /dev/video0 failed with ENOMEM") && !page.contains(well));
}

#[test]
fn each_buffer_is_listed_with_who_held_it() {
    let mut held = report();
    let page_of = |report: &Report| page(report, &Timeline::default(), &[]).into_string();
    assert!(!page_of(&held).contains("<h2>Buffers</h2>"));
    let holder = HolderReport {
        kind: "descriptor".into(),
        process: 7,
        name: "<b>gst".into(),
        longest_ns: 1_500_000_000,
        at_end: true,
        ..HolderReport::default()
    };
    held.buffers.push(BufferReport {
        number: "3.1".into(),
        device: "/dev/video0".into(),
        queue: "video-capture".into(),
        buffer: 2,
        bytes: 8192,
        orphaned: true,
        holders: vec![holder],
        ..BufferReport::default()
    });
    let page = page_of(&held);
    let name = "<td>/dev/video0 video-capture buffer 2 plane 0, orphaned</td>";
    assert!(page.contains(name), "{page}");
    let who = "a descriptor given to process 7 (&lt;b&gt;gst), for 1.500 s, to the end";
    assert!(page.contains(who), "{page}");
}

#[test]
fn long_runs_stay_small_and_keep_their_peaks() {
    let ms = |n: u64| Duration::from_millis(n);
    let mut stream = Stream::default();
    // Three minutes at 1,000 frames a second, one of them late.
    for n in 0..180_000 {
        let late = if n >= 90_000 { 977 } else { 0 };
        stream.frames.push(ms(n + late));
        stream.stays.push(Stay {
            index: n % 4,
            from: ms(n),
            to: ms(n + 3),
            is_done: true,
        });
    }
    let mut timeline = Timeline::default();
    timeline.streams.push(stream);
    let page = page(&report(), &timeline, &[]).into_string();
    assert!(page.len() < 1 << 20, "{} bytes", page.len());
    assert!(page.contains("the slowest after 978.00 ms"));
    // The axis reaches to the late one; the other axes end at 4 and 181.
    let numbers = page
        .lines()
        .filter_map(|line| line.trim().parse::<f64>().ok());
    let highest = numbers.fold(0.0, f64::max);
    assert!((600.0..1100.0).contains(&highest), "{highest}");
    assert_eq!(page.matches("<svg").count(), 4);
    let name_space = "http://www.w3.org/2000/svg";
    assert_eq!(
        page.matches("http").count(),
        page.matches(name_space).count()
    );
}
