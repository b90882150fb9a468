//! `/dev/udmabuf`: dma-bufs of memfds that programs made.
//!
//! Source: Linux 6.12 drivers/dma-buf/udmabuf.c.

use crate::request::{Call, FileKind};
use crate::sys::{self, udmabuf_create, udmabuf_create_item, udmabuf_create_list};
use std::mem::offset_of;
use vb3_frontend::{Errno, Image, Ioctl};

/// The module's `list_limit`.
const MAX_ITEMS: u32 = 1024;
/// The module's `size_limit_mb`, in bytes.
pub(crate) const MAX_BYTES: u64 = 64 << 20;
/// Size in bytes of `struct udmabuf_create` and `struct udmabuf_create_item`.
const ITEM: usize = size_of::<udmabuf_create_item>();

// The two structures differ only in the flags.
const _: () = assert!(size_of::<udmabuf_create>() == ITEM);
const _: () = assert!(offset_of!(udmabuf_create, memfd) == offset_of!(udmabuf_create_item, memfd));
const _: () =
    assert!(offset_of!(udmabuf_create, offset) == offset_of!(udmabuf_create_item, offset));
const _: () = assert!(offset_of!(udmabuf_create, size) == offset_of!(udmabuf_create_item, size));

/// A part of a program's memfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The memfd's descriptor.
    pub memfd: i32,
    /// Where the part begins, in bytes.
    pub offset: u64,
    /// The part's length in bytes.
    pub size: u64,
}

impl Item {
    fn parse(bytes: &[u8; ITEM]) -> Self {
        let item = Image(bytes);
        Self {
            memfd: item.i32(offset_of!(udmabuf_create_item, memfd)),
            offset: item.u64(offset_of!(udmabuf_create_item, offset)),
            size: item.u64(offset_of!(udmabuf_create_item, size)),
        }
    }
}

/// `UDMABUF_CREATE` and `UDMABUF_CREATE_LIST`: makes a dma-buf of parts of memfds. The call returns the descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// The parts.
    pub items: Vec<Item>,
    /// Sum of the parts' lengths in bytes.
    pub len_bytes: u64,
    /// Whether the descriptor is closed on exec.
    pub cloexec: bool,
}

impl Create {
    /// Reads the request. `page_bytes` is the size of a page.
    ///
    /// # Errors
    /// ENOTTY for any other ioctl; EINVAL and EFAULT where Linux returns them;
    /// [`NOT_GATHERED`](Errno::NOT_GATHERED) if the front end must gather more of the program's memory first.
    pub fn read(call: Ioctl<'_>, page_bytes: u64) -> Result<Self, Errno> {
        let (items, flags) = match FileKind::Udmabuf.find(call.request) {
            Some(Call::Create) => {
                let bytes: [u8; ITEM] = call.read()?;
                let flags = Image(&bytes).u32(offset_of!(udmabuf_create, flags));
                (vec![Item::parse(&bytes)], flags)
            }
            Some(Call::CreateList) => list(call)?,
            _ => return Err(Errno::ENOTTY),
        };
        Ok(Self {
            len_bytes: checked_len(&items, page_bytes)?,
            items,
            cloexec: flags & sys::UDMABUF_FLAGS_CLOEXEC != 0,
        })
    }
}

/// Reads `struct udmabuf_create_list`: the parts and the flags.
fn list(call: Ioctl<'_>) -> Result<(Vec<Item>, u32), Errno> {
    let head = Image(call.read::<{ size_of::<udmabuf_create_list>() }>()?);
    let count = head.u32(offset_of!(udmabuf_create_list, count));
    if count > MAX_ITEMS {
        return Err(Errno::EINVAL);
    }
    let mut bytes = vec![0; ITEM * count as usize];
    let at = call
        .arg
        .checked_add(size_of::<udmabuf_create_list>() as u64);
    call.caller.read(at.ok_or(Errno::EINVAL)?, &mut bytes)?;
    let items = bytes.as_chunks::<ITEM>().0.iter().map(Item::parse);
    let flags = head.u32(offset_of!(udmabuf_create_list, flags));
    Ok((items.collect(), flags))
}

/// Returns the sum of all sizes. Returns EINVAL if there are no parts, a part is not whole pages, or the
/// parts exceed the module's limits.
pub(crate) fn checked_len(items: &[Item], page_bytes: u64) -> Result<u64, Errno> {
    let mut len = 0u64;
    for item in items {
        if item.offset % page_bytes != 0 || item.size % page_bytes != 0 {
            return Err(Errno::EINVAL);
        }
        len = len.checked_add(item.size).ok_or(Errno::EINVAL)?;
        if len > MAX_BYTES {
            return Err(Errno::EINVAL);
        }
    }
    match len {
        0 => Err(Errno::EINVAL),
        len => Ok(len),
    }
}
