//! Codec commands.

/// The ioctl by which programs send commands to a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommandSet {
    /// `VIDIOC_DECODER_CMD`.
    Decoder,
    /// `VIDIOC_ENCODER_CMD`.
    Encoder,
}

/// A command to a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Processes the queued OUTPUT buffers, and marks the last CAPTURE buffer (`_CMD_STOP`).
    Stop,
    /// Continues after the buffer that `Stop` has marked as last (`_CMD_START`).
    Start,
}
