// Puppeteer shows the camera of a run, while `vb3 ctl` changes the camera. There are two ways to start it:
//   vb3 run -d camera -- node puppeteer.mjs     the whole test is in a run
//   node puppeteer.mjs                          only the browser is in a run, which this script starts
import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import puppeteer from "puppeteer-core";

const VB3 = process.env.VB3_BINARY ?? "vb3";
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const URL = "https://page.test/";
const PAGE = `<video id=v autoplay muted></video><script>
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
</script>`;

const directory = mkdtempSync(join(tmpdir(), "puppeteer-"));
let executablePath = CHROMIUM;
let which = [];
if (!process.env.VB3_CONTROL) {
  // Puppeteer starts a program with the browser's options behind it, so the options of vb3 are in a script.
  const socket = join(directory, "control");
  executablePath = join(directory, "chromium-in-a-run");
  writeFileSync(executablePath, `#!/bin/sh\nexec ${VB3} run --control ${socket} -d camera -- ${CHROMIUM} "$@"\n`, { mode: 0o755 });
  which = ["--control", socket];
}

const ctl = (...order) => execFileSync(VB3, ["ctl", ...which, ...order]);
const play = (name, pixel) => {
  const file = join(directory, name);
  writeFileSync(file, Buffer.concat([Buffer.from("P6 320 240 255\n"), Buffer.alloc(320 * 240 * 3, Buffer.from(pixel))]));
  ctl("play", "video0", file);
};

// Without --use-fake-device-for-media-stream, which would hide the camera.
const args = ["--use-fake-ui-for-media-stream", "--no-sandbox"];
const browser = await puppeteer.launch({ executablePath, args });
try {
  const page = await browser.newPage();
  page.setDefaultTimeout(100_000);
  await page.setRequestInterception(true);
  page.on("request", (request) => request.respond({ contentType: "text/html", body: PAGE }));
  await page.goto(URL);
  await page.evaluate("begin()");
  play("red.ppm", [255, 0, 0]);
  await page.waitForFunction("colour()[0] > 200 && colour()[2] < 50");
  play("blue.ppm", [0, 0, 255]);
  await page.waitForFunction("colour()[2] > 200 && colour()[0] < 50");
  ctl("unplug", "video0");
  await page.waitForFunction("track.readyState == 'ended'");
  ctl("plug", "video0");
  await page.waitForFunction("begin().then(() => true, () => false)");
  await page.waitForFunction("colour()[2] > 200");
  console.log("The page follows the camera.");
} finally {
  await browser.close();
}
