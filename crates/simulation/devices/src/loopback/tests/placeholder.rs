//! Readers get a placeholder's frames while no writer streams.

use super::*;
use vb3_picture::{Frame, Size};
use vb3_v4l2::FourCc;

/// Runs a tick of the reader and returns the bytes of its next frame, whose buffer is then queued again.
fn taken(reader: &mut Reader, now_ns: u64) -> Option<Vec<u8>> {
    reader.tick(now_ns);
    let info = reader.take().ok()?;
    let bytes = reader.plane(info.index, 0).clone();
    assert_eq!(info.timestamp_ns, now_ns);
    reader.queue(info.index);
    Some(bytes)
}

#[test]
fn placeholder_stands_in_for_a_writer() {
    for (option, after) in [("black", None), ("hold", Some(5))] {
        let (mut writer, mut reader) = pair(&format!(",placeholder={option},fps=25"), 2);
        reader.queue(0);
        reader.start();
        let black = [16, 128].repeat(usize::try_from(FRAME).expect("few") / 2);
        assert_eq!(taken(&mut reader, START), Some(black.clone()));
        let next = reader.device.next_tick();
        assert_eq!(next, Some(START + 40 * MS), "25 frames a second");
        assert_eq!(taken(&mut reader, START + 39 * MS), None);
        assert_eq!(taken(&mut reader, START + 40 * MS), Some(black.clone()));
        writer.start();
        assert_eq!(reader.device.next_tick(), None, "the writer sets the pace");
        write(&mut writer, 5, START + 41 * MS);
        assert_eq!(taken(&mut reader, START + 41 * MS).map(|b| b[0]), Some(5));
        writer.stop();
        let wanted = after.map_or(black, |value| vec![value; 256]);
        assert_eq!(taken(&mut reader, START + 100 * MS), Some(wanted));
    }
}

/// Waits on the reader's descriptor, as a host does.
fn wait(reader: &Reader) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let fd = reader.device.wake_fd().expect("it awaits a picture");
    let limit = Timespec {
        tv_sec: 60,
        tv_nsec: 0,
    };
    let woken = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit));
    assert_eq!(woken, Ok(1), "no wake-up within a minute");
}

#[test]
fn reader_without_buffers_hands_ffmpeg_on() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let path = directory.path().join("clip.nut");
    let words = "-nostdin -v error -f lavfi -i testsrc=size=16x8:rate=25 -frames:v 50 -c:v ffv1";
    let made = std::process::Command::new("ffmpeg")
        .args(words.split(' '))
        .arg(&path)
        .status();
    if made.is_err() {
        vb3_skip::skip("ffmpeg does not start");
        return;
    }
    let option = format!(",readers=2,fps=25,placeholder={}", path.display());
    let mut pair = Pair::new(&option, (1, 1));
    let mut now_ns = START;
    pair.readers.iter_mut().for_each(Reader::start);
    let mut pictures = Vec::new();
    for at in [0, 1, 1, 1, 0] {
        let reader = &mut pair.readers[at];
        reader.queue(0);
        while reader.tick(now_ns) == 0 {
            match reader.device.next_tick() {
                Some(due_ns) => now_ns = now_ns.max(due_ns),
                None => wait(reader),
            }
        }
        let next = reader.device.next_tick();
        if next.is_some() {
            assert_eq!((next, reader.tick(now_ns)), (Some(0), 0));
        }
        assert_eq!(reader.device.next_tick(), None, "it has no buffer");
        reader.take().expect("a frame");
        pictures.push(reader.plane(0, 0).clone());
    }
    let first = |at: usize| pictures.iter().position(|picture| *picture == pictures[at]);
    let found = [0, 1, 2, 3, 4].map(first);
    assert_eq!(found, [0, 0, 2, 3, 2].map(Some), "the file plays on");
    assert_eq!(now_ns, START + 80 * MS, "at its rate");
}

#[test]
fn frames_of_an_earlier_format_are_not_shown() {
    let nodes = nodes(",size=32x16,placeholder=black,readers=2");
    let mut output = output(&nodes[0]);
    let reader = |node| Reader::new(capture(node), 1);
    let mut first = reader(&nodes[1]);
    first.queue(0);
    first.start();
    assert!(taken(&mut first, START).is_some());
    first.stop();
    let mut smaller = output.format(Flow::Output);
    (smaller.width, smaller.height) = (16, 8);
    let smaller = output.try_format(Flow::Output, &smaller);
    let set = output.set_format(Flow::Output, &smaller, false);
    set.expect("no writer streams");
    let mut second = reader(&nodes[2]);
    second.queue(0);
    second.start();
    second.tick(START + 100 * MS);
    let info = second.take().expect("a frame");
    assert!(!info.error);
}

#[test]
fn black_is_black_in_each_format() {
    let size = Size::new(32, 16).expect("a small picture");
    for pixel in formats() {
        let option = format!(",size=32x16,placeholder=black,format={}", pixel.name);
        let (_writer, mut reader) = pair(&option, 1);
        reader.queue(0);
        reader.start();
        let packs_chroma = [FourCc::YUV444, FourCc::YUV555, FourCc::YUV565];
        if pixel.is_compressed() || packs_chroma.contains(&pixel.fourcc) {
            assert_eq!(reader.device.next_tick(), None, "{pixel}");
            continue;
        }
        let bytes = taken(&mut reader, START).expect("a frame");
        let frame = Frame::from_bytes(pixel, size, bytes).expect("a whole picture");
        if !pixel.is_opaque() {
            assert!(frame.to_rgb().ends_with(&[0; 3]), "{pixel}");
        }
    }
}
