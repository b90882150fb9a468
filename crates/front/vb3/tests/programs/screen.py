"""Runs a command on a screen until it shows four pictures of the camera's pattern, then saves the screen and ends it.

Arguments: the file to save, and the command, which the shell runs.
"""

import os
import signal
import subprocess
import sys

SIZE = (800, 600)
YELLOW = (190, 190, 0)
# A sixteenth of the pattern is a bar of this colour.
ENOUGH = 320 * 240 // 16


def grab():
    """Returns the screen's pixels as RGB, or nothing before there is a screen."""
    display = os.environ["DISPLAY"]
    words = ["ffmpeg", "-nostdin", "-v", "error", "-f", "x11grab", "-draw_mouse", "0"]
    words += ["-video_size", "%dx%d" % SIZE, "-i", display, "-frames:v", "1"]
    words += ["-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    return subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout


def is_shown(rgb):
    channels = (rgb[n::3] for n in range(3))
    near = [bytes(abs(value - want) < 40 for value in range(256)) for want in YELLOW]
    masks = [int.from_bytes(c.translate(table), "big") for c, table in zip(channels, near)]
    return bin(masks[0] & masks[1] & masks[2]).count("1") > ENOUGH


def start_screen():
    """Starts Xvfb, which chooses a number and writes it when it is ready."""
    reader, writer = os.pipe()
    words = ["Xvfb", "-displayfd", str(writer), "-nolisten", "tcp"]
    words += ["-screen", "0", "%dx%dx24" % SIZE]
    screen = subprocess.Popen(words, pass_fds=[writer], stderr=subprocess.DEVNULL)
    os.close(writer)
    with os.fdopen(reader) as number:
        os.environ["DISPLAY"] = ":" + number.readline().strip()
    return screen


def main():
    path, command = sys.argv[1:]
    screen = start_screen()
    client = subprocess.Popen(["sh", "-c", "exec " + command], start_new_session=True)
    status = 0
    rgb = last = grab()
    # A window's first pictures can be incomplete: the fourth is saved.
    shown = 0
    while shown < 4:
        if client.poll() is not None:
            status = "the client ended with %d before it showed the pattern" % client.returncode
            break
        rgb = grab()
        if is_shown(rgb) and rgb != last:
            last = rgb
            shown += 1
    with open(path, "wb") as file:
        file.write(b"P6 %d %d 255\n" % SIZE + rgb)
    if client.poll() is None:
        os.killpg(client.pid, signal.SIGTERM)
    try:
        client.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(client.pid, signal.SIGKILL)
        client.wait()
    screen.terminate()
    screen.wait()
    sys.exit(status)


main()
