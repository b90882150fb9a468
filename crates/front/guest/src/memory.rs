//! Memory of the guest. The guest can change this memory at any time, so no byte is read twice.

use std::collections::BTreeMap;

use crate::protocol::{ENTRY_BYTES, u32_of, u64_of};
use vb3_frontend::{Errno, MAX_GATHERED};
use vm_memory::{
    Bytes as _, GuestAddress, GuestMemoryBackend as _, GuestMemoryMmap, GuestMemoryRegion as _,
};

/// Length in bytes of a page, by which user memory is counted.
const PAGE: u64 = 4096;
/// Number of pages that user memory may have in addition to the pages of the guest's RAM. Two buffers can share the
/// page in which one ends and the other begins, and this page then counts twice.
const SPARE_PAGES: u64 = 1024;

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

/// Returns as how many pages a run of `len` bytes counts: one more than its whole pages, so that a short run counts, too.
const fn pages(len: u64) -> u64 {
    len / PAGE + 1
}

impl UserMemory {
    /// Reads the entries that cover `len` bytes from the beginning of `list`.
    ///
    /// # Errors
    /// EFAULT if `list` ends before the entries cover `len` bytes, if an entry is empty, if `len` exceeds
    /// [`MAX_GATHERED`], or if the entries have more pages than `room`. The pages of the entries are subtracted from
    /// `room`.
    pub(crate) fn parse(
        addr: u64,
        len: u64,
        list: &mut &[u8],
        room: &mut u64,
    ) -> Result<Self, Errno> {
        if len > MAX_GATHERED {
            return Err(Errno::EFAULT);
        }
        let (mut runs, mut left) = (Vec::new(), len);
        while left > 0 {
            let mut entry = list.split_off(..ENTRY_BYTES).ok_or(Errno::EFAULT)?;
            let (start, run) = (u64_of(&mut entry), u32_of(&mut entry));
            let (start, run) = start.zip(run).ok_or(Errno::EFAULT)?;
            if run == 0 {
                return Err(Errno::EFAULT);
            }
            let run = u64::from(run).min(left);
            *room = room.checked_sub(pages(run)).ok_or(Errno::EFAULT)?;
            runs.push((start, run));
            left -= run;
        }
        Ok(Self { addr, len, runs })
    }

    /// Returns as how many pages the runs of the memory count.
    fn pages(&self) -> u64 {
        self.runs.iter().map(|(_, len)| pages(*len)).sum()
    }

    /// Copies out all bytes of the memory.
    ///
    /// # Errors
    /// EFAULT if a run is not RAM.
    pub(crate) fn read(&self, memory: &GuestMemoryMmap) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; usize::try_from(self.len).map_err(|_| Errno::EFAULT)?];
        let mut rest = &mut bytes[..];
        for &(at, len) in &self.runs {
            let len = usize::try_from(len).map_err(|_| Errno::EFAULT)?;
            let part = rest.split_off_mut(..len).ok_or(Errno::EFAULT)?;
            let read = memory.read_slice(part, GuestAddress(at));
            read.map_err(|_| Errno::EFAULT)?;
        }
        Ok(bytes)
    }

    /// Returns whether the memory contains the `len` bytes at the program's address `addr`.
    pub(crate) fn contains(&self, addr: u64, len: usize) -> bool {
        let start = addr.checked_sub(self.addr);
        start.is_some_and(|start| start <= self.len && len as u64 <= self.len - start)
    }

    /// Copies `data` to that part of the memory that begins at the program's address `addr`.
    ///
    /// # Errors
    /// EFAULT if the part is not inside, or not RAM.
    pub(crate) fn write(
        &self,
        addr: u64,
        mut data: &[u8],
        memory: &GuestMemoryMmap,
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
            let at = GuestAddress(at.checked_add(skip).ok_or(Errno::EFAULT)?);
            memory.write_slice(part, at).map_err(|_| Errno::EFAULT)?;
            skip = 0;
        }
        Ok(())
    }
}

/// A buffer: its session, type and index.
pub(crate) type BufferId = (u32, u32, u32);

/// The user memory of queued buffers. A guest cannot queue more user memory than it has RAM. Without this limit, a
/// guest's lists could name the same RAM again and again.
#[derive(Debug, Default)]
pub(crate) struct QueuedMemory {
    of: BTreeMap<BufferId, Vec<UserMemory>>,
    pages: u64,
}

impl QueuedMemory {
    pub(crate) const fn new() -> Self {
        Self {
            of: BTreeMap::new(),
            pages: 0,
        }
    }

    /// Returns how many pages may still be queued.
    pub(crate) fn room(&self, memory: &GuestMemoryMmap) -> u64 {
        let ram: u64 = memory.iter().map(|region| region.len()).sum();
        (ram / PAGE + SPARE_PAGES).saturating_sub(self.pages)
    }

    pub(crate) fn insert(&mut self, buffer: BufferId, users: Vec<UserMemory>) {
        self.remove(buffer, buffer);
        self.pages += users.iter().map(UserMemory::pages).sum::<u64>();
        self.of.insert(buffer, users);
    }

    /// Forgets all buffers between two, both included.
    pub(crate) fn remove(&mut self, first: BufferId, last: BufferId) {
        while let Some((&id, _)) = self.of.range(first..=last).next() {
            let users = self.of.remove(&id).unwrap_or_default();
            self.pages -= users.iter().map(UserMemory::pages).sum::<u64>();
        }
    }

    /// Finds the memory of a session that contains these bytes.
    pub(crate) fn find(&self, session: u32, addr: u64, len: usize) -> Option<&UserMemory> {
        let of_session = self
            .of
            .range((session, 0, 0)..=(session, u32::MAX, u32::MAX));
        let mut all = of_session.flat_map(|(_, users)| users);
        all.find(|user| user.contains(addr, len))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Makes RAM from address 0 on.
    pub(crate) fn new_ram(len: usize) -> GuestMemoryMmap {
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), len)]).unwrap()
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
        let ram = new_ram(64);
        ram.write_slice(&[1, 2, 3, 4], GuestAddress(32)).unwrap();
        ram.write_slice(&[5, 6, 7, 8], GuestAddress(8)).unwrap();
        let bytes = list(&[(32, 4), (8, 4), (99, 1)]);
        let mut rest = &bytes[..];
        let user = UserMemory::parse(0x7000, 7, &mut rest, &mut 9).unwrap();
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
            let parsed = UserMemory::parse(0, len, &mut &bytes[..], &mut u64::MAX.clone());
            assert_eq!(parsed, Err(Errno::EFAULT));
        }
        let bytes = list(&[(60, 8)]);
        let user = UserMemory::parse(0, 8, &mut &bytes[..], &mut 1).unwrap();
        assert_eq!(user.read(&new_ram(64)), Err(Errno::EFAULT));
    }

    #[test]
    fn queued_memory_is_bounded_by_ram() {
        let ram = new_ram(1 << 20);
        let entries = list(&[(0, 4096); 300]);
        let mut queued = QueuedMemory::new();
        let mut count = 0;
        loop {
            let mut room = queued.room(&ram);
            let parsed = UserMemory::parse(0x7000, 300 << 12, &mut &entries[..], &mut room);
            let Ok(user) = parsed else { break };
            queued.insert((1, 1, count), vec![user]);
            count += 1;
        }
        assert_eq!(
            count, 2,
            "600 pages of 1 MiB, counted twice, and the spare ones"
        );
        assert!(queued.find(1, 0x7000, 1).is_some() && queued.find(2, 0x7000, 1).is_none());
        queued.remove((1, 1, 0), (1, 1, u32::MAX));
        assert_eq!(queued.pages, 0);
    }
}
