//! Drivers over a small host: `host.rs` is all that an operating system must provide. One driver has a ring of
//! descriptors, as virtio devices have. Two devices behind an IOMMU share a frame.

extern crate alloc;

mod host;

use host::{Host, PAGE};
use vb3_dma::mapped::{FromDevice, ToDevice};
use vb3_dma::{DmaAddr, DmaOps as _, Error, Iova, Mapper, Prot};

/// A descriptor: the address and the length of a buffer.
fn descriptor(addr: DmaAddr, len: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&addr.get().to_le_bytes());
    bytes[8..12].copy_from_slice(&len.to_le_bytes());
    bytes
}

/// Simulates a device that writes within a page, through its page table if it has one. `None` means a fault.
fn device_write(host: &Host, dev: usize, addr: DmaAddr, data: &[u8]) -> Option<()> {
    let (mut ram, mut at) = (host.ram.borrow_mut(), addr.get());
    if let Some(table) = host.tables.get(dev) {
        let leaf = table.borrow().translate(&*ram, Iova::new(at)).ok()?;
        let (phys, _) = leaf.at(Iova::new(at))?;
        at = leaf.prot.contains(Prot::WRITE).then_some(phys.get())?;
    }
    ram.at(at, data.len()).copy_from_slice(data);
    Some(())
}

/// Simulates a network device: reads descriptor `index` of the ring, and writes into the descriptor's buffer.
fn device_answers(host: &Host, ring: DmaAddr, index: u64) -> Option<()> {
    let at = ring.get() + index * 16;
    let word = host.ram.borrow_mut().at(at, 8).first_chunk().copied()?;
    device_write(host, 0, DmaAddr::new(u64::from_le_bytes(word)), b"a packet")
}

fn receive_packets() -> Result<(), Error> {
    let dma = Mapper::new(Host::new(0)?)?;
    let nic = dma.device(0)?;
    // The ring: one address for the device, a view for the CPU, freed when it is dropped.
    let ring = nic.alloc_coherent(256 * 16)?;
    let mut memory = nic.alloc(PAGE)?;
    for index in 0..3 {
        // The device owns the buffer until the mapping is handed to the CPU.
        let buffer = nic.map(memory, FromDevice)?;
        ring.write(index * 16, &descriptor(buffer.addr(), 2048))?;
        device_answers(dma.platform(), ring.addr(), index).ok_or(Error::Invalid)?;
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

fn share_a_frame() -> Result<(), Error> {
    let dma = Mapper::new(Host::new(2)?)?;
    let (camera, display) = (dma.device(0)?, dma.device(1)?);
    let write = |dev, addr| device_write(dma.platform(), dev, addr, b"a frame");
    let frame = dma.alloc_virtual(10 * PAGE)?;
    let filled = camera.map(&frame, FromDevice)?;
    let shown = display.map(&frame, ToDevice)?;
    let (seen_at, read_at) = (filled.addr(), shown.addr());
    assert_eq!(write(0, seen_at), Some(()));
    assert_eq!(write(1, read_at), None, "the display may only read");
    drop((filled, shown));
    assert_eq!(write(0, seen_at), None, "unmapped: the camera faults");
    dma.free(frame);
    assert!(dma.live().is_empty());
    Ok(())
}

fn main() -> Result<(), Error> {
    receive_packets()?;
    share_a_frame()
}
