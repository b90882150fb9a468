//! A program's structure as bytes, accessed by field offset.

use crate::Error;
use crate::host::Program;
pub(crate) use vb3_frontend::Image;

/// Size of the largest structure of an ioctl in bytes (`drm_stats`), rounded up.
pub(crate) const MAX_ARG: usize = 256;
/// Maximum number of entries of an array in a program's memory that one call reads.
pub(crate) const MAX_ENTRIES: u32 = 4096;
/// Length in bytes of the longest such array.
// CAST: widening.
pub(crate) const MAX_ARRAY: u64 = MAX_ENTRIES as u64 * 8;

/// Offset of a field of a structure in [`crate::sys`].
macro_rules! at {
    ($ty:ident . $($name:ident).+) => { core::mem::offset_of!($crate::sys::$ty, $($name).+) };
}
pub(crate) use at;

/// The structure of a call.
pub(crate) type Arg = Image<[u8; MAX_ARG]>;

/// Reads an array of words from the program's memory.
pub(crate) fn read_words(
    program: &dyn Program,
    addr: u64,
    count: u32,
    what: &'static str,
) -> Result<Vec<u32>, Error> {
    let bytes = read_bytes(program, addr, u64::from(count) * 4, what)?;
    let words = bytes.as_chunks::<4>().0.iter();
    Ok(words.map(|word| u32::from_ne_bytes(*word)).collect())
}

/// Reads bytes from the program's memory, at most `8 * MAX_ENTRIES`.
pub(crate) fn read_bytes(
    program: &dyn Program,
    addr: u64,
    len: u64,
    what: &'static str,
) -> Result<Vec<u8>, Error> {
    if len > MAX_ARRAY {
        return Err(Error::Full(what, u64::from(MAX_ENTRIES)));
    }
    // CAST: bounded above.
    let mut bytes = vec![0; len as usize];
    if !bytes.is_empty() {
        program.read(addr, &mut bytes)?;
    }
    Ok(bytes)
}

/// Writes words to the program, if its array has room for all of them, as most DRM calls do.
pub(crate) fn write_words(
    program: &mut dyn Program,
    addr: u64,
    room: u32,
    words: &[u32],
) -> Result<u32, Error> {
    // CAST: the card's tables are bounded.
    let count = words.len() as u32;
    if room >= count && count > 0 {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        program.write(addr, &bytes)?;
    }
    Ok(count)
}
