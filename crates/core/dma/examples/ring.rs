//! Sends a packet by a ring of descriptors, which a network card and the CPU use at the same time.

#[path = "host/mod.rs"]
mod host;

extern crate alloc;

use alloc::sync::Arc;
use vb3_dma::Mapper;
use vb3_dma::mapped::{DmaDevice, Ring, ToDevice};

type Dma = Arc<Mapper<host::Host, host::SpinLocks>>;

/// A network card with its ring: each descriptor has the address and length of a packet.
struct Nic {
    device: DmaDevice<Dma>,
    ring: Ring<[u64; 2], Dma>,
    /// Number of descriptors that the CPU has written.
    tail: Ring<u32, Dma>,
}

impl Nic {
    fn new(dma: &Dma, id: u8) -> Result<Self, vb3_dma::Error> {
        let device = DmaDevice::new(Arc::clone(dma), id)?;
        let (ring, tail) = (device.alloc_ring(64)?, device.alloc_ring(1)?);
        Ok(Self { device, ring, tail })
    }

    /// Sends a packet, and waits until the card has read it.
    fn send(&self, packet: &[u8]) -> Result<(), vb3_dma::Error> {
        let memory = self.device.alloc(packet.len() as u64)?;
        let buffer = self.device.map(memory, ToDevice)?.into_cpu()?;
        buffer.view()?.write(0, packet)?;
        let buffer = buffer.into_device()?;
        let tail = self.tail.get(0)?;
        self.ring.set(
            tail as usize % self.ring.len(),
            [buffer.addr().get(), packet.len() as u64],
        )?;
        self.tail.publish(0, tail + 1)?; // The card sees the descriptor before the new tail.
        self.card_reads(tail as usize, packet) // A driver would wait for an interrupt.
    }

    /// Plays the card: reads the packet that its next descriptor names.
    fn card_reads(&self, index: usize, sent: &[u8]) -> Result<(), vb3_dma::Error> {
        let (host, id) = (self.device.mapper().platform(), self.device.id());
        let mut addr = [0; 8];
        let at = self.ring.addr().get() + 16 * index as u64;
        host.device_access(id, at, |bytes| addr.copy_from_slice(&bytes[..8]))?;
        let read = |bytes: &mut [u8]| assert_eq!(&bytes[..sent.len()], sent);
        host.device_access(id, u64::from_ne_bytes(addr), read)
    }
}

pub(crate) fn main() -> Result<(), vb3_dma::Error> {
    let dma = Arc::new(Mapper::with_locks(host::Host::new()?, 2)?);
    Nic::new(&dma, 1)?.send(b"a packet")
}
