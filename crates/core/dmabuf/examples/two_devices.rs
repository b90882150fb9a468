//! A camera's memory, exported as a dma-buf and imported by a display.

#[path = "../../dma/examples/host/mod.rs"]
mod host;

use vb3_dma::{Direction, Mapper};
use vb3_dmabuf::{Buffers, Error, Spec};

pub(crate) fn main() -> Result<(), Error> {
    let (camera, display) = (0, 1);
    let dma = Mapper::<_, host::SpinLocks>::with_locks(host::Host::new()?, 2)?;
    let buffers = Buffers::<_, _, host::SpinLocks>::with_locks(dma, ());

    // The camera's memory, exported. A program's descriptor would keep `buf`.
    let memory = buffers.allocate(Spec::cached(camera, 64 << 10))?;
    let buf = buffers.export(memory)?;

    // Both attach, and each gets its own address of the same pages.
    let filled = buffers.attach(buf.memory(), camera)?;
    let shown = buffers.attach(buf.memory(), display)?;
    let from = buffers.map(&filled, Direction::FromDevice)?[0].addr.get();
    let to = buffers.map(&shown, Direction::ToDevice)?[0].addr.get();
    assert_ne!(from, to);

    // The part of the devices: the camera fills the frame, and the display shows it.
    let host = buffers.ops().platform();
    host.device_access(camera, from, |bytes| bytes[..6].copy_from_slice(b"pixels"))?;
    host.device_access(display, to, |bytes| assert_eq!(&bytes[..6], b"pixels"))?;

    // The memory lives until its last holder ends.
    buffers.free(memory);
    buffers.detach(filled);
    buffers.detach(shown);
    assert!(buffers.put_buf(buf), "the last reference");
    assert_eq!(buffers.live(), Default::default());
    Ok(())
}
