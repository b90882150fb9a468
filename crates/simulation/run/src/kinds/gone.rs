//! Files of unplugged devices. Programs keep their descriptors until they close them.

use super::{Answer, FileCall, Kind};
use crate::Run;
use crate::refusals::Refused;
use vb3_frontend::{Errno, FileId, Op};
use vb3_v4l2::POLL_PRI;

/// The poll events of a file whose device was unplugged: POLLERR, POLLHUP and POLLPRI.
///
/// Source: Linux 7.2 drivers/media/v4l2-core/v4l2-dev.c `v4l2_poll`.
pub(super) const POLL_GONE: i16 = 8 | 0x10 | POLL_PRI;

/// Files of unplugged video devices: every call fails with ENODEV.
pub(crate) struct GoneVideo;

/// Files of unplugged media devices: an ioctl fails with EIO.
pub(crate) struct GoneMedia;

impl Kind for GoneVideo {
    fn name(&self) -> &'static str {
        "gone video"
    }

    fn call(&mut self, _: &mut Run, _: FileCall<'_>) -> Result<Answer, Refused> {
        Err(Errno::ENODEV.into())
    }

    fn poll(&mut self, _: &mut Run, _: FileId, _: i16, _: bool) -> i16 {
        POLL_GONE
    }
}

impl Kind for GoneMedia {
    fn name(&self) -> &'static str {
        "gone media"
    }

    fn call(&mut self, _: &mut Run, call: FileCall<'_>) -> Result<Answer, Refused> {
        Err(match call.op {
            Op::Ioctl { .. } => Errno::EIO,
            Op::Read { .. } | Op::Write { .. } | Op::Resume { .. } => Errno::EINVAL,
        }
        .into())
    }

    /// Source: Linux 7.2 drivers/media/mc/mc-devnode.c `media_poll`.
    fn poll(&mut self, _: &mut Run, _: FileId, _: i16, _: bool) -> i16 {
        POLL_GONE & !POLL_PRI
    }
}
