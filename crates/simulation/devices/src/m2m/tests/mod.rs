//! Shared parts of codec tests: pictures, and direct use of the codec libraries.

pub(crate) mod bench;
mod converter;
mod decoder;
mod encoder;
mod faults;
mod invented;
mod jpeg;
mod pieces;
mod stateless;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::time::Duration;
use vb3_codec::{Chroma, Event, Field, Job, Kind, Launch, Out, Planes, Stop, Worker};
use vb3_v4l2::{Format, pixfmt};

/// Value of the bytes between the lines of a picture, which must not be read.
const PADDING: u8 = 0xee;

/// The size of the pictures of invented codecs.
const SIZE: (u32, u32) = (32, 16);

/// Sends a picture of one luma and without colour, as an invented codec.
fn flat_picture(tag: u64, (size, luma): ((u32, u32), u8), out: &mut Out) -> Result<(), Stop> {
    let (y, chroma) = ([luma; 32 * 16], [128; 16 * 8]);
    let picture = Planes {
        width: size.0,
        height: size.1,
        data: [&y, &chroma, &chroma],
        strides: [32, 16, 16],
    };
    out.picture(tag, false, &picture, Field::Progressive)
}

/// An I420 picture.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Scene {
    width: u32,
    height: u32,
    planes: [Vec<u8>; 3],
}

impl Scene {
    fn by(width: u32, height: u32, pixel: impl Fn(usize, u32, u32) -> u8) -> Self {
        let plane = |plane: usize, width: u32, height: u32| {
            let pixel = &pixel;
            let lines = (0..height).flat_map(|y| (0..width).map(move |x| pixel(plane, x, y)));
            lines.collect()
        };
        let (half, quarter) = (width.div_ceil(2), height.div_ceil(2));
        Self {
            width,
            height,
            planes: [
                plane(0, width, height),
                plane(1, half, quarter),
                plane(2, half, quarter),
            ],
        }
    }

    /// Makes slopes that move with `number`.
    fn moving(width: u32, height: u32, number: u32) -> Self {
        Self::by(width, height, |plane, x, y| {
            let slope = match plane {
                0 => 2 * x + y + 5 * number,
                1 => 60 + x + number,
                _ => 200_u32.wrapping_sub(y + number),
            };
            u8::try_from(slope % 256).unwrap()
        })
    }

    /// Makes a picture that codecs compress badly. The louder it is, the worse it compresses.
    fn noise(width: u32, height: u32, loudness: u8) -> Self {
        Self::by(width, height, |plane, x, y| {
            let mut bits = (plane as u32 + 1).wrapping_mul(0x9e37_79b9)
                ^ x.wrapping_mul(0x85eb_ca6b)
                ^ y.wrapping_mul(0xc2b2_ae35);
            for _ in 0..3 {
                bits ^= bits >> 15;
                bits = bits.wrapping_mul(0x2c1b_3c6d);
            }
            (bits >> 24) as u8 % loudness
        })
    }

    fn part(&self, left: u32, top: u32, width: u32, height: u32) -> Self {
        let line = |plane: usize| {
            if plane == 0 {
                self.width
            } else {
                self.width / 2
            }
        };
        Self::by(width, height, |plane, x, y| {
            let step = if plane == 0 { 1 } else { 2 };
            let at = (top / step + y) * line(plane) + left / step + x;
            self.planes[plane][at as usize]
        })
    }

    /// Returns the picture in the memory planes of a format.
    fn laid_out(&self, format: &Format) -> Vec<Vec<u8>> {
        let pixel = pixfmt::lookup(format.fourcc).unwrap();
        let layouts = format.layouts();
        let mut planes: Vec<Vec<u8>> = layouts
            .iter()
            .map(|layout| vec![PADDING; layout.sizeimage as usize])
            .collect();
        let pairs: Vec<u8> = self.planes[1]
            .iter()
            .zip(&self.planes[2])
            .flat_map(|(u, v)| [*u, *v])
            .collect();
        for index in 0..pixel.components.len() {
            let samples = match (index, pixel.components.len()) {
                (1, 2) => &pairs,
                _ => &self.planes[index],
            };
            let (width, height) = (format.width, format.height);
            let layout = pixel
                .component_layout(index, width, height, layouts)
                .unwrap();
            let lines = samples.chunks_exact(layout.line_bytes as usize);
            for (number, line) in lines.enumerate() {
                let at = layout.offset as usize + number * layout.bytesperline as usize;
                planes[layout.memory_plane][at..at + line.len()].copy_from_slice(line);
            }
        }
        planes
    }

    /// Returns the similarity of two pictures, luma and chroma together, in decibels.
    fn psnr(&self, other: &Self) -> f64 {
        assert_eq!((self.width, self.height), (other.width, other.height));
        let pairs = self
            .planes
            .iter()
            .flatten()
            .zip(other.planes.iter().flatten());
        let (mut sum, mut count) = (0.0, 0.0);
        for (a, b) in pairs {
            sum += (f64::from(*a) - f64::from(*b)).powi(2);
            count += 1.0;
        }
        10.0 * (255.0 * 255.0 * count / f64::max(sum, 1e-9)).log10()
    }
}

/// Launches libavcodec in a thread. Tests fail without the library.
fn library() -> Launch {
    let kinds = vb3_avcodec::library().map(|library| library.kinds);
    let mut kinds = kinds.unwrap_or_default().into_iter();
    assert!(
        kinds.any(|(kind, _)| kind == Kind::H264Encoder),
        "libavcodec with x264 is missing; `cargo xtask setup` installs it"
    );
    Launch::in_thread_with(vb3_avcodec::make)
}

/// Decodes pieces of a stream with the codec library, one after the other.
fn decoded(kind: Kind, pieces: &[Vec<u8>]) -> Vec<Scene> {
    let launch = match kind {
        Kind::JpegDecoder => Launch::in_thread(),
        _ => library(),
    };
    let mut worker = Worker::spawn(kind, &launch).unwrap();
    let mut scenes = Vec::new();
    for (tag, data) in pieces.iter().enumerate() {
        let tag = tag as u64;
        worker.submit(Job::Decode { tag, data }).unwrap();
        until(&mut worker, &mut scenes, |event| {
            matches!(event, Event::Consumed { .. })
        });
    }
    worker.submit(Job::Drain).unwrap();
    until(&mut worker, &mut scenes, |event| {
        matches!(event, Event::Drained)
    });
    scenes
}

fn until(worker: &mut Worker, scenes: &mut Vec<Scene>, done: impl Fn(&Event) -> bool) {
    loop {
        let Some(event) = worker.poll() else {
            let long = Timespec::try_from(Duration::from_secs(60)).unwrap();
            let fd = worker.wake_fd();
            let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&long)).unwrap();
            assert_eq!(ready, 1, "the codec says nothing");
            continue;
        };
        match &event {
            Event::Format(_) => worker.submit(Job::Proceed(Chroma::Planar)).unwrap(),
            Event::Picture { picture, .. } => {
                let planes = picture.planes();
                scenes.push(Scene {
                    width: planes.width,
                    height: planes.height,
                    planes: planes.data.map(<[u8]>::to_vec),
                });
            }
            Event::Corrupt { sentence, .. }
            | Event::Unsupported { sentence, .. }
            | Event::Died { sentence } => panic!("{sentence}"),
            _ => {}
        }
        if done(&event) {
            return;
        }
    }
}
