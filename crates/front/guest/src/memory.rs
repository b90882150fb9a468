//! Memory of the guest.

use crate::protocol::{ENTRY_BYTES, u32_of, u64_of};
use vb3_frontend::{Errno, MAX_GATHERED};

/// Maximum number of entries in a list. The guest's driver has room for about 1,000.
const MAX_ENTRIES: usize = 64 << 10;

/// The guest's RAM, by guest-physical address. The guest can change it at any time, so everything is read once.
pub(crate) trait GuestMemory {
    /// Copies from the guest's RAM.
    ///
    /// # Errors
    /// EFAULT unless all of it is RAM.
    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), Errno>;

    /// Copies to the guest's RAM.
    ///
    /// # Errors
    /// EFAULT unless all of it is RAM.
    fn write(&self, at: u64, data: &[u8]) -> Result<(), Errno>;
}

/// Memory of a program in the guest, as runs of the guest's RAM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserMemory {
    /// The program's address.
    addr: u64,
    /// Length in bytes.
    len: u64,
    /// Guest-physical address and length in bytes of each run.
    runs: Vec<(u64, u64)>,
}

impl UserMemory {
    /// Reads the entries that cover `len` bytes from the beginning of `list`.
    ///
    /// # Errors
    /// EFAULT if the entries end before, and for lengths over [`MAX_GATHERED`].
    pub(crate) fn parse(addr: u64, len: u64, list: &mut &[u8]) -> Result<Self, Errno> {
        if len > MAX_GATHERED {
            return Err(Errno::EFAULT);
        }
        let (mut runs, mut left) = (Vec::new(), len);
        while left > 0 {
            let mut entry = list.split_off(..ENTRY_BYTES).ok_or(Errno::EFAULT)?;
            let (start, run) = (u64_of(&mut entry), u32_of(&mut entry));
            let (start, run) = start.zip(run).ok_or(Errno::EFAULT)?;
            if run == 0 || runs.len() == MAX_ENTRIES {
                return Err(Errno::EFAULT);
            }
            let run = u64::from(run).min(left);
            runs.push((start, run));
            left -= run;
        }
        Ok(Self { addr, len, runs })
    }

    /// Returns the program's address.
    pub(crate) const fn addr(&self) -> u64 {
        self.addr
    }

    /// Copies all of it.
    ///
    /// # Errors
    /// EFAULT if a run is not RAM.
    pub(crate) fn read(&self, memory: &dyn GuestMemory) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; usize::try_from(self.len).map_err(|_| Errno::EFAULT)?];
        let mut rest = &mut bytes[..];
        for &(at, len) in &self.runs {
            let len = usize::try_from(len).map_err(|_| Errno::EFAULT)?;
            let part = rest.split_off_mut(..len).ok_or(Errno::EFAULT)?;
            memory.read(at, part)?;
        }
        Ok(bytes)
    }

    /// Returns whether it contains the `len` bytes at a program's address.
    pub(crate) fn contains(&self, addr: u64, len: usize) -> bool {
        let start = addr.checked_sub(self.addr);
        start.is_some_and(|start| start <= self.len && len as u64 <= self.len - start)
    }

    /// Copies to a part of it, given by the program's address.
    ///
    /// # Errors
    /// EFAULT if the part is not inside, or not RAM.
    pub(crate) fn write(
        &self,
        addr: u64,
        mut data: &[u8],
        memory: &dyn GuestMemory,
    ) -> Result<(), Errno> {
        if !self.contains(addr, data.len()) {
            return Err(Errno::EFAULT);
        }
        let mut skip = addr - self.addr;
        for &(at, len) in &self.runs {
            if skip >= len {
                skip -= len;
                continue;
            }
            let room = usize::try_from(len - skip).unwrap_or(usize::MAX);
            let Some(part) = data.split_off(..room.min(data.len())) else {
                break;
            };
            memory.write(at.checked_add(skip).ok_or(Errno::EFAULT)?, part)?;
            skip = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::cell::RefCell;

    /// RAM from address 0 on.
    #[derive(Debug)]
    pub(crate) struct Ram(pub(crate) RefCell<Vec<u8>>);

    impl Ram {
        pub(crate) fn new(len: usize) -> Self {
            Self(RefCell::new(vec![0; len]))
        }
    }

    fn range(at: u64, len: usize) -> std::ops::Range<usize> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        at..at.saturating_add(len)
    }

    impl GuestMemory for Ram {
        fn read(&self, at: u64, out: &mut [u8]) -> Result<(), Errno> {
            let ram = self.0.borrow();
            let part = ram.get(range(at, out.len())).ok_or(Errno::EFAULT)?;
            out.copy_from_slice(part);
            Ok(())
        }

        fn write(&self, at: u64, data: &[u8]) -> Result<(), Errno> {
            let mut ram = self.0.borrow_mut();
            let part = ram.get_mut(range(at, data.len())).ok_or(Errno::EFAULT)?;
            part.copy_from_slice(data);
            Ok(())
        }
    }

    /// Returns a list's bytes.
    pub(crate) fn list(entries: &[(u64, u32)]) -> Vec<u8> {
        let entry = |&(start, len): &(u64, u32)| {
            let mut bytes = start.to_le_bytes().to_vec();
            bytes.extend(len.to_le_bytes());
            bytes.extend([0; 4]);
            bytes
        };
        entries.iter().flat_map(entry).collect()
    }

    #[test]
    fn scattered_memory_is_read_and_written_in_order() {
        let ram = Ram::new(64);
        ram.write(32, &[1, 2, 3, 4]).unwrap();
        ram.write(8, &[5, 6, 7, 8]).unwrap();
        let bytes = list(&[(32, 4), (8, 4), (99, 1)]);
        let mut rest = &bytes[..];
        let user = UserMemory::parse(0x7000, 7, &mut rest).unwrap();
        assert_eq!(rest.len(), ENTRY_BYTES, "the third entry stays");
        assert_eq!(user.read(&ram).unwrap(), [1, 2, 3, 4, 5, 6, 7]);
        user.write(0x7003, &[9, 10], &ram).unwrap();
        assert_eq!(user.read(&ram).unwrap(), [1, 2, 3, 9, 10, 6, 7]);
        assert_eq!(user.write(0x7006, &[0; 2], &ram), Err(Errno::EFAULT));
        assert_eq!(user.write(0x6fff, &[0], &ram), Err(Errno::EFAULT));
    }

    #[test]
    fn bad_lists_are_bad_addresses() {
        for (entries, len) in [
            (&[(0, 4)][..], 5),
            (&[(0, 0), (0, 4)], 4),
            (&[], 1),
            (&[(0, u32::MAX)], MAX_GATHERED + 1),
        ] {
            let bytes = list(entries);
            let parsed = UserMemory::parse(0, len, &mut &bytes[..]);
            assert_eq!(parsed, Err(Errno::EFAULT));
        }
        let bytes = list(&[(60, 8)]);
        let user = UserMemory::parse(0, 8, &mut &bytes[..]).unwrap();
        assert_eq!(user.read(&Ram::new(64)), Err(Errno::EFAULT));
    }
}
