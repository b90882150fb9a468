//! DECODER_CMD, ENCODER_CMD and their TRY variants.

use crate::bytes::Image;
use crate::codec::Command;
use crate::context::Context;
use crate::flow::Flow;
use crate::{Error, VideoDriver, sys};
use vb3_plane::MemOps;

/// Offset of `cmd` in `v4l2_decoder_cmd` and `v4l2_encoder_cmd`.
const CMD: usize = 0;
/// Offset of `flags` in both structures. The parameters follow.
const FLAGS: usize = 4;

const _: () = assert!(
    sys::V4L2_DEC_CMD_STOP == sys::V4L2_ENC_CMD_STOP
        && sys::V4L2_DEC_CMD_START == sys::V4L2_ENC_CMD_START,
    "one match serves both"
);

impl<M, D> Context<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// Checks a command, and executes it if `run` is set.
    ///
    /// A stateful codec has START and STOP. The parameters of both are for old MPEG cards and must be zero.
    ///
    /// Source: Linux 7.2 `v4l2_m2m_ioctl_try_decoder_cmd`, `v4l2_m2m_ioctl_try_encoder_cmd`.
    pub(crate) fn codec_command(&mut self, arg: &mut Image<'_>, run: bool) -> Result<(), Error> {
        let command = match arg.u32(CMD) {
            sys::V4L2_DEC_CMD_STOP => Command::Stop,
            sys::V4L2_DEC_CMD_START => Command::Start,
            _ => return Err(Error::Invalid),
        };
        arg.clear_from(FLAGS);
        if !run {
            return Ok(());
        }
        self.driver.command(command)?;
        if command == Command::Start
            && let Ok(capture) = self.stream_mut(Flow::Capture)
        {
            capture.queue.clear_last_buffer();
        }
        self.wake = true;
        Ok(())
    }
}
