"""Records from somebody else: whatever stands in them, a reader loads, runs, writes and fetches nothing because of it.

`cases` makes records that are damaged, and records that are whole (their id is the hash of their config, as an attacker
would see to) and ask for something. Every reader gets each of them. The short form takes a sample, `make test-all` all.
"""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from glorabench.cli import main
from glorabench.records import record

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "results" / "runs" / "mini"
FORMATS = ("merged", "adapter", "peft")
Change = Callable[[dict[str, Any]], None]

TARGETS = (
    "os.system", "subprocess.run", "builtins.eval", "builtins.dict", "torch.load", "numpy.load", "joblib.load",
    "pathlib.Path.write_text", "shutil.copyfile", "urllib.request.urlretrieve", "torch.utils.collect_env.run",
    "evil_module.run", "antigravity.geohash", "glorabench.cli.main", "glorabench.files.write_text",
    "glorabench.methods.base.math.exp", "hydra.utils.instantiate", "timm.create_model", "glorabench.methods.none.None",
    "glorabench.methods.base.Method", "", "x", 3, None, ["os.system"], {"_target_": "os.system"},
)  # fmt: skip
PLACES = ("method", "backbone", "data", "search.algorithm")
JUNK: tuple[Any, ...] = (
    None, {}, [], "text", "", -1, True, float("nan"), float("inf"), 10**30, "\x1b[31mred", [[1]], {"a": {"b": None}},
    "../../../../x", "a\nb", "<script>alert(1)</script>", "a|b", "<!-- /table:mini -->",
)  # fmt: skip


def parent_of(data: dict[str, Any], path: str) -> tuple[Any, str]:
    *way, last = path.split(".")
    node: Any = data
    for part in way:
        node = node.setdefault(part, {}) if isinstance(node, dict) else node[int(part)]
    return node, last


def put(path: str, value: Any) -> Change:
    def change(data: dict[str, Any]) -> None:
        node, last = parent_of(data, path)
        if isinstance(node, list):
            node[int(last)] = value
        else:
            node[last] = value

    return change


def remove(path: str) -> Change:
    def change(data: dict[str, Any]) -> None:
        node, last = parent_of(data, path)
        node.pop(last)

    return change


def attacks() -> Iterator[tuple[str, Change]]:
    """Whole records that ask for something."""
    for place in PLACES:
        for target in TARGETS:
            yield f"{place} -> {target!r}", put(f"config.{place}._target_", target)
        for word in ("_partial_", "_args_", "_convert_", "_recursive_", "_target__"):
            yield f"{place}.{word}", put(f"config.{place}.{word}", ["echo"])
        yield f"{place} is no mapping", put(f"config.{place}", "os.system")
    nested = {"_target_": "evil_module.run"}
    for key in ("method.targets", "method.rank", "backbone.preprocess", "backbone.model_args", "train.lr", "data.task"):
        yield f"nested in {key}", put(f"config.{key}", nested)
        yield f"listed in {key}", put(f"config.{key}", [nested])
        yield f"interpolated in {key}", put(f"config.{key}", "${oc.env:HOME}")
    for model in ("hf-hub:somebody/model", "local-dir:/tmp/x", "hf_hub:a/b", "../x", "vit_mini/../x"):
        yield f"model {model}", put("config.backbone.model", model)
    for source in ("hub", "../x.pth", "x.pth", "/etc/passwd", "hf-hub:a/b", "/dev/zero", ""):
        yield f"weights {source}", put("config.backbone.weights_from", source)
    for key in ("pretrained", "checkpoint_path", "pretrained_cfg_overlay", "cache_dir", "features_only", "depth"):
        yield f"model_args {key}", put("config.backbone.model_args", {key: "/etc/passwd"})
    for path in ("../../../../x", "/tmp/x", "a/b", "a\nb", "", "\x1b[2J", "<script>", "a|b", "x" * 5000, 3, None):
        for key in ("names.method", "names.task", "names.data", "names.backbone", "backbone.name"):
            yield f"{key} is {path!r:.30}", put(f"config.{key}", path)
    for key, value in (("results_dir", "/tmp/x"), ("cache_dir", "/tmp/x"), ("logger", {"mode": "online"})):
        yield key, put(f"config.{key}", value)
    yield "data.root", put("config.data.root", "/etc")
    yield "data.cache_dir", put("config.data.cache_dir", "/etc")
    args = {"r": 8, "megatron_config": {"a": 1}, "megatron_core": "evil_module"}
    peft = {"_target_": "glorabench.methods.peft.Peft", "targets": ["qkv"], "config": "LoraConfig", "args": args}
    yield "peft imports", put("config.method", peft)
    yield "a rank without end", put("config.method.rank", 10**12)
    yield "a search that is null", put("config.search", None)
    yield "a search without a winner", put("config.search", {})
    yield "a path without end", put("paths", [{"A": "none"}] * 10_000)


def leaves(node: Any, prefix: str = "") -> Iterator[str]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        path = f"{prefix}.{key}" if prefix else str(key)
        yield path
        yield from leaves(value, path)


def damages(data: dict[str, Any], count: int) -> Iterator[tuple[str, Change]]:
    """Values of the wrong kind, and values that are missing, at `count` random places, the same every time."""
    draw = random.Random(0)
    places = [*leaves(data)]
    short = [place for place in places if not place.startswith(("history.", "paths.", "search.front", "search.best"))]
    for _ in range(count):
        place = draw.choice(short if draw.random() < 0.9 else places)
        if draw.random() < 0.15 and not place.rpartition(".")[2].isdigit():
            yield f"without {place}", remove(place)
        else:
            value = draw.choice(JUNK)
            yield f"{place} is {value!r:.30}", put(place, value)


def texts() -> Iterator[tuple[str, Callable[[Path], object]]]:
    """Files that are no JSON of a record at all."""
    for name, text in (
        ("empty", ""), ("null", "null"), ("list", "[]"), ("number", "3"), ("half", '{"run_id": "'), ("words", "hello"),
        ("deep", "[" * 100_000), ("deep mapping", '{"a":' * 100_000), ("huge number", '{"run_id": ' + "9" * 5000 + "}"),
        ("two", "{}{}"), ("mark", "\ufeff{}"), ("infinite", '{"status": 1e999}'),
    ):  # fmt: skip
        yield name, lambda path, text=text: path.write_text(text, encoding="utf-8")
    yield "binary", lambda path: path.write_bytes(bytes(range(256)))
    yield "pipe", lambda path: os.mkfifo(path)
    yield "endless", lambda path: path.symlink_to("/dev/zero")
    yield "loop", lambda path: path.symlink_to(path)
    yield "nowhere", lambda path: path.symlink_to("/nonexistent")
    yield "folder", lambda path: path.mkdir()


EVENTS: list[tuple[str, str]] = []
WATCHED: list[str] = []  # the folders that may be written, while somebody watches


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if not WATCHED:
        return
    if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pickle.find_class"):
        EVENTS.append((event, str(arguments[0])))
    elif event in ("socket.connect", "socket.getaddrinfo", "urllib.Request"):
        EVENTS.append((event, str(arguments)))
    elif event == "import" and str(arguments[0]).partition(".")[0] in ("evil_module", "antigravity"):
        EVENTS.append((event, str(arguments[0])))
    elif event == "open" and isinstance(arguments[0], str | bytes):
        path, mode = os.fsdecode(arguments[0]), str(arguments[1] or "")
        writes = set(mode) & set("wax+") or (not mode and int(arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR))
        if writes and not os.path.realpath(path).startswith((*WATCHED, "/dev/null")):
            EVENTS.append((event, path))


sys.addaudithook(_listen)


@contextmanager
def watched(*folders: Path) -> Iterator[list[tuple[str, str]]]:
    """What the block did that no reader of a record may do, beside writing into the folders that the user named."""
    EVENTS.clear()
    WATCHED.extend(str(folder.resolve()) for folder in folders)
    try:
        yield EVENTS
    finally:
        WATCHED.clear()


class Reader:
    """A results folder with sound records and one of somebody else, and every command that reads it."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache, self.page = folder, cache, folder / "page.md"
        self.sound = json.loads(next(SOURCE.glob("lora-vit_mini-digits-s0-*.json")).read_text())
        self.searched = json.loads(
            next(p for p in SOURCE.glob("glora-vit_mini-digits-s0-*.json") if _searched(p)).read_text()
        )
        for path in (p for s in (0, 1) for p in SOURCE.glob(f"l*-vit_mini-digits-s{s}-*.json")):
            (folder / "runs" / "mini").mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / "runs" / "mini")
        (folder / "adapters").mkdir()
        self.page.write_text("<!-- table:mini -->\n<!-- /table:mini -->\n")

    def commands(self, run_id: str) -> list[list[str]]:
        """All that read records; of those that write, where they may."""
        at, out = ["--results", str(self.folder)], self.folder / "out"
        local = f"results_dir={self.folder}"
        return [
            *(["table", "mini", *at, "--format", form] for form in ("text", "md", "csv", "tex", "html")),
            ["table", "mini", *at, "--long", "--into", str(self.page)],
            ["table", "mini", *at, "--why", "lora/digits"],
            ["table", "mini", *at, "method=lora"],
            ["compare", "mini", *at, "method=lora", "method.rank=8", "method=linear"],
            ["cost", "mini", *at, "--figures", str(out)],
            ["forgetting", "mini", *at],
            ["optimism", "mini", *at],
            ["tuned", "mini", *at],
            ["report", "mini", *at, "--out", str(out / "report.html")],
            ["page", "glora", *at, "--out", str(out)],
            *(["export", f"run={run_id}", f"to={to}", local, f"out={out / to}"] for to in FORMATS),
            ["search", f"run={run_id}", local, "logger=none", "progress=none"],
        ]  # fmt: skip

    def add(self, data: dict[str, Any]) -> str:
        """A record as an attacker would write it: its id and file name are right, if its config can be hashed."""
        try:
            data["run_id"] = record.run_id(data["config"], data.get("protocol", 1))
        except Exception:
            data["run_id"] = "0" * 12
        path = self.folder / "runs" / "mini" / f"theirs-{data['run_id']}.json"
        path.write_text(json.dumps(data))
        head = {"head.weight": torch.zeros(10, 128), "head.bias": torch.zeros(10)}
        save_file(head, self.folder / "adapters" / f"{data['run_id']}.safetensors")
        return data["run_id"]

    def clear(self) -> None:
        for path in (self.folder / "runs" / "mini").glob("theirs-*"):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for path in (self.folder / "adapters").iterdir():
            path.unlink()
        shutil.rmtree(self.folder / "out", ignore_errors=True)


def _searched(path: Path) -> bool:
    return json.loads(path.read_text())["config"].get("search") is not None


@pytest.fixture
def reader(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "evil_module.py").write_text("open('/tmp/evil', 'w').close()\ndef run(*a, **k): raise SystemExit(99)\n")
    monkeypatch.syspath_prepend(str(evil))
    monkeypatch.setenv("MPLCONFIGDIR", tempfile.gettempdir())
    results = tmp_path / "results"
    results.mkdir()
    made = Reader(results, cache)
    for words in made.commands(made.sound["run_id"])[:15]:  # what libraries write when they are first imported
        main(words)
    return made


def walk(reader: Reader, run_id: str, label: str, capsys: pytest.CaptureFixture[str], commands: slice) -> list[str]:
    """Give a record to the readers; one word for each call, `ok` or what was wrong: a traceback, a side effect."""
    verdicts = []
    for words in reader.commands(run_id)[commands]:
        try:
            with watched(reader.folder, reader.cache) as events:
                code = main(words)
            problem = f"{events}" if events else "" if code in (0, 2) else f"exit code {code}"
        except BaseException as error:
            code, problem = 0, f"{type(error).__name__}: {error}"[:300]
        out = capsys.readouterr()
        problem = problem or "a terminal code" * ("\x1b[31m" in out.err + out.out)
        problem = problem or "many lines" * (code == 2 and out.err.count("\n") > 2)
        problem = problem or "the page is cut" * ("<!-- /table:mini -->" not in reader.page.read_text())
        verdicts.append(f"{label}: {' '.join(words[:3])}: {problem}" if problem else "ok")
    return verdicts


def run_cases(
    reader: Reader, capsys: pytest.CaptureFixture[str], stride: int, damage: int, commands: slice
) -> tuple[int, list[str]]:
    """Every `stride`-th attack and damage; how many records, and a verdict for each call."""
    records, verdicts = 0, []
    bases = [reader.sound, reader.searched]
    drawn = [(f"base {i}, {label}", base, change) for i, base in enumerate(bases) for label, change in attacks()]
    for i, base in enumerate(bases):
        drawn += [(f"base {i}, {label}", base, change) for label, change in damages(base, damage)]
    for label, base, change in drawn[::stride]:
        data = copy.deepcopy(base)
        change(data)
        verdicts += walk(reader, reader.add(data), label, capsys, commands)
        records += 1
        reader.clear()
    for label, write in [*texts()][:: max(1, stride // 4)]:
        write(reader.folder / "runs" / "mini" / "theirs-000000000000.json")
        verdicts += walk(reader, "000000000000", label, capsys, commands)
        records += 1
        reader.clear()
    return records, verdicts


def test_no_record_makes_a_reader_do_anything_else(reader: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    records, verdicts = run_cases(reader, capsys, stride=16, damage=60, commands=slice(None, None, 2))
    assert records >= 30
    assert len(verdicts) >= 300
    assert set(verdicts) == {"ok"}


@pytest.mark.campaign
def test_campaign_of_hostile_and_damaged_records(reader: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    records, verdicts = run_cases(reader, capsys, stride=1, damage=150, commands=slice(None))
    wrong = [verdict for verdict in verdicts if verdict != "ok"]
    with capsys.disabled():
        print(f"\n{records} hostile and damaged records, {len(verdicts)} calls of readers: {len(wrong)} went wrong")
    assert not wrong, "\n".join(wrong)
    assert records >= 300


def test_a_watch_notices_what_it_looks_for(tmp_path: Path) -> None:
    """The test of the test: each kind of event is heard."""
    import pickle
    import socket
    import subprocess

    with watched(tmp_path) as events:
        subprocess.run(["true"], check=True)
        (tmp_path.parent / f"outside-{os.getpid()}").write_text("x")
        pickle.loads(pickle.dumps(Path))
        with pytest.raises(OSError, match=r".*"):
            socket.create_connection(("127.0.0.1", 9), timeout=0.1)
        (tmp_path / "inside").write_text("x")
    heard = {event for event, _ in events}
    assert {"subprocess.Popen", "open", "pickle.find_class", "socket.connect"} <= heard
    assert not [path for event, path in events if event == "open" and path.endswith("inside")]
