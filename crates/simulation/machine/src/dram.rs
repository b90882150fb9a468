//! The devices' view of memory that the CPU caches, on machines whose devices do not snoop these caches.

use crate::backing::{Backing, CHUNK, Miss};
use crate::profile::CACHE_LINE;
use crate::store::Private;
use std::io;

/// Bytes of a cache line.
const LINE: usize = CACHE_LINE as usize;
/// Bytes that one step of a sync reads.
const STEP: usize = CHUNK as usize;

/// The devices' bytes, and a copy of the CPU's bytes at the last sync.
///
/// A line that the CPU has not written since that sync is clean. As on hardware, writing back a clean line does
/// nothing, so the bytes that a device wrote there stay. If a program writes bytes that equal the old ones, the line
/// also stays clean, because only a change is noticed.
#[derive(Debug)]
pub(crate) struct Dram {
    pub(crate) bytes: Private,
    synced: Private,
}

impl Dram {
    /// Makes a store of `len` zeroed bytes.
    pub(crate) fn new(len: u64) -> io::Result<Self> {
        Ok(Self {
            bytes: Private::new(len)?,
            synced: Private::new(len)?,
        })
    }

    /// Zeroes the store. The caller guarantees that the CPU's bytes are zero, too.
    pub(crate) fn wipe(&mut self) {
        self.bytes.all_mut().fill(0);
        self.synced.all_mut().fill(0);
    }

    /// Marks lines dirty that the machine itself wrote in place of the CPU, even if their bytes did not change.
    pub(crate) fn make_dirty(&mut self, cpu: &Backing, offset: u64, len: u64) -> Result<(), Miss> {
        let synced = self.synced.slice_mut(offset, len);
        let synced = synced.ok_or(Miss::Nothing(offset))?;
        cpu.read(offset, synced)?;
        synced.iter_mut().for_each(|byte| *byte = !*byte);
        Ok(())
    }

    /// Writes back the lines that the CPU wrote.
    pub(crate) fn clean(&mut self, cpu: &Backing, offset: u64, len: u64) -> Result<(), Miss> {
        let miss = Miss::Nothing(offset);
        let bytes = self.bytes.slice_mut(offset, len).ok_or(miss)?;
        let synced = self.synced.slice_mut(offset, len).ok_or(miss)?;
        let mut read = vec![0; STEP.min(bytes.len())];
        let mut at = offset;
        for (bytes, synced) in bytes.chunks_mut(STEP).zip(synced.chunks_mut(STEP)) {
            let read = &mut read[..bytes.len()];
            cpu.read(at, read)?;
            at += read.len() as u64;
            if read == synced {
                continue;
            }
            let lines = read.chunks(LINE).zip(synced.chunks_mut(LINE));
            for ((now, synced), bytes) in lines.zip(bytes.chunks_mut(LINE)) {
                if now != synced {
                    synced.copy_from_slice(now);
                    bytes.copy_from_slice(now);
                }
            }
        }
        Ok(())
    }

    /// Drops the CPU's lines: copies the devices' bytes to the CPU's store.
    pub(crate) fn invalidate(
        &mut self,
        cpu: &mut Backing,
        offset: u64,
        len: u64,
    ) -> Result<(), Miss> {
        let miss = Miss::Nothing(offset);
        let bytes = self.bytes.slice(offset, len).ok_or(miss)?;
        let synced = self.synced.slice_mut(offset, len).ok_or(miss)?;
        cpu.write(offset, bytes)?;
        // Only after the write succeeded: if it fails, `synced` still equals the CPU's bytes, so the lines stay clean.
        synced.copy_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Shared;

    #[test]
    fn failed_invalidate_leaves_clean_lines() {
        use rustix::fs::{MemfdFlags, Mode, OFlags, ftruncate, memfd_create, open};
        use std::os::fd::AsRawFd as _;
        let len = LINE as u64;
        let file = memfd_create("read-only", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, len).unwrap();
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let file = open(path, OFlags::RDONLY, Mode::empty()).unwrap();
        let foreign = crate::Foreign::map_first(std::sync::Arc::new(file), len).unwrap();
        let mut cpu = Backing::Foreign(foreign);
        let mut dram = Dram::new(len).unwrap();
        dram.bytes.all_mut().fill(7);
        dram.invalidate(&mut cpu, 0, len).unwrap_err();
        dram.clean(&cpu, 0, len).unwrap();
        assert_eq!(dram.bytes.all(), [7; LINE]);
    }

    #[test]
    fn clean_line_keeps_what_a_device_wrote() {
        let len = 2 * STEP as u64;
        let mut cpu = Backing::Shared(Shared::new(len).unwrap());
        let mut dram = Dram::new(len).unwrap();
        dram.bytes.all_mut().fill(7);
        cpu.write(STEP as u64, &[1; 8]).unwrap();
        dram.clean(&cpu, 0, len).unwrap();
        let mut expected = vec![7; 2 * STEP];
        // The whole line is written back, with the zeroes that the CPU had read there.
        expected[STEP..STEP + LINE].fill(0);
        expected[STEP..STEP + 8].fill(1);
        assert_eq!(dram.bytes.all(), expected);
        dram.invalidate(&mut cpu, 0, len).unwrap();
        dram.bytes.all_mut().fill(9);
        dram.clean(&cpu, 0, len).unwrap();
        assert_eq!(
            dram.bytes.all(),
            [9; 2 * STEP],
            "the CPU has written nothing since"
        );
    }
}
