"""Nothing is lost by a kill: each command, killed anywhere and typed again, leaves what an undisturbed one leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kills import SCENARIOS

SHORT = {"run": 1, "text": 1, "into": 3, "fake": 2}
LONG = {
    "run": 25, "sweep": 15, "search": 25, "retrain": 10, "text": 10, "text search": 10, "cache": 10, "fake": 12,
    "export": 12, "push": 6, "into": 15, "report": 8,
}  # fmt: skip


def kill(folder: Path, kills: dict[str, int]) -> list[dict]:
    """The reports of some scenarios, in one process that imports everything once."""
    script = Path(__file__).parent / "kills.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
    words = [sys.executable, str(script), str(folder), *(f"{scenario}={count}" for scenario, count in kills.items())]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()[-len(kills) :]]


@pytest.mark.campaign
def test_a_killed_command_typed_again_leaves_what_an_undisturbed_one_leaves(tmp_path: Path) -> None:
    reports = kill(tmp_path, SHORT)
    assert [report["scenario"] for report in reports] == list(SHORT)
    for report in reports:
        assert report["wrong"] == []
        assert report["kills"] >= 1


@pytest.mark.campaign
def test_campaign_of_kills(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert LONG.keys() == SCENARIOS.keys()
    reports = kill(tmp_path, LONG)
    wrong = [line for report in reports for line in report["wrong"]]
    with capsys.disabled():
        for report in reports:
            print(
                f"\n{report['scenario']}: {report['kills']} kills, {report['operations']} operations on files", end=""
            )
        print(f"\n{sum(report['kills'] for report in reports)} kills: {len(wrong)} lost or different")
    assert not wrong, "\n".join(wrong)
    assert sum(report["kills"] for report in reports) >= 100
