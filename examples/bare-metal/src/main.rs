//! Runs unmodified drivers from crates.io over the mapping layer on a bare machine.
//! Also runs two drivers of this crate, over `vb3-queue`.
//!
//! `cargo xtask gate "bare metal"` builds this program, boots it in QEMU and compares the drivers' results with
//! files on the host. The words on the command line select tests. Each test prints one line.
#![no_std]
#![no_main]

extern crate alloc;

mod boot;
mod capture;
mod cost;
mod disk;
mod dma_op;
mod driven;
mod edu;
mod faults;
mod frames;
mod hal;
mod irq;
mod lock;
mod machine;
mod net;
mod nvme;
mod port;
mod transport;
mod vtd;

use alloc::string::String;
use boot::StartInfo;
use driven::Driven;
use frames::Frames;
use hal::OnDma;
use linked_list_allocator::LockedHeap;
use machine::{Dma, Machine};
use port::{Config, say};
use transport::Translated;
use virtio_drivers::transport::DeviceType;
use virtio_drivers::transport::pci::bus::{Command, DeviceFunction, PciRoot};
use virtio_drivers::transport::pci::{PciTransport, virtio_device_type};
use vtd::{Bdf, Vtd};

/// A result with an error in words.
type TestResult<T = ()> = Result<T, String>;

const HEAP: u64 = 16 << 20;

/// Maximum number of polls until a device must have completed a request.
const MAX_POLLS: u32 = 20_000_000;

#[global_allocator]
static HEAP_MEMORY: LockedHeap = LockedHeap::empty();

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say!("fault: {info}");
    port::exit(false)
}

/// Starts the program. The assembly code of `boot` passes the address of the boot loader's information.
extern "C" fn start(info: u64) -> ! {
    // SAFETY: the address comes from the loader, and no code has changed the memory there.
    let info = unsafe { StartInfo::at(info) };
    let (first, end) = info.and_then(StartInfo::free_ram).expect("no memory map");
    // SAFETY: no other code uses the RAM after the program. The heap gets the first part of that
    // RAM, `Frames` the rest.
    let frames = unsafe {
        let heap = core::ptr::with_exposed_provenance_mut(first as usize);
        HEAP_MEMORY.lock().init(heap, HEAP as usize);
        Frames::new(first + HEAP, end)
    };
    let words = info.map_or("", StartInfo::command_line);
    match run(words, frames) {
        Ok(()) => port::exit(true),
        Err(err) => {
            say!("failed: {err}");
            port::exit(false)
        }
    }
}

fn run(words: &str, mut frames: Frames) -> TestResult {
    let has = |word: &str| words.split_whitespace().any(|w| w == word);
    let vtd = if has("iommu") {
        // SAFETY: with this word, QEMU was started with its IOMMU, whose registers are there.
        let vtd = unsafe { Vtd::start(vtd::REGISTERS, &mut frames) };
        Some(vtd.map_err(|err| alloc::format!("the IOMMU does not start: {err}"))?)
    } else {
        None
    };
    let dma = machine::start(Machine::new(frames, vtd))
        .map_err(|err| alloc::format!("the mapping layer does not start: {err}"))?;
    if has("net") {
        net::exchange(dma)?;
    }
    if has("disk") {
        disk::copy(dma)?;
    }
    if has("disk") && has("break") {
        disk::read_broken(dma)?;
    }
    if has("nvme") {
        nvme::copy(dma, has("break"))?;
    }
    if has("queue") {
        capture::stream(dma)?;
    }
    if has("cost") {
        cost::measure(dma)?;
    }
    Ok(())
}

/// Takes a device's buffers back after its driver has ended, and checks for errors. Returns the
/// number of times that memory was mapped for the device.
fn finish(dma: &Dma, driven: &Driven) -> TestResult<u64> {
    driven.reclaim();
    faults::none(dma)?;
    let (counters, live) = (dma.counters(driven.bdf()), dma.live());
    let pages = dma.platform().mapped_pages(driven.bdf());
    if counters.maps != counters.unmaps || !live.is_empty() || pages != 0 {
        return Err(alloc::format!(
            "{pages} pages are still mapped: {counters:?}, {live:?}"
        ));
    }
    Ok(counters.maps)
}

fn bdf_of(place: DeviceFunction) -> Bdf {
    Bdf(u16::from(place.bus) << 8 | u16::from(place.device << 3 | place.function))
}

/// Finds a virtio device, and lets it use DMA through `OnDma<N>`.
fn virtio<const N: usize>(
    dma: &'static Dma,
    kind: DeviceType,
) -> TestResult<(Bdf, Translated<PciTransport>)> {
    let mut bus = PciRoot::new(Config);
    let mut found = bus.enumerate_bus(0);
    let found = found.find(|(_, info)| virtio_device_type(info) == Some(kind));
    let (place, _) = found.ok_or_else(|| alloc::format!("there is no virtio {kind:?} device"))?;
    let bdf = bdf_of(place);
    OnDma::<N>::attach(dma, bdf)
        .map_err(|err| alloc::format!("the device does not attach: {err}"))?;
    bus.set_command(place, Command::MEMORY_SPACE | Command::BUS_MASTER);
    let transport = PciTransport::new::<OnDma<N>, _>(&mut bus, place)
        .map_err(|err| alloc::format!("the device has no transport: {err}"))?;
    Ok((bdf, Translated::new(transport)))
}
