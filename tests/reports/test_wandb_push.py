"""`glorabench push` with W&B itself, offline: what stands in its files, once each; and what happens without network."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from wandb.proto import wandb_internal_pb2

from glorabench import cli
from glorabench.analysis.cells import Group
from glorabench.records import record
from glorabench.records.record import Record
from glorabench.reports import wandb_push, wandb_runs
from glorabench.reports.tables import long
from test_long_table import made

COLUMNS = (
    *("task", "method", "top-1 %", "95 % interval", "n", "verdict", "params", "head", "stored kB", "step ms"),
    *("latency", "merge"),
)

HISTORY = [{"epoch": e, "step": 10 * e, "lr": 1e-3, "train_loss": 2.0 / e, "val_top1": 0.2 * e} for e in (1, 2, 3)]


def whole(method: str = "lora", seed: int = 0, **values: Any) -> Record:
    return replace(made(method, seed=seed, **values), history=HISTORY)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for r in (whole(), whole(seed=1), made("full", status="failed")):
        record.write_record(r, record.path_of(tmp_path, r.config))
    return tmp_path


def messages(path: Path) -> Iterator[Any]:
    """What W&B keeps of a run: 7 bytes of its own, then records in blocks of 32 KiB, as LevelDB writes its log."""
    data, place, text = path.read_bytes(), 7, b""
    while place < len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        text += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            found = wandb_internal_pb2.Record()
            found.ParseFromString(text)
            yield found
            text = b""


def items(entries: Any) -> dict[str, Any]:
    """Values by name, those of nested ones joined by slashes."""
    return {"/".join(e.nested_key) or e.key: json.loads(e.value_json) for e in entries}


def read(path: Path) -> dict[str, Any]:
    """A run of W&B as its file has it: the run, its config, history, summary and exit code."""
    told: dict[str, Any] = {"history": [], "summary": {}, "config": {}}
    for one in messages(path):
        kind = one.WhichOneof("record_type")
        if kind == "run":
            told["run"] = one.run
            told["config"] |= items(one.run.config.update)
        elif kind == "history":
            told["history"].append((one.history.step.num, items(one.history.item)))
        elif kind == "summary":
            told["summary"] |= items(one.summary.update)
        elif kind == "exit":
            told["exit"] = one.exit.exit_code
    return told


def runs(results: Path, project: str = "glorabench") -> dict[str, Path]:
    """The file of each run of W&B, by id."""
    found = sorted((results / "wandb" / "pushed" / project / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len({path.stem for path in found}) == len(found)  # no run twice
    return {path.stem.removeprefix("run-"): path for path in found}


def whole_files(folder: Path) -> dict[Path, int]:
    """When each file was last written, but W&B's logs, which its own process may still write to."""
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and p.suffix != ".log"}


def test_offline_runs_say_what_the_records_say_once_each(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["push", "--results", str(results)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"1/4  full-digits-s0  {made('full').run_id}"
    assert out[-1].startswith("4 of 4 runs pushed to glorabench (offline, in ")
    first, failed = whole(), made("full", status="failed")
    found = runs(results)
    assert set(found) == {first.run_id, whole(seed=1).run_id, failed.run_id, wandb_runs.replay_of_table([first]).id}

    told = read(found[first.run_id])
    assert (told["run"].display_name, told["run"].job_type) == ("lora-digits-s0", "lora")
    assert told["run"].run_group == "mini-vit_mini-trainval-test-last_epoch-p1"
    assert told["config"]["train"] == {"lr": 1e-3}
    assert told["config"]["record"]["selection"] == first.selection
    curves = [{k: v for k, v in entry.items() if not k.startswith("_")} for _, entry in told["history"]]
    assert [step for step, _ in told["history"]] == [1, 2, 3]
    assert curves == HISTORY
    summary = told["summary"]
    assert (summary["top1"], summary["n"]) == (first.metrics["top1"], first.metrics["n"])
    assert (summary["params/method"], summary["cost/step_ms"]) == (first.params["method"], first.cost["step_ms"])
    assert summary["cost/latency_ms/batch_64/merged/median"] == 2.0
    assert summary["merge/max_abs_diff"] == 3e-7
    assert told["exit"] == 0

    broken = read(found[failed.run_id])
    assert broken["exit"] == 1
    assert broken["config"]["record"]["error"] == failed.error
    assert "failed" in broken["run"].tags

    (sheet,) = found[wandb_runs.replay_of_table([first]).id].parent.glob("files/media/table/table*.json")
    shown = json.loads(sheet.read_text())
    assert shown["columns"] == [*COLUMNS]
    records = record.read_all([results / "runs"])
    assert shown["data"] == [
        list(row) for row in long.long_rows(Group(sorted(records, key=lambda r: r.names["method"])))
    ]

    before = whole_files(results)
    assert cli.main(["push", "--results", str(results)]) == 0
    assert "0 of 4 runs pushed" in capsys.readouterr().out
    assert whole_files(results) == before


def test_an_interrupted_push_goes_on_and_leaves_nothing_twice(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    send, sent = wandb_push.send_run, []

    def stopped(one: wandb_runs.Replay, *args: Any) -> None:
        send(one, *args)  # done, but not yet noted
        sent.append(one.id)
        if len(sent) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(wandb_push, "send_run", stopped)
    assert cli.main(["push", "--results", str(results)]) == 130
    assert set(runs(results)) == set(sent)
    assert set(json.loads((results / "wandb" / "pushed.json").read_text())["offline glorabench"]) == {sent[0]}
    monkeypatch.setattr(wandb_push, "send_run", send)
    capsys.readouterr()
    assert cli.main(["push", "--results", str(results)]) == 0
    assert "3 of 4 runs pushed" in capsys.readouterr().out
    assert len(runs(results)) == 4


def test_only_what_is_new_or_has_changed_is_pushed(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["push", "--results", str(results)]) == 0
    mended = made("full")
    record.write_record(mended, record.path_of(results, mended.config))
    capsys.readouterr()
    assert cli.main(["push", "mini", "--results", str(results)]) == 0
    assert "2 of 4 runs pushed" in capsys.readouterr().out  # the run that had failed, and the table
    assert read(runs(results)[mended.run_id])["exit"] == 0
    assert cli.main(["push", "--results", str(results), "--project", "other", "--entity", "team"]) == 0
    assert "4 of 4 runs pushed to team/other" in capsys.readouterr().out
    assert len(runs(results, "team/other")) == 4
    assert cli.main(["push", "--results", str(results), "--again"]) == 0
    assert "4 of 4" in capsys.readouterr().out
    assert len(runs(results)) == 4


class _Answer(BaseHTTPRequestHandler):
    """A server that is there, and knows nothing."""

    def do_GET(self) -> None:
        self.send_error(404)

    do_POST = do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    made = HTTPServer(("127.0.0.1", 0), _Answer)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()


def online(results: Path, home: Path, url: str, **more: str) -> subprocess.CompletedProcess[str]:
    """`push --mode online` in a process of its own, as W&B reads its settings once, and without anybody's login."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_") and "proxy" not in k.lower()}
    temporary = home / "tmp"
    temporary.mkdir(parents=True)
    words = [sys.executable, "-m", "glorabench.cli", "push", "--results", str(results), "--mode", "online"]
    env = {**kept, "HOME": str(home), "TMPDIR": str(temporary), "WANDB_BASE_URL": url, **more}
    return subprocess.run(words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100)


def test_without_network_one_line_says_what_to_do_and_nothing_is_changed(
    results: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, before = tmp_path_factory.mktemp("home"), sorted(results.rglob("*"))
    started = time.perf_counter()
    done = online(results, home, "http://127.0.0.1:9", WANDB_API_KEY="a" * 40)
    assert time.perf_counter() - started < 40  # W&B alone takes 100 seconds
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("glorabench: W&B cannot be reached at http://127.0.0.1:9")
    assert "wandb login" in line
    assert "--mode offline" in line
    assert sorted(results.rglob("*")) == before


def test_without_a_key_one_line_says_how_to_log_in(
    results: Path, server: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, before = tmp_path_factory.mktemp("home"), sorted(results.rglob("*"))
    done = online(results, home, server)
    assert done.returncode == 2, done.stderr
    assert "No API key" in done.stderr
    assert "`wandb login`" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(results.rglob("*")) == before
    assert not list((home / "tmp").glob("glorabench*"))


def test_a_damaged_ledger_is_bad_input(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = results / "wandb" / "pushed.json"
    ledger.parent.mkdir()
    for text in ("{", "[]", '{"offline glorabench": []}'):
        ledger.write_text(text)
        assert cli.main(["push", "--results", str(results)]) == 2
        assert "pushed.json is damaged" in capsys.readouterr().err


def test_a_searched_run_has_a_curve_for_each_stage_and_its_search_as_tables() -> None:
    found = {
        "evaluated": 20, "score": 0.7, "n": 100, "held_out": None, "n_held_out": 0, "params": 900, "first": 0.5,
        "best": [[1, 0.5], [9, 0.7]], "front": [{"params": 900, "score": 0.7, "genome": [1]}],
    }  # fmt: skip
    history = [{"stage": s, "epoch": e, "train_loss": 1.0} for s in ("supernet", "retrain") for e in (1, 2)]
    told = wandb_runs.replay_of_record(
        replace(made("glora", search="evolution", on="test", found=found), history=history)
    )
    assert [step for step, _ in told.curves] == [1, 2, 3, 4]
    assert told.curves[2][1] == {"retrain/epoch": 1, "retrain/train_loss": 1.0}
    assert told.job_type == "glora + evolution"
    assert "contaminated" in told.tags
    assert told.summary["search/score"] == 0.7
    assert "search/held_out" not in told.summary
    assert told.tables()["search/best"].rows == [[1, 0.5], [9, 0.7]]
    assert told.tables()["search/front"].rows == [[900, 0.7]]


def test_runs_that_do_not_compare_are_of_other_groups_and_tables() -> None:
    told = wandb_runs.replays([made(), made("ssf"), made(fit_on="train")])
    tables = [one for one in told if one.job_type == "table"]
    assert len({one.group for one in tables}) == len({one.id for one in tables}) == 2
    assert [one.group for one in told].count(told[0].group) == 3
    assert len({one.digest for one in told}) == len(told)


def test_records_that_differ_in_data_have_no_table_and_it_is_said() -> None:
    records = [replace(made(m), provenance={"data": {"fingerprint": m}}) for m in ("lora", "ssf")]
    told = wandb_runs.replays(records)
    assert [one.job_type for one in told] == ["lora", "ssf", "table"]
    assert "differ in data" in told[-1].tables()["refused"].rows[0][0]
