"""Writes frames to the first virtual camera, as pyvirtualcam or OBS does.

Arguments: pyvirtualcam or obs, width, height, number of frames, frames per second.
"""

import fcntl
import os
import struct
import sys
import time

QUERYCAP, G_FMT, S_FMT = 0x80685600, 0xC0D05604, 0xC0D05605
S_PARM, STREAMON = 0xC0CC5616, 0x40045612
OUTPUT = 2
YUYV = struct.unpack("I", b"YUYV")[0]


def text(raw):
    return raw.split(b"\0")[0].decode()


def find(flags):
    for number in range(100):
        path = f"/dev/video{number}"
        if not os.path.exists(path):
            continue
        fd = os.open(path, flags)
        caps = bytearray(104)
        fcntl.ioctl(fd, QUERYCAP, caps)
        device_caps = struct.unpack_from("I", caps, 88)[0]
        if text(caps[:16]) == "v4l2 loopback" and device_caps & OUTPUT:
            return fd, path
        os.close(fd)
    sys.exit("no v4l2 loopback")


def set_format(fd, width, height):
    format = bytearray(208)
    struct.pack_into("I", format, 0, OUTPUT)
    fcntl.ioctl(fd, G_FMT, format)
    struct.pack_into("IIII", format, 8, width, height, YUYV, 1)
    struct.pack_into("II", format, 24, width * 2, width * height * 2)
    fcntl.ioctl(fd, S_FMT, format)
    assert struct.unpack_from("III", format, 8) == (width, height, YUYV)


def main():
    style = sys.argv[1]
    width, height, count, rate = map(int, sys.argv[2:])
    if style == "obs":
        with open("/proc/modules") as modules:
            assert any("v4l2loopback" in line for line in modules)
    fd, path = find(os.O_RDWR if style == "obs" else os.O_WRONLY)
    if style == "obs":
        parm = bytearray(204)
        struct.pack_into("IIIII", parm, 0, OUTPUT, 0x1000, 0, 1, rate)
        fcntl.ioctl(fd, S_PARM, parm)
    set_format(fd, width, height)
    if style == "obs":
        fcntl.ioctl(fd, STREAMON, struct.pack("I", OUTPUT))
    print(path, flush=True)
    for number in range(count):
        frame = bytes([number % 256]) * (width * height * 2)
        assert os.write(fd, frame) == len(frame)
        time.sleep(1 / rate)


main()
