//! dma-bufs.
//!
//! Source: Linux 6.12 drivers/dma-buf/dma-buf.c `dma_buf_ioctl`.

use crate::request::{Call, FileKind};
use crate::sys::{
    DMA_BUF_SYNC_READ, DMA_BUF_SYNC_RW, DMA_BUF_SYNC_WRITE, dma_buf_export_sync_file,
    dma_buf_import_sync_file, dma_buf_sync,
};
use std::mem::offset_of;
use vb3_dmabuf::fence::Usage;
use vb3_dmabuf::sync_flags;
use vb3_frontend::{Errno, Image, Ioctl, NumberAt};

/// An ioctl on a dma-buf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DmaBufRequest {
    /// `DMA_BUF_IOCTL_SYNC`, with unchecked flags.
    Sync(u64),
    /// `DMA_BUF_IOCTL_EXPORT_SYNC_FILE`: makes a sync file of the dma-buf's fences.
    ExportSyncFile {
        /// The access for which the program will wait.
        usage: Usage,
        /// Where the program reads the sync file's descriptor.
        number: NumberAt,
    },
    /// `DMA_BUF_IOCTL_IMPORT_SYNC_FILE`: adds a sync file's fences to the dma-buf.
    ImportSyncFile {
        /// The access whose end the fences signal.
        usage: Usage,
        /// The sync file's descriptor.
        fd: i32,
    },
    /// `DMA_BUF_SET_NAME` with a name of at most 31 bytes.
    SetName,
}

impl DmaBufRequest {
    /// Reads the request.
    ///
    /// # Errors
    /// ENOTTY for any other ioctl; EINVAL and EFAULT where Linux returns them; NOT_GATHERED.
    pub fn read(call: Ioctl<'_>) -> Result<Self, Errno> {
        Ok(match FileKind::DmaBuf.find(call.request) {
            Some(Call::Sync) => {
                let data = Image(call.read::<{ size_of::<dma_buf_sync>() }>()?);
                Self::Sync(data.u64(offset_of!(dma_buf_sync, flags)))
            }
            Some(Call::ExportSyncFile) => {
                let data = Image(call.read::<{ size_of::<dma_buf_export_sync_file>() }>()?);
                let flags = data.u32(offset_of!(dma_buf_export_sync_file, flags));
                Self::ExportSyncFile {
                    usage: usage_of(flags).ok_or(Errno::EINVAL)?,
                    number: call.number_at(offset_of!(dma_buf_export_sync_file, fd))?,
                }
            }
            Some(Call::ImportSyncFile) => {
                let data = Image(call.read::<{ size_of::<dma_buf_import_sync_file>() }>()?);
                let flags = data.u32(offset_of!(dma_buf_import_sync_file, flags));
                Self::ImportSyncFile {
                    usage: usage_of(flags).ok_or(Errno::EINVAL)?,
                    fd: data.i32(offset_of!(dma_buf_import_sync_file, fd)),
                }
            }
            Some(Call::SetNameA | Call::SetNameB) => {
                check_name(call)?;
                Self::SetName
            }
            _ => return Err(Errno::ENOTTY),
        })
    }
}

/// Returns the access that a `DMA_BUF_IOCTL_SYNC` with these flags begins; `None` if it ends an access, or if the
/// flags are invalid.
#[must_use]
pub fn usage_of_access(flags: u64) -> Option<Usage> {
    let Ok((_, false)) = sync_flags(flags) else {
        return None;
    };
    // CAST: valid flags have no upper half.
    usage_of(flags as u32 & DMA_BUF_SYNC_RW)
}

/// Parses `DMA_BUF_SYNC_READ` and `_WRITE`, one or both. A reader waits for writers, and a writer waits for all
/// users.
fn usage_of(flags: u32) -> Option<Usage> {
    const BOTH: u32 = DMA_BUF_SYNC_READ | DMA_BUF_SYNC_WRITE;
    match flags {
        DMA_BUF_SYNC_READ => Some(Usage::Read),
        flags if flags != 0 && flags & !BOTH == 0 => Some(Usage::Write),
        _ => None,
    }
}

/// Maximum length of a dma-buf's name in bytes, with its NUL (`DMA_BUF_NAME_LEN`).
const NAME_BYTES: u64 = 32;

/// Checks that the program's name of a dma-buf has at most 31 bytes before its NUL.
fn check_name(call: Ioctl<'_>) -> Result<(), Errno> {
    for at in 0..NAME_BYTES {
        let mut byte = [0];
        (call.caller).read(call.arg.wrapping_add(at), &mut byte)?;
        if byte == [0] {
            return Ok(());
        }
    }
    Err(Errno::EINVAL)
}
