//! Large read() and write() calls, which vb3 performs in pieces. Each call transfers one frame,
//! even with other readers.

use crate::common::{Run, RunOutput, compiled, lacks};
use std::collections::BTreeSet;
use vb3_picture::{Background, Frame, Picture, Size, read_number, render};
use vb3_v4l2::pixfmt;

/// Frames of 12.4 MB: twenty pieces.
const LARGE: (u32, u32) = (3840, 2160);

fn size((width, height): (u32, u32)) -> Size {
    Size::new(width, height).unwrap()
}

/// Returns the picture with this number, in NV12.
fn pattern(shape: (u32, u32), number: u32) -> Frame {
    let (bars, picture) = (Background::Bars, Picture::default());
    render(&pixfmt::NV12, size(shape), number, bars, &picture)
}

/// Asserts that the bytes are complete, unchanged pictures. Returns their numbers.
fn numbers(shape: (u32, u32), bytes: &[u8]) -> Vec<u32> {
    let len = vb3_picture::bytes(&pixfmt::NV12, size(shape));
    assert_eq!(bytes.len() % len, 0, "{} bytes", bytes.len());
    let number = |(place, data): (usize, &[u8])| {
        let frame = Frame::from_bytes(&pixfmt::NV12, size(shape), data.to_vec()).unwrap();
        let (number, bits) = read_number(&frame);
        assert_eq!(bits, 32, "picture {place}");
        let sent = pattern(shape, number);
        let wrong = sent.bytes().iter().zip(data).position(|(a, b)| a != b);
        assert_eq!(wrong, None, "picture {place}, number {number}");
        number
    };
    bytes.chunks_exact(len).enumerate().map(number).collect()
}

/// Runs a subtest of `reads.c` on a large camera; `None` without a compiler.
fn reads(word: &str, count: u32) -> Option<RunOutput> {
    let reads = compiled("reads.c")?;
    let (width, height) = LARGE;
    let bytes = vb3_picture::bytes(&pixfmt::NV12, size(LARGE));
    let outcome = Run::on("pc")
        .real_time("a read is under way while frames arrive")
        .device(format!(
            "camera=pattern,identity=plain,format=NV12,fps=30,size={width}x{height}"
        ))
        .program([reads.to_str().unwrap(), word, "/dev/video0"])
        .and([bytes.to_string(), count.to_string()])
        .run();
    let mut lines = outcome.stdout.lines();
    if let Some(why) = lines.find(|line| line.starts_with("skipped")) {
        vb3_skip::skip(why);
        return None;
    }
    outcome.expect_success();
    outcome.expect_nothing_held();
    Some(outcome)
}

/// A small count reads the beginning of a frame, from a path and from standard input.
#[test]
fn head_reads_the_beginning_of_a_frame() {
    let outcome = Run::on("pc")
        .device("camera=pattern,identity=plain,format=NV12,size=64x48")
        .program(["sh", "-c"])
        .and(["head -c 100 /dev/video0 >path.raw && head -c 100 </dev/video0 >stdin.raw"])
        .run();
    outcome.expect_success();
    let sent = pattern((64, 48), 0);
    for file in ["path.raw", "stdin.raw"] {
        assert!(outcome.read(file) == sent.bytes()[..100], "{file}");
    }
}

/// A kernel holds the queue's lock while it copies. So each of two threads that read one file gets complete
/// frames.
#[test]
#[ignore = "full: reads large frames"]
fn two_threads_that_read_one_file_get_whole_frames() {
    let Some(outcome) = reads("together", 4) else {
        return;
    };
    let numbers = numbers(LARGE, &outcome.read("frames.raw"));
    assert_eq!(numbers.len(), 8);
    let distinct: BTreeSet<u32> = numbers.iter().copied().collect();
    assert_eq!(distinct.len(), 8, "each frame once: {numbers:?}");
}

/// The next reader gets a complete frame and does not wait for the killed one.
#[test]
fn reader_killed_within_a_frame_leaves_nothing() {
    let Some(outcome) = reads("killed", 1) else {
        return;
    };
    assert_eq!(numbers(LARGE, &outcome.read("frames.raw")).len(), 1);
}

/// Source: Linux 7.2 drivers/media/common/videobuf2/videobuf2-core.c `__vb2_perform_fileio`: the
/// position advances after the copy.
#[test]
fn failed_read_restarts_its_frame() {
    let Some(outcome) = reads("fault", 1) else {
        return;
    };
    let numbers = numbers(LARGE, &outcome.read("frames.raw"));
    assert!(matches!(numbers[..], [first, next] if first < next));
}

/// A readv() that ends between two frames leaves the file free for the next call. The clock stands still
/// until a program waits, so the second frame never comes in time.
#[test]
fn read_follows_a_vector_that_ended_early() {
    let Some(reads) = compiled("reads.c") else {
        return;
    };
    let small = (64, 48);
    let bytes = vb3_picture::bytes(&pixfmt::NV12, size(small));
    let outcome = Run::on("pc")
        .device("camera=pattern,identity=plain,format=NV12,size=64x48")
        .program([reads.to_str().unwrap(), "vector", "/dev/video0"])
        .and([bytes.to_string()])
        .run();
    outcome.expect_success();
    assert_eq!(outcome.read("frames.raw").len(), 2 * bytes);
}

/// A write() of several pieces is one frame, and one line of the trace.
#[test]
fn a_large_write_is_one_frame_of_the_display() {
    const COUNT: u32 = 4;
    const SHAPE: (u32, u32) = (1920, 1080);
    if lacks("dd") {
        return;
    }
    let (width, height) = SHAPE;
    let run = Run::on("pc").device(format!(
        "display=shown.raw,format=NV12,pace=free,size={width}x{height}"
    ));
    let frames = (0..COUNT).map(|number| pattern(SHAPE, number).bytes().to_vec());
    let frames: Vec<u8> = frames.flatten().collect();
    std::fs::write(run.file("frames.raw"), &frames).unwrap();
    let bytes = frames.len() / COUNT as usize;
    let outcome = run
        .options(["--trace", "trace.txt"])
        .program(["dd", "if=frames.raw", "of=/dev/video0", "conv=notrunc"])
        .and(["status=none", &format!("bs={bytes}")])
        .run();
    outcome.expect_success();
    outcome.expect_nothing_held();
    let shown = numbers(SHAPE, &outcome.read("shown.raw"));
    assert!(
        shown.is_sorted_by(|a, b| a < b) && !shown.is_empty(),
        "{shown:?}"
    );
    let trace = String::from_utf8(outcome.read("trace.txt")).unwrap();
    let whole = format!("write length={bytes} -> {bytes} ");
    let lines = trace.lines().filter(|line| line.contains(" write "));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), COUNT as usize, "{trace}");
    assert!(lines.iter().all(|line| line.contains(&whole)), "{trace}");
}
