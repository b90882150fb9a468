"""boot.py DIRECTORY: builds the program in this directory, boots it in QEMU, and checks the disk that it wrote."""

import os
import subprocess
import sys
from pathlib import Path

TARGET = "x86_64-unknown-none"
# Longest time of a boot, in seconds. A boot takes one second.
LIMIT = 60
# QEMU's exit status if the program reports success.
GOOD = 33
# Bytes of each half of the disk.
HALF = 2 << 20
# Each word of the disk's first half has its own number, so no two sectors are equal.
NUMBERS = b"".join(number.to_bytes(8, "little") for number in range(HALF // 8))

VIRTIO = """-device virtio-blk-pci,drive=disk,disable-legacy=on{0}
    -netdev user,id=net,restrict=on -device virtio-net-pci,netdev=net,disable-legacy=on{0}"""
NVME = "-device nvme,drive=disk,serial=bare-metal"
# Each transfer of `edu` takes 100 ms. With `sleep=off`, QEMU skips the time in which the processor sleeps.
EDU = "-icount shift=0,sleep=off -device edu -device edu"
COUNTED = "-icount shift=0 -device virtio-blk-pci,drive=disk,disable-legacy=on"

# Each boot: its name, the actions of the program, and QEMU's arguments for devices. `disk` and `nvme` copy the disk's
# first half, inverted, to the second; `iommu` needs an IOMMU.
BOOTS = [
    ("virtio, direct", "net disk", VIRTIO.format("")),
    ("virtio, iommu", "iommu net disk break", VIRTIO.format(",iommu_platform=on")),
    ("nvme, direct", "nvme", NVME),
    ("nvme, iommu", "iommu nvme break", NVME),
    ("queue, direct", "queue", EDU),
    ("queue, iommu", "iommu queue", EDU),
    ("direct, instructions counted", "cost", COUNTED),
    ("iommu, instructions counted", "iommu cost", COUNTED),
]


def boot(name, actions, devices, program, target):
    disk, console = target / "disk", target / "console"
    disk.write_bytes(NUMBERS + bytes(HALF))
    # On QEMU's command line, the IOMMU must precede the devices that it translates for.
    iommu = "-device intel-iommu,aw-bits=48" if "iommu" in actions.split() else ""
    line = f"""qemu-system-x86_64 -machine q35,accel=tcg -cpu max -m 128M -nodefaults -no-reboot
        -display none -device isa-debug-exit,iobase=0xf4,iosize=4 {iommu}
        -drive if=none,id=disk,format=raw,cache=writeback,file={disk} {devices}
        -serial file:{console} -kernel {program} -append"""
    qemu = subprocess.run([*line.split(), actions], timeout=LIMIT)
    for said in console.read_text(errors="replace").splitlines():
        print(f"bare-metal: {name}: {said}")
    if qemu.returncode != GOOD:
        sys.exit(f"bare-metal: {name}: the machine ended with {qemu.returncode}")
    if {"disk", "nvme"} & set(actions.split()):
        inverted = bytes(byte ^ 0xFF for byte in NUMBERS)
        if disk.read_bytes() != NUMBERS + inverted:
            sys.exit(f"bare-metal: {name}: the disk is wrong")
        print(f"bare-metal: {name}: {2 * HALF // 512} sectors of the disk are as they should be")


def main():
    target = Path(sys.argv[1]).resolve()
    # cargo finds the settings for the bare target in this directory.
    os.chdir(Path(__file__).parent)
    subprocess.run(["cargo", "build", "--release", "--target-dir", target], check=True)
    for row in BOOTS:
        boot(*row, target / TARGET / "release/bare-metal", target)
    print(f"bare-metal: ok: {len(BOOTS)} boots")


main()
