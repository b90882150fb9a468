# arm64's settings to build modules. Sourced.

target=aarch64-unknown-none-softfloat
cross=aarch64-linux-gnu-
# Directory of a kernel's headers.
headers() { echo "/usr/src/linux-headers-$1"; }
kbuild="ARCH=arm64 CROSS_COMPILE=$cross"
# Return addresses are signed, as in the kernels (CONFIG_ARM64_PTR_AUTH_KERNEL). Functions that pointers
# can call begin with a landing pad, which other processors execute as a nop. The kernel finds callers
# by frame pointers. Kernels with a shadow call stack (CONFIG_SHADOW_CALL_STACK, as in Android) keep its
# address in x18, also in interrupts, so no function may use that register.
arch_flags='-Zbranch-protection=pac-ret,bti -Cforce-frame-pointers=y -Zfixed-x18'
arch_symbols='core::none'
# The relocations of arch/arm64/kernel/module.c: no others, and none through an address table (GOT).
relocations='R_AARCH64_(ABS(64|32|16)|PREL(64|32|16)|MOVW_[US]ABS_G[0-3](_NC)?|MOVW_PREL_G[0-3](_NC)?|LD_PREL_LO19|ADR_PREL_LO21|ADR_PREL_PG_HI21(_NC)?|ADD_ABS_LO12_NC|LDST(8|16|32|64|128)_ABS_LO12_NC|TSTBR14|CONDBR19|JUMP26|CALL26)'
module_relocations="(R_AARCH64_NONE|$relocations)"

# Names the faults of an object: functions that store their return address without a signature, or use x18.
wrong_with() {
    "${cross}objdump" -d --no-show-raw-insn "$1" | awk '
        /^[0-9a-f]+ <.*>:$/ { if (keeps && !signs) print name; name = $2; keeps = signs = 0 }
        name && !/^[0-9a-f]+ </ && /[^0-9a-z_][wx]18([^0-9a-z_]|$)/ { print name " (x18)" }
        $2 == "paciasp" { signs = 1 }
        ($2 == "stp" || $2 == "str") && /x30/ { keeps = 1 }
        END { if (keeps && !signs) print name }'
}
# A disassembled line that moves the stack pointer, with the number in hexadecimal.
frame='(sub[[:space:]]+sp, sp, #0x[0-9a-f]+|stp.*\[sp, #-[0-9]+\]!)'
