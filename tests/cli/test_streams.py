"""Standard output that is left, closed or full: no traceback from any command, and a run is recorded all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from glorabench.cli import main, streams
from glorabench.records import record

ROOT = Path(__file__).parents[2]
GLORABENCH = f"{sys.executable} -m glorabench.cli"
TABLE = "table mini --results results/quickstart"
HOWS = ["| head -1", ">&-", ">&- 2>&-", "> /dev/full"]


def shell(command: str) -> subprocess.CompletedProcess[str]:
    bash = ["bash", "-o", "pipefail", "-c", command]
    return subprocess.run(bash, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize(("command", "how"), [*(("--help", how) for how in HOWS), *((TABLE, how) for how in HOWS)])
def test_a_command_ends_quietly(command, how):
    done = shell(f"{GLORABENCH} {command} {how}")
    assert done.returncode == 0
    full = "warning: standard output cannot be written (No space left on device)\n"
    assert done.stderr == (full if "full" in how else "")
    assert len(done.stdout.splitlines()) == (how == "| head -1")


def test_a_run_goes_on_without_its_reader(results, cache, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        words = ["method=linear", "logger=none", "progress=lines", "train.epochs=5", "latency_rounds=0"]
        assert main(["run", *words, f"results_dir={results}"]) == 0
    assert capsys.readouterr().err == ""
    assert [r.status for r in record.read_all([results / "runs"])] == ["done"]


def test_what_only_prints_ends_when_its_reader_leaves(monkeypatch):
    """Before it prints again: the next table may take minutes."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with streams.tolerate_broken_streams():
            streams.end_with_reader()
            print("first", flush=True)
            streams.raise_if_reader_left()
            os.close(reader)
            with pytest.raises(streams.ReaderLeft):
                streams.raise_if_reader_left()
            with pytest.raises(streams.ReaderLeft):
                print("second", flush=True)
            print("third", flush=True)
        assert sys.stdout is stream


def test_a_closed_descriptor_is_given_to_no_file(tmp_path):
    """Or what is printed would go into a checkpoint."""
    code = (
        "import os, sys\nfrom glorabench.cli import streams\nwith streams.tolerate_broken_streams():\n"
        f"    file = open({str(tmp_path / 'file')!r}, 'w'); os.write(1, b'printed'); print('printed', flush=True)\n"
    )
    done = shell(f'{sys.executable} -c "{code}" >&-')
    assert (done.returncode, (tmp_path / "file").read_text()) == (0, "")


@pytest.mark.parametrize("words", [["doctor"], ["table", "vtab1k", "--results", "nowhere", "--brief"]])
def test_an_encoding_that_lacks_characters_gets_plain_ones(words: list[str]) -> None:
    line = [sys.executable, "-m", "glorabench.cli", *words]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(line, env=environment, capture_output=True)
    assert b"Traceback" not in done.stderr
    assert done.returncode in (0, 2)
    assert done.stdout.isascii()
