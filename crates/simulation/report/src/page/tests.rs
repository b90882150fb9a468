use super::*;
use crate::report::{
    BufferReport, DeviceReport, HolderReport, MissedStep, QueueReport, Refusal, ScriptEvent,
};
use crate::timeline::{Plug, Stay, Stream};
use std::collections::BTreeSet;

const MADE: &str = "2026-01-02 03:04 UTC";

fn shown(report: &Report, timeline: &Timeline) -> String {
    page(report, timeline, &[], MADE).into_string()
}

fn queue(queue: &str) -> QueueReport {
    QueueReport {
        queue: queue.into(),
        memory: "mmap".into(),
        frames: 3,
        format: "YUYV 640x480".into(),
        span_ns: 80_000_000,
        span_frames: 2,
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
fn outside_text_is_escaped() {
    let page = shown(&report(), &Timeline::default());
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    assert!(page.contains(
        "3 frames of YUYV 640x480 by mmap, 0 bytes copied, 1 KiB by the codec, 2 KiB bounced"
    ));
    let rate = "<td data-label=\"per second\">25.00</td>";
    assert!(page.contains(rate), "{page}");
    assert!(page.contains(&format!("vb3 {}, {MADE}", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn refusals_are_explained_and_spoil_the_verdict() {
    let well = "No problems; everything was released.";
    assert!(shown(&report(), &Timeline::default()).contains(well));
    let mut refused = report();
    refused.refuse(Refusal {
        device: "/dev/video0".into(),
        call: "REQBUFS".into(),
        errno: 12,
        ..Refusal::default()
    });
    let page = shown(&refused, &Timeline::default());
    assert!(page.contains("REQBUFS on /dev/video0 failed with ENOMEM") && !page.contains(well));
}

#[test]
fn each_buffer_is_listed_with_its_holders() {
    let mut held = report();
    let page_of = |report: &Report| shown(report, &Timeline::default());
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
    let who = "a descriptor given to process 7 (&lt;b&gt;gst), for 1.500 s, until the end";
    assert!(page.contains(who), "{page}");
}

#[test]
fn long_runs_stay_small_and_keep_their_peaks() {
    let ms = |n: u64| Duration::from_millis(n);
    let mut stream = Stream::default();
    // Three minutes at 1,000 frames per second; one frame is late.
    for n in 0..180_000 {
        let late = if n >= 90_000 { 977 } else { 0 };
        stream.frames.push(ms(n + late));
        stream.stays.push(Stay {
            index: n % 4,
            from: ms(n),
            to: ms(n + 3),
            is_done: true,
        });
        stream.depth.push((ms(n), 4 - n as usize % 2));
    }
    let mut timeline = Timeline::default();
    timeline.streams.push(stream);
    let page = shown(&report(), &timeline);
    assert!(page.len() < 1 << 20, "{} bytes", page.len());
    assert!(page.contains("longest 978.00 ms"));
    // This plot's axis includes the late frame. The axes of the other plots end at 4 and 181.
    let numbers = page
        .lines()
        .filter_map(|line| line.trim().parse::<f64>().ok());
    let highest = numbers.fold(0.0, f64::max);
    assert!((600.0..1100.0).contains(&highest), "{highest}");
    // Each bar is beside its buffer's label, and within the picture.
    let plot = page.split("<svg").find(|svg| svg.contains("buffer 3"));
    let plot = plot.unwrap();
    let all = |begin: &str, attribute: &str| -> BTreeSet<i32> {
        let marks = plot.split(begin).skip(1);
        let value = |mark: &str| {
            mark.split(attribute)
                .nth(1)?
                .split('"')
                .next()?
                .parse()
                .ok()
        };
        marks.map(|mark| value(mark).unwrap()).collect()
    };
    let labels = all("<text x=\"2\"", "y=\"");
    let bars = all("<rect", "y=\"");
    assert_eq!(bars.len(), 4);
    assert!(labels.iter().map(|y| y - 9).eq(bars.iter().copied()));
    let bottom = all("xmlns", " height=\"");
    assert_eq!(bottom, [bars.last().unwrap() + 18].into());
    assert_eq!(page.matches("<svg").count(), 3);
    let name_space = "http://www.w3.org/2000/svg";
    assert_eq!(
        page.matches("http").count(),
        page.matches(name_space).count()
    );
}

/// Returns the class and words of the banner.
fn banner(page: &str) -> (&str, &str) {
    let (_, rest) = page.split_once("<div class=\"verdict ").unwrap();
    let (class, rest) = rest.split_once("\"><h1>").unwrap();
    (class, rest.split_once("</h1>").unwrap().0)
}

#[test]
fn verdict_is_red_for_refusals_and_for_faults() {
    let of = |report: &Report| {
        let page = shown(report, &Timeline::default());
        let (class, words) = banner(&page);
        (class.to_owned(), words.to_owned())
    };
    let is = |class: &str, words: &str| (class.to_owned(), words.to_owned());
    assert_eq!(of(&report()), is("good", "✓ All well"));
    let mut faulted = report();
    faulted.play(ScriptEvent::default());
    assert_eq!(of(&faulted), is("bad", "⚡ Faults injected"));
    faulted.script_missed.push(MissedStep::default());
    assert_eq!(of(&faulted), is("bad", "✗ Problems"));
    let mut refused = report();
    refused.refuse(Refusal::default());
    assert_eq!(of(&refused), is("bad", "✗ Problems"));
    let failed = Report {
        exit_status: 1,
        ..report()
    };
    assert_eq!(of(&failed), is("bad", "✗ Problems"));
}

#[test]
fn refused_hop_is_drawn_without_a_frame() {
    let mut refused = report();
    refused.devices[0].queues = vec![QueueReport {
        queue: "video-capture".into(),
        ..QueueReport::default()
    }];
    let flow_of = |report: &Report| flow::flow(report).into_string();
    assert!(flow_of(&refused).contains("No frame went through"));
    for device in ["/dev/video0", "/dev/dma_heap/system"] {
        refused.refuse(Refusal {
            device: device.into(),
            call: "REQBUFS".into(),
            errno: 12,
            times: 2,
            ..Refusal::default()
        });
    }
    let flow = flow_of(&refused);
    assert_eq!(flow.matches("wire in refused").count(), 1, "{flow}");
    assert_eq!(flow.matches("wire out refused").count(), 1, "{flow}");
    assert_eq!(flow.matches("REQBUFS refused 2 times: ENOMEM").count(), 2);
    assert!(flow.contains("<b>/dev/dma_heap/system</b>"), "{flow}");
}

#[test]
fn idle_queues_and_empty_columns_are_folded() {
    let mut many = report();
    for n in 1..15 {
        many.devices.push(DeviceReport {
            node: format!("/dev/video{n}"),
            queues: vec![QueueReport {
                queue: "video-output".into(),
                ..QueueReport::default()
            }],
            ..DeviceReport::default()
        });
    }
    let page = shown(&many, &Timeline::default());
    assert!(
        page.contains("<summary>14 queues were not used</summary>"),
        "{page}"
    );
    assert!(page.contains("<p>Not used: video1, video2"), "{page}");
    assert!(page.contains("<th>bounced</th>") && !page.contains("<th>moved</th>"));
}

#[test]
fn faults_and_unplugs_are_marked_on_each_plot() {
    let ms = Duration::from_millis;
    let stays = (0..9).map(|n| Stay {
        index: n % 2,
        from: ms(n * 100),
        to: ms(n * 100 + 90),
        is_done: true,
    });
    let mut stream = Stream::default();
    stream.device = "/dev/video0".into();
    stream.stays = stays.collect();
    let changes = stream
        .stays
        .iter()
        .flat_map(|stay| [(stay.from, 1), (stay.to, 0)]);
    stream.depth = changes.collect();
    stream.frames = (0..9).map(|n| ms(n * 100)).collect();
    let mut timeline = Timeline::default();
    timeline.streams.push(stream);
    let mut faulted = report();
    for (device, action) in [
        ("/dev/video0", "late"),
        ("/dev/video1", "torn"),
        ("", "free_cma"),
    ] {
        faulted.play(ScriptEvent {
            device: device.into(),
            action: action.into(),
            at_ns: if action == "late" {
                300_000_000
            } else {
                700_000_000
            },
            ..ScriptEvent::default()
        });
    }
    timeline.plug(Plug {
        device: "/dev/video0".into(),
        at: ms(1500),
        comes: false,
    });
    let page = shown(&faulted, &timeline);
    // Events of line 0 are orders of `vb3 ctl`. There is no script.
    assert!(page.contains("<li>vb3 ctl, at 0.300 s: "), "{page}");
    assert!(!page.contains("The script itself"));
    for label in [">late</text>", ">free cma</text>", ">unplugged</text>"] {
        assert_eq!(page.matches(label).count(), 3, "{label}: {page}");
    }
    assert!(
        !page.contains(">torn</text>"),
        "the mark belongs to another device"
    );
    assert!(
        page.contains("Red lines</span>late, free cma, unplugged."),
        "{page}"
    );
}

#[test]
fn dates_follow_the_gregorian_calendar() {
    for (seconds, said) in [
        (0, "1970-01-01 00:00 UTC"),
        (951_782_400, "2000-02-29 00:00 UTC"),
        (4_107_542_399, "2100-02-28 23:59 UTC"),
        (4_107_542_400, "2100-03-01 00:00 UTC"),
        (1_798_761_599, "2026-12-31 23:59 UTC"),
    ] {
        assert_eq!(utc(seconds), said);
    }
}

#[test]
fn words_in_backticks_are_code() {
    let said = text("`vb3 why` explains, a `b").into_string();
    assert_eq!(said, "<code>vb3 why</code> explains, a <code>b</code>");
}
