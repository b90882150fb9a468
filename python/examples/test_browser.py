"""A browser shows the camera. The page sends the average colour of each frame that it shows."""

import http.server
import queue
import threading

import pytest

PAGE = b"""<video id=v autoplay muted></video><canvas id=c width=1 height=1></canvas><script>
const send = () => {
  const draw = c.getContext('2d', {willReadFrequently: true});
  draw.drawImage(v, 0, 0, 1, 1);
  const colour = draw.getImageData(0, 0, 1, 1).data.slice(0, 3).join();
  fetch('/?' + colour).then(() => v.requestVideoFrameCallback(send));
};
v.requestVideoFrameCallback(send);
navigator.mediaDevices.getUserMedia({video: true}).then((stream) => v.srcObject = stream);
</script>"""
BROWSERS = {
    "chromium": "chromium --headless --no-sandbox --disable-gpu --use-fake-ui-for-media-stream --user-data-dir=",
    "firefox": "firefox-esr --headless --profile ",
}
# Firefox opens the camera without a question.
PREFERENCE = 'user_pref("media.navigator.permission.disabled", true);'
colours = queue.Queue()


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        _, is_colour, colour = self.path.partition("?")
        if is_colour:
            colours.put([int(part) for part in colour.split(",")])
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE)


def wait_for(is_wanted):
    while not is_wanted(*colours.get(timeout=100)):
        pass


@pytest.mark.parametrize("browser", BROWSERS)
def test_page_shows_both_pictures(vb3_run, tmp_path, browser):
    for name, pixel in [("red.ppm", b"\xff\0\0"), ("blue.ppm", b"\0\0\xff")]:
        (tmp_path / name).write_bytes(b"P6 320 240 255\n" + pixel * 320 * 240)
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile/user.js").write_text(PREFERENCE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        words = f"{BROWSERS[browser]}{tmp_path}/profile http://127.0.0.1:{server.server_port}/"
        run = vb3_run(words.split(), camera=tmp_path / "red.ppm")
        wait_for(lambda red, green, blue: red > 200 and blue < 50)
        run.video0.play(tmp_path / "blue.ppm")
        wait_for(lambda red, green, blue: red < 50 and blue > 200)
        server.shutdown()
