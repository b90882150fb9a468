//! Makes V4L2 ioctls on a real device. The only unsafe code of this crate.

use std::io::Error;
use std::os::fd::{AsRawFd, BorrowedFd};
use vb3_devices::description::Errno;

/// `V4L2_BUF_TYPE_VIDEO_CAPTURE`.
const CAPTURE: u32 = 1;
/// `V4L2_MEMORY_MMAP`.
const MMAP: u32 = 1;

const WITHOUT_POINTERS: &[u32] = &[
    0x8068_5600, // QUERYCAP
    0xc040_5602, // ENUM_FMT
    0xc050_561a, // ENUMINPUT
    0xc02c_564a, // ENUM_FRAMESIZES
    0xc034_564b, // ENUM_FRAMEINTERVALS
    0xc0e8_5667, // QUERY_EXT_CTRL
    0xc02c_5625, // QUERYMENU
    0xc008_561b, // G_CTRL
    0xc014_5608, // REQBUFS
    0x4004_5612, // STREAMON
    0x4004_5613, // STREAMOFF
];
/// Ioctls whose structures contain no pointers if they begin with [`CAPTURE`]: G_FMT, TRY_FMT, G_PARM.
const OF_CAPTURE: &[u32] = &[0xc0d0_5604, 0xc0d0_5640, 0xc0cc_5615];
/// Ioctls whose structures contain no pointers if they have [`CAPTURE`] and [`MMAP`]: QBUF, DQBUF.
const OF_MMAP: &[u32] = &[0xc058_560f, 0xc058_5611];

fn word(arg: &[u8], at: usize) -> Option<u32> {
    let bytes = arg.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_ne_bytes(*bytes))
}

/// Returns whether the kernel accesses only the structure: the ioctl is a listed one of the right size.
fn is_closed(request: u32, arg: &[u8]) -> bool {
    // CAST: the size has 14 bits.
    let size = ((request >> 16) & 0x3fff) as usize;
    let has_no_pointer = WITHOUT_POINTERS.contains(&request)
        || OF_CAPTURE.contains(&request) && word(arg, 0) == Some(CAPTURE)
        || OF_MMAP.contains(&request)
            && word(arg, 4) == Some(CAPTURE)
            && word(arg, 60) == Some(MMAP);
    arg.len() == size && has_no_pointer
}

/// Makes one of the listed ioctls, which describe a capture device or stream with MMAP buffers.
///
/// # Errors
/// EINVAL for other ioctls, and for a structure of another length; else the device's errno.
pub(super) fn video_call(
    device: BorrowedFd<'_>,
    request: u32,
    arg: &mut [u8],
) -> Result<(), Errno> {
    if !is_closed(request, arg) {
        return Err(Errno(libc::EINVAL));
    }
    // SAFETY: `is_closed` has checked that the kernel reads and writes only the structure, whose size
    // is that of `arg`. Writing any bytes there is valid.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), request.into(), arg.as_mut_ptr()) };
    match done {
        0.. => Ok(()),
        _ => Err(Errno(
            Error::last_os_error().raw_os_error().unwrap_or(libc::EIO),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;

    #[test]
    fn only_closed_calls_reach_the_kernel() {
        let file = std::fs::File::open("/dev/null").expect("/dev/null");
        let call = |request, arg: &mut [u8]| video_call(file.as_fd(), request, arg);
        let enotty = Err(Errno(libc::ENOTTY));
        assert_eq!(call(0x8068_5600, &mut [0; 104]), enotty);
        assert_eq!(call(0x8068_5600, &mut [0; 103]), Err(Errno(libc::EINVAL)));
        // G_EXT_CTRLS has a pointer.
        assert_eq!(call(0xc020_5647, &mut [0; 32]), Err(Errno(libc::EINVAL)));
        let mut format = [0; 208];
        assert_eq!(call(0xc0d0_5604, &mut format), Err(Errno(libc::EINVAL)));
        format[0] = 1;
        assert_eq!(call(0xc0d0_5604, &mut format), enotty);
        let mut buffer = [0; 88];
        (buffer[4], buffer[60]) = (1, 2);
        assert_eq!(call(0xc058_560f, &mut buffer), Err(Errno(libc::EINVAL)));
        buffer[60] = 1;
        assert_eq!(call(0xc058_560f, &mut buffer), enotty);
    }
}
