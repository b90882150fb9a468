"""Drives a stateless AV1 decoder by media requests. Writes the shown pictures as NV12.

stateless_av1.py VIDEO MEDIA STREAM.ivf PICTURES [SEED]

With SEED, each frame follows one with random controls and content, whose picture is not read. The
stream must have key frames only."""
import ctypes
import errno
import fcntl
import mmap
import os
import random
import select
import struct
import sys

from av1_controls import KEY, Entry, Stream

OUTPUT, CAPTURE, MMAP, BUFFERS = 10, 9, 1, 12
SEQUENCE, ENTRIES, FRAME, GRAIN = (0xA40900 + 500 + at for at in (0, 1, 2, 5))
REQUEST_VALUE = 0x0F010000
FLAG_REQUEST, FLAG_ERROR = 0x800000, 0x40


def number(kind, direction, nr, size):
    return direction << 30 | size << 16 | ord(kind) << 8 | nr


REQBUFS = number("V", 3, 8, 20)
S_FMT = number("V", 3, 5, 208)
QUERYBUF, QBUF, DQBUF = (number("V", 3, nr, 88) for nr in (9, 15, 17))
STREAMON = number("V", 1, 18, 4)
S_EXT_CTRLS = number("V", 3, 72, 32)
ALLOC = number("|", 2, 5, 4)
QUEUE, REINIT = number("|", 0, 0x80, 0), number("|", 0, 0x81, 0)


class Decoder:
    def __init__(self, video, media):
        self.video = os.open(video, os.O_RDWR)
        self.media = os.open(media, os.O_RDWR)
        answer = bytearray(4)
        fcntl.ioctl(self.media, ALLOC, answer)
        self.request = struct.unpack("i", answer)[0]
        self.maps = {}

    def set_up(self, sequence, width, height):
        self.set_controls([(SEQUENCE, bytes(sequence))])
        made = bytearray(208)
        struct.pack_into("I", made, 0, OUTPUT)
        struct.pack_into("II4s", made, 8, width, height, b"AV1F")
        struct.pack_into("I", made, 28, 1 << 20)
        fcntl.ioctl(self.video, S_FMT, made)
        struct.pack_into("I", made, 0, CAPTURE)
        struct.pack_into("II4s", made, 8, width, height, b"NV12")
        fcntl.ioctl(self.video, S_FMT, made)
        self.height, self.stride = struct.unpack_from("I", made, 12)[0], struct.unpack_from("I", made, 32)[0]
        for kind, count in (OUTPUT, 1), (CAPTURE, BUFFERS):
            fcntl.ioctl(self.video, REQBUFS, bytearray(struct.pack("5I", count, kind, MMAP, 0, 0)))
            for index in range(count):
                planes, _ = self.buffer(QUERYBUF, kind, index)
                length, offset = planes[1], planes[2]
                self.maps[kind, index] = mmap.mmap(self.video, length, offset=offset)
            fcntl.ioctl(self.video, STREAMON, struct.pack("I", kind))

    def buffer(self, call, kind, index=0, used=0, request=None, stamp=0):
        """Returns a plane's bytes used, length and offset, and the buffer's index and flags."""
        plane = (ctypes.c_uint32 * 16)(used)
        arg = bytearray(88)
        flags = FLAG_REQUEST if request is not None else 0
        struct.pack_into("4I", arg, 0, index, kind, 0, flags)
        struct.pack_into("qq", arg, 24, stamp // 10**6, stamp % 10**6)
        struct.pack_into("IIQI", arg, 56, 0, MMAP, ctypes.addressof(plane), 1)
        struct.pack_into("i", arg, 80, request or 0)
        fcntl.ioctl(self.video, call, arg)
        return list(plane), struct.unpack_from("4I", arg)

    def set_controls(self, controls, request=None):
        kept = [ctypes.create_string_buffer(value, len(value)) for _, value in controls]
        entries = b"".join(
            struct.pack("=IIIQ", of, len(value), 0, ctypes.addressof(memory))
            for (of, value), memory in zip(controls, kept)
        )
        array = ctypes.create_string_buffer(entries, len(entries))
        which = 0 if request is None else REQUEST_VALUE
        arg = struct.pack("IIIiIIQ", which, len(controls), 0, request or 0, 0, 0, ctypes.addressof(array))
        fcntl.ioctl(self.video, S_EXT_CTRLS, bytearray(arg))

    def decode(self, controls, content, index, stamp):
        """Decodes a frame to a CAPTURE buffer. Returns whether it has no error flag."""
        self.set_controls(controls, self.request)
        self.maps[OUTPUT, 0][: len(content)] = content
        self.buffer(QBUF, CAPTURE, index)
        self.buffer(QBUF, OUTPUT, 0, len(content), self.request, stamp)
        fcntl.ioctl(self.request, QUEUE)
        poll = select.poll()
        poll.register(self.request, select.POLLPRI)
        poll.poll()
        self.buffer(DQBUF, OUTPUT)
        _, (found, _, _, flags) = self.buffer(DQBUF, CAPTURE)
        assert found == index
        fcntl.ioctl(self.request, REINIT)
        return not flags & FLAG_ERROR

    def picture(self, index, width, height):
        data, stride = self.maps[CAPTURE, index], self.stride
        luma = [data[at * stride : at * stride + width] for at in range(height)]
        base = self.height * stride
        chroma = [data[base + at * stride : base + at * stride + width] for at in range(height // 2)]
        return b"".join(luma + chroma)


def units(path):
    data = open(path, "rb").read()
    at = struct.unpack_from("<H", data, 6)[0]
    while at < len(data):
        size = struct.unpack_from("<I", data, at)[0]
        yield data[at + 12 : at + 12 + size]
        at += 12 + size


def disturb(decoder, draw, controls, content, index):
    """Decodes a frame with some wrong bytes. Its controls may be refused."""
    wrong = []
    for of, value in controls:
        value = bytearray(value)
        for _ in range(draw.choice((0, 1, 1, 3))):
            value[draw.randrange(len(value))] = draw.randrange(256)
        wrong.append((of, bytes(value)))
    content = bytearray(content)
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    try:
        decoder.decode(wrong, bytes(content), index, 10**9 + draw.randrange(10**6))
        return "decoded"
    except OSError as error:
        return errno.errorcode[error.errno]


def main():
    video, media, path, pictures = sys.argv[1:5]
    draw = random.Random(int(sys.argv[5])) if len(sys.argv) > 5 else None
    decoder, stream, stamp = Decoder(video, media), Stream(), 0
    out = open(pictures, "wb")
    counts = {}
    for unit in units(path):
        for one in stream.frames(unit):
            if isinstance(one, int):
                slot = stream.slots[one]
                out.write(decoder.picture(slot["buffer"], *slot["size"]))
                if slot["type"] == KEY:
                    stream.slots = [slot] * 8
                continue
            frame, grain, state, entries, content = one
            size = state["size"]
            if not stamp:
                decoder.set_up(stream.sequence, size[0] + size[0] % 2, size[1] + size[1] % 2)
            stamp += 1
            held = {slot["buffer"] for slot in stream.slots if slot}
            state["buffer"], spare = [index for index in range(BUFFERS) if index not in held][:2]
            state["stamp"] = stamp
            for at, slot in enumerate(stream.slots):
                frame.reference_frame_ts[at] = slot["stamp"] * 1000 if slot else 0
            array = b"".join(bytes(entry) for entry in entries)
            controls = [(FRAME, bytes(frame)), (ENTRIES, array), (GRAIN, bytes(grain))]
            controls.append((SEQUENCE, bytes(stream.sequence)))
            if draw:
                result = disturb(decoder, draw, controls, content, spare)
                counts[result] = counts.get(result, 0) + 1
            assert decoder.decode(controls, content, state["buffer"], stamp), f"frame {stamp}"
            if state["show"]:
                out.write(decoder.picture(state["buffer"], *size))
            for at in range(8):
                if frame.refresh_frame_flags >> at & 1:
                    stream.slots[at] = state
    print(stamp, "frames", *sorted(counts))


main()
