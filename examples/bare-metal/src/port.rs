//! The machine's ports: serial line, PCI configuration, exit.

use core::arch::asm;
use core::fmt;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};

const SERIAL: u16 = 0x3f8;
const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;
/// QEMU's `isa-debug-exit`: ends QEMU with status `2 * value + 1`.
const EXIT: u16 = 0xf4;

/// # Safety
/// The port's action must not affect memory in use.
unsafe fn out8(port: u16, value: u8) {
    // SAFETY: by the caller.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack)) }
}

/// # Safety
/// As [`out8`].
unsafe fn in8(port: u16) -> u8 {
    let value;
    // SAFETY: by the caller.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack)) }
    value
}

/// # Safety
/// As [`out8`].
unsafe fn out32(port: u16, value: u32) {
    // SAFETY: by the caller.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nostack)) }
}

/// # Safety
/// As [`out8`].
unsafe fn in32(port: u16) -> u32 {
    let value;
    // SAFETY: by the caller.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nostack)) }
    value
}

/// Masks the PC's old interrupt controllers.
pub(crate) fn mask_old_interrupts() {
    // SAFETY: the program needs no interrupt from them.
    unsafe {
        out8(0x21, 0xff);
        out8(0xa1, 0xff);
    }
}

/// The first serial line, as the firmware configured it.
pub(crate) struct Serial;

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            // SAFETY: a UART has no access to memory.
            unsafe {
                while in8(SERIAL + 5) & 0x20 == 0 {}
                out8(SERIAL, byte);
            }
        }
        Ok(())
    }
}

/// Prints a line on the serial line.
macro_rules! say {
    ($($words:tt)*) => {{
        use core::fmt::Write as _;
        let _ = writeln!($crate::port::Serial, $($words)*);
    }};
}
pub(crate) use say;

/// Ends the machine. QEMU's status is 33 for success, and 35 otherwise.
pub(crate) fn exit(is_good: bool) -> ! {
    // SAFETY: nothing runs afterwards.
    unsafe { out32(EXIT, if is_good { 16 } else { 17 }) };
    loop {
        core::hint::spin_loop();
    }
}

/// PCI configuration space, through the two ports that every PC has.
pub(crate) struct Config;

impl Config {
    fn select(at: DeviceFunction, register: u8) {
        let (bus, device) = (u32::from(at.bus), u32::from(at.device));
        let place = bus << 16 | device << 11 | u32::from(at.function) << 8;
        // SAFETY: only selects the configuration register that the next access reads or writes.
        unsafe { out32(CONFIG_ADDRESS, 1 << 31 | place | u32::from(register & !3)) };
    }
}

impl ConfigurationAccess for Config {
    fn read_word(&self, at: DeviceFunction, register: u8) -> u32 {
        Self::select(at, register);
        // SAFETY: reading configuration space changes nothing.
        unsafe { in32(CONFIG_DATA) }
    }

    fn write_word(&mut self, at: DeviceFunction, register: u8, data: u32) {
        Self::select(at, register);
        // SAFETY: if this makes a device bus master, the device accesses only memory that its
        // driver mapped for it.
        unsafe { out32(CONFIG_DATA, data) }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self
    }
}

/// Reads the time-stamp counter. Under `-icount shift=0` it counts instructions.
pub(crate) fn ticks() -> u64 {
    // SAFETY: reads a counter.
    unsafe { core::arch::x86_64::_rdtsc() }
}
