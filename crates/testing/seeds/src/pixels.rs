//! The pictures that cameras must deliver.

use std::cell::RefCell;
use std::collections::HashMap;
use vb3_picture::{Background, Picture, Size, render};
use vb3_v4l2::pixfmt;

/// Maximum number of rendered pictures that are kept.
const MAX_PICTURES: usize = 4096;

thread_local! {
    static KNOWN: RefCell<HashMap<[u32; 4], Vec<u8>>> = RefCell::default();
}

/// Calls `with` with the bytes of a camera's picture in YUYV or NV12.
pub(crate) fn picture<R>(
    pixel: u32,
    (width, height): (u32, u32),
    number: u32,
    with: impl FnOnce(&[u8]) -> R,
) -> R {
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= MAX_PICTURES {
            known.clear();
        }
        let bytes = known
            .entry([pixel, width, height, number])
            .or_insert_with(|| {
                let size = Size::nearest(width, height);
                let controls = Picture::default();
                let format = if pixel == NV12 {
                    &pixfmt::NV12
                } else {
                    &pixfmt::YUYV
                };
                let frame = render(format, size, number, Background::Bars, &controls);
                frame.bytes().to_vec()
            });
        with(bytes)
    })
}

/// The pixel formats that pictures may have.
pub(crate) const YUYV: u32 = u32::from_le_bytes(*b"YUYV");
pub(crate) const NV12: u32 = u32::from_le_bytes(*b"NV12");
