//! DECODER_CMD, ENCODER_CMD and their TRY variants.

use crate::bytes::Image;
use crate::context::Context;
use crate::{Command, Error, Flow, VideoDriver, sys};
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
    /// Checks a command.
    ///
    /// A stateful codec has START and STOP. The parameters of both are for old MPEG cards and must be zero.
    ///
    /// Source: Linux 7.2 `v4l2_m2m_ioctl_try_decoder_cmd`, `v4l2_m2m_ioctl_try_encoder_cmd`.
    pub(crate) fn try_codec_command(arg: &mut Image<&mut [u8]>) -> Result<Command, Error> {
        let command = match arg.u32(CMD) {
            sys::V4L2_DEC_CMD_STOP => Command::Stop,
            sys::V4L2_DEC_CMD_START => Command::Start,
            _ => return Err(Error::Invalid),
        };
        arg.clear_from(FLAGS);
        Ok(command)
    }

    /// Executes a command. While OUTPUT buffers wait for fences, only records a STOP, for
    /// [`resume_stop`](Self::resume_stop).
    pub(crate) fn codec_command(
        &mut self,
        mem: &M,
        arg: &mut Image<&mut [u8]>,
    ) -> Result<(), Error> {
        let command = Self::try_codec_command(arg)?;
        if self.stop_waits {
            return Err(Error::Busy);
        }
        if command == Command::Stop && self.holds_output_back(mem) {
            self.stop_waits = true;
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

    /// Executes a recorded STOP, once no OUTPUT buffer waits for a fence. A STREAMOFF removes the record.
    pub(crate) fn resume_stop(&mut self, mem: &M) {
        if self.stop_waits && !self.holds_output_back(mem) {
            self.stop_waits = false;
            // The driver refuses this STOP only if it already drains. That drain ends in the same way, so the error
            // can be ignored.
            let _ = self.driver.command(Command::Stop);
            self.wake = true;
        }
    }

    fn holds_output_back(&self, mem: &M) -> bool {
        let output = self.queue(Flow::Output);
        output.is_some_and(|output| output.first_held_back(mem).is_some())
    }
}
