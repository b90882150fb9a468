"""One program reads twenty cameras. One of them fails, and the others continue."""

NODE = """
import threading
def read(number):
    with open(f"/dev/video{number}", "rb", buffering=0) as camera:
        try:
            while camera.read(64 * 48 * 2):
                pass
        except OSError as error:
            print(f"camera{number}: {error.strerror}", flush=True)
for number in range(20):
    threading.Thread(target=read, args=[number]).start()
"""


def test_one_camera_fails_alone(vb3_run):
    devices = ["camera=pattern,size=64x48,format=YUYV,identity=plain"] * 20
    run = vb3_run(["python3", "-c", NODE], devices=devices)
    run.video19.wait(3)
    run.video7.unplug()
    for number in set(range(20)) - {7}:
        camera = getattr(run, f"video{number}")
        camera.wait(camera.frames + 3)
    assert run.stdout == "camera7: No such device\n"
