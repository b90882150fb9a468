//! The platform of a driver in user space: the process's memory, and VFIO's page table. It has no
//! physical addresses and uses addresses of the process instead.

use crate::vfio::{READ, Vfio, WRITE};
use std::cell::Cell;
use std::ptr::NonNull;
use vb3_dma::{
    Caching, Constraint, DeviceInfo, DmaAddr, Error, IommuInfo, Limits, PageRequest, PhysAddr,
    Platform, Prot, Reason, Segment, SegmentKind,
};

pub(crate) const PAGE: u64 = 4096;
/// First and last address of interrupt messages. No memory can be mapped there.
const MESSAGES: (u64, u64) = (0xfee0_0000, 0xfeef_ffff);

/// The process and its one device.
pub(crate) struct Driver {
    pub(crate) vfio: Vfio,
    /// Highest address that the device puts on the bus.
    pub(crate) mask: u64,
    /// Number of mappings in VFIO's page table now.
    pub(crate) entries: Cell<usize>,
}

/// Pages from mmap.
pub(crate) struct Pages {
    addr: NonNull<u8>,
    len: u64,
}

const fn segment(addr: u64, len: u64) -> Segment {
    Segment {
        addr: PhysAddr::new(addr),
        len,
        kind: SegmentKind::Pages,
    }
}

impl Platform for Driver {
    type Device = ();
    type Pages = Pages;

    fn page_size(&self) -> u64 {
        PAGE
    }

    fn ram_bytes(&self) -> u64 {
        1 << 30
    }

    fn device_info(&self, (): ()) -> Option<DeviceInfo> {
        let limits = Limits {
            mask: self.mask,
            ..Limits::default()
        };
        Some(DeviceInfo::new(limits).with_iommu(Some(IommuInfo {
            page_sizes: self.vfio.page_sizes & !(PAGE - 1) | PAGE,
            first: DmaAddr::new(PAGE),
            last: DmaAddr::new(self.mask),
        })))
    }

    fn alloc_pages(&self, request: PageRequest<()>) -> Result<Pages, Error> {
        let full = Error::NoMemory(Reason {
            constraint: Constraint::Ram,
            wanted: request.len,
            found: 0,
        });
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: an anonymous mapping at an address of the kernel's choice.
        let addr = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                request.len as usize,
                prot,
                flags,
                -1,
                0,
            )
        };
        if addr == libc::MAP_FAILED {
            return Err(full);
        }
        let addr = NonNull::new(addr.cast()).ok_or(full)?;
        Ok(Pages {
            addr,
            len: request.len,
        })
    }

    fn free_pages(&self, pages: Pages) {
        // SAFETY: mapped by `alloc_pages`, and owned: nothing uses it any more.
        unsafe { libc::munmap(pages.addr.as_ptr().cast(), pages.len as usize) };
    }

    fn pages_segment(&self, pages: &Pages, index: usize) -> Option<Segment> {
        (index == 0).then(|| segment(pages.addr.as_ptr() as u64, pages.len))
    }

    type User = ();
    type Pinned = Segment;

    // Pins nothing itself: the kernel pins memory when VFIO maps it.
    fn pin_user(&self, (): &(), addr: u64, len: u64, _: bool) -> Result<Segment, Error> {
        Ok(segment(addr, len))
    }

    fn unpin_user(&self, _: Segment, _: bool) {}

    fn pinned_segment(&self, pinned: &Segment, index: usize) -> Option<Segment> {
        (index == 0).then_some(*pinned)
    }

    fn pin_is_current(&self, pinned: &Segment, (): &(), addr: u64) -> bool {
        pinned.addr.get() == addr
    }

    fn iommu_flush(&self, (): ()) -> Result<(), Error> {
        // VFIO flushes with each unmap.
        Ok(())
    }

    fn reserved_iova(&self, (): (), index: usize) -> Option<(DmaAddr, DmaAddr)> {
        (index == 0).then(|| (DmaAddr::new(MESSAGES.0), DmaAddr::new(MESSAGES.1)))
    }

    fn iommu_map(
        &self,
        (): (),
        iova: DmaAddr,
        phys: PhysAddr,
        len: u64,
        prot: Prot,
    ) -> Result<(), Error> {
        let mut flags = 0;
        for (one, flag) in [(Prot::READ, READ), (Prot::WRITE, WRITE)] {
            flags |= if prot.contains(one) { flag } else { 0 };
        }
        let done = self.vfio.map(iova.get(), phys.get(), len, flags);
        done.map_err(|_| {
            Error::BadUserMemory(Reason {
                constraint: Constraint::Ram,
                wanted: len,
                found: 0,
            })
        })?;
        self.entries.set(self.entries.get() + 1);
        Ok(())
    }

    fn iommu_unmap(&self, (): (), iova: DmaAddr, len: u64) -> Result<(), Error> {
        // The layer unmaps whole ranges. VFIO accepts this, however many calls mapped the range.
        let done = self.vfio.unmap(iova.get(), len);
        done.map_err(|_| Error::Unsupported)?;
        self.entries.set(self.entries.get().saturating_sub(1));
        Ok(())
    }

    type Vmap = Vec<Segment>;
    type Mmap = ();

    fn vmap(&self, runs: &[Segment], _: Caching) -> Result<Vec<Segment>, Error> {
        Ok(runs.to_vec())
    }

    fn vmap_read(&self, vmap: &Vec<Segment>, at: u64, out: &mut [u8]) -> Result<(), Error> {
        copy(vmap, at, out.len(), |done, from, len| {
            // SAFETY: `copy` keeps to runs of live memory of this process.
            unsafe { core::ptr::copy(from as *const u8, out[done..].as_mut_ptr(), len) };
        })
    }

    fn vmap_write(&self, vmap: &Vec<Segment>, at: u64, data: &[u8]) -> Result<(), Error> {
        copy(vmap, at, data.len(), |done, to, len| {
            // SAFETY: as above; the memory is writable, and no reference to it is held.
            unsafe { core::ptr::copy(data[done..].as_ptr(), to as *mut u8, len) };
        })
    }

    vb3_dma::without!(caches, bounce);
}

/// Divides `len` bytes at offset `at` of a mapping into pieces that are contiguous. Calls `part` with
/// the number of bytes before each piece, the piece's address and its length.
fn copy(
    runs: &[Segment],
    at: u64,
    len: usize,
    mut part: impl FnMut(usize, u64, usize),
) -> Result<(), Error> {
    let (mut skip, mut done) = (at, 0);
    for run in runs {
        if skip >= run.len {
            skip -= run.len;
            continue;
        }
        let here = ((run.len - skip) as usize).min(len - done);
        part(done, run.addr.get() + skip, here);
        (skip, done) = (0, done + here);
    }
    if done == len {
        Ok(())
    } else {
        Err(Error::Invalid)
    }
}
