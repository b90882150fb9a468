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

/// Access to fields of a byte image at fixed offsets.
///
/// Offsets are constants of the ABI. Reading outside the image gives zero, and writing there has no
/// effect.
#[derive(Debug)]
pub(crate) struct Image<'a>(pub(crate) &'a mut [u8]);

impl Image<'_> {
    fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        debug_assert!(
            at + N <= self.0.len(),
            "field at {at} outside {}",
            self.0.len()
        );
        self.0
            .get(at..)
            .and_then(|tail| tail.first_chunk::<N>())
            .copied()
            .unwrap_or([0; N])
    }

    fn put<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        debug_assert!(
            at + N <= self.0.len(),
            "field at {at} outside {}",
            self.0.len()
        );
        if let Some(slot) = self
            .0
            .get_mut(at..)
            .and_then(|tail| tail.first_chunk_mut::<N>())
        {
            *slot = value;
        }
    }

    pub(crate) fn u8(&self, at: usize) -> u8 {
        let [byte] = self.get::<1>(at);
        byte
    }

    pub(crate) fn i8(&self, at: usize) -> i8 {
        self.u8(at).cast_signed()
    }

    pub(crate) fn u16(&self, at: usize) -> u16 {
        u16::from_ne_bytes(self.get(at))
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.get(at))
    }

    pub(crate) fn i32(&self, at: usize) -> i32 {
        i32::from_ne_bytes(self.get(at))
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.get(at))
    }

    pub(crate) fn i64(&self, at: usize) -> i64 {
        i64::from_ne_bytes(self.get(at))
    }

    pub(crate) fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        self.get(at)
    }

    pub(crate) fn set_u8(&mut self, at: usize, value: u8) {
        self.put(at, [value]);
    }

    pub(crate) fn set_u32(&mut self, at: usize, value: u32) {
        self.put(at, value.to_ne_bytes());
    }

    pub(crate) fn set_i32(&mut self, at: usize, value: i32) {
        self.put(at, value.to_ne_bytes());
    }

    pub(crate) fn set_u64(&mut self, at: usize, value: u64) {
        self.put(at, value.to_ne_bytes());
    }

    pub(crate) fn set_i64(&mut self, at: usize, value: i64) {
        self.put(at, value.to_ne_bytes());
    }

    pub(crate) fn set_bytes<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        self.put(at, value);
    }

    /// Writes `text` into a field of `len` bytes, truncated and terminated by zero.
    pub(crate) fn set_text(&mut self, at: usize, len: usize, text: &str) {
        let Some(slot) = at.checked_add(len).and_then(|end| self.0.get_mut(at..end)) else {
            debug_assert!(false, "text at {at} outside {}", self.0.len());
            return;
        };
        slot.fill(0);
        let room = len.saturating_sub(1);
        for (to, from) in slot.iter_mut().zip(text.bytes().take(room)) {
            *to = from;
        }
    }

    /// Zeroes everything from `at` on.
    pub(crate) fn clear_from(&mut self, at: usize) {
        if let Some(tail) = self.0.get_mut(at..) {
            tail.fill(0);
        }
    }

    /// Zeroes `len` bytes at `at`.
    pub(crate) fn clear(&mut self, at: usize, len: usize) {
        if let Some(slot) = at.checked_add(len).and_then(|end| self.0.get_mut(at..end)) {
            slot.fill(0);
        }
    }
}

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
