"""The fixture `vb3_run`. A failing test's report has the output and explanations of its runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Generator, Iterator

import pytest

import vb3

_RUNS: pytest.StashKey[list[vb3.Run]] = pytest.StashKey()


@pytest.fixture
def vb3_run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., vb3.Run]]:
    """Starts runs as `vb3.run` does, and ends them with the test."""
    runs: list[vb3.Run] = []
    request.node.stash[_RUNS] = runs

    def start(*words: Any, **options: Any) -> vb3.Run:
        options.setdefault("directory", tmp_path / f"vb3-{len(runs)}")
        runs.append(vb3.run(*words, **options))
        return runs[-1]

    yield start
    for run in runs:
        run.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Adds output and explanations of a failed test's runs to the test's report."""
    outcome = yield
    report = outcome.get_result()
    if report.when != "call" or not report.failed:
        return
    runs = item.stash[_RUNS] if _RUNS in item.stash else []
    for number, run in enumerate(runs):
        run.end()
        for name, text in (
            ("why", run.why),
            ("report", lambda: str(run.directory / "report.json")),
            ("stdout", lambda: run.stdout),
            ("stderr", lambda: run.stderr),
        ):
            try:
                section = text()
            except Exception as error:
                section = f"{type(error).__name__}: {error}"
            report.sections.append((f"vb3 run {number}: {name}", section))
