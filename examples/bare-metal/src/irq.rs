//! Interrupts, which devices send as messages (MSI). All use one vector.

use crate::frames::view;
use crate::port;
use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use vb3_dma::PhysAddr;

/// The vector of the devices' interrupts.
pub(crate) const VECTOR: u8 = 0x40;
/// The address that devices write messages to: processor 0's local interrupt controller.
pub(crate) const MESSAGE_ADDRESS: u32 = 0xfee0_0000;

/// The local controller's registers: one enables the controller, one ends an interrupt.
const LOCAL: u64 = 0xfee0_0000;
const SPURIOUS: u64 = 0xf0;
const END: u64 = 0xb0;

global_asm!(
    r#"
    .section .text.irq, "ax"
irq_entry:
    push rax
    push rcx
    push rdx
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    cld
    call {handle}
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rax
    iretq
irq_nothing:
    iretq
    "#,
    handle = sym handle,
);

unsafe extern "C" {
    fn irq_entry();
    fn irq_nothing();
}

/// The processor's interrupt table. An interrupt without a handler ends the machine.
#[repr(C, align(16))]
struct Table(UnsafeCell<[[u64; 2]; 256]>);

// SAFETY: written once, before interrupts are enabled.
unsafe impl Sync for Table {}

static TABLE: Table = Table(UnsafeCell::new([[0; 2]; 256]));

fn gate(handler: unsafe extern "C" fn()) -> [u64; 2] {
    let at = handler as usize as u64;
    // The code segment of `boot`; present, an interrupt gate.
    let low = at & 0xffff | 8 << 16 | 0x8e00 << 32 | (at >> 16 & 0xffff) << 48;
    [low, at >> 32]
}

/// Enables interrupts.
pub(crate) fn start() {
    let table = TABLE.0.get();
    let pointer = [0xfff_u64 << 48, table as u64];
    // SAFETY: no other code writes the table, and interrupts are disabled. The pointer consists of
    // the table's length minus one, in 16 bits, and the table's address. The old controllers are
    // masked and the local one is enabled before interrupts are.
    unsafe {
        (*table)[usize::from(VECTOR)] = gate(irq_entry);
        (*table)[0xff] = gate(irq_nothing);
        asm!("lidt [{}]", in(reg) pointer.as_ptr().byte_add(6), options(nostack, readonly));
        port::mask_old_interrupts();
        register(SPURIOUS).write_volatile(0x1ff);
        asm!("sti", options(nostack));
    }
}

fn register(offset: u64) -> *mut u32 {
    view(PhysAddr::new(LOCAL + offset)).cast::<u32>()
}

extern "C" fn handle() {
    crate::edu::interrupt();
    // SAFETY: the interrupt has been handled.
    unsafe { register(END).write_volatile(0) };
}

/// Calls `act` with interrupts disabled.
pub(crate) fn without<R>(act: impl FnOnce() -> R) -> R {
    let flags: u64;
    // SAFETY: disables interrupts, and later restores the previous state.
    unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags) };
    let result = act();
    if flags & 1 << 9 != 0 {
        // SAFETY: interrupts were enabled.
        unsafe { asm!("sti", options(nostack)) };
    }
    result
}

/// Sleeps until an interrupt makes the condition true.
pub(crate) fn wait_until(is_so: impl Fn() -> bool) {
    loop {
        let done = without(|| {
            let done = is_so();
            if !done {
                // SAFETY: no interrupt is lost, because `sti` lets none in before `hlt`, and an
                // interrupt ends `hlt`.
                unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
            }
            done
        });
        if done {
            return;
        }
    }
}
