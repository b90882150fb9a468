//! A driver in user space: QEMU's edu device does real DMA both ways, through an IOMMU, at the
//! addresses that the mapping layer chooses. `platform.rs` has all code that the layer needs over VFIO.
//!
//! Unlike `vb3-dma`, this program has `unsafe` blocks: it calls mmap and VFIO's ioctls, and copies memory at
//! addresses that the layer passes as numbers.
//!
//! Usage: vfio-edu BDF, with the device bound to vfio-pci. Prints a line of JSON for each step.

mod platform;
mod vfio;

use platform::{Driver, PAGE};
use std::cell::Cell;
use std::time::{Duration, Instant};
use vb3_dma::{Attrs, Direction, DmaOps as _, Error, Mapper, SyncFor, first_run};
use vfio::Vfio;

/// Low byte of the device's identification, which is the first register of BAR 0.
const EDU: u32 = 0xed;
const SOURCE: u64 = 0x80;
const TARGET: u64 = 0x88;
const COUNT: u64 = 0x90;
const COMMAND: u64 = 0x98;
const START: u64 = 1;
const TO_MEMORY: u64 = 2;
/// The device's address of its own memory, which is one page.
const BUFFER: u64 = 0x4_0000;
/// Bytes of a transfer. QEMU refuses to transfer the whole page at once.
const PART: u64 = 2048;
/// Highest address that the device puts on the bus. The lab starts QEMU with this mask.
const MASK: u64 = 0xffff_ffff;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The device's registers.
struct Edu {
    registers: u64,
}

impl Edu {
    fn write(&self, dma: &Mapper<Driver>, at: u64, value: u64) -> Result<()> {
        let vfio = &dma.platform().vfio;
        Ok(vfio.write(self.registers + at, &value.to_le_bytes())?)
    }

    /// Moves bytes between the device's memory and an address on the bus.
    fn transfer(&self, dma: &Mapper<Driver>, bus: u64, len: u64, command: u64) -> Result<()> {
        let (from, to) = match command {
            TO_MEMORY => (BUFFER, bus),
            _ => (bus, BUFFER),
        };
        for (at, value) in [(SOURCE, from), (TARGET, to), (COUNT, len)] {
            self.write(dma, at, value)?;
        }
        self.write(dma, COMMAND, START | command)?;
        let begun = Instant::now();
        loop {
            let mut now = [0; 8];
            dma.platform()
                .vfio
                .read(self.registers + COMMAND, &mut now)?;
            if u64::from_le_bytes(now) & START == 0 {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(10) {
                return Err("the device does not finish".into());
            }
        }
    }
}

fn step(name: &str, ok: bool, more: &str) {
    println!("{{\"step\":\"vb3.vfio-{name}\",\"ok\":{ok}{more}}}");
}

fn main() -> Result<()> {
    let bdf = std::env::args().nth(1).ok_or("usage: vfio-edu BDF")?;
    let vfio = Vfio::open(&bdf)?;
    let edu = Edu {
        registers: vfio.registers()?,
    };
    let mut id = [0; 4];
    vfio.read(edu.registers, &mut id)?;
    let id = u32::from_le_bytes(id);
    step("open", id & 0xff == EDU, &format!(",\"id\":\"{id:#x}\""));
    let dma = Mapper::new(Driver {
        vfio,
        mask: MASK,
        entries: Cell::new(0),
    })?;
    round_trip(&edu, &dma)?;
    fault(&edu, &dma)?;
    let held = !dma.live().is_empty() || dma.platform().entries.get() != 0;
    step("end", !held, "");
    Ok(())
}

fn invalid() -> Error {
    Error::Invalid
}

/// Moves bytes from coherent memory to the device, and from there into a program's memory.
fn round_trip(edu: &Edu, dma: &Mapper<Driver>) -> Result<()> {
    let picture: Vec<u8> = (0..PART).map(|i| (i * 7 % 251) as u8).collect();
    let source = dma.alloc_coherent((), PAGE, Attrs::empty())?;
    let view = dma.vmap(&source)?;
    dma.vmap_write(&view, 0, &picture)?;
    let at = dma.alloc_dma_addr(&source).ok_or_else(invalid)?;
    edu.transfer(dma, at.get(), PART, 0)?;
    step("to-device", true, &format!(",\"at\":\"{:#x}\"", at.get()));

    // A buffer inside this process's heap. Neither its start nor its end is page-aligned.
    let mut heap = vec![0xa5_u8; 3 * PAGE as usize];
    let inside = PAGE as usize - 1000;
    let addr = heap.as_mut_ptr() as u64 + inside as u64;
    let table = dma.pin_user(&(), addr, PART, Direction::FromDevice)?;
    let mapping = dma.map((), &table, Direction::FromDevice, Attrs::empty())?;
    let run = first_run(|index| dma.segment(&mapping, index), PART);
    let run = run.ok_or_else(invalid)?;
    let (bus, len) = (run.addr.get(), run.len.min(PART));
    edu.transfer(dma, bus, len, TO_MEMORY)?;
    dma.sync(&mapping, Direction::FromDevice, SyncFor::Cpu)?;
    dma.unmap(mapping, Attrs::empty());
    dma.free(table);
    let seen = std::hint::black_box(&heap);
    let (before, rest) = seen.split_at(inside);
    let (middle, after) = rest.split_at(PART as usize);
    let right = middle == picture && before.iter().chain(after).all(|byte| *byte == 0xa5);
    step(
        "to-memory",
        right && len == PART,
        &format!(",\"at\":\"{bus:#x}\",\"bytes\":{len}"),
    );
    dma.vunmap(view);
    dma.free(source);
    Ok(())
}

/// Checks that the device cannot reach unmapped memory.
fn fault(edu: &Edu, dma: &Mapper<Driver>) -> Result<()> {
    let mut heap = vec![0x5a_u8; 2 * PAGE as usize];
    let addr = (heap.as_mut_ptr() as u64).next_multiple_of(PAGE);
    let table = dma.pin_user(&(), addr, PAGE, Direction::FromDevice)?;
    let mapping = dma.map((), &table, Direction::FromDevice, Attrs::empty())?;
    let bus = dma.segment(&mapping, 0).ok_or_else(invalid)?.addr.get();
    dma.unmap(mapping, Attrs::empty());
    dma.free(table);
    edu.transfer(dma, bus, PART, TO_MEMORY)?;
    let untouched = std::hint::black_box(&heap).iter().all(|byte| *byte == 0x5a);
    step("unmapped", untouched, "");
    Ok(())
}
