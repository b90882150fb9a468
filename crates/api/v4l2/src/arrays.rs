//! The arrays that the structures of ioctls point to. The table in `request.rs` says which of these arrays each call
//! has.

use crate::bytes::{Image, field};
use crate::shown::is_mplane;
use crate::{Error, sys};
use vb3_queue::MAX_PLANES;

/// An array that a structure points to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArraySpec {
    /// Offset of the array's address in the structure.
    pointer: usize,
    /// Offset of the number of its elements.
    count: usize,
    /// Size of an element in bytes.
    pub(crate) element: usize,
    /// Maximum number of elements. With more, the call fails before it reads any.
    max: u32,
    /// Offset of the buffer type, if the structure has the array only for a multi-planar type.
    planes_of: Option<usize>,
}

/// The controls of `struct v4l2_ext_controls`. Each may point to a value.
pub(crate) const CONTROLS: ArraySpec = ArraySpec {
    pointer: field!(v4l2_ext_controls.controls),
    count: field!(v4l2_ext_controls.count),
    element: size_of::<sys::v4l2_ext_control>(),
    max: sys::V4L2_CID_MAX_CTRLS,
    planes_of: None,
};

/// The planes of `struct v4l2_buffer`. Each may point to user memory.
pub(crate) const PLANES: ArraySpec = ArraySpec {
    pointer: field!(v4l2_buffer.m.planes),
    count: field!(v4l2_buffer.length),
    element: size_of::<sys::v4l2_plane>(),
    // CAST: MAX_PLANES is 8.
    max: MAX_PLANES as u32,
    planes_of: Some(field!(v4l2_buffer.type_)),
};

/// The blocks of `struct v4l2_edid`.
pub(crate) const BLOCKS: ArraySpec = ArraySpec {
    pointer: field!(v4l2_edid.edid),
    count: field!(v4l2_edid.blocks),
    element: crate::EDID_BLOCK,
    max: 256,
    planes_of: None,
};

impl ArraySpec {
    /// Returns the array's address and the number of its elements; `None` if the structure has no such array.
    pub(crate) fn place<B: AsRef<[u8]>>(&self, structure: &Image<B>) -> Option<(u64, u32)> {
        let has_array = |at| is_mplane(structure.u32(at));
        let count = structure.u32(self.count);
        (self.planes_of.is_none_or(has_array)).then(|| (structure.u64(self.pointer), count))
    }

    /// Returns the array's address and the number of its elements.
    ///
    /// # Errors
    /// EINVAL for too many elements.
    pub(crate) fn checked<B: AsRef<[u8]>>(&self, at: &Image<B>) -> Result<(u64, usize), Error> {
        let (addr, count) = self.place(at).ok_or(Error::Invalid)?;
        let count = Some(count).filter(|count| *count <= self.max);
        // CAST: at most `max`.
        Ok((addr, count.ok_or(Error::Invalid)? as usize))
    }
}
