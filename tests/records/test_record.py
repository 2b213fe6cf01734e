"""Records: identity by hash, atomic writing, suspicious reading."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glorabench import files
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.metrics import Metric
from glorabench.records.outcomes import pack, unpack
from glorabench.records.record import CorruptRecord, Record

TOP1 = Metric("top1", "top-1")

NAMES = {"method": "lora", "backbone": "vit_mini", "data": "mini", "task": "digits"}


def a_config(**changed: Any) -> dict[str, Any]:
    config = {
        "seed": 0,
        "method": {"_target_": "glorabench.methods.lora.LoRA", "targets": ["q", "v"], "rank": 8},
        "backbone": {"_target_": "glorabench.backbones.vision.vision_backbone", "name": "vit_mini"},
        "selection": {"fit_on": "trainval", "report_on": "test", "rule": "last_epoch"},
        "data": {"task": "digits", "cache_dir": "/somewhere"},
        "train": {"lr": 1e-3, "epochs": 2},
        "names": dict(NAMES),
        "results_dir": "results/local",
        "cache_dir": "/somewhere",
        "logger": {"mode": "offline", "project": "p"},
        "progress": "auto",
        "checkpoint_every": 5,
    }
    return {**config, **changed}


def a_record(config: dict[str, Any] | None = None, **fields: Any) -> Record:
    config = a_config() if config is None else config
    fields.setdefault("params", {"method": 3, "head": 2, "total": 9, "stored_bytes": 20, "supernet": None})
    fields = {"metrics": {"top1": 0.5, "n": 4}, "measures": [TOP1], **fields}
    return Record(record.run_id(config), "done", record.identity(config), **fields)


def written(folder: Path, made: Record | None = None) -> Path:
    made = made or a_record()
    path = record.path_of(folder, made.config)
    record.write(made, path)
    return path


@pytest.mark.parametrize("key", record.VOLATILE)
def test_where_a_run_puts_things_is_no_part_of_its_identity(key: str) -> None:
    assert record.run_id(a_config(**{key: "changed"})) == record.run_id(a_config())
    assert record.run_id({k: v for k, v in a_config().items() if k != key}) == record.run_id(a_config())


def test_a_cache_named_inside_the_data_node_is_no_part_of_the_identity_either() -> None:
    moved = a_config(data={"task": "digits", "cache_dir": "/elsewhere"})
    assert record.run_id(moved) == record.run_id(a_config())


def leaves(node: Any, where: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(node, dict):
        return [where]
    return [leaf for key, value in node.items() for leaf in leaves(value, (*where, key))]


FIXED = [leaf for leaf in leaves(a_config()) if not set(leaf) & set(record.VOLATILE)]


@pytest.mark.parametrize("leaf", FIXED, ids=".".join)
def test_every_other_value_changes_the_identity(leaf: tuple[str, ...]) -> None:
    config = copy.deepcopy(a_config())
    node = config
    for key in leaf[:-1]:
        node = node[key]
    node[leaf[-1]] = "changed"
    assert record.run_id(config) != record.run_id(a_config())


def test_a_new_key_changes_the_identity_and_the_order_of_keys_does_not() -> None:
    config = a_config()
    assert record.run_id({**config, "clip": None}) != record.run_id(config)
    assert record.run_id(dict(reversed(config.items()))) == record.run_id(config)
    assert re.fullmatch(r"[0-9a-f]{12}", record.run_id(config))


def test_a_new_protocol_is_a_new_identity() -> None:
    assert record.run_id(a_config(), record.PROTOCOL + 1) != record.run_id(a_config())


def test_a_record_lies_below_its_suite_under_a_name_that_says_what_it_is(tmp_path: Path) -> None:
    config = a_config(seed=3)
    path = record.path_of(tmp_path, config)
    assert path.parent == tmp_path / "runs" / "mini"
    assert path.name == f"lora-vit_mini-digits-s3-{record.run_id(config)}.json"


def test_a_record_survives_the_disk(tmp_path: Path) -> None:
    made = a_record(
        history=[{"epoch": 0, "train/loss": 0.1 + 0.2}],
        params={"method": 36_864, "head": 10, "stored_bytes": 147_496, "supernet": None},
        merge={"mergeable": True, "max_abs_diff": 1e-7, "flipped": 0},
        paths=[{"A": "lora"}],
        outcomes={"top1": pack([True, False])},
    )
    assert record.read(written(tmp_path, made)) == made


def test_nothing_but_the_record_is_left_behind(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_a_failing_write_leaves_the_old_record_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(BadInput, match=r"No space left on device.*results_dir=FOLDER"):
        record.write(replace(a_record(), metrics={"top1": 0.9, "n": 4}), path)
    assert path.read_bytes() == before
    assert record.read_all([tmp_path]) == [a_record()]


def test_who_is_reading_a_record_while_it_is_written_again_reads_it_whole(tmp_path: Path) -> None:
    path = written(tmp_path)
    before = path.read_text()
    with path.open() as reader:
        record.write(replace(a_record(), metrics={"top1": 0.9, "n": 4}), path)
        assert reader.read() == before
    assert record.read(path).metrics["top1"] == 0.9


def test_what_json_cannot_say_leaves_the_old_record_whole(tmp_path: Path) -> None:
    path = written(tmp_path)
    with pytest.raises(TypeError):
        record.write(a_record(provenance={"path": Path("x")}), path)
    assert record.read(path) == a_record()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    with pytest.raises(BadInput, match=r"cannot be written .*results_dir=FOLDER"):
        written(tmp_path)


@pytest.mark.parametrize("quarter", range(4))
def test_a_half_written_record_is_refused(tmp_path: Path, quarter: int) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * quarter // 4])
    with pytest.raises(CorruptRecord, match=re.escape(str(path))):
        record.read(path)


def put(path: Path, **changed: Any) -> Path:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    return path


@pytest.mark.parametrize(
    "changed",
    [
        {"schema": record.SCHEMA + 1},
        {"config": a_config(seed=1)},
        {"config": None},
        {"config": 3},
        {"run_id": "0" * 12},
        {"protocol": record.PROTOCOL + 1},
        {"surprise": 1},
        {"status": "weird"},
        {"metrics": {}},
        {"metrics": {"top1": None}},
        {"metrics": {"top1": float("nan")}},
        {"params": {"method": 3}},
    ],
    ids=lambda changed: "-".join(map(str, changed)),
)
def test_an_altered_record_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(CorruptRecord):
        record.read(put(written(tmp_path), **changed))


@pytest.mark.parametrize("text", ["[]", "null", "3", '"done"', "{}", "\udcff"])
def test_json_that_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    path = written(tmp_path)
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(CorruptRecord):
        record.read(path)


@pytest.mark.parametrize("name", ["top1", "imagenet_a/top1_200", "imagenet_a/top1_1000"])
def test_every_metric_is_the_mean_of_its_outcomes(tmp_path: Path, name: str) -> None:
    metrics = {"top1": 0.5, "imagenet_a/top1_200": 0.75, "imagenet_a/top1_1000": 0.25, "n": 4}
    packed = {key: pack(i < 4 * value for i in range(4)) for key, value in metrics.items() if key != "n"}
    measures = [Metric(name, name) for name in packed]
    made = a_record(outcomes=packed, measures=measures, metrics=metrics)
    path = written(tmp_path, made)
    assert record.read(path) == made
    for wrong in ({**metrics, name: 0.9}, {key: value for key, value in metrics.items() if key != name}):
        with pytest.raises(CorruptRecord, match=name):
            record.read(put(path, metrics=wrong))


def test_a_record_under_the_name_of_another_run_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    other = record.path_of(tmp_path, a_config(seed=1))
    path.rename(other)
    with pytest.raises(CorruptRecord, match="run_id"):
        record.read(other)


def test_a_record_of_an_older_protocol_is_whole(tmp_path: Path) -> None:
    """Reading it is fine; tables are what refuses to mix it with others."""
    old = record.run_id(a_config(), protocol=0)
    path = tmp_path / f"{old}.json"
    record.write(replace(a_record(), run_id=old, protocol=0), path)
    assert record.read(path).protocol == 0


def test_a_missing_record_is_a_corrupt_one(tmp_path: Path) -> None:
    with pytest.raises(CorruptRecord):
        record.read(tmp_path / "none.json")


def test_a_corrupt_record_is_kept_under_another_name(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text("half")
    aside = record.set_aside(path)
    assert not path.exists()
    assert aside.read_text() == "half"
    assert record.read_all([tmp_path]) == []


def test_read_all_follows_names_and_stops_at_the_first_bad_file(tmp_path: Path) -> None:
    paths = [written(tmp_path, a_record(a_config(seed=seed))) for seed in (2, 0, 1)]
    assert [r.config["seed"] for r in record.read_all([tmp_path])] == [0, 1, 2]
    paths[0].write_text("{")
    with pytest.raises(CorruptRecord, match=re.escape(str(paths[0]))):
        record.read_all([tmp_path])


@given(st.lists(st.booleans(), max_size=300))
def test_packed_outcomes_come_back(outcomes: list[bool]) -> None:
    assert unpack(pack(outcomes)).tolist() == outcomes


def test_two_thousand_outcomes_are_a_short_line() -> None:
    assert len(pack([True, False] * 1000)) == 341


def test_the_fields_of_a_record_are_plain_json() -> None:
    assert json.loads(json.dumps(asdict(a_record()))) == asdict(a_record())
