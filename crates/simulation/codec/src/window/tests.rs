#![expect(unsafe_code, reason = "writes to memory as a codec library would")]

use super::*;

const PAGE: usize = 4096;

fn fill(window: &Window, len: usize, value: u8) {
    assert!(len <= window.room());
    // SAFETY: `len` bytes may be written there, and no reference to them exists.
    unsafe { core::ptr::write_bytes(window.start(), value, len) };
}

/// A plane from the middle of a page to the middle of another, surrounded by other bytes.
#[test]
fn writes_after_a_plane_stay_private() {
    let memory = Shared::new(4 * PAGE).unwrap();
    let (offset, extent) = (PAGE / 2, 2 * PAGE);
    let window = Window::new(&memory, offset, extent, extent + 3 * PAGE).unwrap();
    fill(&window, window.room(), 7);
    assert_eq!(window.copy_last_page(&memory), Some(PAGE / 2));
    let bytes = memory.bytes(0, 4 * PAGE).unwrap();
    let (before, rest) = bytes.split_at(offset);
    let (plane, after) = rest.split_at(extent);
    assert!(before.iter().chain(after).all(|byte| *byte == 0));
    assert!(plane.iter().all(|byte| *byte == 7));
}

#[test]
fn planes_that_end_at_a_page_are_not_copied() {
    let memory = Shared::new(2 * PAGE).unwrap();
    let window = Window::new(&memory, 0, PAGE, PAGE + 100).unwrap();
    fill(&window, PAGE + 100, 7);
    assert_eq!(window.copy_last_page(&memory), Some(0));
    assert!(memory.bytes(0, PAGE).unwrap().iter().all(|byte| *byte == 7));
    assert!(
        memory
            .bytes(PAGE, PAGE)
            .unwrap()
            .iter()
            .all(|byte| *byte == 0)
    );
}

/// After a detach, the library finds the picture at the same address, and writes privately.
#[test]
fn detached_windows_are_private() {
    let memory = Shared::new(3 * PAGE).unwrap();
    let window = Window::new(&memory, 100, 2 * PAGE, 3 * PAGE).unwrap();
    fill(&window, 3 * PAGE, 7);
    window.detach().unwrap();
    let zeroes = vec![0; 3 * PAGE];
    assert!(memory.put(0, &zeroes));
    // SAFETY: the mapping has so many bytes after its start, and nothing writes them now.
    let kept = unsafe { core::slice::from_raw_parts(window.start(), 3 * PAGE) };
    assert!(kept.iter().all(|byte| *byte == 7));
    fill(&window, 3 * PAGE, 9);
    window.detach().unwrap();
    assert!(memory.bytes(0, 3 * PAGE).unwrap() == zeroes);
}

#[test]
fn planes_outside_memory_are_refused() {
    let memory = Shared::new(PAGE).unwrap();
    for (offset, extent, room) in [
        (1, PAGE, PAGE),
        (0, 0, PAGE),
        (usize::MAX, 2, 2),
        (0, 1, usize::MAX),
    ] {
        let made = Window::new(&memory, offset, extent, room);
        assert_eq!(made.err(), Some(Errno::INVAL), "{offset} {extent} {room}");
    }
}
