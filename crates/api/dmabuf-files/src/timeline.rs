//! Timelines of `sw_sync`, which programs make to test waits for fences.
//!
//! Source: Linux 6.12 drivers/dma-buf/sw_sync.c.

use crate::request::{Call, FileKind};
use crate::sys::{sw_sync_create_fence_data, sw_sync_increment};
use std::mem::offset_of;
use vb3_frontend::{Errno, Image, Ioctl, NumberAt};

/// An ioctl on a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimelineRequest {
    /// `SW_SYNC_IOC_CREATE_FENCE`: makes a sync file.
    CreateFence {
        /// The timeline's value at which the sync file ends.
        value: u32,
        /// Where the program reads the sync file's descriptor.
        number: NumberAt,
    },
    /// `SW_SYNC_IOC_INC`: adds to the timeline's value.
    Increment(u32),
    /// `SW_SYNC_GET_DEADLINE`: asks for a fence's deadline.
    Deadline,
}

impl TimelineRequest {
    /// Reads the request.
    ///
    /// # Errors
    /// ENOTTY for any other ioctl; EFAULT if the program's structure cannot be read;
    /// [`NOT_GATHERED`](Errno::NOT_GATHERED) if the front end must gather it first.
    pub fn read(call: Ioctl<'_>) -> Result<Self, Errno> {
        Ok(match FileKind::Timeline.find(call.request) {
            Some(Call::CreateFence) => {
                let data = Image(call.read::<{ size_of::<sw_sync_create_fence_data>() }>()?);
                Self::CreateFence {
                    value: data.u32(offset_of!(sw_sync_create_fence_data, value)),
                    number: call.number_at(offset_of!(sw_sync_create_fence_data, fence))?,
                }
            }
            Some(Call::Increment) => {
                let data = Image(call.read::<{ size_of::<sw_sync_increment>() }>()?);
                Self::Increment(data.u32(offset_of!(sw_sync_increment, value)))
            }
            Some(Call::Deadline) => Self::Deadline,
            _ => return Err(Errno::ENOTTY),
        })
    }
}
