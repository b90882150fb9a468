# What is x86-64's own in building modules. Sourced.

target=x86_64-unknown-none
cross=
# Where a kernel's headers are.
headers() { echo "/lib/modules/$1/build"; }
# What kbuild is told besides.
kbuild=''
# As the kernels' own configurations have it: no red zone, landing pads, returns by a thunk, room
# before each function.
arch_flags='-Ccode-model=kernel -Cno-redzone=y -Zcf-protection=branch -Zfunction-return=thunk-extern
  -Zpatchable-function-entry=16,16 -Zplt=yes -Ctarget-feature=+retpoline-external-thunk'
# What the Rust object may ask of the kernel, and how; the module loader knows no other relocations.
arch_symbols='__x86_(return_thunk|indirect_thunk_r..)'
relocations='R_X86_64_(64|32|32S|PC32|PLT32)'
# Of a module these are all; the kernel's own have no others.
module_relocations='R_X86_64_(NONE|64|32|32S|PC32|PC64|PLT32)'

# Names what is wrong with an object: nothing, since objtool looks at the whole module.
wrong_with() { :; }
