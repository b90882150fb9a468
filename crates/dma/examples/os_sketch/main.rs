//! The mapping layer in an operating system: `platform.rs` is all that the system must provide.
//! `ram.rs` simulates the hardware.
//!
//! Memory is scattered on purpose, and the device sees one run.

extern crate alloc;

mod platform;
mod ram;

use platform::Os;
use vb3_dma::{Attrs, Direction, DmaOps as _, Error, Mapper, SyncFor, contiguous_len};

fn main() -> Result<(), Error> {
    let (camera, display) = (0, 1);
    let os = Os::new()?;
    let frames_at_first = os.ram.borrow().in_use();
    let dma = Mapper::new(os)?;

    // Memory for a frame, and a scatter table of it for the device that fills it.
    let frame = dma.alloc_virtual(40 << 10)?;
    let table = dma.table_of(&frame)?;
    let mapping = dma.map(camera, &table, Direction::FromDevice, Attrs::empty())?;
    let run = contiguous_len(&dma, &mapping, u64::MAX);
    let first = dma.segment(&mapping, 0).ok_or(Error::Invalid)?;
    println!(
        "{} physical runs are one of {run} bytes at {} for the device",
        table.segments().len(),
        first.addr
    );
    assert_eq!((table.segments().len(), run), (10, 40 << 10));

    // The device fills the frame; the CPU reads it.
    let picture: Vec<u8> = (0..run).map(|i| (i % 251) as u8).collect();
    dma.sync(&mapping, Direction::FromDevice, SyncFor::Device);
    let written = dma.platform().device_write(camera, first.addr, &picture);
    assert_eq!(written, Some(()));
    dma.sync(&mapping, Direction::FromDevice, SyncFor::Cpu);
    let view = dma.vmap_table(&table)?;
    let mut seen = vec![0; picture.len()];
    dma.vmap_read(&view, 0, &mut seen)?;
    assert_eq!(seen, picture);
    dma.vunmap(view);

    // A second device gets the same memory at another address, and may only read it.
    let shown = dma.map(display, &table, Direction::ToDevice, Attrs::empty())?;
    let at = dma.segment(&shown, 0).ok_or(Error::Invalid)?.addr;
    assert_eq!(dma.platform().device_write(display, at, &picture), None);
    dma.unmap(shown, Attrs::empty());

    // After the unmap, the camera can reach nothing any more, and the layer holds nothing.
    dma.unmap(mapping, Attrs::empty());
    let written = dma.platform().device_write(camera, first.addr, &picture);
    assert_eq!(written, None);
    dma.free_table(table, true);
    dma.free(frame);
    assert!(dma.live().is_empty());
    assert_eq!(dma.platform().ram.borrow().in_use(), frames_at_first);
    println!("unmapped: the device faults, and all memory is back");
    Ok(())
}
