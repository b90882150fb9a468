//! A driver with a ring of descriptors, as virtio devices have, over the smallest host: `host.rs` is
//! all that an operating system must provide.

extern crate alloc;

mod host;

use host::Host;
use vb3_dma::mapped::FromDevice;
use vb3_dma::{DmaAddr, Error, Mapper};

/// A descriptor: the address and the length of a buffer.
fn descriptor(addr: DmaAddr, len: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&addr.get().to_le_bytes());
    bytes[8..12].copy_from_slice(&len.to_le_bytes());
    bytes
}

/// Simulates the device: reads descriptor `index` of the ring, and writes into the descriptor's buffer.
fn device_answers(host: &Host, ring: DmaAddr, index: u64) {
    let at = (ring.get() + index * 16) as usize;
    let word: [u8; 8] = host.ram.borrow()[at..][..8].try_into().unwrap_or_default();
    host.device_writes(DmaAddr::new(u64::from_le_bytes(word)), b"a packet");
}

fn main() -> Result<(), Error> {
    let dma = Mapper::new(Host::new())?;
    let nic = dma.device(0)?;
    // The ring: one address for the device, a view for the CPU, freed when it is dropped.
    let ring = nic.alloc_coherent(256 * 16)?;
    let mut memory = nic.alloc(host::PAGE)?;
    for index in 0..3 {
        // The device owns the buffer until the mapping is handed to the CPU.
        let buffer = nic.map(memory, FromDevice)?;
        ring.write(index * 16, &descriptor(buffer.addr(), 2048))?;
        device_answers(dma.platform(), ring.addr(), index);
        let buffer = buffer.into_cpu().map_err(|refused| refused.error)?;
        let mut packet = [0; 8];
        buffer.view()?.read(0, &mut packet)?;
        assert_eq!(&packet, b"a packet");
        memory = buffer.unmap()?;
    }
    drop((ring, memory));
    assert!(dma.live().is_empty());
    Ok(())
}
