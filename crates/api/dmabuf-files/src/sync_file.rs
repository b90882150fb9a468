//! Sync files, which are fences that programs hold as descriptors.
//!
//! Source: Linux 6.12 drivers/dma-buf/sync_file.c; differs: a deadline is accepted and has no effect.

use crate::request::{Call, FileKind};
use crate::sys::{sync_fence_info, sync_file_info, sync_merge_data, sync_set_deadline};
use std::mem::offset_of;
use vb3_dmabuf::fence::Status;
use vb3_frontend::{Errno, Image, Ioctl, NumberAt};

/// Length of a name's field in bytes, including the NUL.
pub const NAME_BYTES: usize = 32;

/// An ioctl on a sync file.
#[derive(Clone, Debug)]
pub enum SyncFileRequest {
    /// `SYNC_IOC_MERGE`.
    Merge(Merge),
    /// `SYNC_IOC_FILE_INFO`.
    Info(Info),
    /// `SYNC_IOC_SET_DEADLINE`, a hint for drivers.
    SetDeadline,
}

/// `SYNC_IOC_MERGE`: makes a sync file of this one and another.
#[derive(Clone, Copy, Debug)]
pub struct Merge {
    /// The new file's name.
    pub name: [u8; NAME_BYTES],
    /// The other file's descriptor.
    pub fd: i32,
    /// Where the program reads the new file's descriptor.
    pub number: NumberAt,
}

/// `SYNC_IOC_FILE_INFO`: describes the file and its fences.
#[derive(Clone, Debug)]
pub struct Info {
    data: Image<[u8; size_of::<sync_file_info>()]>,
}

impl SyncFileRequest {
    /// Reads the request.
    ///
    /// # Errors
    /// ENOTTY for any other ioctl; EINVAL and EFAULT where Linux returns them; NOT_GATHERED.
    pub fn read(call: Ioctl<'_>) -> Result<Self, Errno> {
        match FileKind::SyncFile.find(call.request) {
            Some(Call::Merge) => Merge::read(call).map(Self::Merge),
            Some(Call::Info) => Info::read(call).map(Self::Info),
            Some(Call::SetDeadline) => {
                let data = Image(call.read::<{ size_of::<sync_set_deadline>() }>()?);
                match data.u64(offset_of!(sync_set_deadline, pad)) {
                    0 => Ok(Self::SetDeadline),
                    _ => Err(Errno::EINVAL),
                }
            }
            _ => Err(Errno::ENOTTY),
        }
    }
}

impl Merge {
    fn read(call: Ioctl<'_>) -> Result<Self, Errno> {
        let data = Image(call.read::<{ size_of::<sync_merge_data>() }>()?);
        let given = [
            offset_of!(sync_merge_data, flags),
            offset_of!(sync_merge_data, pad),
        ];
        if given.iter().any(|at| data.u32(*at) != 0) {
            return Err(Errno::EINVAL);
        }
        let mut name = data.bytes(offset_of!(sync_merge_data, name));
        name[NAME_BYTES - 1] = 0;
        Ok(Self {
            name,
            fd: data.i32(offset_of!(sync_merge_data, fd2)),
            number: call.number_at(offset_of!(sync_merge_data, fence))?,
        })
    }
}

impl Info {
    fn read(call: Ioctl<'_>) -> Result<Self, Errno> {
        let data = Image(call.read()?);
        let given = [
            offset_of!(sync_file_info, flags),
            offset_of!(sync_file_info, pad),
        ];
        match given.iter().any(|at| data.u32(*at) != 0) {
            true => Err(Errno::EINVAL),
            false => Ok(Self { data }),
        }
    }

    /// Describes a file with this status and these fences. `name` is the name that a merge set, or begins with a
    /// NUL. A file without fences is described by one fence that has ended.
    ///
    /// # Errors
    /// EINVAL if the program has room for some fences, but not for all.
    pub fn answer(
        mut self,
        call: Ioctl<'_>,
        (name, status): (&[u8; NAME_BYTES], Status),
        fences: &[FenceFact],
    ) -> Result<(), Errno> {
        let room = self.data.u32(offset_of!(sync_file_info, num_fences));
        let mut status = number_of(status);
        if room != 0 {
            if (room as usize) < fences.len() {
                return Err(Errno::EINVAL);
            }
            let statuses = fences.iter().map(|fact| number_of(fact.status));
            // As in Linux: the first status that is pending or failed, else 1.
            status = statuses.fold(1, |all, one| if all <= 0 { all } else { one });
            let bytes: Vec<u8> = fences.iter().flat_map(FenceFact::to_bytes).collect();
            let list = self.data.u64(offset_of!(sync_file_info, sync_fence_info));
            call.caller.write(list, &bytes);
        }
        let name = match name {
            [0, ..] => default_name(fences),
            given => *given,
        };
        self.data.set_bytes(offset_of!(sync_file_info, name), name);
        self.data
            .set_i32(offset_of!(sync_file_info, status), status);
        // CAST: a sync file has a limited number of fences.
        let count = fences.len() as u32;
        self.data
            .set_u32(offset_of!(sync_file_info, num_fences), count);
        call.caller.write(call.arg, &self.data.0);
        Ok(())
    }
}

/// The properties of a fence that programs can query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceFact {
    /// Name of the fence's driver.
    pub driver: &'static str,
    /// Name of the fence's timeline.
    pub timeline: String,
    /// Number of the fence's timeline.
    pub context: u64,
    /// Number of the fence in its timeline.
    pub seqno: u64,
    /// Whether and how the fence has ended.
    pub status: Status,
}

impl FenceFact {
    /// Returns the fence that describes a file without fences.
    #[must_use]
    pub fn stub(status: Status) -> Self {
        Self {
            driver: "stub",
            timeline: "stub".to_owned(),
            context: 1,
            seqno: 0,
            status,
        }
    }

    /// Converts to `struct sync_fence_info`.
    fn to_bytes(&self) -> [u8; size_of::<sync_fence_info>()] {
        let mut data = Image([0; size_of::<sync_fence_info>()]);
        data.set_text(
            offset_of!(sync_fence_info, obj_name),
            NAME_BYTES,
            &self.timeline,
        );
        data.set_text(
            offset_of!(sync_fence_info, driver_name),
            NAME_BYTES,
            self.driver,
        );
        data.set_i32(offset_of!(sync_fence_info, status), number_of(self.status));
        let ended_ns = match self.status {
            Status::Pending => 0,
            Status::Ended { at_ns, .. } => at_ns,
        };
        data.set_u64(offset_of!(sync_fence_info, timestamp_ns), ended_ns);
        data.0
    }
}

/// Returns the name of a sync file that no merge has named.
fn default_name(fences: &[FenceFact]) -> [u8; NAME_BYTES] {
    let mut name = Image([0; NAME_BYTES]);
    let text = match fences {
        [fact] => {
            let (driver, timeline) = (fact.driver, &fact.timeline);
            format!("{driver}-{timeline}{}-{}", fact.context, fact.seqno)
        }
        _ => "dma_fence_array-unbound".to_owned(),
    };
    name.set_text(0, NAME_BYTES, &text);
    name.0
}

/// Returns 0 for a pending fence, 1 for an ended one, and a negative errno for a failed one.
const fn number_of(status: Status) -> i32 {
    match status {
        Status::Pending => 0,
        Status::Ended {
            outcome: Ok(()), ..
        } => 1,
        Status::Ended {
            outcome: Err(errno),
            ..
        } => -errno,
    }
}
