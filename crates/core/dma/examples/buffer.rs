//! Maps a buffer for a device that writes to it, and reads what the device wrote.

#[path = "host/mod.rs"]
mod host;

use vb3_dma::Mapper;
use vb3_dma::mapped::FromDevice;

pub(crate) fn main() -> Result<(), vb3_dma::Error> {
    let dma = Mapper::new(host::Host::new()?)?;
    for camera in [dma.device(0)?, dma.device(1)?] {
        // The camera owns the buffer, and sees it at `addr`. The CPU cannot reach it now.
        let frame = camera.map(camera.alloc(10_000)?, FromDevice)?;
        let wrote = |bytes: &mut [u8]| bytes[..7].copy_from_slice(b"a frame");
        let addr = frame.addr().get();
        dma.platform().device_access(camera.id(), addr, wrote)?;

        // The CPU owns the buffer. There is no address to give to the camera.
        let frame = frame.into_cpu()?;
        let mut seen = [0; 7];
        frame.view()?.read(0, &mut seen)?;
        assert_eq!(&seen, b"a frame");

        // Unmaps, and frees the memory.
        drop(frame);
    }
    assert!(dma.live().is_empty());
    Ok(())
}
