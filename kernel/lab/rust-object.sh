#!/bin/sh
# Builds the Rust object of the kernel module, with the rustc and rust-src of the build root.
#
#   rust-object.sh SOURCES OUT ARCH [kasan]
#
# SOURCES holds kernel/, crates/ and bitflags/ (that crate's source); OUT keeps core between
# builds; ARCH is a file of kernel/lab/arch. Leaves OUT/libvb3_kernel.a, and OUT/vb3rust.bin, the part of it that
# the shim calls. With `kasan`, the kernel's KASAN checks each access to memory. The script needs no
# cargo and no network, only a few calls of rustc.
set -eu

sources=$1
out=$2
arch=$3
checker=${4:-}
. "$sources/kernel/lab/arch/$arch.sh"
src=$(rustc --print sysroot)/lib/rustlib/src/rust/library
[ -d "$src/core" ] || src=/usr/src/rustc-$(rustc -V | cut -d' ' -f2)/library

# RUSTC_BOOTSTRAP: the flags that a kernel's own rules need are not stable. With -Copt-level=s, modules would
# not be smaller: the saved code is lost to more functions, whose room and symbols take as much.
export RUSTC_BOOTSTRAP=1
flags="--target $target -Copt-level=2 -Ccodegen-units=1 -Cpanic=abort -Crelocation-model=static
  -Cforce-unwind-tables=n -Cdebuginfo=0 -Cembed-bitcode=yes --cap-lints=allow $arch_flags
  -L$out/sysroot --sysroot=$out/sysroot"
case $(rustc -V) in
    "rustc 1.8"* | "rustc 1.90"*) flags="$flags -Zno-jump-tables" ;;
    *) flags="$flags -Cjump-tables=n" ;;
esac

# The flags of scripts/Makefile.kasan for the kernel's own Rust code, and frame pointers, by which a kernel
# with KASAN finds callers.
calls='core::none'
if [ "$checker" = kasan ]; then
    flags="$flags -Zsanitizer=kernel-address -Zsanitizer-recover=kernel-address -Cforce-frame-pointers=y
      -Cllvm-args=-asan-mapping-offset=0xdffffc0000000000
      -Cllvm-args=-asan-instrumentation-with-call-threshold=0 -Cllvm-args=-asan-stack=0
      -Cllvm-args=-asan-globals=0 -Cllvm-args=-asan-kernel-mem-intrinsic-prefix=1
      -Cllvm-args=-asan-constructor-kind=none"
    calls='__asan_[a-zA-Z0-9_]+'
fi

mkdir -p "$out/sysroot"
stamp="$(rustc -V) $flags"
if [ "$(cat "$out/core.stamp" 2>/dev/null)" != "$stamp" ]; then
    lib=$out/sysroot/lib/rustlib/$target/lib
    mkdir -p "$lib"
    edition=$(sed -n 's/^edition = "\(.*\)"/\1/p' "$src/core/Cargo.toml")
    rustc $flags --edition="$edition" --crate-name core --crate-type rlib \
        -o "$lib/libcore.rlib" "$src/core/src/lib.rs"
    echo '#![feature(compiler_builtins)] #![compiler_builtins] #![no_std]' >"$out/cb.rs"
    rustc $flags --edition=2021 --crate-name compiler_builtins --crate-type rlib \
        -o "$lib/libcompiler_builtins.rlib" "$out/cb.rs"
    echo "$stamp" >"$out/core.stamp"
fi

lib() {
    name=$1 root=$2 edition=$3
    shift 3
    rustc $flags --edition="$edition" --crate-name "$name" --crate-type rlib \
        -o "$out/lib$name.rlib" "$@" "$root"
}
dep() { printf -- '--extern %s=%s/lib%s.rlib ' "$1" "$out" "$1"; }

lib bitflags "$sources/bitflags/src/lib.rs" 2021
lib vb3_dma "$sources/crates/core/dma/src/lib.rs" 2024 $(dep bitflags)
lib vb3_dmabuf "$sources/crates/core/dmabuf/src/lib.rs" 2024 $(dep bitflags) $(dep vb3_dma) -L"$out"
lib vb3_plane "$sources/crates/core/plane/src/lib.rs" 2024 \
    $(dep bitflags) $(dep vb3_dma) $(dep vb3_dmabuf) -L"$out"
rustc $flags -Clto=fat --edition=2024 --crate-name vb3_kernel --crate-type staticlib \
    -o "$out/libvb3_kernel.a" $(dep vb3_dma) $(dep vb3_dmabuf) $(dep vb3_plane) -L"$out" \
    "$sources/kernel/src/lib.rs"

# Keeps only the functions that the shim calls, and what these need.
roots=$(sed -n 's/.*fn \(vb3_rs_[a-z_]*\)(.*/\1/p' "$sources"/kernel/src/*.rs)
"${cross}ld" -r --gc-sections $(printf -- '-u %s ' $roots) -o "$out/vb3rust.bin" "$out/libvb3_kernel.a"
"${cross}strip" --strip-debug "$out/vb3rust.bin"

if "${cross}nm" "$out/vb3rust.bin" | grep -E 'core.*(panicking|fmt)|alloc.*alloc'; then
    echo "error: the Rust object can panic, or formats" >&2
    exit 1
fi
unknown=$("${cross}nm" -u "$out/vb3rust.bin" | awk '{print $2}' |
    grep -vE '^(vb3_[a-z_]+|mem(cpy|set|move|cmp)|bcmp|'"$arch_symbols|$calls"')$' || true)
if [ -n "$unknown" ]; then
    echo "error: the Rust object needs symbols that no kernel offers: $unknown" >&2
    exit 1
fi
foreign=$(readelf -rW "$out/vb3rust.bin" | awk '$3 ~ /^R_/ {print $3}' | sort -u |
    grep -vxE "$relocations" || true)
if [ -n "$foreign" ]; then
    echo "error: the Rust object has relocations that a module loader does not know: $foreign" >&2
    exit 1
fi
wrong=$(wrong_with "$out/vb3rust.bin")
if [ -n "$wrong" ]; then
    echo "error: the kernel would not have these functions of the Rust object as they are: $wrong" >&2
    exit 1
fi
# The kernel's limit for C is 2,048 bytes (CONFIG_FRAME_WARN); the compiler checks no Rust function.
large=$("${cross}objdump" -d --no-show-raw-insn "$out/vb3rust.bin" | awk -v frame="$frame" '
    function number(text,    i, n) {
        if (text !~ /^0x/)
            return text + 0
        for (i = 3; i <= length(text); i++)
            n = n * 16 + index("0123456789abcdef", substr(text, i, 1)) - 1
        return n
    }
    /^[0-9a-f]+ <.*>:$/ { name = $2 }
    $0 ~ frame && match($0, /[#$]-?(0x[0-9a-f]+|[0-9]+)/) {
        text = substr($0, RSTART + 1, RLENGTH - 1)
        sub(/^-/, "", text)
        bytes[name] += number(text)
    }
    END {
        for (name in bytes) {
            if (bytes[name] > 1024)
                print name, bytes[name]
            if (bytes[name] > most)
                most = bytes[name]
        }
        print "largest stack frame: " most + 0 " bytes" >"/dev/stderr"
    }')
if [ -n "$large" ]; then
    echo "error: functions of the Rust object use more than 1024 bytes of stack: $large" >&2
    exit 1
fi
"${cross}size" "$out/vb3rust.bin"
