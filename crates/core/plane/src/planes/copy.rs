//! The CPU's view of planes: read() and write() emulation, and drivers that use the CPU.

use super::mapping::memory_error;
use super::{Cookie, Kind, Plane, Planes, View, Viewed};
use crate::PlaneError;
use vb3_dma::{Direction, DmaOps, Locks};
use vb3_dmabuf::{Error, MemoryId, Observer, SlabKey};

/// A buffer that receives a plane's bytes (`Out`), or whose bytes go into a plane (`In`).
pub(super) enum Bytes<'a> {
    Out(&'a mut [u8]),
    In(&'a [u8]),
}

impl Bytes<'_> {
    fn len(&self) -> u64 {
        let len = match self {
            Self::Out(out) => out.len(),
            Self::In(data) => data.len(),
        };
        u64::try_from(len).unwrap_or(u64::MAX)
    }

    const fn cpu_access(&self) -> Direction {
        match self {
            Self::Out(_) => Direction::FromDevice,
            Self::In(_) => Direction::ToDevice,
        }
    }

    fn transfer<O: DmaOps>(
        self,
        ops: &O,
        vmap: &O::Vmap,
        offset: u64,
    ) -> Result<(), vb3_dma::Error> {
        match self {
            Self::Out(out) => ops.vmap_read(vmap, offset, out),
            Self::In(data) => ops.vmap_write(vmap, offset, data),
        }
    }
}

/// Converts the error: EBUSY if the CPU cannot have a view of the memory, ENOMEM for a shortage, else EINVAL.
fn view_error(e: Error) -> PlaneError {
    match e {
        Error::Dma(vb3_dma::Error::Unsupported | vb3_dma::Error::NoSuchMemory(_)) => {
            PlaneError::Busy
        }
        Error::Dma(vb3_dma::Error::NoMemory(reason)) => PlaneError::NoMemory(Some(reason)),
        other => PlaneError::Invalid(other.reason()),
    }
}

impl<O: DmaOps, H: Observer<O>, L: Locks> Planes<O, H, L> {
    /// Copies to or from a plane, and reports the bytes.
    pub(super) fn copy(
        &self,
        plane: &Plane<O::Device>,
        offset: u64,
        bytes: Bytes<'_>,
    ) -> Result<(), PlaneError> {
        let len = bytes.len();
        let end = offset.checked_add(len);
        if end.is_none_or(|end| end > plane.len_bytes) {
            return Err(PlaneError::Invalid(None));
        }
        if let Kind::User(key) = plane.kind {
            self.copy_user(key, offset, bytes)?;
        } else if let Some(memory) = plane.used_memory() {
            let is_attached = matches!(plane.kind, Kind::Allocated { own: Some(_), .. });
            self.copy_memory(memory, offset, bytes, Some(usize::from(is_attached)))?;
        }
        self.host().copied(plane.dev.dma, len);
        Ok(())
    }

    /// Copies through a CPU mapping of shared memory. If `own` has the number of the plane's own attachments, and the
    /// memory has other users, also begins and ends a CPU access.
    fn copy_memory(
        &self,
        id: MemoryId,
        offset: u64,
        bytes: Bytes<'_>,
        own: Option<usize>,
    ) -> Result<(), PlaneError> {
        self.ensure_placed(id).map_err(memory_error)?;
        let access = bytes.cpu_access();
        let copied = self.buffers.with_memory(id, |memory, cx| {
            let bracket = own.is_some_and(|own| memory.is_shared(own));
            memory.vmap(cx.ops)?;
            let begun = match bracket {
                true => memory.begin_cpu_access(cx, access),
                false => Ok(()),
            };
            let copied = begun.and_then(|()| {
                let copied = match memory.vmapped() {
                    Some(vmap) => bytes.transfer(cx.ops, vmap, offset),
                    None => Err(vb3_dma::Error::Unsupported),
                };
                let ended = match bracket {
                    true => memory.end_cpu_access(cx, access),
                    false => Ok(()),
                };
                Ok(copied?).and(ended)
            });
            memory.vunmap(cx.ops);
            copied
        });
        copied.map_err(view_error)
    }

    fn copy_user(&self, key: SlabKey, offset: u64, bytes: Bytes<'_>) -> Result<(), PlaneError> {
        let ops = self.ops();
        let copied = self.with_user(key, |user| {
            if let Some(vmap) = user.vmap() {
                return bytes.transfer(ops, vmap, offset);
            }
            let vmap = ops.vmap(user.memory())?;
            let copied = bytes.transfer(ops, &vmap, offset);
            ops.vunmap(vmap);
            copied
        });
        let copied = copied.ok_or(PlaneError::Invalid(None))?;
        copied.map_err(|e| view_error(Error::Dma(e)))
    }

    /// Reads a plane's bytes from `offset` for its driver, through the CPU mapping that the cookie names.
    /// Reports the bytes as copied for `dev`.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) outside the memory, or for a cookie that is not a CPU mapping.
    pub fn cpu_read(
        &self,
        dev: O::Device,
        cookie: Cookie,
        offset: u64,
        out: &mut [u8],
    ) -> Result<(), PlaneError> {
        self.driver_copy(dev, cookie, offset, Bytes::Out(out))
    }

    /// Writes bytes into a plane for its driver, starting at `offset`.
    ///
    /// # Errors
    /// As [`cpu_read`](Self::cpu_read).
    pub fn cpu_write(
        &self,
        dev: O::Device,
        cookie: Cookie,
        offset: u64,
        data: &[u8],
    ) -> Result<(), PlaneError> {
        self.driver_copy(dev, cookie, offset, Bytes::In(data))
    }

    fn driver_copy(
        &self,
        dev: O::Device,
        cookie: Cookie,
        offset: u64,
        bytes: Bytes<'_>,
    ) -> Result<(), PlaneError> {
        let len = bytes.len();
        match cookie {
            Cookie::Dma(_) | Cookie::Sg(_) | Cookie::Cpu(View(Viewed::Attached(_))) => {
                return Err(PlaneError::Invalid(None));
            }
            // Prepare and finish already begin and end this access.
            Cookie::Cpu(View(Viewed::Memory(id))) => self.copy_memory(id, offset, bytes, None)?,
            Cookie::Cpu(View(Viewed::User(key))) => self.copy_user(key, offset, bytes)?,
        }
        self.host().copied(dev, len);
        Ok(())
    }
}
