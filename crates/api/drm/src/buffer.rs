//! Memory that a card knows.

/// First mmap offset in bytes: the kernel's `DRM_FILE_PAGE_OFFSET_START`.
pub(crate) const FIRST_OFFSET: u64 = 1 << 32;

/// A memory that the card knows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Buffer {
    pub(crate) len: u64,
    /// Number of handles and framebuffer planes.
    pub(crate) refs: u32,
    /// Whether another device or driver made the memory.
    pub(crate) is_imported: bool,
    /// The mmap offset; zero if none was made.
    pub(crate) offset: u64,
    /// The global name; zero if there is none.
    pub(crate) name: u32,
}
