//! Codec libraries in a process of their own.
//!
//! A [`Worker`] is one codec: it takes pieces of an elementary stream and gives pictures, or takes
//! pictures and gives packets. The library itself runs in another process, so that one that
//! crashes, hangs or eats memory ends that process and nothing else: its owner sees
//! [`Event::Died`] with a sentence to say.
//!
//! ```no_run
//! use vb3_codec::{Chroma, Config, Event, Framing, Job, Kind, Launch, Worker};
//!
//! let launch = Launch::other_program("/usr/bin/vb3-codec"); // its main calls `serve_stdin_with`
//! let mut worker = Worker::spawn(Kind::H264Decoder, &launch)?;
//! worker.submit(Job::Configure(Config::Decoder(Framing::AccessUnits)))?;
//! worker.submit(Job::Decode { tag: 1, data: &[0, 0, 0, 1, 0x67] })?;
//! // Wait until `worker.wake_fd()` is readable, then:
//! while let Some(event) = worker.poll() {
//!     match event {
//!         // After making buffers for it:
//!         Event::Format(format) => worker.submit(Job::Proceed(Chroma::Planar))?,
//!         Event::Picture { tag, picture, .. } => drop((tag, picture.planes())),
//!         Event::Consumed { tag } => println!("input {tag} may be used again"),
//!         other => println!("{other:?}"),
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What travels how
//! Input and output lie in shared memory that the parent makes (sealed memfds of fixed size);
//! messages of a few words go over a socket. The parent checks every number a worker sends, and
//! waits for it only to take memory back that it lent. A worker waits for the parent: when all picture slots are in use, it goes on
//! once a [`Picture`] or [`Packet`] is dropped.
//!
//! A host may lend memory of its own for decoded pictures ([`Worker::lend`]): the worker maps it and
//! writes each picture there once, or has its library decode there ([`Out::frame`]). Who has a loan
//! is in a word of shared memory, so that [`Worker::take_back`] waits for a picture that is being
//! written, or for a library that decodes there, and for nothing else.
//!
//! # Order
//! Events come in an order that depends on the jobs alone. Pictures come in display order, packets
//! in the order of their pictures.
//!
//! # Codecs
//! This crate codes JPEG itself. All else needs a program with another library: `vb3-codec`, which has
//! libavcodec.
#![deny(unsafe_code)]

mod job;
mod jpeg;
mod launch;
mod library;
mod limits;
mod loan;
pub mod parameter_sets;
mod process;
mod serve;
mod shm;
mod slots;
mod socket;
pub mod units;
mod window;
mod wire;
mod words;
mod worker;

pub use job::{
    Chroma, Colour, Config, Event, Field, Framing, H264Profile, H264Settings, HevcSettings, Job,
    Kind, Planes, PlanesMut, Rect, Refused, StreamFormat, Subsampling, Vp8Settings,
};
pub use launch::{Failure, Launch};
pub use library::{Codecs, Library};
pub use loan::{Lent, LentPlane, MAX_LOANS};
pub use process::is_worker;
pub use serve::{
    Codec, Frame, FramePlane, FrameShape, MakeCodec, Out, Stop, serve, serve_stdin,
    serve_stdin_with,
};
pub use slots::{Packet, Picture};
pub use worker::Worker;

/// Widest picture that is coded or decoded, in pixels.
pub const MAX_WIDTH: u32 = 4096;
/// Highest picture that is coded or decoded, in pixels.
pub const MAX_HEIGHT: u32 = 2304;
/// Longest piece of input, in bytes.
pub const MAX_INPUT: usize = 20 << 20;
/// Jobs that carry data and may be under way at once.
pub const MAX_IN_FLIGHT: usize = 8;
/// Pictures or packets that may be held at once; a worker waits for one to be dropped.
pub const OUTPUT_SLOTS: usize = 8;
