"""In a browser, the picture changes and the camera is unplugged: vb3 run -- python3 -m pytest test_playwright.py."""

import os

import pytest
import vb3

pytest.importorskip("pytest_playwright")
pytestmark = pytest.mark.skipif("VB3_CONTROL" not in os.environ, reason="runs in vb3 run")

URL = "https://page.test/"
PAGE = """<video id=v autoplay muted></video><script>
let track;
const begin = async () => {
  const stream = await navigator.mediaDevices.getUserMedia({video: true});
  track = stream.getVideoTracks()[0];
  v.srcObject = stream;
};
const colour = () => {
  const draw = new OffscreenCanvas(1, 1).getContext('2d');
  draw.drawImage(v, 0, 0, 1, 1);
  return [...draw.getImageData(0, 0, 1, 1).data];
};
</script>"""


@pytest.fixture(scope="session")
def browser_type_launch_args():
    # Without --use-fake-device-for-media-stream, which would hide the camera.
    return {"executable_path": "/usr/bin/chromium", "args": ["--use-fake-ui-for-media-stream", "--no-sandbox"]}


@pytest.fixture
def camera():
    camera = vb3.current().video0
    yield camera
    camera.reset()


def picture(directory, name, pixel):
    (directory / name).write_bytes(b"P6 320 240 255\n" + pixel * 320 * 240)
    return directory / name


def test_the_page_follows_the_camera(page, camera, tmp_path):
    page.set_default_timeout(100_000)
    page.route(URL, lambda route: route.fulfill(body=PAGE, content_type="text/html"))
    page.goto(URL)
    page.evaluate("begin()")
    camera.play(picture(tmp_path, "red.ppm", b"\xff\0\0"))
    page.wait_for_function("colour()[0] > 200 && colour()[2] < 50")
    camera.play(picture(tmp_path, "blue.ppm", b"\0\0\xff"))
    page.wait_for_function("colour()[2] > 200 && colour()[0] < 50")
    camera.unplug()
    page.wait_for_function("track.readyState == 'ended'")
    camera.plug()
    page.wait_for_function("begin().then(() => true, () => false)")
    page.wait_for_function("colour()[2] > 200")
