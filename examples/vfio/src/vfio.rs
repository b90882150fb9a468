//! The few calls of VFIO that a driver needs.
//!
//! Source: Linux include/uapi/linux/vfio.h.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Returns the ioctl request `_IO(';', 100 + n)`.
const fn call(n: u64) -> u64 {
    (b';' as u64) << 8 | (100 + n)
}
const SET_IOMMU: u64 = call(2);
const GROUP_STATUS: u64 = call(3);
const SET_CONTAINER: u64 = call(4);
const DEVICE_FD: u64 = call(6);
const REGION_INFO: u64 = call(8);
const RESET: u64 = call(11);
const IOMMU_INFO: u64 = call(12);
const MAP_DMA: u64 = call(13);
const UNMAP_DMA: u64 = call(14);

const TYPE1_V2: u64 = 3;
const GROUP_VIABLE: u32 = 1;
const CONFIG_REGION: u32 = 7;
const PCI_COMMAND: u64 = 4;
const MEMORY_AND_MASTER: u16 = 0b110;
pub(crate) const READ: u32 = 1;
pub(crate) const WRITE: u32 = 2;

/// A device that this process drives, and the address space of the device's DMA.
pub(crate) struct Vfio {
    container: File,
    _group: File,
    device: File,
    /// Sizes that mappings are made of (bit `n` for `2^n` bytes).
    pub(crate) page_sizes: u64,
}

fn ioctl(fd: &File, request: u64, arg: u64) -> io::Result<i32> {
    // SAFETY: every caller passes what the request takes: a number, or the address of a live
    // descriptor, string or structure. A structure's first field is its length.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, arg) };
    if done < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(done)
    }
}

/// Makes a call with a structure, after setting the structure's first word to its length in bytes.
fn structure<const N: usize>(fd: &File, request: u64, words: &mut [u32; N]) -> io::Result<()> {
    words[0] = size_of::<[u32; N]>() as u32;
    ioctl(fd, request, words.as_mut_ptr() as u64).map(drop)
}

const fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

const fn joined(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

impl Vfio {
    /// Opens and resets a PCI device (`0000:00:04.0`) that is bound to vfio-pci.
    pub(crate) fn open(bdf: &str) -> io::Result<Self> {
        let link = format!("/sys/bus/pci/devices/{bdf}/iommu_group");
        let group = std::fs::read_link(link)?;
        let group = group.file_name().unwrap_or_default();
        let container = open(Path::new("/dev/vfio/vfio"))?;
        let group = open(&Path::new("/dev/vfio").join(group))?;
        let mut status = [0; 2];
        structure(&group, GROUP_STATUS, &mut status)?;
        if status[1] & GROUP_VIABLE == 0 {
            return Err(io::Error::other("other drivers hold devices of its group"));
        }
        let fd = container.as_raw_fd();
        ioctl(&group, SET_CONTAINER, &raw const fd as u64)?;
        ioctl(&container, SET_IOMMU, TYPE1_V2)?;
        let name = std::ffi::CString::new(bdf)?;
        let device = ioctl(&group, DEVICE_FD, name.as_ptr() as u64)?;
        // SAFETY: the call has just made this descriptor for us.
        let device = unsafe { File::from_raw_fd(device) };
        ioctl(&device, RESET, 0).ok();
        // argsz, flags, iova_pgsizes, cap_offset, pad.
        let mut info = [0; 6];
        structure(&container, IOMMU_INFO, &mut info)?;
        let vfio = Self {
            container,
            _group: group,
            device,
            page_sizes: joined(info[2], info[3]),
        };
        let (config, _) = vfio.region(CONFIG_REGION)?;
        let command = config + PCI_COMMAND;
        let mut now = [0; 2];
        vfio.device.read_exact_at(&mut now, command)?;
        let on = u16::from_le_bytes(now) | MEMORY_AND_MASTER;
        vfio.device.write_all_at(&on.to_le_bytes(), command)?;
        Ok(vfio)
    }

    /// Returns a region's offset in the device's file, and the region's length, both in bytes.
    fn region(&self, index: u32) -> io::Result<(u64, u64)> {
        // argsz, flags, index, cap_offset, size, offset.
        let mut info = [0; 8];
        info[2] = index;
        structure(&self.device, REGION_INFO, &mut info)?;
        Ok((joined(info[6], info[7]), joined(info[4], info[5])))
    }

    /// Returns the offset of BAR 0 in the device's file, in bytes.
    pub(crate) fn registers(&self) -> io::Result<u64> {
        Ok(self.region(0)?.0)
    }

    pub(crate) fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        self.device.read_exact_at(out, at)
    }

    pub(crate) fn write(&self, at: u64, data: &[u8]) -> io::Result<()> {
        self.device.write_all_at(data, at)
    }

    /// Lets the device reach memory of this process, which the kernel pins.
    pub(crate) fn map(&self, iova: u64, addr: u64, len: u64, flags: u32) -> io::Result<()> {
        let ([a, b], [c, d], [e, f]) = (halves(addr), halves(iova), halves(len));
        structure(&self.container, MAP_DMA, &mut [0, flags, a, b, c, d, e, f])
    }

    pub(crate) fn unmap(&self, iova: u64, len: u64) -> io::Result<()> {
        let ([a, b], [c, d]) = (halves(iova), halves(len));
        structure(&self.container, UNMAP_DMA, &mut [0, 0, a, b, c, d])
    }
}
