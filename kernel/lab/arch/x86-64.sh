# x86-64's settings to build modules. Sourced.

target=x86_64-unknown-none
cross=
# Directory of a kernel's headers.
headers() { echo "/lib/modules/$1/build"; }
# Further arguments of kbuild.
kbuild=''
# As in the kernels' configurations: no red zone, landing pads, returns by a thunk, room before each
# function.
arch_flags='-Ccode-model=kernel -Cno-redzone=y -Zcf-protection=branch -Zfunction-return=thunk-extern
  -Zpatchable-function-entry=16,16 -Zplt=yes -Ctarget-feature=+retpoline-external-thunk'
# The symbols and relocations that the Rust object may use; the module loader knows no other
# relocations.
arch_symbols='__x86_(return_thunk|indirect_thunk_r..)'
relocations='R_X86_64_(64|32|32S|PC32|PLT32)'
# The relocations of a whole module; the kernel's own modules have no others.
module_relocations='R_X86_64_(NONE|64|32|32S|PC32|PC64|PLT32)'

# Names no faults, since objtool checks the object or the whole module.
wrong_with() { :; }
# A disassembled line that moves the stack pointer, with the number in hexadecimal.
frame='sub +\$0x[0-9a-f]+,%rsp'
