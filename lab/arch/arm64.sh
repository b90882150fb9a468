# What is arm64's own in building modules. Sourced.

target=aarch64-unknown-none-softfloat
cross=aarch64-linux-gnu-
# Where a kernel's headers are.
headers() { echo "/usr/src/linux-headers-$1"; }
kbuild="ARCH=arm64 CROSS_COMPILE=$cross"
# Return addresses are signed, as the kernels' own are (CONFIG_ARM64_PTR_AUTH_KERNEL), and begin with a
# landing pad where functions can be called by pointer, which other processors take for a nop. The
# kernel finds out who called by frame pointers.
arch_flags='-Zbranch-protection=pac-ret,bti -Cforce-frame-pointers=y'
arch_symbols='core::none'
# Those of arch/arm64/kernel/module.c: no others, and none by way of a table of addresses (GOT).
relocations='R_AARCH64_(ABS(64|32|16)|PREL(64|32|16)|MOVW_[US]ABS_G[0-3](_NC)?|MOVW_PREL_G[0-3](_NC)?|LD_PREL_LO19|ADR_PREL_LO21|ADR_PREL_PG_HI21(_NC)?|ADD_ABS_LO12_NC|LDST(8|16|32|64|128)_ABS_LO12_NC|TSTBR14|CONDBR19|JUMP26|CALL26)'
module_relocations="(R_AARCH64_NONE|$relocations)"

# Names what is wrong with an object: functions that keep their return address and do not sign it.
wrong_with() {
    "${cross}objdump" -d --no-show-raw-insn "$1" | awk '
        /^[0-9a-f]+ <.*>:$/ { if (keeps && !signs) print name; name = $2; keeps = signs = 0 }
        $2 == "paciasp" { signs = 1 }
        ($2 == "stp" || $2 == "str") && /x30/ { keeps = 1 }
        END { if (keeps && !signs) print name }'
}
