"""Kills the writer or the reader of a loopback, again and again: kills.py ROUNDS SEED FRAME_BYTES.

The one that is left goes on, the other is started anew, and whole frames of pattern.raw must come
through once more. A kill comes when some bytes have, anywhere in a frame, or right after the start.
"""
import random
import signal
import subprocess
import sys
import threading

rounds, seed, frame_bytes = (int(word) for word in sys.argv[1:])
chance = random.Random(seed)
with open("pattern.raw", "rb") as file:
    pattern = file.read()
frames = {pattern[at:at + frame_bytes] for at in range(0, len(pattern), frame_bytes)}

WRITER = ["v4l2-ctl", "-d", "/dev/video0", "--stream-out-mmap=4", "--stream-from=pattern.raw",
          "--stream-loop"]
READER = ["v4l2-ctl", "-d", "/dev/video1", "--stream-mmap=4", "--stream-to=-"]


class Reader:
    """A reader, whose frames a thread checks as they come."""

    def __init__(self):
        self.process = subprocess.Popen(READER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.come = threading.Condition()
        self.bytes = 0
        self.torn = 0
        self.ended = False
        self.thread = threading.Thread(target=self.check)
        self.thread.start()

    def check(self):
        held = b""
        while piece := self.process.stdout.read1(65536):
            held += piece
            while len(held) >= frame_bytes:
                frame, held = held[:frame_bytes], held[frame_bytes:]
                self.torn += frame not in frames
            with self.come:
                self.bytes += len(piece)
                self.come.notify()
        with self.come:
            self.ended = True
            self.come.notify()

    def wait(self, count):
        """Waits until so many more bytes have come."""
        with self.come:
            wanted = self.bytes + count
            self.come.wait_for(lambda: self.ended or self.bytes >= wanted)
            assert not self.ended, "the reader ended although nobody killed it"

    def kill(self):
        kill(self.process)
        self.thread.join()
        return self.bytes // frame_bytes, self.torn


def start_writer():
    return subprocess.Popen(WRITER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill(process):
    assert process.poll() is None, f"{process.args} ended by itself: {process.returncode}"
    process.send_signal(signal.SIGKILL)
    process.wait()


whole = torn = at_start = 0
kills = {"writer": 0, "reader": 0}
writer, reader = start_writer(), Reader()
for _ in range(rounds):
    side = chance.choice(sorted(kills))
    kills[side] += 1
    if chance.random() < 0.25:
        at_start += 1
    else:
        reader.wait(chance.randrange(1, 3 * frame_bytes))
    if side == "writer":
        kill(writer)
        writer = start_writer()
    else:
        more, bad = reader.kill()
        whole, torn = whole + more, torn + bad
        reader = Reader()
reader.wait(3 * frame_bytes)
kill(writer)
more, bad = reader.kill()
whole, torn = whole + more, torn + bad
print(f"kills={sum(kills.values())} writer={kills['writer']} reader={kills['reader']} "
      f"at_start={at_start} frames={whole} torn={torn}")
