"""A face login by an infrared and a colour camera.

The program finds both by name, and waits until the infrared one shows a bright picture.
"""

LOGIN = """
import glob
nodes = {open(file).read().strip(): file.split("/")[4] for file in glob.glob("/sys/class/video4linux/*/name")}
size = 320 * 240
with open("/dev/" + nodes["RGB Camera"], "rb", buffering=0) as colour:
    assert len(colour.read(2 * size)) == 2 * size
with open("/dev/" + nodes["IR Camera"], "rb", buffering=0) as infrared:
    while sum(infrared.read(size)) < 128 * size:
        pass
print("welcome")
"""


def test_login_waits_for_a_face(vb3_run, tmp_path):
    for name, pixel in [("nobody.pgm", b"\0"), ("face.pgm", b"\xff")]:
        (tmp_path / name).write_bytes(b"P5 320 240 255\n" + pixel * 320 * 240)
    devices = [
        "camera=pattern,identity=plain,name=RGB Camera,size=320x240,format=YUYV",
        f"camera={tmp_path}/nobody.pgm,identity=plain,name=IR Camera,size=320x240,fps=15,format=GREY",
    ]
    run = vb3_run(["python3", "-c", LOGIN], devices=devices, clock="virtual")
    run.video1.wait(10)
    assert run.stdout == ""
    run.video1.play(tmp_path / "face.pgm")
    assert run.wait() == 0 and run.stdout == "welcome\n"
