"""Latency from camera to display.

The test pattern has its frame number in a strip at the top left, 32 blocks of 16x16 pixels: lowest bit
first, white is 1.
"""

APP = "gst-launch-1.0 -q v4l2src ! v4l2sink device=/dev/video1 sync=false"
SIZE = "size=640x480,format=YUYV"


def number_of(shown):
    blocks = shown.data[2 * (8 * 640 + 8) :: 2 * 16][:32]
    return sum((luma > 125) << bit for bit, luma in enumerate(blocks))


def test_frames_arrive_within_two_intervals(vb3_run):
    run = vb3_run(APP.split(), devices=[f"camera=pattern,{SIZE}", f"display,{SIZE}"], clock="virtual")
    times = {"/dev/video0": {}, "/dev/video1": {}}
    with run.events("frame") as events:
        run.display0.wait(20)
        shown = run.display0.shown("raw")
        for event in events:
            times[event["device"]][event["sequence"]] = event["time_ns"]
            if shown.sequence in times["/dev/video1"]:
                break
    latency = times["/dev/video1"][shown.sequence] - times["/dev/video0"][number_of(shown)]
    assert 0 <= latency <= 2 * 1_000_000_000 // 30
