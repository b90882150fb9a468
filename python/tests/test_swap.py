"""A test as users write it: an application shows its camera, whose picture and cable change meanwhile."""

import subprocess
from pathlib import Path

import pytest
import vb3

SIZE = "size=64x48,format=YUYV"
# Starts ffmpeg again after each unplug, as an application that waits for its camera does.
APP = [
    "sh",
    "-c",
    "while :; do ffmpeg -nostdin -v error -f v4l2 -i /dev/video0 -f v4l2 /dev/video1; sleep 0.01; done",
]
DEVICES = [f"camera=pattern,{SIZE}", f"display,{SIZE}"]


@pytest.fixture
def red(tmp_path: Path) -> Path:
    picture = tmp_path / "red, 64x48.png"
    source = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=red:size=64x48"]
    subprocess.run([*source, "-frames:v", "1", picture], check=True)
    return picture


def is_red(shown: vb3.Shown) -> bool:
    """Whether every pixel of a YUYV picture is red."""
    return max(shown.data[1::4]) < 110 and min(shown.data[3::4]) > 200


def test_display_shows_swap_unplug_and_return(vb3_run, red):
    run = vb3_run(APP, devices=DEVICES, clock="virtual")
    run.display0.wait(3)
    before = run.display0.shown("raw")
    assert (before.width, before.height, before.format) == (64, 48, "YUYV")
    assert not is_red(before)
    run.video0.play(red)
    swapped = run.display0.shows(is_red, "raw")

    run.video0.unplug()
    then = run.state()["time_ns"]
    assert run.advance(2.0) - then >= 2_000_000_000
    assert run.display0.shown().checksum == swapped.checksum

    run.video0.play("pattern")
    run.video0.plug()
    run.display0.shows(lambda shown: shown.checksum != swapped.checksum)
