//! The payload of an ioctl: its structure, the array that the structure points to, UUIDs, and lists of user memory.
//!
//! This module has no rules about the pointers of single ioctls: the devices say which bytes they need, and V4L2's
//! table of requests says which array a structure points to. The guest sends the structure, and behind it this
//! array. If the devices need bytes at any other address, they are in user memory, and the guest sends the list of
//! its runs behind the array. All addresses are those of the guest, except that the structure counts as being at
//! address 0.
//!
//! A guest has no descriptors of this process. In each field for a dma-buf's descriptor, in the structure or in its
//! planes, the guest sends a placeholder, and behind the array it sends the UUID of the dma-buf. For the devices,
//! the placeholders are replaced by the numbers 0, 1 and so on, which the devices treat as descriptors. Afterwards,
//! the guest gets its placeholders back.

use std::mem::offset_of;
use std::sync::Arc;

use crate::memory::{QueuedMemory, UserMemory};
use crate::protocol::{PLANE_BYTES, uuid_of};
use crate::session::{field, is_multiplanar};
use uuid::Uuid;
use vb3_frontend::{Descriptor, Errno, Gathered, Need, UserRange};
use vb3_v4l2::sys;
use vm_memory::GuestMemoryMmap;

/// Maximum length in bytes of the array of one call. 1,024 controls take 20 KiB.
const MAX_ARRAY: usize = 64 << 10;
/// Maximum number of pieces of user memory in one call.
pub(crate) const MAX_USERS: usize = 1024;

/// The guest's memory, as a call sees it.
#[derive(Clone, Copy)]
pub(crate) struct Guest<'a> {
    pub(crate) memory: &'a GuestMemoryMmap,
    /// User memory of buffers that are queued.
    pub(crate) queued: &'a QueuedMemory,
    pub(crate) session: u32,
    /// Finds the dma-buf behind a UUID.
    pub(crate) find: &'a dyn Fn(Uuid) -> Result<Descriptor, Errno>,
}

/// A payload while its ioctl is made.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    /// The part of what the guest sent that has not been taken yet.
    rest: &'a [u8],
    /// The structure, then the array.
    bytes: Vec<u8>,
    /// Length of the structure in bytes.
    size: usize,
    /// The guest's pointer to the array, and the array's length in bytes. The array is not in `bytes` if the guest
    /// has not sent all of the array, or if the array is too long.
    array: Option<(u64, usize)>,
    /// The dma-bufs that the call names or returns, and the guest's placeholders for their descriptors.
    pub(crate) objects: Vec<Uuid>,
    pub(crate) placeholders: Vec<u32>,
    /// User memory that the call has named.
    pub(crate) users: Vec<UserMemory>,
    /// How many more pages of user memory the call may name. `None` before it has named any.
    room: Option<u64>,
}

impl<'a> Payload<'a> {
    /// Makes the payload of what the guest sent. The structure has `size` bytes. If `is_read`, the guest sent the
    /// structure; if not, the structure is zero at first.
    ///
    /// # Errors
    /// EINVAL if the structure is too short.
    pub(crate) fn new(sent: &'a [u8], size: usize, is_read: bool) -> Result<Self, Errno> {
        let (bytes, rest) = match is_read {
            true => sent.split_at_checked(size).ok_or(Errno::EINVAL)?,
            false => (&[][..], sent),
        };
        let mut bytes = bytes.to_vec();
        bytes.resize(size, 0);
        Ok(Self {
            rest,
            bytes,
            size,
            array: None,
            objects: Vec::new(),
            placeholders: Vec::new(),
            users: Vec::new(),
            room: None,
        })
    }

    /// Takes the array and the UUIDs that follow the structure of the ioctl `request`. Puts numbers in the places of
    /// the placeholders.
    ///
    /// # Errors
    /// EINVAL if the guest has not sent all UUIDs.
    pub(crate) fn take_arrays(&mut self, request: u32) -> Result<(), Errno> {
        if let Some((addr, len)) = vb3_v4l2::array_of(request, self.structure()) {
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            if len <= MAX_ARRAY
                && let Some(array) = self.rest.split_off(..len)
            {
                self.bytes.extend_from_slice(array);
            }
            self.array = Some((addr, len));
        }
        let has_objects = match request {
            sys::VIDIOC_EXPBUF => true,
            sys::VIDIOC_QUERYBUF | sys::VIDIOC_QBUF | sys::VIDIOC_PREPARE_BUF => {
                field!(self.structure(), v4l2_buffer.memory) == sys::V4L2_MEMORY_DMABUF
            }
            _ => false,
        };
        if !has_objects {
            return Ok(());
        }
        let mut numbers: Vec<u32> = (0..).take(self.places(request).len()).collect();
        for _ in &numbers {
            let uuid = uuid_of(&mut self.rest).ok_or(Errno::EINVAL)?;
            self.objects.push(uuid);
        }
        self.swap(request, &mut numbers);
        self.placeholders = numbers;
        Ok(())
    }

    /// Puts the guest's placeholders back.
    pub(crate) fn restore(&mut self, request: u32) {
        let mut placeholders = self.placeholders.clone();
        self.swap(request, &mut placeholders);
    }

    /// Returns the offsets of the fields for descriptors: in the structure, or in each plane.
    fn places(&self, request: u32) -> Vec<usize> {
        if request == sys::VIDIOC_EXPBUF {
            return vec![offset_of!(sys::v4l2_exportbuffer, fd)];
        }
        if !is_multiplanar(field!(self.structure(), v4l2_buffer.type_)) {
            return vec![offset_of!(sys::v4l2_buffer, m)];
        }
        let planes = 0..self.array().len() / PLANE_BYTES;
        let place = |plane| self.size + plane * PLANE_BYTES + offset_of!(sys::v4l2_plane, m);
        planes.map(place).collect()
    }

    /// Exchanges these numbers with those in the fields for descriptors.
    fn swap(&mut self, request: u32, numbers: &mut [u32]) {
        for (at, number) in self.places(request).into_iter().zip(numbers) {
            if let Some(place) = self.bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
                *number = u32::from_ne_bytes(std::mem::replace(place, number.to_ne_bytes()));
            }
        }
    }

    /// Returns the structure.
    pub(crate) fn structure(&self) -> &[u8] {
        &self.bytes[..self.size]
    }

    /// Returns the structure, to change it.
    pub(crate) fn structure_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.size]
    }

    /// Returns the array.
    pub(crate) fn array(&self) -> &[u8] {
        &self.bytes[self.size..]
    }

    /// Returns what the guest gets back: the structure, the array and the UUIDs.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        let uuids = self.objects.iter().flat_map(|uuid| *uuid.as_bytes());
        self.bytes.extend(uuids);
        self.bytes
    }

    /// Adds to `have` what a step of the devices needs. Memory that the guest has not sent is added as memory that
    /// is not readable.
    pub(crate) fn gather(&mut self, need: &Need, have: &mut Gathered, guest: Guest<'_>) {
        for &(addr, len) in &need.bytes {
            let bytes = self.bytes_at(addr, len, guest);
            match bytes {
                Ok((at, bytes)) => have.add_bytes(at, bytes, at == 0),
                Err(_) => have.add_bytes(addr, Vec::new(), true),
            }
        }
        for &(fd, of) in &need.descriptors {
            let index = usize::try_from(fd).ok();
            let uuid = index.and_then(|index| self.objects.get(index));
            have.add_descriptor(
                fd,
                of,
                uuid.map_or(Err(Errno::EBADF), |uuid| (guest.find)(*uuid)),
            );
        }
        for &(addr, len) in &need.ranges {
            have.add_range(addr, len, self.range(addr, len, guest));
        }
    }

    /// Returns the `len` bytes at `addr`, perhaps with bytes around them, and the address of the first returned
    /// byte.
    fn bytes_at(&mut self, addr: u64, len: u64, guest: Guest<'_>) -> Result<(u64, Vec<u8>), Errno> {
        if addr
            .checked_add(len)
            .is_some_and(|end| end <= self.size as u64)
        {
            return Ok((0, self.structure().to_vec()));
        }
        match self.array {
            Some((start, all)) if start == addr && all as u64 == len => match self.array().len() {
                sent if sent == all => Ok((addr, self.array().to_vec())),
                _ => Err(Errno::EFAULT),
            },
            _ => Ok((addr, self.user(addr, len, guest)?.read(guest.memory)?)),
        }
    }

    /// Takes the next list of user memory, which must be that of the `len` bytes at `addr`.
    fn user(&mut self, addr: u64, len: u64, guest: Guest<'_>) -> Result<&UserMemory, Errno> {
        if self.users.len() == MAX_USERS {
            return Err(Errno::EFAULT);
        }
        let room = (self.room).get_or_insert_with(|| guest.queued.room(guest.memory));
        let user = UserMemory::parse(addr, len, &mut self.rest, room)?;
        self.users.push(user);
        self.users.last().ok_or(Errno::EFAULT)
    }

    fn range(&mut self, addr: u64, len: u64, guest: Guest<'_>) -> UserRange {
        let user = self.user(addr, len, guest);
        match user.and_then(|user| user.read(guest.memory)) {
            Ok(bytes) => UserRange {
                readable: len,
                writable: len,
                file: None,
                bytes: Arc::new(bytes),
            },
            Err(_) => UserRange::default(),
        }
    }

    /// Writes what a step returns: to the structure, to an array, or to user memory of this call or of earlier
    /// ones.
    ///
    /// # Errors
    /// EFAULT if the guest has not named such memory.
    pub(crate) fn write(&mut self, addr: u64, data: &[u8], guest: Guest<'_>) -> Result<(), Errno> {
        let inside = |start: u64, len: usize| {
            let at = usize::try_from(addr.checked_sub(start)?).ok()?;
            (at.checked_add(data.len())? <= len).then_some(at)
        };
        let structure = inside(0, self.size);
        let array = || Some(self.size + inside(self.array?.0, self.array().len())?);
        if let Some(at) = structure.or_else(array) {
            let place = self.bytes.get_mut(at..at + data.len());
            place.ok_or(Errno::EFAULT)?.copy_from_slice(data);
            return Ok(());
        }
        let mut own = self.users.iter();
        let own = own.find(|user| user.contains(addr, data.len()));
        let known = own.or_else(|| guest.queued.find(guest.session, addr, data.len()));
        if let Some(user) = known {
            return user.write(addr, data, guest.memory);
        }
        // If a call only writes to user memory, its steps have not needed this memory before, and the list has not
        // been taken yet.
        self.user(addr, data.len() as u64, guest)?
            .write(addr, data, guest.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::tests::{list, new_ram};
    use vm_memory::{Bytes as _, GuestAddress};

    fn guest<'a>(memory: &'a GuestMemoryMmap, queued: &'a QueuedMemory) -> Guest<'a> {
        Guest {
            memory,
            queued,
            session: 1,
            find: &|_| Err(Errno::EBADF),
        }
    }

    fn need(bytes: &[(u64, u64)], ranges: &[(u64, u64)]) -> Need {
        Need {
            bytes: bytes.to_vec(),
            ranges: ranges.to_vec(),
            ..Need::default()
        }
    }

    #[test]
    fn structure_array_and_user_memory_follow() {
        let (ram, queued) = (new_ram(64), QueuedMemory::new());
        let guest = guest(&ram, &queued);
        ram.write_slice(&[7; 4], GuestAddress(16)).unwrap();
        let sent = [&[1; 8][..], &[2; 6], &list(&[(16, 4)])].concat();
        let mut payload = Payload::new(&sent, 8, true).unwrap();
        payload.array = Some((0xffff_8000, 6));
        payload.bytes.extend(payload.rest.split_off(..6).unwrap());
        let mut have = Gathered::default();
        payload.gather(&need(&[(0, 4)], &[]), &mut have, guest);
        assert_eq!(
            have.bytes(2, 6),
            Some(Ok(&[1; 6][..])),
            "all of the structure"
        );
        payload.gather(&need(&[(0xffff_8000, 6)], &[]), &mut have, guest);
        assert_eq!(have.bytes(0xffff_8000, 6), Some(Ok(&[2; 6][..])));
        payload.gather(&need(&[(0x7f00, 4)], &[]), &mut have, guest);
        assert_eq!(have.bytes(0x7f00, 4), Some(Ok(&[7; 4][..])));
        payload.write(0xffff_8001, &[3, 3], guest).unwrap();
        payload.write(4, &[9], guest).unwrap();
        payload.write(0x7f02, &[8], guest).unwrap();
        let user: [u8; 4] = ram.read_obj(GuestAddress(16)).unwrap();
        assert_eq!(user, [7, 7, 8, 7]);
        assert_eq!(payload.write(0x9000, &[0], guest), Err(Errno::EFAULT));
        let back = payload.into_bytes();
        assert_eq!(back, [1, 1, 1, 1, 9, 1, 1, 1, 2, 3, 3, 2, 2, 2]);
    }

    #[test]
    fn what_was_not_sent_cannot_be_read() {
        let (ram, queued) = (new_ram(16), QueuedMemory::new());
        let guest = guest(&ram, &queued);
        assert!(Payload::new(&[0; 7], 8, true).is_err());
        let mut payload = Payload::new(&[0; 12], 8, true).unwrap();
        payload.array = Some((0x5000, 5));
        let mut have = Gathered::default();
        payload.gather(&need(&[(0x5000, 5)], &[(0x6000, 1)]), &mut have, guest);
        assert_eq!(have.bytes(0x5000, 5), Some(Err(Errno::EFAULT)));
        assert_eq!(have.range(0x6000, 1).unwrap().readable, 0);
        payload.array = Some((0x5000, usize::MAX));
        let huge = need(&[(0x5000, u64::MAX)], &[]);
        payload.gather(&huge, &mut have, guest);
        assert_eq!(payload.array(), [0; 0]);
    }
}
