//! QEMU's teaching device as a camera and as a display. It has 4 KiB of memory and copies between
//! that memory and RAM, with an interrupt at the end of each copy. It uses 28-bit addresses.
//!
//! Source: QEMU `docs/specs/edu.rst`.

use crate::frames::view;
use crate::irq;
use crate::lock::Spin;
use crate::port::Config;
use crate::vtd::Bdf;
use crate::{TestResult, bdf_of};
use alloc::collections::VecDeque;
use alloc::format;
use core::sync::atomic::{AtomicU32, Ordering};
use vb3_dma::PhysAddr;
use vb3_plane::Cookie;
use vb3_queue::{Active, Completion, Completions, Driver, DriverError, PlaneSizes, Prepare};
use virtio_drivers::transport::pci::bus::{
    Command, ConfigurationAccess as _, DeviceFunction, PciRoot,
};

pub(crate) const MASK: u64 = (1 << 28) - 1;

/// Bytes of a piece, which the device copies at once. A frame has six pieces, which are three pages.
const PIECE: u64 = 2048;
pub(crate) const FRAME: u64 = 6 * PIECE;

const INTERRUPT_STATUS: u64 = 0x24;
const INTERRUPT_DONE: u64 = 0x64;
const DMA_FROM: u64 = 0x80;
const DMA_TO: u64 = 0x88;
const DMA_BYTES: u64 = 0x90;
const DMA_COMMAND: u64 = 0x98;
/// The address that the device uses for its internal memory.
const OWN: u64 = 0x4_0000;
/// Command that starts a copy into the device's memory, with an interrupt at the end.
const IN: u64 = 1 | 4;
/// Command that starts a copy out of the device's memory, with an interrupt at the end.
const OUT: u64 = 1 | 2 | 4;

/// PCI capability for message signaled interrupts.
const MESSAGES: u8 = 5;

/// The device's registers.
pub(crate) struct Edu {
    base: u64,
}

impl Edu {
    /// Finds edu device `nth`, counted from 0, and makes it send interrupts.
    pub(crate) fn find(nth: usize) -> TestResult<(Bdf, Self)> {
        let mut bus = PciRoot::new(Config);
        let is_edu = |id: (u16, u16)| id == (0x1234, 0x11e8);
        let found = bus.enumerate_bus(0);
        let mut found = found.filter(|(_, info)| is_edu((info.vendor_id, info.device_id)));
        let found = found.nth(nth);
        let (place, _) = found.ok_or_else(|| format!("there is no edu device {nth}"))?;
        let bar = bus.bar_info(place, 0).ok().flatten();
        let registers = bar.and_then(|bar| bar.memory_address_size());
        let (base, _) = registers.ok_or("the edu device has no registers")?;
        bus.set_command(place, Command::MEMORY_SPACE | Command::BUS_MASTER);
        let mut all = bus.capabilities(place);
        let messages = all.find(|capability| capability.id == MESSAGES);
        send_messages(
            place,
            messages.ok_or("the edu device sends no messages")?.offset,
        );
        Ok((bdf_of(place), Self { base }))
    }

    fn register<T>(&self, offset: u64) -> *mut T {
        view(PhysAddr::new(self.base + offset)).cast::<T>()
    }

    /// Returns whether the device has raised an interrupt, and acknowledges the interrupt.
    fn take_interrupt(&self) -> bool {
        // SAFETY: registers of a device that only this code drives.
        unsafe {
            let status = self.register::<u32>(INTERRUPT_STATUS).read_volatile();
            self.register::<u32>(INTERRUPT_DONE).write_volatile(status);
            status != 0
        }
    }

    /// Starts the copy of a piece.
    fn copy(&self, from: u64, to: u64, command: u64) {
        let all = [
            (DMA_FROM, from),
            (DMA_TO, to),
            (DMA_BYTES, PIECE),
            (DMA_COMMAND, command),
        ];
        for (register, value) in all {
            // SAFETY: as above; the device accesses mapped memory.
            unsafe { self.register::<u64>(register).write_volatile(value) };
        }
    }
}

/// Makes a device send its interrupts as messages.
fn send_messages(place: DeviceFunction, at: u8) {
    let mut config = Config;
    config.write_word(place, at + 4, irq::MESSAGE_ADDRESS);
    config.write_word(place, at + 8, 0);
    config.write_word(place, at + 12, u32::from(irq::VECTOR));
    let control = config.read_word(place, at);
    config.write_word(place, at, control | 1 << 16);
}

/// The work of a device: its buffers, and the memory at its far end (the camera's scene or the
/// display's screen), which holds all frames one after the other.
pub(crate) struct Engine {
    edu: Edu,
    is_camera: bool,
    far: u64,
    waiting: VecDeque<Active<Cookie>>,
    /// Number of bytes of the first buffer that are done, and whether the next piece is in the device.
    done: u64,
    has_piece: bool,
    sequence: u32,
    finished: Completions<Cookie>,
}

/// The engines of both devices. The interrupt handler and other code use them.
static ENGINES: [Spin<Option<Engine>>; 2] = [const { Spin::holding(None) }; 2];

static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

/// Returns the number of handled interrupts.
pub(crate) fn interrupts() -> u32 {
    INTERRUPTS.load(Ordering::Relaxed)
}

/// Handles an interrupt.
pub(crate) fn interrupt() {
    for engine in &ENGINES {
        engine.with(|engine| {
            let engine = engine.as_mut().filter(|engine| engine.edu.take_interrupt());
            if let Some(engine) = engine {
                INTERRUPTS.fetch_add(1, Ordering::Relaxed);
                engine.step();
            }
        });
    }
}

impl Engine {
    /// Returns the device's address of the first buffer's next piece.
    fn near(&self) -> Option<u64> {
        let plane = self.waiting.front()?.plane(0).ok().flatten()?;
        match plane.cookie {
            Cookie::Dma(addr) => Some(addr.get() + self.done),
            _ => None,
        }
    }

    /// Starts the next copy, if there is one.
    fn start(&mut self) {
        // Drops the tokens of buffers that the queue took back when it stopped.
        while self.near().is_none() && self.waiting.pop_front().is_some() {
            (self.done, self.has_piece) = (0, false);
        }
        let Some(near) = self.near() else { return };
        let far = self.far + u64::from(self.sequence) * FRAME + self.done;
        let (from, to) = if self.is_camera {
            (far, near)
        } else {
            (near, far)
        };
        if self.has_piece {
            self.edu.copy(OWN, to, OUT);
        } else {
            self.edu.copy(from, OWN, IN);
        }
    }

    /// Handles the end of a copy.
    fn step(&mut self) {
        self.has_piece = !self.has_piece;
        if !self.has_piece {
            self.done += PIECE;
        }
        if self.done == FRAME {
            self.done = 0;
            if let Some(token) = self.waiting.pop_front() {
                let done = Completion::done(self.sequence);
                // This fails if the queue has stopped, and so has taken the buffer back.
                let _ = self.finished.push(token, done);
            }
            self.sequence += 1;
        }
        self.start();
    }
}

/// The part of a driver that the queue calls. The field is the device's number.
pub(crate) struct Half(usize);

impl Half {
    /// Makes the engine of device `number`, which copies frames between its buffers and `far`.
    pub(crate) fn new(number: usize, edu: Edu, far: u64, finished: Completions<Cookie>) -> Self {
        let engine = Engine {
            edu,
            is_camera: number == 0,
            far,
            waiting: VecDeque::new(),
            done: 0,
            has_piece: false,
            sequence: 0,
            finished,
        };
        ENGINES[number].with(|place| *place = Some(engine));
        Self(number)
    }

    /// Returns the oldest finished buffer.
    pub(crate) fn pop(number: usize) -> Option<(vb3_queue::Active<Cookie>, vb3_queue::Completion)> {
        ENGINES[number].with(|engine| engine.as_mut()?.finished.pop())
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        drop(ENGINES[self.0].with(Option::take));
    }
}

impl Driver for Half {
    type Cookie = Cookie;

    fn queue_setup(&mut self, _: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        PlaneSizes::new(&[FRAME]).ok_or(DriverError::EINVAL)
    }

    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        buffer.payloads.fill(FRAME);
        Ok(())
    }

    fn buf_queue(&mut self, buffer: Active<Cookie>) {
        ENGINES[self.0].with(|engine| {
            let Some(engine) = engine else { return };
            engine.waiting.push_back(buffer);
            if engine.waiting.len() == 1 {
                engine.start();
            }
        });
    }

    fn stop_streaming(&mut self) {}
}
