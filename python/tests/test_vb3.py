"""The module and its pytest plugin."""

import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest
import vb3

pytest_plugins = ["pytester"]


def test_refusals_name_the_field():
    with vb3.run(["sleep", "infinity"]) as run:
        with pytest.raises(vb3.Error, match="only a virtual clock") as refused:
            run.advance(1)
        assert refused.value.field == "do"
        with pytest.raises(vb3.Error) as refused:
            run.video0.set("shine", 1)
        assert refused.value.field == "control"
        with pytest.raises(AttributeError, match="camera1"):
            run.camera1.unplug()
        assert run.camera0 == run.video0 and run.display0 == run.video1
        process = run.process
    assert process.returncode is not None


def test_an_order_that_times_out_does_not_end_the_others():
    with vb3.run(["sleep", "infinity"], timeout=2) as run:
        with pytest.raises(TimeoutError, match="wait"):
            run.video0.wait(1)
        assert run.video0.frames == 0


def test_an_interrupted_order_leaves_no_old_answer():
    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with vb3.run(["sleep", "infinity"], timeout=2) as run:
            camera = run.video0
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                camera.wait(10**6)
            assert run.state()["devices"]
    finally:
        signal.signal(signal.SIGALRM, before)


def test_half_an_answer_is_a_closed_connection():
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("")
        server.listen()
        line = vb3._Line(server.getsockname(), 2)
        peer = server.accept()[0]
        peer.sendall(b'{"ok": tr')
        peer.close()
        with pytest.raises(ConnectionResetError):
            line.read()
        line.close()


def test_a_wrong_vb3_binary_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "vb3").symlink_to(vb3.binary())
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for wrong in [tmp_path, tmp_path / "missing"]:
        monkeypatch.setenv("VB3_BINARY", str(wrong))
        with pytest.raises(FileNotFoundError, match="VB3_BINARY="):
            vb3.binary()


def test_a_relative_vb3_binary_works_in_another_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "vb3").symlink_to(vb3.binary())
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VB3_BINARY", "./vb3")
    with vb3.run(["true"], cwd=tmp_path / "other") as run:
        assert run.wait() == 0


def test_an_order_after_close_raises_ended():
    with vb3.run(["sleep", "infinity"]) as run:
        pass
    with pytest.raises(vb3.Ended):
        run.state()


def test_a_path_reaches_the_run_unchanged():
    for name in ["a,b", "a\\b", "a\\,b", "a\\\\b", "a,\\"]:
        with pytest.raises(vb3.Ended, match=re.escape(f"cannot read /no/such/{name}:")):
            vb3.run(["true"], camera=Path("/no/such", name))


def test_a_run_that_cannot_start_says_why():
    with pytest.raises(vb3.Ended, match="status 125.*/no/such/clip"):
        vb3.run(["true"], camera=Path("/no/such/clip,1.mp4"))
    with vb3.run(["true"]) as run:
        assert run.wait() == 0 and run.report["exit_status"] == 0
        with pytest.raises((vb3.Ended, vb3.Error)):
            run.state()


def test_a_failing_test_has_the_runs_report(pytester: pytest.Pytester):
    pytester.makepyfile(
        """
        def test_it(vb3_run):
            run = vb3_run(["sh", "-c", "echo said >&2"])
            run.wait()
            run.video0.unplug()
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Ended: vb3 ended with status 0*", "*run 0: why*", "*report.json", "*stderr*", "said"])


def test_a_run_without_output_does_not_stop_pytest(pytester: pytest.Pytester):
    pytester.makepyfile(
        """
        import shutil

        def test_removed(vb3_run, tmp_path):
            vb3_run(["sleep", "infinity"])
            shutil.rmtree(tmp_path)
            assert False

        def test_slow(vb3_run):
            vb3_run(["true"]).timeout = 0
            assert False

        def test_closed(vb3_run):
            vb3_run(["true"], directory=None).close()
            assert False
        """
    )
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(["FileNotFoundError: *stdout'", "TimeoutExpired: *", "FileNotFoundError: *stdout'"])


def test_a_program_attaches_to_the_run_around_it(monkeypatch):
    monkeypatch.delenv("VB3_CONTROL", raising=False)
    with pytest.raises(vb3.Error, match="not inside a run"):
        vb3.current()
    program = "import vb3; run = vb3.current(); run.video0.unplug(); raise SystemExit(run.state()['devices'][0]['plugged'])"
    with vb3.run([sys.executable, "-c", program], env={"PYTHONPATH": os.pathsep.join(sys.path)}) as run:
        assert run.wait() == 0, run.stderr


def test_reset_plugs_a_camera_in():
    with vb3.run(["sleep", "infinity"]) as run:
        camera = run.video0
        assert camera.set("brightness", 7) == 7
        camera.signal("lost")
        camera.pause()
        camera.fail("STREAMON", "EIO", 5)
        camera.unplug()
        camera.reset()
        assert run.state()["devices"][0]["plugged"]
        with pytest.raises(vb3.Error, match="no camera"):
            run.display0.reset()
