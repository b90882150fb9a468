//! A program's structure as bytes, accessed by field offset.

use crate::{Errno, Error, Program};
use vb3_plane::MemOps;

/// Size of the largest known ioctl structure, in bytes.
pub(crate) const MAX_ARG: usize = 256;

/// Offset of a (nested) field of a structure in [`crate::sys`].
macro_rules! field {
    ($ty:ident . $($name:ident).+) => {
        core::mem::offset_of!($crate::sys::$ty, $($name).+)
    };
}
pub(crate) use field;
pub(crate) use vb3_frontend::Image;

/// Reads a program's memory. EFAULT for any failure.
pub(crate) fn read_user<M: MemOps>(
    program: &dyn Program<M>,
    addr: u64,
    out: &mut [u8],
) -> Result<(), Error> {
    program
        .read(addr, out)
        .map_err(|_: Errno| Error::Fault { addr })
}

/// Writes a program's memory. EFAULT for any failure.
pub(crate) fn write_user<M: MemOps>(
    program: &dyn Program<M>,
    addr: u64,
    data: &[u8],
) -> Result<(), Error> {
    program
        .write(addr, data)
        .map_err(|_: Errno| Error::Fault { addr })
}
