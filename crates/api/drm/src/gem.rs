//! Buffers, their handles in files, and dma-bufs (GEM, PRIME, dumb buffers).

use crate::buffer::Buffer;
use crate::bytes::{at, get, set};
use crate::call::{Answer, Ioctl, Step};
use crate::card::Card;
use crate::host::{BufferId, FileId, Memory};
use crate::{Errno, Error};

/// Page size for sizes of dumb buffers, in bytes.
const PAGE: u64 = 4096;
/// Maximum number of handles of a file.
pub(crate) const MAX_HANDLES: usize = 16384;

const O_CLOEXEC: u32 = 0o2_000_000;
const O_RDWR: u32 = 2;

impl Card {
    /// Returns a new handle of a buffer for a file, or the one that the file has.
    pub(crate) fn handle(&mut self, file: FileId, id: BufferId) -> Result<u32, Error> {
        let of = self.file(file)?;
        if let Some(handle) = of.by_buffer.get(&id) {
            return Ok(*handle);
        }
        self.new_handle(file, id)
    }

    /// Returns another handle of a buffer for a file, the lowest free one.
    pub(crate) fn new_handle(&mut self, file: FileId, id: BufferId) -> Result<u32, Error> {
        if self.file(file)?.handles.len() >= MAX_HANDLES {
            return Err(Error::Full("handles of a file", MAX_HANDLES as u64));
        }
        self.buffer_mut(id)?.refs += 1;
        let of = self.file_mut(file)?;
        let taken = of.handles.keys().zip(1..);
        let gap = taken.into_iter().find(|(handle, at)| **handle != *at);
        // CAST: at most MAX_HANDLES.
        let handle = gap.map_or(of.handles.len() as u32 + 1, |(_, at)| at);
        of.handles.insert(handle, id);
        of.by_buffer.entry(id).or_insert(handle);
        Ok(handle)
    }

    /// Drops a reference to a buffer; the last one returns the memory to the host.
    pub(crate) fn put_buffer(&mut self, id: BufferId, memory: &mut dyn Memory) {
        let Some(buffer) = self.buffers.get_mut(&id) else {
            return;
        };
        buffer.refs = buffer.refs.saturating_sub(1);
        if buffer.refs == 0 {
            self.offsets.remove(&buffer.offset);
            self.names.remove(&buffer.name);
            self.buffers.remove(&id);
            memory.release(id);
        }
    }

    fn buffer_mut(&mut self, id: BufferId) -> Result<&mut Buffer, Error> {
        let found = self.buffers.get_mut(&id);
        found.ok_or(Error::NoObject("buffer", id.0))
    }

    pub(crate) fn hold_buffer(&mut self, id: BufferId) {
        if let Some(buffer) = self.buffers.get_mut(&id) {
            buffer.refs = buffer.refs.saturating_add(1);
        }
    }

    /// Returns the buffer behind a file's handle.
    pub(crate) fn buffer_of(&self, file: FileId, handle: u32) -> Result<BufferId, Error> {
        let found = self.file(file)?.handles.get(&handle).copied();
        found.ok_or(Error::NoObject("buffer with handle", handle.into()))
    }

    fn insert_buffer(&mut self, id: BufferId, len: u64, is_imported: bool) {
        let new = || Buffer {
            len,
            is_imported,
            ..Buffer::default()
        };
        self.buffers.entry(id).or_insert_with(new);
    }

    /// Gives a handle of a buffer that may be new to the card. Returns the memory if that fails.
    fn adopt(
        &mut self,
        file: FileId,
        (id, len, is_imported): (BufferId, u64, bool),
        memory: &mut dyn Memory,
    ) -> Result<u32, Error> {
        self.insert_buffer(id, len, is_imported);
        let handle = self.handle(file, id);
        if handle.is_err() && self.buffers.get(&id).is_some_and(|buffer| buffer.refs == 0) {
            self.buffers.remove(&id);
            memory.release(id);
        }
        handle
    }

    /// Answers MODE_CREATE_DUMB.
    pub(crate) fn create_dumb(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (width, height, bpp) = get!(io.arg, drm_mode_create_dumb: width, height, bpp);
        for (what, value) in [("width", width), ("height", height), ("bpp", bpp)] {
            if value == 0 {
                return Err(Error::Invalid(what, 0));
            }
        }
        let whole = u64::from(bpp.div_ceil(8)) * u64::from(width);
        let bits = u64::from(bpp) * u64::from(width);
        let bytes = whole.checked_mul(height.into());
        let is_small =
            whole <= u32::MAX.into() && bytes.is_some_and(|b| b <= (u32::MAX - 4095).into());
        if !is_small {
            return Err(Error::Invalid(
                "width times height times bpp",
                bytes.unwrap_or(u64::MAX),
            ));
        }
        let pitch = bits
            .div_ceil(8)
            .next_multiple_of(self.config.pitch_align.max(1).into());
        let len = (pitch * u64::from(height)).next_multiple_of(PAGE);
        let id = io.program.allocate(len)?;
        let handle = self.adopt(io.file, (id, len, false), io.program.memory())?;
        // CAST: checked above.
        set!(io.arg, drm_mode_create_dumb: handle = handle, pitch = pitch as u32, size = len);
        Ok(Step::Done)
    }

    /// Answers MODE_MAP_DUMB: gives the buffer an mmap offset.
    pub(crate) fn map_dumb(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let id = self.buffer_of(io.file, get!(io.arg, drm_mode_map_dumb: handle))?;
        let buffer = self.buffer_mut(id)?;
        if buffer.is_imported {
            return Err(Error::Invalid("handle (of an imported buffer)", id.0));
        }
        let (mut offset, len) = (buffer.offset, buffer.len);
        if offset == 0 {
            offset = self.next_offset;
            self.next_offset += len.next_multiple_of(PAGE);
            self.buffer_mut(id)?.offset = offset;
            self.offsets.insert(offset, id);
        }
        set!(io.arg, drm_mode_map_dumb: offset = offset);
        Ok(Step::Done)
    }

    /// Finds the buffer that an mmap of the card maps.
    ///
    /// # Errors
    /// EINVAL for another offset, a longer length in bytes or a private mapping; EACCES if the file has no
    /// handle of the buffer.
    pub fn mmap(
        &self,
        file: FileId,
        (offset, len_bytes): (u64, u64),
        is_shared: bool,
    ) -> Result<BufferId, Error> {
        let id = self.offsets.get(&offset).copied();
        let id = id.ok_or(Error::Invalid("offset", offset))?;
        let len = self.buffers.get(&id).map_or(0, |buffer| buffer.len);
        if len_bytes == 0 || len_bytes > len.next_multiple_of(PAGE) {
            return Err(Error::Invalid("length in bytes", len_bytes));
        }
        if !self.file(file)?.by_buffer.contains_key(&id) {
            return Err(Error::NoAccess("the file has no handle of the buffer"));
        }
        match is_shared {
            true => Ok(id),
            false => Err(Error::Invalid("MAP_PRIVATE", 2)),
        }
    }

    /// Answers GEM_CLOSE and MODE_DESTROY_DUMB. Handles are not counted.
    pub(crate) fn close_handle(&mut self, io: &mut Ioctl<'_>) -> Answer {
        // Both structures begin with the handle.
        let handle = get!(io.arg, drm_gem_close: handle);
        let of = self.file_mut(io.file)?;
        let gone = of.handles.remove(&handle);
        let id = gone.ok_or(Error::Invalid("handle", handle.into()))?;
        if of.by_buffer.get(&id) == Some(&handle) {
            of.by_buffer.remove(&id);
            let other = of.handles.iter().find(|(_, of)| **of == id);
            if let Some((other, _)) = other {
                of.by_buffer.insert(id, *other);
            }
        }
        self.put_buffer(id, io.program.memory());
        Ok(Step::Done)
    }

    /// Answers GEM_FLINK.
    pub(crate) fn flink(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let id = self.buffer_of(io.file, get!(io.arg, drm_gem_flink: handle))?;
        let free = (1..)
            .find(|name| !self.names.contains_key(name))
            .unwrap_or(0);
        let buffer = self.buffer_mut(id)?;
        if buffer.name == 0 {
            buffer.name = free;
        }
        let name = buffer.name;
        self.names.insert(name, id);
        set!(io.arg, drm_gem_flink: name = name);
        Ok(Step::Done)
    }

    /// Answers GEM_OPEN. Each call makes another handle.
    pub(crate) fn open_name(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let name = get!(io.arg, drm_gem_open: name);
        let id = self.names.get(&name).copied();
        let id = id.ok_or(Error::NoObject("buffer with name", name.into()))?;
        let len = self.buffers.get(&id).map_or(0, |buffer| buffer.len);
        let handle = self.new_handle(io.file, id)?;
        set!(io.arg, drm_gem_open: handle = handle, size = len);
        Ok(Step::Done)
    }

    /// Answers PRIME_HANDLE_TO_FD.
    pub(crate) fn handle_to_fd(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (handle, flags) = get!(io.arg, drm_prime_handle: handle, flags);
        if flags & !(O_CLOEXEC | O_RDWR) != 0 {
            return Err(Error::Invalid("flags", flags.into()));
        }
        let id = self.buffer_of(io.file, handle)?;
        // All exports of a buffer are one file on Linux, with the access mode of the first.
        let at = io.field(at!(drm_prime_handle.fd));
        let fd = io.program.export(id, flags & O_CLOEXEC != 0, at)?;
        set!(io.arg, drm_prime_handle: fd = fd);
        Ok(Step::Done)
    }

    /// Answers PRIME_FD_TO_HANDLE. Flags are ignored.
    pub(crate) fn fd_to_handle(&mut self, io: &mut Ioctl<'_>) -> Answer {
        let (id, len) = io.program.import(get!(io.arg, drm_prime_handle: fd))?;
        let handle = self.adopt(io.file, (id, len, true), io.program.memory())?;
        set!(io.arg, drm_prime_handle: handle = handle);
        Ok(Step::Done)
    }

    /// Returns the length of a buffer in bytes.
    pub(crate) fn buffer_len(&self, id: BufferId) -> Result<u64, Error> {
        let found = self.buffers.get(&id).map(|buffer| buffer.len);
        found.ok_or(Error::Host(Errno(2)))
    }
}
