#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod atomic;
mod buffer;
mod bytes;
mod call;
mod card;
mod commit;
mod dispatch;
mod edid;
mod error;
mod file;
mod format;
mod framebuffer;
mod gamma;
mod gem;
mod host;
mod legacy;
mod master;
mod mode;
mod property;
mod query;
mod request;
mod shown;
mod state;
pub mod sys;
#[cfg(test)]
mod tests;
mod vblank;
mod wait;

pub use call::CallContext;
pub use card::{Card, Config};
pub use dispatch::Outcome;
pub use edid::{Edid, EdidError};
pub use error::Error;
pub use format::{FORMATS, Format};
pub use framebuffer::{Framebuffer, FramebufferPlane};
pub use host::{BufferId, FenceId, FileId, Memory, Program};
pub use mode::Mode;
pub use request::{name, number};
pub use shown::{Layer, Shown, Writeback};
pub use state::{PlaneKind, Rect, Rotation, Source};
pub use vb3_frontend::Errno;
