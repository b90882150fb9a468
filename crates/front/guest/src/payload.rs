//! The payload of an ioctl: its structure, the arrays that the structure points to, and lists of user memory.
//!
//! The devices say what they need, and V4L2's table of requests says which array a structure points to, so no rule
//! about pointers stands here. The array follows the structure; any other address leads to user memory, whose list
//! follows. Addresses are the guest's own; the structure itself is at address 0.

use std::sync::Arc;

use crate::memory::{GuestMemory, QueuedMemory, UserMemory};
use vb3_frontend::{Errno, Gathered, Need, UserRange};

/// Maximum length in bytes of the arrays of one call. 1,024 controls take 20 KiB.
const MAX_ARRAYS: usize = 64 << 10;
/// Maximum number of pieces of user memory in one call.
pub(crate) const MAX_USERS: usize = 1024;

/// The guest's memory, as a call sees it.
#[derive(Clone, Copy)]
pub(crate) struct Guest<'a> {
    pub(crate) memory: &'a dyn GuestMemory,
    /// User memory of buffers that are queued.
    pub(crate) queued: &'a QueuedMemory,
    pub(crate) session: u32,
}

/// A payload while its ioctl is made.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    /// What the guest sent behind the structure and behind the arrays that have been taken.
    rest: &'a [u8],
    /// The structure, then the arrays: what the guest gets back.
    bytes: Vec<u8>,
    /// Length of the structure in bytes.
    size: usize,
    /// The address and length in bytes of the array that the structure points to.
    array: Option<(u64, u64)>,
    /// The guest's pointer to each array, its offset in `bytes` and its length.
    arrays: Vec<(u64, usize, usize)>,
    /// User memory that the call has named.
    pub(crate) users: Vec<UserMemory>,
    /// How many pages of it there may still be. `None` before the first.
    room: Option<u64>,
}

impl<'a> Payload<'a> {
    /// Begins with what the guest sent. The structure has `size` bytes, which are in it if `is_read`.
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
            arrays: Vec::new(),
            users: Vec::new(),
            room: None,
        })
    }

    /// Says which array of the ioctl `request` follows the structure.
    pub(crate) fn find_array(&mut self, request: u32) {
        self.array = vb3_v4l2::array_of(request, self.structure());
    }

    /// Returns the structure.
    pub(crate) fn structure(&self) -> &[u8] {
        &self.bytes[..self.size]
    }

    /// Returns the structure, to change it.
    pub(crate) fn structure_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.size]
    }

    /// Returns the arrays.
    pub(crate) fn arrays(&self) -> &[u8] {
        &self.bytes[self.size..]
    }

    /// Returns the structure and the arrays.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Adds what a step needs to what it has. Memory that the guest has not sent counts as not readable.
    pub(crate) fn gather(&mut self, need: &Need, have: &mut Gathered, guest: Guest<'_>) {
        for &(addr, len) in &need.bytes {
            let bytes = self.bytes_at(addr, len, guest);
            match bytes {
                Ok((at, bytes)) => have.add_bytes(at, bytes, at == 0),
                Err(_) => have.add_bytes(addr, Vec::new(), true),
            }
        }
        for &(fd, of) in &need.descriptors {
            // A guest has no descriptors of ours.
            have.add_descriptor(fd, of, Err(Errno(rustix::io::Errno::BADF.raw_os_error())));
        }
        for &(addr, len) in &need.ranges {
            have.add_range(addr, len, self.range(addr, len, guest));
        }
    }

    /// Returns bytes and where they begin.
    fn bytes_at(&mut self, addr: u64, len: u64, guest: Guest<'_>) -> Result<(u64, Vec<u8>), Errno> {
        if addr
            .checked_add(len)
            .is_some_and(|end| end <= self.size as u64)
        {
            return Ok((0, self.structure().to_vec()));
        }
        if self.array.take_if(|array| *array == (addr, len)).is_none() {
            return Ok((addr, self.user(addr, len, guest)?.read(guest.memory)?));
        }
        let len = usize::try_from(len).map_err(|_| Errno::EFAULT)?;
        if len > MAX_ARRAYS - self.arrays().len().min(MAX_ARRAYS) {
            return Err(Errno::EFAULT);
        }
        let array = self.rest.split_off(..len).ok_or(Errno::EFAULT)?;
        self.arrays.push((addr, self.bytes.len(), len));
        self.bytes.extend_from_slice(array);
        Ok((addr, array.to_vec()))
    }

    /// Takes the next list of user memory.
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
        let mut own = self.arrays.iter().copied();
        let structure = inside(0, self.size);
        let array = || own.find_map(|(start, at, len)| Some(at + inside(start, len)?));
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
        // A call that only returns user memory has not asked for its list.
        self.user(addr, data.len() as u64, guest)?
            .write(addr, data, guest.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::tests::{Ram, list};

    fn guest<'a>(memory: &'a Ram, queued: &'a QueuedMemory) -> Guest<'a> {
        Guest {
            memory,
            queued,
            session: 1,
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
        let (ram, queued) = (Ram::new(64), QueuedMemory::new());
        let guest = guest(&ram, &queued);
        ram.write(16, &[7; 4]).unwrap();
        let sent = [&[1; 8][..], &[2; 6], &list(&[(16, 4)])].concat();
        let mut payload = Payload::new(&sent, 8, true).unwrap();
        payload.array = Some((0xffff_8000, 6));
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
        assert_eq!(ram.0.borrow()[16..20], [7, 7, 8, 7]);
        assert_eq!(payload.write(0x9000, &[0], guest), Err(Errno::EFAULT));
        let back = payload.into_bytes();
        assert_eq!(back, [1, 1, 1, 1, 9, 1, 1, 1, 2, 3, 3, 2, 2, 2]);
    }

    #[test]
    fn what_was_not_sent_cannot_be_read() {
        let (ram, queued) = (Ram::new(16), QueuedMemory::new());
        let guest = guest(&ram, &queued);
        assert!(Payload::new(&[0; 7], 8, true).is_err());
        let mut payload = Payload::new(&[0; 12], 8, true).unwrap();
        payload.array = Some((0x5000, 5));
        let mut have = Gathered::default();
        payload.gather(&need(&[(0x5000, 5)], &[(0x6000, 1)]), &mut have, guest);
        assert_eq!(have.bytes(0x5000, 5), Some(Err(Errno::EFAULT)));
        assert_eq!(have.range(0x6000, 1).unwrap().readable, 0);
        payload.array = Some((0x5000, u64::MAX));
        let huge = need(&[(0x5000, u64::MAX)], &[]);
        payload.gather(&huge, &mut have, guest);
        assert_eq!(payload.arrays(), [0; 0]);
    }
}
