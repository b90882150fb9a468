//! What pictures must be.

use std::cell::RefCell;
use std::collections::HashMap;
use vb3_devices::picture::Size;
use vb3_devices::source::{Background, Picture, render};
use vb3_v4l2::pixfmt;

/// Most pictures remembered.
const MAX_PICTURES: usize = 4096;

thread_local! {
    static KNOWN: RefCell<HashMap<(u32, u32, u32), Vec<u8>>> = RefCell::default();
}

/// Lets `with` see the bytes of a camera's picture in YUYV.
pub(crate) fn picture<R>(width: u32, height: u32, number: u32, with: impl FnOnce(&[u8]) -> R) -> R {
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= MAX_PICTURES {
            known.clear();
        }
        let bytes = known.entry((width, height, number)).or_insert_with(|| {
            let size = Size::nearest(width, height);
            let controls = Picture::default();
            let frame = render(&pixfmt::YUYV, size, number, Background::Bars, &controls);
            frame.bytes().to_vec()
        });
        with(bytes)
    })
}

/// The pixel format that is checked.
pub(crate) const YUYV: u32 = u32::from_le_bytes(*b"YUYV");
