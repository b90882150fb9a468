//! Boots Rust from QEMU's `-kernel`: PVH entry, page tables, long mode.
//!
//! Source: Xen `docs/misc/pvh.pandoc` (the note, the state at entry, `hvm_start_info`).

use core::arch::global_asm;
use core::ffi::CStr;

global_asm!(
    r#"
    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, 18                  # XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_start

    .section .bss.boot, "aw", @nobits
    .balign 4096
boot_pml4:
    .skip 4096
boot_pdpt:
    .skip 4096
boot_stack:
    .skip {stack}
boot_stack_top:

    .section .rodata.boot, "a"
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff        # code, 64 bits
    .quad 0x00cf93000000ffff        # data
boot_gdt_end:
boot_gdt_pointer:
    .word boot_gdt_end - boot_gdt - 1
    .long boot_gdt

    .section .text.boot, "ax"
    .code32
    .globl pvh_start
pvh_start:
    cld
    movl %ebx, %edi                 # hvm_start_info
    movl $boot_pdpt + 3, boot_pml4
    xorl %ecx, %ecx
    movl $0x83, %eax                # present, writable, 1 GiB
    xorl %edx, %edx
1:
    movl %eax, boot_pdpt(,%ecx,8)
    movl %edx, boot_pdpt+4(,%ecx,8)
    addl $0x40000000, %eax
    adcl $0, %edx
    incl %ecx
    cmpl $512, %ecx
    jne 1b
    movl %cr4, %eax
    orl $0x20, %eax                 # PAE
    movl %eax, %cr4
    movl $boot_pml4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx          # EFER
    rdmsr
    orl $0x100, %eax                # LME
    wrmsr
    movl %cr0, %eax
    orl $0x80000000, %eax           # PG
    movl %eax, %cr0
    lgdtl boot_gdt_pointer
    ljmpl $8, $boot_long
    .code64
boot_long:
    movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    movl $boot_stack_top, %esp
    xorl %ebp, %ebp
    movl %edi, %edi
    call {start}
    ud2
    "#,
    stack = const 256 << 10,
    start = sym crate::start,
    options(att_syntax)
);

/// Bytes from address 0 that [`boot_pdpt`](self) maps at their physical addresses.
pub(crate) const MAPPED: u64 = 512 << 30;

/// The boot loader's information (`hvm_start_info`). The loader passes its address.
#[repr(C)]
pub(crate) struct StartInfo {
    magic: u32,
    version: u32,
    flags: u32,
    modules: u32,
    module_list: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_map_len: u32,
    reserved: u32,
}

/// A range of the memory map.
#[repr(C)]
struct MapEntry {
    addr: u64,
    len: u64,
    kind: u32,
    reserved: u32,
}

const MAGIC: u32 = 0x336e_c578;
const RAM: u32 = 1;

unsafe extern "C" {
    /// The end of the program in memory, a symbol that the linker defines.
    static _end: u8;
}

impl StartInfo {
    /// # Safety
    /// `addr` must come from the boot loader, and its memory must be unchanged.
    pub(crate) unsafe fn at(addr: u64) -> Option<&'static Self> {
        let info = core::ptr::with_exposed_provenance::<Self>(usize::try_from(addr).ok()?);
        // SAFETY: the caller guarantees the address; the loader puts the structure into mapped memory,
        // aligned to eight bytes.
        let info = unsafe { info.as_ref() }?;
        (info.magic == MAGIC && info.version >= 1).then_some(info)
    }

    /// Returns the user's command line.
    pub(crate) fn command_line(&self) -> &'static str {
        let text = core::ptr::with_exposed_provenance(self.command_line as usize);
        if self.command_line == 0 {
            return "";
        }
        // SAFETY: the loader stores a string there that ends with a zero.
        unsafe { CStr::from_ptr(text) }.to_str().unwrap_or("")
    }

    /// Returns start and end of the RAM after the program, in whole pages. It ends where the memory
    /// map's range with the program ends.
    pub(crate) fn free_ram(&self) -> Option<(u64, u64)> {
        let first = (&raw const _end as u64).checked_next_multiple_of(4096)?;
        let map = core::ptr::with_exposed_provenance::<MapEntry>(self.memory_map as usize);
        let len = self.memory_map_len as usize;
        // SAFETY: the loader stores this many entries there.
        let map = unsafe { core::slice::from_raw_parts(map, len) };
        let inside = |e: &&MapEntry| e.kind == RAM && (e.addr..e.addr + e.len).contains(&first);
        let range = map.iter().find(inside)?;
        Some((first, (range.addr + range.len) & !4095))
    }
}
