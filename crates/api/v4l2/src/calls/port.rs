//! QUERYCAP, inputs and outputs.

use crate::bytes::{Image, field};
use crate::context::Context;
use crate::driver::{Port, Role};
use crate::receiver::NoTimings;
use crate::{Error, Flow, Planarity, VideoDriver, sys};
use vb3_plane::MemOps;

impl<M, D> Context<M, D>
where
    M: MemOps,
    D: VideoDriver<Cookie = M::Cookie>,
{
    /// The device's capabilities (`device_caps`).
    pub(crate) fn capabilities(&self) -> u32 {
        let video = match (self.driver.role(), self.driver.planarity()) {
            (Role::Capture, Planarity::Single) => sys::V4L2_CAP_VIDEO_CAPTURE,
            (Role::Capture, Planarity::Multi) => sys::V4L2_CAP_VIDEO_CAPTURE_MPLANE,
            (Role::Output, Planarity::Single) => sys::V4L2_CAP_VIDEO_OUTPUT,
            (Role::Output, Planarity::Multi) => sys::V4L2_CAP_VIDEO_OUTPUT_MPLANE,
            (Role::Capture, Planarity::Meta) => sys::V4L2_CAP_META_CAPTURE,
            (Role::Output, Planarity::Meta) => sys::V4L2_CAP_META_OUTPUT,
            (Role::MemToMem, Planarity::Meta) => {
                sys::V4L2_CAP_META_CAPTURE | sys::V4L2_CAP_META_OUTPUT
            }
            (Role::MemToMem, Planarity::Single) => sys::V4L2_CAP_VIDEO_M2M,
            (Role::MemToMem, Planarity::Multi) => sys::V4L2_CAP_VIDEO_M2M_MPLANE,
            (Role::Duplex, _) => [
                (Flow::Capture, sys::V4L2_CAP_VIDEO_CAPTURE),
                (Flow::Output, sys::V4L2_CAP_VIDEO_OUTPUT),
            ]
            .into_iter()
            .filter(|(flow, _)| self.driver.announces(*flow))
            .fold(0, |caps, (_, cap)| caps | cap),
            (Role::Subdevice, _) => return 0,
        };
        let io_mc = match self.driver.stored_as(0) {
            Some(_) => sys::V4L2_CAP_IO_MC,
            None => 0,
        };
        let file_io = if self.offers_file_io() {
            sys::V4L2_CAP_READWRITE
        } else {
            0
        };
        video | io_mc | file_io | sys::V4L2_CAP_STREAMING | sys::V4L2_CAP_EXT_PIX_FORMAT
    }

    pub(crate) fn query_cap(&self, arg: &mut Image<&mut [u8]>) {
        let id = self.driver.identity();
        arg.set_text(field!(v4l2_capability.driver), 16, &id.driver);
        arg.set_text(field!(v4l2_capability.card), 32, &id.card);
        arg.set_text(field!(v4l2_capability.bus_info), 32, &id.bus_info);
        arg.set_u32(field!(v4l2_capability.version), sys::API_VERSION);
        let caps = self.capabilities();
        arg.set_u32(
            field!(v4l2_capability.capabilities),
            caps | id.other_caps | sys::V4L2_CAP_DEVICE_CAPS,
        );
        arg.set_u32(field!(v4l2_capability.device_caps), caps);
    }

    /// Returns whether the device has inputs (for CAPTURE) or outputs (for OUTPUT) now.
    pub(crate) fn has_ports(&self, flow: Flow) -> bool {
        let role = self.driver.role();
        role != Role::MemToMem && role.flows().contains(&flow) && self.driver.announces(flow)
    }

    /// Returns a port by index. EINVAL past the last port.
    pub(super) fn port_at(&self, index: u32) -> Result<Port, Error> {
        let index = usize::try_from(index).map_err(|_| Error::Invalid)?;
        self.driver
            .ports()
            .get(index)
            .copied()
            .ok_or(Error::Invalid)
    }

    pub(crate) fn enum_input(&self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let port = self.port_at(arg.u32(field!(v4l2_input.index)))?;
        arg.set_text(field!(v4l2_input.name), 32, port.name);
        arg.set_u32(field!(v4l2_input.type_), port.kind);
        let mut status = self.driver.input_status();
        if let Some(receiver) = self.driver.receiver() {
            arg.set_u32(field!(v4l2_input.capabilities), sys::V4L2_IN_CAP_DV_TIMINGS);
            status |= receiver.found.err().map_or(0, NoTimings::status);
        }
        arg.set_u32(field!(v4l2_input.status), status);
        Ok(())
    }

    pub(crate) fn enum_output(&self, arg: &mut Image<&mut [u8]>) -> Result<(), Error> {
        let port = self.port_at(arg.u32(field!(v4l2_output.index)))?;
        arg.set_text(field!(v4l2_output.name), 32, port.name);
        arg.set_u32(field!(v4l2_output.type_), port.kind);
        Ok(())
    }

    /// Selects a port. EBUSY for another port while buffers exist.
    pub(crate) fn set_port(&mut self, arg: &Image<&mut [u8]>) -> Result<(), Error> {
        let index = arg.u32(0);
        self.port_at(index)?;
        if index == self.port {
            return Ok(());
        }
        if self.streams().any(|stream| stream.queue.is_busy()) {
            return Err(Error::Busy);
        }
        self.port = index;
        Ok(())
    }
}
