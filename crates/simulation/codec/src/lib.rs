//! Runs codec libraries in separate processes.
//!
//! A [`Worker`] is one codec. A decoder turns pieces of an elementary stream into pictures, and an
//! encoder turns pictures into packets. The library runs in another process. If it crashes, hangs or
//! exhausts memory, only that process ends, and the worker reports [`Event::Died`] with an explanation.
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
//! # Communication
//! The *parent* is the process with the [`Worker`]. It makes shared memory for input and output (sealed
//! memfds of fixed size). Short messages use a socket. The parent checks every number that a worker sends.
//! It waits for the worker in one case only: [`Worker::take_back`]. The worker waits for the parent when all
//! slots of the output memory are in use. It continues once a [`Picture`] or [`Packet`] is dropped.
//!
//! A host may lend its own memory for decoded pictures ([`Worker::lend`]). The worker maps this memory and
//! copies each picture there. Each loan has a word in shared memory that says which process owns the loan. So
//! [`Worker::take_back`] waits only while the worker writes a picture to a loan. [`Worker::try_take_back`] does not wait,
//! and leaves such a loan to the worker.
//!
//! # Order
//! The order of events depends only on the jobs. Pictures are returned in display order, and packets in
//! the order of their pictures.
//!
//! # Codecs
//! This crate handles JPEG itself. Other codecs need `vb3-codec`, a program with libavcodec.
#![deny(unsafe_code)]

/// The README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod av1;
mod built_in;
pub mod headers;
mod job;
mod jpeg;
mod launch;
pub mod levels;
mod library;
mod limits;
mod loan;
pub mod parameter_sets;
mod process;
mod serve;
mod shm;
mod slots;
mod socket;
mod table;
pub mod units;
mod wire;
mod words;
mod worker;

pub use built_in::{built_in, serve_stdin};
pub use job::{
    Chroma, Config, Event, Field, Framing, H264Profile, H264Settings, HevcSettings, Job, Kind,
    Planes, PlanesMut, Rect, Refused, StreamColor, StreamFormat, StreamSettings, Subsampling,
    Vp8Settings,
};
pub use launch::{Failure, Launch};
pub use library::{Codecs, Library, list_and_serve_stdin};
pub use loan::{Lent, LentPlane, MAX_LOANS};
pub use process::{await_ended, is_worker};
pub use serve::{Codec, MakeCodec, Out, Stop, serve_stdin_with};
pub use slots::{Packet, Picture};
pub use table::{CODECS, CodecRow, Input, Work};
pub use worker::Worker;

/// Width of the widest supported picture, in pixels.
pub const MAX_WIDTH: u32 = 4096;
/// Height of the tallest supported picture, in pixels.
pub const MAX_HEIGHT: u32 = 2304;
/// Longest piece of input, in bytes.
pub const MAX_INPUT: usize = 20 << 20;
/// Largest number of jobs with input data that a worker holds at once.
pub const MAX_IN_FLIGHT: usize = 8;
/// Number of output slots. Each holds a picture or packet; a worker without a free slot waits for one.
pub const OUTPUT_SLOTS: usize = 8;
/// Maximum number of threads of a decoder. Each takes address space, which is limited.
pub const MAX_THREADS: usize = 4;
