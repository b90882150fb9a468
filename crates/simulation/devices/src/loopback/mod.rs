//! A loopback: one program writes frames to its OUTPUT node, and others read them from its CAPTURE
//! nodes, as with the kernel module v4l2loopback.
//!
//! Frames are passed on unchanged, in any pixel format, even compressed ones. The loopback keeps the
//! writer's buffer with a frame, and copies the frame directly to a buffer of each reader. The writer gets
//! the buffer back when there is a newer frame and all streaming readers have got this one. If the writer
//! calls DQBUF or polls before that, the loopback waits for one more tick (a call by the host) of the
//! readers, copies the oldest frame to memory of its own, and gives that frame's buffer back. A writer waits
//! for copies that have begun, but never for readers. A reader never sees half a frame. A copy moves one
//! piece in each tick. If the writer's buffer is lost during a copy, for example by STREAMOFF, the next
//! frame is copied to the reader's buffer instead.
//!
//! If a reader has queued a buffer with the same memory as the writer's, nothing is copied, and the reader
//! gets this buffer. It does not matter which device exports the memory: the devices' addresses show whether
//! the memory is the same. Other readers that still need the frame get a copy; a reader that starts later
//! begins with the next frame. The writer gets its buffer back when the reader has queued the shared one
//! again. If the writer calls DQBUF or polls before that, the writer gets the buffer earlier, perhaps while
//! the reader still reads it. Programs that share memory avoid this with more buffers.
//!
//! With the identity v4l2loopback, there is one node. Each of its open files has a writer and a reader of the
//! same kinds as above, and all files use the same shared state.
//!
//! How many times a frame's bytes are copied, as the report of a run counts it:
//!
//! | the writer's buffers | the reader's | at the OUTPUT node | at the CAPTURE node |
//! |---|---|---|---|
//! | MMAP, or a dma-buf | MMAP, or a dma-buf | 0 | 1 |
//! | write() | MMAP, or a dma-buf | 1 | 1 |
//! | MMAP, or a dma-buf | read() | 0 | 2 |
//! | any | user pointers | as above | 2 |
//! | a dma-buf that the reader has too | a dma-buf that the writer has too | 0 | 0 |
//!
//! There is one more copy at the OUTPUT node with `placeholder=hold`, or if a writer waits or polls for the
//! buffer with the newest frame. A writer with a single buffer does so. There is also one more copy if the
//! devices do not reach each other's memory ([`Bus::peer`](vb3_v4l2::Bus::peer)).

mod attribute;
mod file;
mod fill;
mod formats;
mod host;
mod link;
mod node;
mod output;
mod reader;
mod state;

pub use attribute::LoopbackAttribute;
pub use link::Link;
pub(crate) use node::LoopbackNode;
pub(crate) use output::LoopbackOutput;
pub(crate) use reader::LoopbackCapture;

use crate::Failure;
use crate::choice::Placeholder;
use fill::Fill;
pub(crate) use formats::formats;
use state::Settings;
use vb3_v4l2::{Format, Fraction};

/// Makes the state that a loopback's nodes share.
/// Fails for a placeholder that cannot be played, with a message for the user.
pub(crate) fn link(
    format: Format,
    interval: Fraction,
    placeholder: Option<&Placeholder>,
    is_v4l2loopback: bool,
) -> Result<Link, Failure> {
    let settings = is_v4l2loopback.then(Settings::default);
    Ok(Link::new(
        format,
        interval,
        Fill::new(placeholder)?,
        settings,
    ))
}

#[cfg(test)]
mod tests;
