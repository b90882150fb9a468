//! What virtio-media does not carry: media requests, read() and write(), and calls that its specification answers
//! otherwise. Dma-bufs are hidden, too, unless the user has said that the guest's driver can pass them.

use std::mem::offset_of;

use crate::session::{field, number};
use vb3_frontend::Errno;
use vb3_v4l2::sys;

/// Capabilities of a device that a guest cannot use.
pub(crate) const DEVICE_CAPS: u32 = sys::V4L2_CAP_READWRITE;
/// Capabilities of a queue that a guest cannot use.
const QUEUE_CAPS: u32 =
    sys::V4L2_BUF_CAP_SUPPORTS_REQUESTS | sys::V4L2_BUF_CAP_SUPPORTS_REMOVE_BUFS;

/// Refuses an ioctl that a guest cannot make. `dma_bufs` is true if the guest can name dma-bufs.
///
/// # Errors
/// ENOTTY for calls that the specification excludes, or that virtio-media does not carry. Without `dma_bufs`, also
/// ENOTTY for EXPBUF, and EINVAL for memory type DMABUF.
pub(crate) fn check(request: u32, structure: &[u8], dma_bufs: bool) -> Result<(), Errno> {
    let memory = match request {
        // Virtio-media has other means for the first three: the configuration in place of QUERYCAP, and events in
        // place of DQBUF and DQEVENT.
        sys::VIDIOC_QUERYCAP
        | sys::VIDIOC_DQBUF
        | sys::VIDIOC_DQEVENT
        | sys::VIDIOC_LOG_STATUS
        | sys::VIDIOC_REMOVE_BUFS
        | sys::VIDIOC_G_EDID
        | sys::VIDIOC_S_EDID => return Err(Errno::ENOTTY),
        sys::VIDIOC_EXPBUF if !dma_bufs => return Err(Errno::ENOTTY),
        sys::VIDIOC_REQBUFS => field!(structure, v4l2_requestbuffers.memory),
        sys::VIDIOC_CREATE_BUFS => field!(structure, v4l2_create_buffers.memory),
        _ => return Ok(()),
    };
    match memory {
        sys::V4L2_MEMORY_DMABUF if !dma_bufs => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

/// Removes from a result what a guest cannot use. `dma_bufs` is true if the guest can name dma-bufs.
pub(crate) fn hide(request: u32, structure: &mut [u8], dma_bufs: bool) {
    let queue_caps = match dma_bufs {
        true => QUEUE_CAPS,
        false => QUEUE_CAPS | sys::V4L2_BUF_CAP_SUPPORTS_DMABUF,
    };
    let (at, mask) = match request {
        sys::VIDIOC_REQBUFS => (
            offset_of!(sys::v4l2_requestbuffers, capabilities),
            queue_caps,
        ),
        sys::VIDIOC_CREATE_BUFS => (
            offset_of!(sys::v4l2_create_buffers, capabilities),
            queue_caps,
        ),
        // readbuffers or writebuffers, at the same place.
        sys::VIDIOC_G_PARM | sys::VIDIOC_S_PARM => (
            offset_of!(sys::v4l2_streamparm, parm) + offset_of!(sys::v4l2_captureparm, readbuffers),
            u32::MAX,
        ),
        _ => return,
    };
    let value = number(structure, at) & !mask;
    if let Some(place) = structure.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
}
