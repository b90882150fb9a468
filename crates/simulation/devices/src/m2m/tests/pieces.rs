//! Codecs move large pictures in pieces, one in each tick.

use super::bench::{Bench, device};
use super::{Scene, decoded};
use crate::hosted::HostedDevice;
use crate::m2m::{Decoder, Encoder};
use crate::surface::PIECE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::sync::LazyLock;
use vb3_codec::{Kind, Launch};
use vb3_queue::Error;
use vb3_v4l2::{Command, DriverEvent, Flow, FourCc, VideoDriver as _};

const WIDTH: u32 = 1024;
const HEIGHT: u32 = 704;
/// Bytes of a large NV12 picture: two whole pieces and a part.
const BYTES: usize = (WIDTH * HEIGHT) as usize * 3 / 2;

/// JPEG files, or the pictures in them.
type Files = Vec<Vec<u8>>;

/// Returns how many bytes of a picture each tick moves.
fn pieces() -> Vec<usize> {
    let starts = (0..BYTES).step_by(PIECE);
    starts.map(|at| PIECE.min(BYTES - at)).collect()
}

fn scene(number: u32) -> Scene {
    Scene::moving(WIDTH, HEIGHT, number)
}

impl<D: HostedDevice<Cookie = u32>> Bench<D> {
    /// Runs the device once, after waiting for the worker if there is nothing else to do. Returns how many
    /// bytes of this queue's buffers the device moved.
    fn moved(&mut self, flow: Flow) -> usize {
        if self.device.next_tick().is_none() {
            let fd = self.device.wake_fd().expect("something is under way");
            let limit = Timespec {
                tv_sec: 60,
                tv_nsec: 0,
            };
            let woken = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit));
            assert_eq!(woken, Ok(1), "the worker answers within a minute");
        }
        let first = self.memory.accesses.len();
        self.tick();
        let planes = self.cookies(flow);
        let accesses = &self.memory.accesses[first..];
        let of = |(cookie, ..): &&(u32, u64, usize)| planes.contains(cookie);
        accesses.iter().filter(of).map(|access| access.2).sum()
    }

    /// Runs the device until it moves bytes of this queue's buffers. Returns their number.
    fn until_moved(&mut self, flow: Flow) -> usize {
        loop {
            match self.moved(flow) {
                0 => {}
                bytes => return bytes,
            }
        }
    }
}

/// JPEG files of the pictures 0 and 1.
static FILES: LazyLock<Files> = LazyLock::new(|| {
    let spec = format!("jpegenc,size={WIDTH}x{HEIGHT}");
    let mut bench = Bench::new(device(&spec, Launch::in_thread(), Encoder::new));
    bench.begin(1, 1);
    let files = (0..2).map(|number| {
        let planes = scene(number).laid_out(&bench.device.format(Flow::Output));
        bench.send(0, &[&planes[0]], 0);
        let (info, file) = bench.receive();
        bench.take(Flow::Output);
        bench.queue_empty(info.index);
        file
    });
    files.collect()
});

/// The decoded pictures of these files.
static DECODED: LazyLock<Vec<Scene>> = LazyLock::new(|| decoded(Kind::JpegDecoder, &FILES));

/// Makes a decoder of large pictures that has got the first file and announced the format. Two CAPTURE
/// buffers are queued. Returns the expected bytes of both pictures, too.
fn decoder() -> (Bench<Decoder<u32>>, Files) {
    let spec = "jpegdec,format=NV12";
    let mut bench = Bench::new(device(spec, Launch::in_thread(), Decoder::new));
    bench.make(Flow::Output, 2);
    bench.start(Flow::Output);
    bench.send(0, &[&FILES[0]], 1);
    bench.until("the format", |bench| !bench.events.is_empty());
    let format = bench.device.format(Flow::Capture);
    assert_eq!(
        (format.fourcc, format.width, format.height),
        (FourCc::NV12, WIDTH, HEIGHT)
    );
    let laid_out = |scene: &Scene| scene.laid_out(&format).remove(0);
    let pictures = DECODED.iter().map(laid_out).collect();
    bench.make(Flow::Capture, 2);
    bench.start(Flow::Capture);
    (0..2).for_each(|index| bench.queue_empty(index));
    (bench, pictures)
}

#[test]
fn a_tick_writes_a_piece_of_a_decoded_picture() {
    let (mut bench, pictures) = decoder();
    for (stamp, picture) in (1..).zip(&pictures) {
        // If both pictures were decoded at once, a tick would write the end of one and the beginning of the other.
        if stamp == 2 {
            bench.send(1, &[&FILES[1]], stamp);
        }
        let mut bytes = bench.until_moved(Flow::Capture);
        for piece in pieces() {
            assert_eq!(bytes, piece);
            let is_last = bytes < PIECE;
            assert_eq!(bench.device.has_begun(), !is_last);
            if !is_last {
                assert_eq!(bench.try_take(Flow::Capture).err(), Some(Error::WouldBlock));
                assert_eq!(bench.device.next_tick(), Some(0));
                bytes = bench.moved(Flow::Capture);
            }
        }
        let (info, seen) = bench.receive();
        assert_eq!((info.timestamp_ns, info.error), (stamp, false));
        assert!(seen == *picture, "picture {stamp}");
    }
}

/// Makes a decoder whose OUTPUT buffers have room for long files, and a file of two pieces and a byte: a picture, and
/// zeroes, which decoders ignore.
fn decoder_of_long_files() -> (Bench<Decoder<u32>>, Vec<u8>) {
    let spec = "jpegdec,format=NV12";
    let mut bench = Bench::new(device(spec, Launch::in_thread(), Decoder::new));
    let mut wanted = bench.device.format(Flow::Output);
    wanted.planes[0].sizeimage = 3 * PIECE as u32;
    bench.set_format(Flow::Output, &wanted);
    bench.make(Flow::Output, 2);
    bench.start(Flow::Output);
    let mut long = FILES[0].clone();
    long.resize(2 * PIECE + 1, 0);
    (bench, long)
}

#[test]
fn a_tick_reads_a_piece_of_the_files_to_decode() {
    let (mut bench, long) = decoder_of_long_files();
    (0..2).for_each(|index| bench.send(index, &[&long], 1));
    for piece in [PIECE, PIECE, PIECE, PIECE, 2] {
        assert_eq!(bench.moved(Flow::Output), piece);
        let is_last = piece < PIECE;
        assert_eq!(bench.device.has_begun(), !is_last);
        assert!(is_last || bench.device.next_tick() == Some(0));
    }
}

#[test]
fn a_file_being_read_is_forgotten_by_a_seek() {
    let (mut bench, long) = decoder_of_long_files();
    bench.send(0, &[&long], 1);
    assert_eq!(bench.moved(Flow::Output), PIECE);
    bench.stop(Flow::Output);
    assert!(!bench.device.has_begun());
    bench.start(Flow::Output);
    bench.send(0, &[&long], 2);
    assert_eq!(bench.moved(Flow::Output), PIECE, "from its start");
    bench.until("the format", |bench| !bench.events.is_empty());
    bench.make(Flow::Capture, 1);
    bench.start(Flow::Capture);
    bench.queue_empty(0);
    let (info, _) = bench.receive();
    assert_eq!((info.timestamp_ns, info.error), (2, false));
}

#[test]
fn a_picture_being_written_is_not_yet_out() {
    let (mut bench, pictures) = decoder();
    assert_eq!(bench.until_moved(Flow::Capture), PIECE);
    assert_eq!(bench.command(Command::Stop), Ok(()));
    bench.events.clear();
    for piece in &pieces()[1..] {
        assert!(bench.events.is_empty(), "the stream goes on");
        assert_eq!(bench.moved(Flow::Capture), *piece);
    }
    let (info, seen) = bench.receive();
    assert!(seen == pictures[0]);
    bench.until("the end", |bench| bench.events.contains(&DriverEvent::Eos));
    if !info.last {
        let (info, seen) = bench.receive();
        assert_eq!((info.last, seen.len()), (true, 0));
    }
}

#[test]
fn a_picture_whose_buffers_go_begins_again_in_others() {
    let (mut bench, pictures) = decoder();
    assert_eq!(bench.until_moved(Flow::Capture), PIECE);
    bench.stop(Flow::Capture);
    assert!(!bench.device.has_begun());
    bench.work();
    assert_eq!(bench.device.next_tick(), None);
    bench.queue_empty(1);
    bench.start(Flow::Capture);
    assert_eq!(bench.until_moved(Flow::Capture), PIECE, "from its start");
    let (info, seen) = bench.receive();
    assert_eq!((info.index, info.timestamp_ns, info.error), (1, 1, false));
    assert!(seen == pictures[0]);
}

#[test]
fn a_seek_in_the_middle_of_a_picture_forgets_it() {
    let (mut bench, pictures) = decoder();
    assert_eq!(bench.until_moved(Flow::Capture), PIECE);
    bench.stop(Flow::Output);
    bench.start(Flow::Output);
    bench.send(1, &[&FILES[1]], 2);
    let (info, seen) = bench.receive();
    assert_eq!((info.index, info.timestamp_ns, info.error), (0, 2, false));
    assert!(seen == pictures[1]);
    bench.work();
    assert_eq!(bench.try_take(Flow::Capture).err(), Some(Error::WouldBlock));
}

#[test]
fn where_time_stands_still_a_picture_takes_one_tick() {
    let (mut bench, pictures) = decoder();
    bench.device.work_at_once();
    assert_eq!(bench.until_moved(Flow::Capture), BYTES);
    assert!(bench.receive().1 == pictures[0]);
}

/// Makes an encoder of JPEG files with two buffers in each queue. Returns it with pictures for it.
fn encoder() -> (Bench<Encoder<u32>>, Files) {
    let spec = format!("jpegenc,size={WIDTH}x{HEIGHT},format=NV12");
    let mut bench = Bench::new(device(&spec, Launch::in_thread(), Encoder::new));
    bench.begin(2, 2);
    let format = bench.device.format(Flow::Output);
    let pictures = (0..2).map(|number| scene(number).laid_out(&format).remove(0));
    (bench, pictures.collect())
}

#[test]
fn a_tick_reads_a_piece_of_a_picture_to_encode() {
    let (mut bench, pictures) = encoder();
    for ((index, picture), file) in (0..).zip(&pictures).zip(&*FILES) {
        bench.send(index, &[picture], 1);
        for piece in pieces() {
            assert_eq!(bench.moved(Flow::Output), piece);
            let is_last = piece < PIECE;
            assert_eq!(bench.device.has_begun(), !is_last);
            assert!(is_last || bench.device.next_tick() == Some(0));
        }
        let (info, seen) = bench.receive();
        assert!(!info.error && seen == *file, "file {index}");
    }
}

#[test]
fn a_picture_being_read_is_part_of_a_drain() {
    let (mut bench, pictures) = encoder();
    bench.send(0, &[&pictures[0]], 1);
    assert_eq!(bench.moved(Flow::Output), PIECE);
    assert_eq!(bench.command(Command::Stop), Ok(()));
    // This picture comes after the drain.
    bench.send(1, &[&pictures[1]], 2);
    let (info, seen) = bench.receive();
    assert_eq!(
        (info.timestamp_ns, info.last, info.error),
        (1, false, false)
    );
    assert!(seen == FILES[0]);
    let (info, seen) = bench.receive();
    assert_eq!((info.last, seen.len()), (true, 0));
    assert_eq!(bench.device.next_tick(), None, "the other one waits");
}

#[test]
fn a_picture_of_a_stream_that_ends_is_not_read_on() {
    for ended in [Flow::Output, Flow::Capture] {
        let (mut bench, pictures) = encoder();
        bench.send(0, &[&pictures[1]], 1);
        assert_eq!(bench.moved(Flow::Output), PIECE);
        bench.stop(ended);
        bench.tick();
        assert!(!bench.device.has_begun());
        bench.start(ended);
        match ended {
            Flow::Output => bench.send(0, &[&pictures[1]], 2),
            Flow::Capture => (0..2).for_each(|index| bench.queue_empty(index)),
        }
        assert_eq!(bench.moved(Flow::Output), PIECE, "from its start");
        let (info, seen) = bench.receive();
        assert!(!info.error && seen == FILES[1]);
    }
}
