"""The accuracies that papers print, as rows of our tables, with source and what is known of each."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from glorabench.analysis.suite_layouts import LAYOUTS
from glorabench.data.suites.layout import Mean
from glorabench.data.suites.registry import SUITES
from glorabench.errors import BadInput

_PACKAGE = Path(str(files("glorabench")))
FACTS = ("extraction", "normalisation", "checkpoint", "selection", "seeds")
BACKBONES = {  # ours -> what the files call it
    "vit_b16": ("ViT-B/16", "ViT-B/16 ImageNet-21k"),
    "vit_b16_augreg": ("ViT-B/16 (AugReg)",),
    "convnext_b": ("ConvNeXt-B",),
}
_FILES = {"vtab1k": "vtab1k.csv", "fewshot": "fewshot_fgvc.csv", "imagenet": "domain_shift.csv"}
_SHIFTS = {
    "imagenet": "imagenet", "imagenetv2": "imagenetv2/top1", "sketch": "imagenet_sketch/top1",
    "imagenet_a": "imagenet_a/top1_1000", "imagenet_r": "imagenet_r/top1_1000",
}  # fmt: skip
_SHORT = {"retinopathy": "diabetic_retinopathy", "snorb_azim": "smallnorb_azi", "snorb_elev": "smallnorb_ele"}
_GROUP, _ALL = "vtab_mean_groups", "vtab_mean_19"
_WRONG = re.compile("DOES NOT MATCH|ERROR IN SOURCE|Do not use|not comparable")  # in the words of `note`


@dataclass(frozen=True)
class Paper:
    """A row that somebody else printed.

    Args:
        method, backbone: as the source calls them.
        by: the values of the layout's own keys, such as shots.
        values: in percent, by the names of our columns and means; means are of the row where it has all tasks, else
            as printed.
        params: in millions, as printed, or nothing.
        source, note: of the file.
        own: its source measured it, as far as the file says.
        facts: what is known of how it was made, of FACTS; a fact that is not stated is not there.
        evidence: where facts were read that the row itself does not state.
    """

    method: str
    backbone: str
    by: tuple[str, ...]
    values: Mapping[str, float]
    params: str
    source: str
    note: str
    own: bool
    facts: Mapping[str, str] = field(default_factory=dict)
    evidence: str = ""

    @property
    def wrong(self) -> bool:
        """The file's note says that it is misprinted, or of something else."""
        return bool(_WRONG.search(self.note))

    @property
    def computed(self) -> set[str]:
        """The means that are computed from `values`, not printed."""
        means = (entry for layout in LAYOUTS.values() for entry in layout.entries if isinstance(entry, Mean))
        return {mean.name for mean in means if mean.groups.keys() <= self.values.keys()}


def folder() -> Path:
    """The published figures: the copy in the installed package, else the checkout's.

    Raises:
        BadInput: neither is there.
    """
    places = [_PACKAGE / "published", _PACKAGE.parents[1] / "results" / "published"]
    for place in places:
        if (place / "methods.csv").is_file():
            return place
    raise BadInput(f"no published figures in {' or '.join(map(str, places))}")


def _read(name: str) -> list[dict[str, str]]:
    with (folder() / name).open(newline="") as file:
        return list(csv.DictReader(file))


@cache
def papers(suite: str) -> tuple[Paper, ...]:
    """Every published row of a suite; none where there is no file of it."""
    if suite not in _FILES:
        return ()
    rows = _read(_FILES[suite])
    made = {"vtab1k": _vtab, "fewshot": _fewshot, "imagenet": _imagenet}[suite]
    return tuple(made(rows))


def papers_of_methods(suite: str) -> list[Paper]:
    """One row for each backbone, method and key: of those without a fault the one whose source measured it, or the
    first."""
    found: dict[tuple[str, ...], Paper] = {}
    for paper in sorted(papers(suite), key=lambda p: (p.wrong, not p.own)):
        found.setdefault((paper.backbone, paper.method, *paper.by), paper)
    kept = set(map(id, found.values()))
    return [paper for paper in papers(suite) if id(paper) in kept]


def of_ours(suite: str, method: str, searched: bool, backbone: str, by: tuple[str, ...]) -> Paper | None:
    """The published row that one of our methods is held against, or None.

    Args:
        suite: of the table.
        method: as conf/method calls it.
        searched: its path was searched.
        backbone: as conf/backbone calls it.
        by: as in `Paper`.
    """
    words = "yes" if searched else "no"
    names = [row["theirs"] for row in _read("methods.csv") if (row["ours"], row["search"]) == (method, words)]
    for name in names:
        for paper in papers_of_methods(suite):
            if paper.method == name and paper.backbone in BACKBONES.get(backbone, ()) and paper.by == by:
                return None if paper.wrong else paper
    return None


def _vtab(rows: Iterable[Mapping[str, str]]) -> list[Paper]:
    tasks = {alias: row.name for row in SUITES["vtab1k"].rows for alias in (row.name, *row.aliases)} | _SHORT
    known = {row["theirs"]: row for row in _read("methods.csv")}
    made = []
    for row in rows:
        values = {tasks[name]: float(value) for name, value in row.items() if name in tasks and value}
        means = [entry for entry in LAYOUTS["vtab1k"].entries if isinstance(entry, Mean)]
        values |= {m.name: m.of(values, m.groups) for m in means if m.groups.keys() <= values.keys()}
        for name in ("natural_mean", "specialized_mean", "structured_mean"):
            values |= {name: float(row[name])} if row[name] and name not in values else {}
        if row["average"]:
            values.setdefault(_ALL if "19" in row["average_kind"] else _GROUP, float(row["average"]))
        of = known.get(row["method"], {})
        facts = {fact: of[fact] for fact in FACTS if of.get(fact)}
        own = row["source_kind"] == "primary (authors' own table)"
        facts = _stated(row["source"], row["note"], row["pretraining"]) | facts
        texts = (row["params_m"], row["source"], row["note"])
        made.append(Paper(row["method"], row["backbone"], (), values, *texts, own, facts, of.get("evidence", "")))
    return made


def _stated(source: str, note: str, pretraining: str = "") -> dict[str, str]:
    """The facts that a row itself states."""
    found: dict[str, str] = {}
    if match := re.search(r"\(([\w.-]+\.npz)\)", pretraining):
        found["checkpoint"] = match.group(1)
    elif "AugReg" in pretraining:
        found["checkpoint"] = "AugReg"
    if match := re.search(r"mean of (\d+) seeds", note):
        found["seeds"] = match.group(1)
    elif re.search(r"\(seed = \d+\)", source):
        found["seeds"] = "1"
    if re.search(r"unnormali[sz]ed inputs", source):
        found["normalisation"] = "unnorm"
    if "tuned on validation" in note:
        found["selection"] = "tuned on val"
    return found


def _fewshot(rows: Iterable[Mapping[str, str]]) -> list[Paper]:
    groups: dict[tuple[str, ...], dict[str, Mapping[str, str]]] = {}
    for row in rows:
        source = row["source"].removesuffix(" - excerpt cut off here")
        groups.setdefault((row["method"], row["backbone"], row["shots"], source), {})[row["dataset"]] = row
    made = []
    (mean,) = (entry for entry in LAYOUTS["fewshot"].entries if isinstance(entry, Mean))
    for (method, backbone, shots, source), by_set in groups.items():
        values = {name: float(row["accuracy"]) for name, row in by_set.items()}
        values |= {mean.name: mean.of(values, mean.groups)} if mean.groups.keys() <= values.keys() else {}
        noted: dict[str, list[str]] = {}
        for name, row in by_set.items():
            noted.setdefault(row["note"], []).append(name)
        said = {note: "" if len(sets) == len(by_set) else f"{', '.join(sets)}: " for note, sets in noted.items()}
        notes = "; ".join(f"{sets}{note}" for note, sets in said.items() if note)
        facts = _stated(source, notes)
        made.append(Paper(method, backbone, (shots,), values, "", source, notes, True, facts))
    return made


def _imagenet(rows: Iterable[Mapping[str, str]]) -> list[Paper]:
    means = [entry for entry in LAYOUTS["imagenet"].entries if isinstance(entry, Mean)]
    made = []
    for row in rows:
        clip = "CLIP" in row["backbone"]  # whether A and R were scored on 200 or 1,000 classes is not stated
        left = [name for name in _SHIFTS if not (clip and name in ("imagenet_a", "imagenet_r"))]
        values = {_SHIFTS[name]: float(row[name]) for name in left if row[name]}
        values |= {m.name: m.of(values, m.groups) for m in means if m.groups.keys() <= values.keys()}
        texts = ("", row["source"], row["note"])
        own = "secondary" not in row["note"]
        made.append(Paper(row["method"], row["backbone"], ("16",), values, *texts, own, _stated("", row["note"])))
    return made
