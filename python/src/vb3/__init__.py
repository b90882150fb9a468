"""Runs programs on simulated V4L2 devices, and changes the devices while a program runs.

Each order (command) is a line of JSON on the run's socket; docs/control.md describes the orders.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import socket
import subprocess
import sysconfig
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence, Union

__all__ = ["Attached", "Device", "Ended", "Error", "Run", "Shown", "binary", "current", "run"]

_Path = Union[str, "os.PathLike[str]"]
#: Seconds between the signals that end a run.
_GRACE = 5


class Error(Exception):
    """A run refused an order. `field` names the wrong field, and `message` says which values are allowed."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


class Ended(Error):
    """The run ended before it answered."""


@dataclass(frozen=True)
class Shown:
    """A picture that a display showed. `data` has the picture's bytes if `shown` was called with a format."""

    sequence: int
    width: int
    height: int
    format: str
    checksum: str
    data: Optional[bytes] = None


def binary() -> str:
    """Returns the absolute path of `vb3`: `$VB3_BINARY` if set, else this package's, else the first in PATH.

    Raises FileNotFoundError if there is none.
    """
    named = os.environ.get("VB3_BINARY")
    schemes = ["posix_prefix", "posix_user"]
    own = [sysconfig.get_path("scripts")] + [sysconfig.get_path("scripts", s) for s in schemes]
    places = [os.path.abspath(named)] if named else [*(os.path.join(dir, "vb3") for dir in own), "vb3"]
    found = next(filter(None, map(shutil.which, places)), None)
    if found is None and named:
        raise FileNotFoundError(f"VB3_BINARY={named}: {places[0]} is no executable file")
    if found is None:
        raise FileNotFoundError("there is no program vb3: install the wheel, or set VB3_BINARY")
    return os.path.abspath(found)


def run(
    program: Sequence[_Path],
    *,
    camera: Optional[_Path] = None,
    display: Optional[_Path] = None,
    devices: Sequence[str] = (),
    clock: str = "real",
    options: Sequence[_Path] = (),
    cwd: Optional[_Path] = None,
    env: Optional[Mapping[str, str]] = None,
    directory: Optional[_Path] = None,
    timeout: float = 60.0,
) -> Run:
    """Starts a program on simulated devices, and returns once the run takes orders.

    By default /dev/video0 is a camera and /dev/video1 a display. `camera` and `display` are their sources
    (docs/devices.md); `devices` replaces both. `options` are further options of `vb3 run`. Output and report
    are kept in `directory`, else in a temporary directory. An order fails after `timeout` seconds.
    """
    if devices and (camera is not None or display is not None):
        raise ValueError("name the camera and the display in `devices`")
    default = [_spec("camera", camera or "pattern"), _spec("display", display or "null")]
    words = [binary(), "run", "--leftover=kill", "--clock", clock, *(os.fspath(word) for word in options)]
    words += [f"--device={spec}" for spec in devices or default]
    return Run(words, [os.fspath(word) for word in program], cwd, env, directory, timeout)


def current(timeout: float = 60) -> Attached:
    """Returns the run inside which this program runs, as in `vb3 run -- pytest`. Raises Error outside of a run."""
    path = os.environ.get("VB3_CONTROL")
    if path is None:
        raise Error("", "this program is not inside a run: VB3_CONTROL is not set")
    attached = Attached(path, timeout)
    attached.state()
    return attached


def _spec(kind: str, value: _Path) -> str:
    # Commas in a string separate options; commas and backslashes in a Path belong to the file's name.
    text = value if isinstance(value, str) else re.sub(r"([\\,])", r"\\\1", os.fspath(value))
    return f"{kind}={text}"


class _Line:
    """A connection to a run's socket."""

    def __init__(self, path: str, timeout: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._lines = self._socket.makefile("rb")

    def ask(self, order: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Sends an order and returns its answer. After any error other than Error, the connection is unusable."""
        given = {name: value for name, value in fields.items() if value is not None}
        self._socket.sendall(json.dumps({"do": order, **given}).encode() + b"\n")
        answer = self.read()
        if not answer["ok"]:
            raise Error(answer["error"]["field"], answer["error"]["message"])
        return answer

    def read(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the run closed its socket")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class Attached:
    """A run to which this program sends orders. `run.video0` is a device by its node, `run.display0` by its kind."""

    def __init__(self, path: str, timeout: float, directory: Optional[_Path] = None) -> None:
        self._own = tempfile.TemporaryDirectory(prefix="vb3-") if directory is None else None
        self.directory = Path(self._own.name if self._own else directory or ".").absolute()
        self._path = path
        self._line: Optional[_Line] = None
        self.timeout = timeout

    def _ended(self) -> Error:
        return Ended("", "the run has ended, or closed the connection")

    def order(self, do: str, **fields: Any) -> dict[str, Any]:
        """Sends an order and returns the answer's fields. Raises Error, Ended or TimeoutError."""
        try:
            self._line = self._line or _Line(self._path, self.timeout)
            return self._line.ask(do, fields)
        except Error:
            raise
        except BaseException as error:
            # The next order must not get this one's answer.
            self._hang_up()
            if isinstance(error, TimeoutError):
                raise TimeoutError(f"no answer to {do!r} in {self.timeout} s") from None
            if isinstance(error, OSError):
                raise self._ended() from None
            raise

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def __getattr__(self, name: str) -> Device:
        found = re.fullmatch(r"([a-z][a-z0-9_]*?)([0-9]+)", name)
        if found is None:
            raise AttributeError(name)
        paths = self._names(found[1].replace("_", "-"), name)
        index = 0 if found[1] == "video" else int(found[2])
        if index >= len(paths):
            raise AttributeError(f"the run has no device {name}")
        return Device(self, paths[index])

    def _names(self, kind: str, node: str) -> list[str]:
        own = ((device["kind"], os.path.basename(device["path"])) for device in self.state()["devices"])
        return [name for its, name in own if its == kind or name == node]

    def state(self) -> dict[str, Any]:
        """Returns `time_ns`, and `devices` with `path`, `kind`, `plugged` and `frames`."""
        return self.order("state")

    def advance(self, seconds: float) -> int:
        """Advances a virtual clock by `seconds`. Returns the clock's new time in nanoseconds."""
        return int(self.order("advance", ns=round(seconds * 1e9))["time_ns"])

    def buffers(self) -> list[dict[str, Any]]:
        """Lists the buffers that fit into an answer, each with `id`, `name`, `bytes`, `place`, and `holders`, a list of texts."""
        buffers: list[dict[str, Any]] = self.order("buffers")["buffers"]
        return buffers

    def revoke(self, buffer: str) -> None:
        """Revokes a buffer by its `id` in `buffers()`. Programs then read zeroes from it."""
        self.order("revoke", buffer=buffer)

    @contextmanager
    def events(self, *events: str, device: Optional[str] = None) -> Iterator[Iterator[dict[str, Any]]]:
        """Subscribes to "frame", "open", "start" or "refusal". Use it in a `with` block, which gets an iterator.

        If no event comes within the run's `timeout`, the iterator raises TimeoutError, and cannot be used afterwards.
        When the run ends, the iterator raises Ended.
        """
        with self._ending():
            line = _Line(self._path, self.timeout)

        def read() -> Iterator[dict[str, Any]]:
            while True:
                with self._ending():
                    event = line.read()
                yield event

        try:
            with self._ending():
                line.ask("watch", {"events": list(events), "device": device})
            yield read()
        finally:
            line.close()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise
        except OSError:
            raise self._ended() from None


class Run(Attached):
    """A program on simulated devices. `close()` or the end of a `with` block ends the program."""

    def __init__(
        self,
        words: Sequence[str],
        program: Sequence[str],
        cwd: Optional[_Path],
        env: Optional[Mapping[str, str]],
        directory: Optional[_Path],
        timeout: float,
    ) -> None:
        super().__init__("", timeout, directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        ready = self.directory / "ready"
        os.mkfifo(ready)
        fifo = os.open(ready, os.O_RDONLY | os.O_NONBLOCK)
        try:
            files = ["--ready", str(ready), "--report", str(self.directory / "report.json")]
            with open(self.directory / "stdout", "wb") as out, open(self.directory / "stderr", "wb") as err:
                self.process = subprocess.Popen(
                    [*words, *files, "--", *program],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    cwd=cwd,
                    env=None if env is None else {**os.environ, **env},
                )
            self._path = self._await(fifo)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(fifo)
            ready.unlink(missing_ok=True)

    def _await(self, fifo: int) -> str:
        """Waits for the path of the run's socket."""
        pidfd = os.pidfd_open(self.process.pid)
        try:
            poll = select.poll()
            poll.register(fifo, select.POLLIN)
            poll.register(pidfd, select.POLLIN)
            if not poll.poll(self.timeout * 1000):
                raise TimeoutError(f"vb3 is not ready after {self.timeout} s")
            path = os.read(fifo, 4096)
        finally:
            os.close(pidfd)
        if not path:
            raise self._ended()
        return os.fsdecode(path.rstrip(b"\n"))

    def _ended(self) -> Error:
        try:
            status = self.process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            return Error("", "the run closed the connection")
        said = self.stderr.strip() if (self.directory / "stderr").exists() else "its output was removed"
        return Ended("", f"vb3 ended with status {status}: {said}")

    def wait(self, timeout: Optional[float] = None) -> int:
        """Waits until the program ends. Returns the exit status."""
        return self.process.wait(self.timeout if timeout is None else timeout)

    @property
    def stdout(self) -> str:
        """The program's standard output so far."""
        return (self.directory / "stdout").read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """The standard error of the program and of `vb3` so far."""
        return (self.directory / "stderr").read_text(errors="replace")

    @property
    def report(self) -> dict[str, Any]:
        """The report of a run that has ended."""
        report: dict[str, Any] = json.loads((self.directory / "report.json").read_text())
        return report

    def why(self) -> str:
        """Explains what went wrong in a run that has ended, as `vb3 why` does."""
        words = [binary(), "why", str(self.directory / "report.json")]
        return subprocess.run(words, capture_output=True, text=True, timeout=self.timeout).stdout

    def end(self) -> None:
        """Ends the program and all processes of the run. Keeps output and report."""
        self._hang_up()
        # The first signal is passed to the programs; the second kills them.
        for stop in (self.process.terminate, self.process.terminate, self.process.kill):
            if self.process.poll() is not None:
                return
            stop()
            try:
                self.process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                continue

    def close(self) -> None:
        """Ends the run, and removes a temporary directory."""
        if hasattr(self, "process"):
            self.end()
        if self._own is not None:
            self._own.cleanup()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Device:
    """A device of a run. `name` is the name of its node, such as "video0"."""

    run: Attached
    name: str

    def order(self, do: str, **fields: Any) -> dict[str, Any]:
        """Sends an order for this device."""
        return self.run.order(do, device=self.name, **fields)

    def plug(self) -> None:
        """Plugs the device in."""
        self.order("plug")

    def unplug(self, revoke: bool = False) -> None:
        """Unplugs the device; with `revoke`, also revokes its exported buffers."""
        self.order("unplug", revoke=revoke)

    def play(self, source: _Path, sequence: Optional[int] = None) -> None:
        """Plays a file or "pattern" from frame `sequence` of the stream on, or as soon as possible."""
        path = source if source == "pattern" else os.path.abspath(source)
        self.order("play", source=path, sequence=sequence)

    def pause(self) -> None:
        """Freezes the picture; frames still arrive."""
        self.order("pause")

    def resume(self) -> None:
        """Ends a pause."""
        self.order("resume")

    def reset(self) -> None:
        """Resets a camera: plugs it in, restores its first source, signal and controls, and ends failing calls."""
        self.order("reset")

    def signal(self, signal: str) -> None:
        """Changes the signal: "lost", "back", or an HDMI mode such as "1280x720p60"."""
        self.order("signal", signal=signal)

    def fail(self, call: str, errno: str, times: int = 1) -> None:
        """Makes the next `times` calls of an ioctl fail, such as `fail("QBUF", "EIO")`."""
        self.order("fail", call=call, errno=errno, times=times)

    def set(self, control: str, value: int) -> int:
        """Sets a control. Returns the value that the device has set: the allowed value nearest to `value`."""
        return int(self.order("set", control=control, value=value)["value"])

    def wait(self, frame: int) -> int:
        """Waits until frame number `frame` of the run, counted from 0, is finished. Returns how many are finished."""
        return int(self.order("wait", frame=frame)["frames"])

    @property
    def frames(self) -> int:
        """Number of frames that the device has finished."""
        own = (each for each in self.run.state()["devices"] if os.path.basename(each["path"]) == self.name)
        return int(next(own)["frames"])

    def push(self, frame: bytes, time: Optional[float] = None) -> int:
        """Passes a frame to the readers of a loopback, and waits until each of them has got it.

        `frame` has the bytes of one picture in the loopback's format. `time` is the frame's timestamp, in seconds
        since the run began. It needs a virtual clock, which advances to it. Returns the clock's time in nanoseconds.
        """
        path = self.run.directory / f"{self.name}.frame"
        path.write_bytes(frame)
        after = None if time is None else round(time * 1e9)
        return int(self.order("push", path=str(path), after_ns=after)["time_ns"])

    def shown(self, format: Optional[str] = None) -> Shown:
        """Returns the display's last picture, with its bytes if `format` is "png" or "raw"."""
        path = None if format is None else self.run.directory / f"shown.{format}"
        answer = self.order("shown", path=None if path is None else str(path), format=format)
        facts = {name: answer[name] for name in ("sequence", "width", "height", "format", "checksum")}
        return Shown(**facts, data=None if path is None else path.read_bytes())

    def shows(
        self, is_wanted: Callable[[Shown], bool], format: Optional[str] = None, frames: int = 300
    ) -> Shown:
        """Waits for a wanted picture among the display's next `frames`. Raises LookupError if none came."""
        first = seen = self.frames
        while seen < first + frames:
            seen = self.wait(seen)
            shown = self.shown(format)
            if is_wanted(shown):
                return shown
        raise LookupError(f"{self.name} did not show the picture in {frames} frames")
