"""A test as users write it: a simulator is the source of four cameras, which it feeds in lock step."""

import re
from pathlib import Path

import pytest
import vb3

FRAMES, CAMERAS, RATE = 60, 4, 20
WIDTH, HEIGHT = 64, 48
BYTES = WIDTH * HEIGHT
CAMERA = f"loopback,size={WIDTH}x{HEIGHT},format=GREY"
# A program for each camera. It writes the frames to one file, and their times to another.
READER = "v4l2-ctl -d /dev/video{node} --stream-mmap=4 --stream-count={frames} --verbose --stream-to={to} 2>times{camera}"
# Slows the last camera's program down.
SLOWLY = "for frame in $(seq {frames}); do sleep 0.01; head -c {bytes}; done >frames{camera}"


def picture(camera: int, number: int) -> bytes:
    """Returns a picture from which camera and number can be read."""
    return bytes([camera]) + number.to_bytes(4, "little") + bytes([number % 251]) * (BYTES - 5)


def readers() -> str:
    commands = []
    for camera in range(CAMERAS):
        is_slow = camera == CAMERAS - 1
        to = "-" if is_slow else f"frames{camera}"
        words = READER.format(node=2 * camera + 1, frames=FRAMES, to=to, camera=camera)
        slowly = SLOWLY.format(frames=FRAMES, bytes=BYTES, camera=camera)
        commands.append(f"({words} | {slowly}) &" if is_slow else f"{words} &")
    return " ".join(commands) + " wait"


def feed(vb3_run, directory: Path):
    """Feeds four cameras. Returns the frames and times that their programs got, and the run's verdict."""
    directory.mkdir()
    run = vb3_run(["sh", "-c", readers()], devices=[CAMERA] * CAMERAS, clock="steps", cwd=directory)
    begin = run.state()["time_ns"]
    for number in range(FRAMES):
        for camera in range(CAMERAS):
            getattr(run, f"video{2 * camera}").push(picture(camera, number), time=number / RATE)
    assert run.wait() == 0, run.stderr
    got = []
    for camera in range(CAMERAS):
        text = (directory / f"times{camera}").read_text()
        stamps = [int(s) * 10**9 + int(us) * 1000 for s, us in re.findall(r"ts: (\d+)\.(\d{6})", text)]
        got.append(((directory / f"frames{camera}").read_bytes(), [stamp - begin for stamp in stamps]))
    return got, [line for line in run.why().splitlines() if line.startswith("video")]


def test_every_frame_arrives_with_its_time_twice(vb3_run, tmp_path):
    got, verdict = feed(vb3_run, tmp_path / "first")
    for camera, (frames, times) in enumerate(got):
        assert frames == b"".join(picture(camera, number) for number in range(FRAMES))
        assert times == [number * 10**9 // RATE for number in range(FRAMES)]
    assert feed(vb3_run, tmp_path / "second") == (got, verdict)


def test_mistakes_of_a_simulator_are_named(vb3_run):
    run = vb3_run(["sleep", "60"], devices=[CAMERA, "camera"], clock="steps")
    for frame, time, device, words in [
        (picture(0, 0)[1:], 1.0, run.video0, "has 3071 bytes; a frame of 64x48 in GREY has 3072"),
        (picture(0, 0) + b"x", 1.0, run.video0, "has 3073 bytes"),
        (picture(0, 0), 0.5, run.video0, "500000000 ns too late"),
        (picture(0, 0), None, run.video2, "no loopback"),
    ]:
        with pytest.raises(vb3.Error, match=words):
            device.push(frame, time)
    run.video0.unplug()
    with pytest.raises(vb3.Error, match="unplugged"):
        run.video0.push(picture(0, 0))
    real = vb3_run(["sleep", "60"], devices=[CAMERA])
    with pytest.raises(vb3.Error, match="--clock steps"):
        real.video0.push(picture(0, 0), time=1.0)
