"""Tables on a terminal: they fit its width, no word is cut, the sentence comes first, notes only on request."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from itertools import pairwise
from pathlib import Path

import pytest

from glorabench import cli
from glorabench.reports.terminal import fitting_columns, wrap_words

ROOT = Path(__file__).parents[2]
QUICK = ["table", "mini", "--results", str(ROOT / "results" / "quickstart")]
HEAD = ("task", "method", "top-1 %", "n", "verdict", "params", "latency")
BODY = [("a task", "a method of words", "98.00", "3", "not separated", "1,000", "1.00")]


def on_terminal(words: list[str], columns: int, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit code and output of a command on a terminal of so many columns."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    plain = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR", "TERM")}
    process = subprocess.Popen(
        [sys.executable, "-m", "glorabench.cli", *words],
        stdout=follower,
        stderr=follower,
        cwd=ROOT,
        env={**plain, "TERM": "xterm-256color", **(environment or {})},
    )
    os.close(follower)
    parts = []
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    os.close(leader)
    return process.wait(), b"".join(parts).decode("utf-8", "replace").replace("\r\n", "\n")


def test_columns_are_left_out_from_the_right_and_the_verdict_last() -> None:
    assert fitting_columns(HEAD, BODY, 120) == [0, 1, 2, 3, 4, 5, 6]
    kept = [[HEAD[i] for i in fitting_columns(HEAD, BODY, width)] for width in (54, 42, 30, 12)]
    for more, fewer in pairwise(kept):
        assert set(fewer) <= set(more)
    assert "latency" not in kept[0]
    assert kept[1] == ["task", "method", "top-1 %", "n", "verdict"]
    assert kept[2] == ["task", "method", "top-1 %"]
    assert kept[-1] == ["task", "method"]


def test_a_name_breaks_between_words_and_after_commas_and_never_inside_a_word() -> None:
    name = "lora (alpha=3, targets=[q,k,v,fc1,fc2])"
    lines = wrap_words(name, 14)
    assert "".join(lines).replace(" ", "") == name.replace(" ", "")
    assert all(len(line) <= 14 or " " not in line for line in lines)
    assert wrap_words("averylongword", 5) == ["averylongword"]
    assert wrap_words("short", 14) == ["short"]


@pytest.mark.parametrize("columns", [40, 80])
def test_a_table_fits_the_terminal_and_begins_with_the_answer(columns: int) -> None:
    code, out = on_terminal([*QUICK, "--long"], columns, {"NO_COLOR": "1"})
    assert code == 0
    assert "\x1b[3" not in out.replace("\x1b[3m", "")  # no colours; italics are no colour
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out)
    table = plain[plain.index("method") :].split("What the signs mean")[0]
    rows = [line for line in table.splitlines() if not line.startswith("too wide")]
    assert max(map(len, rows)) <= columns
    assert plain.index("GLoRA (random path) is") < plain.index("method  ")
    assert "random" in table
    assert "dsprites_loc" in table  # the longest word, whole
    assert "top-1 in percent" not in plain
    if columns == 40:
        assert "too wide for this terminal: " in plain


def test_best_and_ties_have_colours_on_a_terminal_and_none_without(tmp_path: Path) -> None:
    assert "\x1b[1;32m" in on_terminal(QUICK, 100)[1]
    for environment in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        code, out = on_terminal(QUICK, 100, environment)
        assert code == 0
        assert "\x1b[1;32m" not in out
        assert "Traceback" not in out


def test_a_terminal_in_ascii_gets_ascii() -> None:
    code, out = on_terminal([*QUICK, "--notes"], 40, {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "TERM": "dumb"})
    assert code == 0
    assert "Traceback" not in out
    assert out.isascii()


def test_notes_and_comparisons_come_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(QUICK) == 0
    brief = capsys.readouterr().out
    assert cli.main([*QUICK, "--notes"]) == 0
    whole = capsys.readouterr().out
    assert "--notes" in brief
    assert "dsprites_loc: best is" not in brief
    assert "dsprites_loc: best is" in whole
    assert "docs/tables.md" in whole


def test_rows_and_columns_are_chosen_sorted_and_renamed(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--sort", "params", "--columns", "method,task,params", "--rename", "GLoRA, random path=Ours", "--format"]
    assert cli.main([*QUICK, *words, "md"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| method | task | params |"
    names = [line.split("|")[1].strip() for line in lines[2:8]]
    assert names == ["Ours", "Ours", "LoRA", "LoRA", "linear probe", "linear probe"]
    assert cli.main([*QUICK, "--sort", "+params", "--format", "md"]) == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("| digits | linear probe")
    for bad, said in (
        (["--sort", "parms"], "--sort 'parms': no such column"),
        (["--columns", "method,x"], "--columns 'x': no such column"),
        (["--rename", "x"], "give OLD=NEW"),
        (["--rename", "glor=x"], "--rename 'glor': no column or method"),
    ):
        assert cli.main([*QUICK, *bad]) == 2
        assert said in capsys.readouterr().err
