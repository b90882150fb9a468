"""Runs libcamera's tests as make-libcamera-tests.sh built them, then v4l-utils on the nodes of vimc.

    libcamera-tests.py BUILT SECONDS

A test that takes longer than SECONDS is ended. One that crashes runs again, at most four times.
Prints a line of JSON per result, and shows the output of tests that fail."""

import glob
import hashlib
import json
import os
import re
import signal
import subprocess
import sys

# libcamera 0.0.3 uses requests that it has completed (VimcCameraData::bufferReady), so a test may crash, with
# stock vimc, too.
ATTEMPTS = 5


def say(name, result):
    print(json.dumps({"step": "libcamera", "name": name, "result": result}), flush=True)


def run(*words, **more):
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", **more)


def tests(built, limit):
    for test in json.load(open(f"{built}/tests.json")):
        name = test["suite"][-1].split(":")[-1] + "/" + test["name"]
        for attempt in range(1, ATTEMPTS + 1):
            out = run("timeout", limit, *test["cmd"], cwd=f"{built}/build",
                      env=os.environ | test["env"])
            if out.returncode in (0, 77):
                break
            print(f"{name}: attempt {attempt} fails ({out.returncode}):\n{out.stdout}", file=sys.stderr,
                  flush=True)
            if out.returncode != -signal.SIGSEGV:
                break
        say(name, {0: "pass", 77: "skip"}.get(out.returncode, "FAIL"))


def topology():
    return re.sub(r"(version +\d+\.\d+)\S*", r"\1", run("media-ctl", "-p").stdout)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def nodes():
    """Prints the totals of v4l2-compliance for each node."""
    for kind, pattern in (("-M", "media?"), ("-u", "v4l-subdev?"), ("-d", "video?")):
        for node in sorted(glob.glob("/dev/" + pattern)):
            out = run("v4l2-compliance", kind, node).stdout
            total = re.search(r"^Total .*: (\d+), Succeeded: (\d+).*Warnings: (\d+)$", out, re.M)
            say(f"v4l2-compliance {kind} {node}", "{1} of {0}, {2} warnings".format(*total.groups()))


os.environ["PATH"] = "/usr/bin:/usr/sbin:" + os.environ.get("PATH", "")
os.environ["GST_REGISTRY"] = sys.argv[1] + "/registry.bin"
# Makes the list of plugins first: a test that lists the installed plugin cannot load its own one.
run("gst-inspect-1.0", "fakesink")
first = topology()
tests(sys.argv[1], sys.argv[2])
if "platform:vimc" in first:
    say("media-ctl -p", f"{digest(first)}, then {digest(topology())}")
    nodes()
