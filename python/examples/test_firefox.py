"""Selenium drives Firefox by geckodriver: in a run (vb3 run -- python3 -m pytest), or the test starts the run."""

import os
import shutil

import pytest
import vb3

webdriver = pytest.importorskip("selenium.webdriver")
pytestmark = pytest.mark.skipif(not shutil.which("geckodriver"), reason="geckodriver is not installed")

FIREFOX = shutil.which("firefox") or shutil.which("firefox-esr")
PAGE = """<video id=v autoplay muted></video><script>
window.begin = async () => {
  const stream = await navigator.mediaDevices.getUserMedia({video: true});
  window.track = stream.getVideoTracks()[0];
  v.srcObject = stream;
};
window.colour = () => {
  const draw = new OffscreenCanvas(1, 1).getContext('2d');
  draw.drawImage(v, 0, 0, 1, 1);
  return [...draw.getImageData(0, 0, 1, 1).data];
};
</script>"""


@pytest.fixture
def run(vb3_run):
    """The run around this test, or else a new one, in which geckodriver starts Firefox."""
    if "VB3_CONTROL" in os.environ:
        yield vb3.current()
        vb3.current().video0.reset()
    else:
        yield vb3_run(["geckodriver", "--port", "4471"], camera="pattern,size=320x240")


@pytest.fixture
def browser(run, tmp_path):
    options = webdriver.FirefoxOptions()
    options.binary_location = FIREFOX
    options.add_argument("-headless")
    # Firefox opens the camera without a question, also for a page from a file.
    options.set_preference("media.navigator.permission.disabled", True)
    options.set_preference("media.devices.insecure.enabled", True)
    options.set_preference("media.getusermedia.insecure.enabled", True)
    if "VB3_CONTROL" in os.environ:
        browser = webdriver.Firefox(options, webdriver.FirefoxService(shutil.which("geckodriver")))
    else:
        browser = webdriver.Remote("http://127.0.0.1:4471", options=options)
    (tmp_path / "page.html").write_text(PAGE)
    browser.get((tmp_path / "page.html").as_uri())
    browser.set_script_timeout(100)
    yield browser
    browser.quit()


def picture(directory, name, pixel):
    (directory / name).write_bytes(b"P6 320 240 255\n" + pixel * 320 * 240)
    return directory / name


def wait_for(browser, condition):
    poll = f"const done = arguments[0]; const poll = () => {condition} ? done() : setTimeout(poll, 50); poll();"
    browser.execute_async_script(poll)


def test_firefox_follows_the_camera(run, browser, tmp_path):
    browser.execute_script("return begin()")
    run.video0.play(picture(tmp_path, "red.ppm", b"\xff\0\0"))
    wait_for(browser, "colour()[0] > 200 && colour()[2] < 50")
    run.video0.play(picture(tmp_path, "blue.ppm", b"\0\0\xff"))
    wait_for(browser, "colour()[2] > 200 && colour()[0] < 50")
    run.video0.unplug()
    wait_for(browser, "track.readyState == 'ended'")
    run.video0.plug()
    browser.execute_async_script("const f = () => begin().then(arguments[0], () => setTimeout(f, 100)); f();")
    wait_for(browser, "colour()[2] > 200")
