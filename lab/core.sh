#!/bin/sh
# Builds the trial of videobuf2-common (kernel/core) for one kernel, in the build root:
#
#   core.sh SOURCES RUST KERNEL OUT
#
# RUST is where rust-object.sh worked: with its flags, liballoc and the crates that are not there are
# built beside. Leaves OUT/core-videobuf2-common.ko, or nothing for a kernel with symbol versions, whose
# stock modules refuse exports of another compilation.
set -eu

sources=$1
rust=$2
kernel=$3
out=$4
build=/lib/modules/$kernel/build
if grep -q '^CONFIG_MODVERSIONS=y' "$build/.config"; then
    echo "not built: $kernel has symbol versions"
    exit 0
fi
work=$rust/core
mkdir -p "$work"
export RUSTC_BOOTSTRAP=1
stamp=$(cat "$rust/core.stamp")
flags=${stamp#"$(rustc -V) "}
src=$(rustc --print sysroot)/lib/rustlib/src/rust/library
[ -d "$src/core" ] || src=/usr/src/rustc-$(rustc -V | cut -d' ' -f2)/library
lib=$rust/sysroot/lib/rustlib/x86_64-unknown-none/lib
if [ "$(cat "$work/alloc.stamp" 2>/dev/null)" != "$stamp" ]; then
    edition=$(sed -n 's/^edition = "\(.*\)"/\1/p' "$src/alloc/Cargo.toml")
    rustc $flags --edition="$edition" --crate-name alloc --crate-type rlib -o "$lib/liballoc.rlib" \
        "$src/alloc/src/lib.rs"
    echo "$stamp" >"$work/alloc.stamp"
fi
dep() { printf -- '--extern %s=%s/lib%s.rlib ' "$1" "$2" "$1"; }
rustc $flags --edition=2024 --crate-name vb3_queue --crate-type rlib -o "$work/libvb3_queue.rlib" \
    $(dep bitflags "$rust") $(dep vb3_plane "$rust") -L"$rust" "$sources/crates/queue/src/lib.rs"
rustc $flags -Clto=fat --edition=2024 --crate-name vb3_core --crate-type staticlib \
    -o "$work/libvb3_core.a" $(dep vb3_plane "$rust") $(dep vb3_queue "$work") -L"$rust" -L"$work" \
    "$sources/kernel/core/src/lib.rs"

dir=$out/core
rm -rf "$dir"
mkdir -p "$dir"
cp "$sources"/kernel/core/module/* "$dir/"
roots=$(sed -n 's/.*fn \(vb3core_[a-z_]*\)(.*/-u \1/p' "$sources/kernel/core/src/entry.rs")
# shellcheck disable=SC2086 # one word each
ld -r --gc-sections $roots -o "$dir/vb3rust.bin" "$work/libvb3_core.a"
strip --strip-debug --discard-locals "$dir/vb3rust.bin"
echo "panics that can be reached: $(objdump -dr "$dir/vb3rust.bin" | grep -cE 'R_X86_64_(PLT|PC)32.*(panicking|handle_error|handle_alloc|rust_oom)' || true)"
make -C "$build" M="$dir" KCFLAGS=-Werror modules
cp "$dir/videobuf2-common.ko" "$out/core-videobuf2-common.ko"
size "$out/core-videobuf2-common.ko"
