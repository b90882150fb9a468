"""A browser whose page shows a camera that is then unplugged and plugged in.

browser.py CHROMIUM FRAMES VB3: writes the pixels that the page draws to 0.rgb, 1.rgb, and so on, and
prints what the page tells of itself, a line of JSON each.
"""
import base64
import http.server
import json
import queue
import subprocess
import sys
import tempfile
import threading

PAGE = b"""<!doctype html><title>camera</title><canvas id=canvas></canvas><script>
const tell = (what) => fetch('/', {method: 'POST', body: JSON.stringify(what)});
const devices = navigator.mediaDevices;
const cameras = async () => {
  const all = await devices.enumerateDevices();
  return all.filter((device) => device.kind === 'videoinput').length;
};
const text = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));
const show = async () => {
  const stream = await devices.getUserMedia({video: {width: 320, height: 240}});
  const track = stream.getVideoTracks()[0];
  track.onended = () => tell({event: 'ended'});
  devices.ondevicechange = async () => tell({event: 'devices', cameras: await cameras()});
  // Chromium notices a change only after its first list, which starts an audio process.
  await cameras();
  const video = document.createElement('video');
  video.srcObject = stream;
  video.muted = true;
  const canvas = document.getElementById('canvas');
  const context = canvas.getContext('2d', {willReadFrequently: true});
  let left = FRAMES;
  const look = () => {
    const [width, height] = [video.videoWidth, video.videoHeight];
    [canvas.width, canvas.height] = [width, height];
    context.drawImage(video, 0, 0);
    const bytes = context.getImageData(0, 0, width, height).data;
    // A busy browser may report its first frame before it can draw it. The canvas is black then; no picture is.
    const drawn = bytes.some((byte, place) => place % 4 < 3 && byte !== 0);
    if (drawn) {
      const place = FRAMES - left--;
      tell({event: 'frame', place, label: track.label, width, height, pixels: text(bytes)});
    }
    if (left > 0) video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  await video.play();
};
show().catch((error) => tell({event: 'error', name: error.name, message: error.message}));
</script>"""

said = queue.Queue()


class Page(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def reply(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply(PAGE.replace(b"FRAMES", sys.argv[2].encode()))

    def do_POST(self):
        said.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.reply(b"")


def hear(wanted):
    """What the page tells until all of it is among that."""
    while wanted:
        what = said.get(timeout=100)
        if "pixels" in what:
            rgba = base64.b64decode(what.pop("pixels"))
            # Messages may arrive in another order.
            with open(f"{what['place']}.rgb", "wb") as out:
                out.write(bytes(byte for at, byte in enumerate(rgba) if at % 4 < 3))
        print(json.dumps(what), flush=True)
        if what["event"] == "error":
            sys.exit(1)
        name = {key: what[key] for key in ("event", "cameras") if key in what}
        if name in wanted:
            wanted.remove(name)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
# The browser's children may still write there as it ends.
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
    browser = subprocess.Popen(
        [
            sys.argv[1],
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--use-fake-ui-for-media-stream",
            f"--user-data-dir={profile}",
            f"http://127.0.0.1:{server.server_port}/",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        hear([{"event": "frame"}] * int(sys.argv[2]))
        subprocess.run([sys.argv[3], "ctl", "unplug", "video0"], check=True)
        hear([{"event": "ended"}, {"event": "devices", "cameras": 0}])
        subprocess.run([sys.argv[3], "ctl", "plug", "video0"], check=True)
        hear([{"event": "devices", "cameras": 1}])
    finally:
        browser.terminate()
        browser.wait()
