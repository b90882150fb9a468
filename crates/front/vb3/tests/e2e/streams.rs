//! H.264 streams to decode, and their pictures from ffmpeg and from a codec process without
//! devices.

use crate::common::{ffmpeg, lacks, lacks_libavcodec};
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use vb3_codec::{Chroma, Config, Event, Framing, Job, Kind, Launch, Refused, Worker};

/// A decoded picture as its planes Y, U and V without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct I420 {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) bytes: Vec<u8>,
}

impl I420 {
    /// Converts to NV12.
    pub(crate) fn nv12(&self) -> Vec<u8> {
        let luma = self.width * self.height;
        let (y, chroma) = self.bytes.split_at(luma);
        let (u, v) = chroma.split_at(luma / 4);
        let pairs = u.iter().zip(v).flat_map(|(u, v)| [*u, *v]);
        y.iter().copied().chain(pairs).collect()
    }
}

/// Encodes `count` moving pictures of `WIDTHxHEIGHT`, with further options of x264. `None` without
/// ffmpeg or libavcodec.
pub(crate) fn encoded(size: &str, count: u32, x264: &str) -> Option<Vec<u8>> {
    if lacks("ffmpeg") || lacks_libavcodec() {
        return None;
    }
    let stream = encode(size, count, x264, &["-f", "h264", "-"]);
    assert!(!stream.is_empty());
    Some(stream)
}

/// Encodes the same stream as [`encoded`] to a file with the time of each picture.
pub(crate) fn encode_to(file: &Path, size: &str, count: u32, x264: &str) {
    encode(size, count, x264, &[file.to_str().unwrap()]);
}

fn encode(size: &str, count: u32, x264: &str, to: &[&str]) -> Vec<u8> {
    let source = format!("testsrc2=size={size}:rate=25");
    let (count, params) = (
        count.to_string(),
        format!("aud=1:threads=1:sliced-threads=0:{x264}"),
    );
    let mut words = vec!["-f", "lavfi", "-i", &source, "-frames:v", &count];
    words.extend([
        "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast",
    ]);
    words.extend(["-profile:v", "main", "-x264-params", &params]);
    words.extend(to);
    ffmpeg(words)
}

/// Returns the ranges of the access units of a stream from [`encoded`]. Each begins with a delimiter.
pub(crate) fn units(stream: &[u8]) -> Vec<Range<usize>> {
    let begins: Vec<usize> = stream
        .windows(5)
        .enumerate()
        .filter(|(_, window)| **window == [0, 0, 0, 1, 9])
        .map(|(at, _)| at)
        .collect();
    let ends = begins.iter().skip(1).copied().chain([stream.len()]);
    begins
        .iter()
        .copied()
        .zip(ends)
        .map(|(a, b)| a..b)
        .collect()
}

/// Returns whether an access unit begins with parameter sets, and can therefore be decoded alone.
pub(crate) fn is_key(unit: &[u8]) -> bool {
    unit.windows(4)
        .any(|window| matches!(window, [0, 0, 1, kind] if kind & 0x1f == 7))
}

/// A picture from [`worker`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Number of the picture's piece, counted from 1.
    pub(crate) piece: u64,
    pub(crate) damaged: bool,
    pub(crate) picture: I420,
}

/// Decodes pieces of a stream, even of a damaged one, in a codec process.
pub(crate) fn worker(pieces: &[&[u8]]) -> Vec<Told> {
    let launch = Launch::other_program(env!("CARGO_BIN_EXE_vb3-codec"));
    let mut worker = Worker::spawn(Kind::H264Decoder, &launch).unwrap();
    let config = Config::Decoder(Framing::Auto);
    worker.submit(Job::Configure(config)).unwrap();
    let mut told = Vec::new();
    let mut next = 0;
    let mut asked = false;
    loop {
        let sent = match pieces.get(next) {
            Some(data) => worker.submit(Job::Decode {
                tag: next as u64 + 1,
                data,
            }),
            None if asked => Err(Refused::Full(0)),
            None => worker.submit(Job::Drain),
        };
        match sent {
            Ok(()) if next < pieces.len() => next += 1,
            Ok(()) => asked = true,
            Err(Refused::Full(_)) => wait(&worker),
            Err(e) => panic!("{e}"),
        }
        while let Some(event) = worker.poll() {
            match event {
                Event::Format(_) => worker.submit(Job::Proceed(Chroma::Planar)).unwrap(),
                Event::Picture {
                    tag,
                    picture,
                    damaged,
                    ..
                } => {
                    let planes = picture.planes();
                    told.push(Told {
                        piece: tag,
                        damaged,
                        picture: I420 {
                            width: planes.width as usize,
                            height: planes.height as usize,
                            bytes: planes.data.concat(),
                        },
                    });
                }
                Event::Drained => return told,
                Event::Died { sentence } => panic!("{sentence}"),
                _ => {}
            }
        }
    }
}

fn wait(worker: &Worker) {
    use rustix::event::{PollFd, PollFlags, poll};
    let fd = worker.wake_fd();
    let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], None);
}

/// Returns the numbers, from 1, of the access units of a stream from [`encoded`], in display order.
pub(crate) fn display_order(size: &str, count: u32, x264: &str) -> Vec<u64> {
    let dir = crate::common::tempdir();
    let file = dir.path().join("stream.mp4");
    encode_to(&file, size, count, x264);
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v", "-of", "csv=p=0"])
        .args(["-show_entries", "packet=pts"])
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let mut shown: Vec<(i64, u64)> = text
        .lines()
        .map(|line| line.trim_end_matches(',').parse().unwrap())
        .zip(1..)
        .collect();
    shown.sort_unstable();
    shown.into_iter().map(|(_, number)| number).collect()
}

/// Decodes a stream of one size with ffmpeg's own decoder, in one thread.
pub(crate) fn by_ffmpeg(stream: &[u8], size: &str) -> Vec<I420> {
    let dir = crate::common::tempdir();
    let file = dir.path().join("stream.h264");
    std::fs::write(&file, stream).unwrap();
    let (width, height) = size.split_once('x').unwrap();
    let (width, height): (usize, usize) = (width.parse().unwrap(), height.parse().unwrap());
    let mut words = vec!["-threads", "1", "-flags", "+unaligned", "-f", "h264"];
    words.extend(["-i", file.to_str().unwrap(), "-fps_mode", "passthrough"]);
    words.extend(["-f", "rawvideo", "-"]);
    let bytes = ffmpeg(words);
    bytes
        .chunks(width * height * 3 / 2)
        .map(|bytes| I420 {
            width,
            height,
            bytes: bytes.to_vec(),
        })
        .collect()
}

/// Decodes and filters a file with ffmpeg, to NV12. Uses one thread: with several, a concealed
/// picture depends on their number and progress.
pub(crate) fn decoded(file: &Path, filter: &str) -> Vec<u8> {
    let file = file.to_str().unwrap();
    let mut words = vec!["-threads", "1", "-c:v", "h264", "-i", file, "-an"];
    words.extend(["-fps_mode", "passthrough", "-vf", filter]);
    words.extend(["-pix_fmt", "nv12", "-f", "rawvideo", "-"]);
    ffmpeg(words)
}
