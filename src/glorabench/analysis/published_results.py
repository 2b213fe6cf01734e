"""The accuracies that papers print, as rows of our tables, each with its source and the known facts."""

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
FACTS_OF_TEXTS = (
    "checkpoint", "template", "loss_on", "protocol", "shots", "harness", "rank", "examples", "selection", "seeds"
)  # fmt: skip
BACKBONES = {  # our name -> the names in the files
    "vit_b16": ("ViT-B/16", "ViT-B/16 ImageNet-21k"),
    "vit_b16_augreg": ("ViT-B/16 (AugReg)",),
    "convnext_b": ("ConvNeXt-B",),
    "llama_7b": ("LLaMA-7B",),
    "llama_3_2_3b": ("Llama-3.2-3B",),
}
_FILES = {
    "vtab1k": "vtab1k.csv", "fewshot": "fewshot_fgvc.csv", "imagenet": "domain_shift.csv",
    "commonsense": "commonsense.csv", "metamathqa": "peft_metamathqa.csv", "open_llm": "llm.csv",
}  # fmt: skip
_SHIFTS = {
    "imagenet": "imagenet", "imagenetv2": "imagenetv2/top1", "sketch": "imagenet_sketch/top1",
    "imagenet_a": "imagenet_a/top1_1000", "imagenet_r": "imagenet_r/top1_1000",
}  # fmt: skip
_SHORT = {"retinopathy": "diabetic_retinopathy", "snorb_azim": "smallnorb_azi", "snorb_elev": "smallnorb_ele"}
_GROUP, _ALL = "vtab_mean_groups", "vtab_mean_19"
_WRONG = re.compile("DOES NOT MATCH|ERROR IN SOURCE|Do not use|not comparable")  # matched in `note`


@dataclass(frozen=True)
class Paper:
    """A row of results that a paper printed.

    Args:
        method, backbone: the names that the source uses.
        keys: the values of the keys of the layout, such as shots.
        values: in percent, by the names of our columns and means. A mean is computed where the row has all tasks, and
            taken as printed elsewhere.
        params: in millions, as printed; may be empty.
        source, note: as the file has them.
        is_primary: True where the source measured the row itself, as far as the file says.
        facts: how the results were made, by names of FACTS or FACTS_OF_TEXTS; a fact that is not stated is missing.
        evidence: the place of facts that the row itself does not state.
    """

    method: str
    backbone: str
    keys: tuple[str, ...]
    values: Mapping[str, float]
    params: str
    source: str
    note: str
    is_primary: bool
    facts: Mapping[str, str] = field(default_factory=dict)
    evidence: str = ""

    @property
    def is_wrong(self) -> bool:
        """True where the note of the file says that the row is misprinted or not comparable."""
        return bool(_WRONG.search(self.note))

    @property
    def computed_means(self) -> set[str]:
        """The names of the means that are computed from `values`, not printed."""
        means = (entry for layout in LAYOUTS.values() for entry in layout.entries if isinstance(entry, Mean))
        return {mean.name for mean in means if mean.groups.keys() <= self.values.keys()}


def published_folder() -> Path:
    """The folder of published figures: that of the installed package, else that of the checkout.

    Raises:
        BadInput: neither exists.
    """
    places = [_PACKAGE / "published", _PACKAGE.parents[1] / "results" / "published"]
    for place in places:
        if (place / "methods.csv").is_file():
            return place
    raise BadInput(f"no published figures in {' or '.join(map(str, places))}")


def _read(name: str) -> list[dict[str, str]]:
    with (published_folder() / name).open(newline="") as file:
        return list(csv.DictReader(file))


@cache
def papers(suite: str) -> tuple[Paper, ...]:
    """Every published row of a suite; empty where there is no file for it."""
    if suite not in _FILES:
        return ()
    rows = _read(_FILES[suite])
    parse = {
        "vtab1k": _vtab, "fewshot": _fewshot, "imagenet": _imagenet,
        "commonsense": _commonsense, "metamathqa": _metamathqa, "open_llm": _open_llm,
    }[suite]  # fmt: skip
    return tuple(parse(rows))


def papers_of_methods(suite: str) -> list[Paper]:
    """One row for each backbone, method and key.

    Rows without a fault come first, then rows whose source measured them, then the order of the file.
    """
    best: dict[tuple[str, ...], Paper] = {}
    for paper in sorted(papers(suite), key=lambda p: (p.is_wrong, not p.is_primary)):
        best.setdefault((paper.backbone, paper.method, *paper.keys), paper)
    ids = set(map(id, best.values()))
    return [paper for paper in papers(suite) if id(paper) in ids]


def published_counterpart(
    suite: str, method: str, is_searched: bool, backbone: str, keys: tuple[str, ...]
) -> Paper | None:
    """The published row that one of our methods is compared with, or None.

    Args:
        suite: the suite of the table.
        method: its name in conf/method.
        is_searched: True where its path was searched.
        backbone: its name in conf/backbone.
        keys: see `Paper`.
    """
    searched_word = "yes" if is_searched else "no"
    rows = [*_read("methods.csv"), *(row for row in _read("methods_of_texts.csv") if row["suite"] == suite)]
    names = [row["theirs"] for row in rows if (row["ours"], row["search"]) == (method, searched_word)]
    for name in names:
        for paper in papers_of_methods(suite):
            if paper.method == name and paper.backbone in BACKBONES.get(backbone, ()) and paper.keys == keys:
                return None if paper.is_wrong else paper
    return None


def _vtab(rows: Iterable[Mapping[str, str]]) -> list[Paper]:
    tasks = {alias: row.name for row in SUITES["vtab1k"].rows for alias in (row.name, *row.aliases)} | _SHORT
    method_rows = {row["theirs"]: row for row in _read("methods.csv")}
    result = []
    for row in rows:
        values = {tasks[name]: float(value) for name, value in row.items() if name in tasks and value}
        means = [entry for entry in LAYOUTS["vtab1k"].entries if isinstance(entry, Mean)]
        values |= {
            mean.name: mean.average(values, mean.groups) for mean in means if mean.groups.keys() <= values.keys()
        }
        for name in ("natural_mean", "specialized_mean", "structured_mean"):
            values |= {name: float(row[name])} if row[name] and name not in values else {}
        if row["average"]:
            values.setdefault(_ALL if "19" in row["average_kind"] else _GROUP, float(row["average"]))
        method_row = method_rows.get(row["method"], {})
        facts = {fact: method_row[fact] for fact in FACTS if method_row.get(fact)}
        is_primary = row["source_kind"] == "primary (authors' own table)"
        facts = _facts_in_text(row["source"], row["note"], row["pretraining"]) | facts
        texts = (row["params_m"], row["source"], row["note"])
        evidence = method_row.get("evidence", "")
        result.append(Paper(row["method"], row["backbone"], (), values, *texts, is_primary, facts, evidence))
    return result


def _facts_in_text(source: str, note: str, pretraining: str = "") -> dict[str, str]:
    """The facts that a row itself states."""
    facts: dict[str, str] = {}
    if match := re.search(r"\(([\w.-]+\.npz)\)", pretraining):
        facts["checkpoint"] = match.group(1)
    elif "AugReg" in pretraining:
        facts["checkpoint"] = "AugReg"
    if match := re.search(r"mean of (\d+) seeds", note):
        facts["seeds"] = match.group(1)
    elif re.search(r"\(seed = \d+\)", source):
        facts["seeds"] = "1"
    if re.search(r"unnormali[sz]ed inputs", source):
        facts["normalisation"] = "unnorm"
    if "tuned on validation" in note:
        facts["selection"] = "tuned on val"
    return facts


def _fewshot(rows: Iterable[Mapping[str, str]]) -> list[Paper]:
    groups: dict[tuple[str, ...], dict[str, Mapping[str, str]]] = {}
    for row in rows:
        source = row["source"].removesuffix(" - excerpt cut off here")
        groups.setdefault((row["method"], row["backbone"], row["shots"], source), {})[row["dataset"]] = row
    result = []
    (mean,) = (entry for entry in LAYOUTS["fewshot"].entries if isinstance(entry, Mean))
    for (method, backbone, shots, source), by_set in groups.items():
        values = {name: float(row["accuracy"]) for name, row in by_set.items()}
        values |= {mean.name: mean.average(values, mean.groups)} if mean.groups.keys() <= values.keys() else {}
        sets_by_note: dict[str, list[str]] = {}
        for name, row in by_set.items():
            sets_by_note.setdefault(row["note"], []).append(name)
        lines = []
        for note, sets in sets_by_note.items():
            prefix = "" if len(sets) == len(by_set) else f"{', '.join(sets)}: "
            lines += [f"{prefix}{note}"] if note else []
        notes = "; ".join(lines)
        facts = _facts_in_text(source, notes)
        result.append(Paper(method, backbone, (shots,), values, "", source, notes, True, facts))
    return result


def _imagenet(rows: Iterable[Mapping[str, str]]) -> list[Paper]:
    means = [entry for entry in LAYOUTS["imagenet"].entries if isinstance(entry, Mean)]
    result = []
    for row in rows:
        clip = "CLIP" in row["backbone"]  # whether A and R were scored on 200 or 1,000 classes is not stated
        names = [name for name in _SHIFTS if not (clip and name in ("imagenet_a", "imagenet_r"))]
        values = {_SHIFTS[name]: float(row[name]) for name in names if row[name]}
        values |= {
            mean.name: mean.average(values, mean.groups) for mean in means if mean.groups.keys() <= values.keys()
        }
        texts = ("", row["source"], row["note"])
        is_primary = "secondary" not in row["note"]
        facts = _facts_in_text("", row["note"])
        result.append(Paper(row["method"], row["backbone"], ("16",), values, *texts, is_primary, facts))
    return result


def _of_texts(
    suite: str, row: Mapping[str, str], method: str, backbone: str, values: Mapping[str, float], is_primary: bool = True
) -> Paper:
    """A row of a suite of texts, with its means and with the facts of methods_of_texts.csv."""
    means = [entry for entry in LAYOUTS[suite].entries if isinstance(entry, Mean)]
    computed = {m.name: m.average(values, m.groups) for m in means if m.groups.keys() <= values.keys()}
    printed = {m.name: float(row["average"]) for m in means if row.get("average")}
    known = next((r for r in _read("methods_of_texts.csv") if (r["suite"], r["theirs"]) == (suite, method)), {})
    facts = {fact: known[fact] for fact in FACTS_OF_TEXTS if known.get(fact)}
    facts |= {"rank": row["rank"]} if row.get("rank") else {}
    note, params = row.get("note", ""), row.get("params_m", "")
    return Paper(
        method, backbone, (), printed | dict(values) | computed, params, row["source"], note, is_primary, facts,
        known.get("evidence", ""),
    )  # fmt: skip


def _commonsense(rows: Iterable[Mapping[str, str]]) -> list[Paper]:
    names = {column.name.lower().replace("-", "_"): column.name for column in LAYOUTS["commonsense"].columns}
    result = []
    for row in rows:
        values = {names[key]: float(value) for key, value in row.items() if key in names and value}
        result.append(_of_texts("commonsense", row, row["method"], row["model"], values, "rerun" not in row["method"]))
    return result


def _metamathqa(rows: Iterable[Mapping[str, str]]) -> list[Paper]:
    result = []
    for row in rows:
        params = f"{int(row['trainable_params']) / 1e6:.2f}"
        forgotten = f"{float(row['forgetting_wiki_loss_increase']):+.3f} nats a token on Wikipedia after training"
        values = {"gsm8k": 100 * float(row["gsm8k_test_accuracy"])}
        row = {**row, "params_m": params, "note": f"{forgotten}; one seed"}
        result.append(_of_texts("metamathqa", row, row["experiment"], "Llama-3.2-3B", values))
    return result


def _open_llm(rows: Iterable[Mapping[str, str]]) -> list[Paper]:
    names = {
        "arc_25shot": "arc",
        "hellaswag_10shot": "hellaswag",
        "mmlu_5shot": "mmlu",
        "truthfulqa_mc_0shot": "truthfulqa",
    }
    result = []
    for row in rows:
        values = {ours: float(row[theirs]) for theirs, ours in names.items()}
        is_current = row["version"] == "README current"
        method = row["model"] if is_current else f"{row['model']} (June 2023)"
        backbone = "Falcon-7B" if row["model"] == "Falcon-7B" else "LLaMA-7B"
        result.append(_of_texts("open_llm", {**row, "average": ""}, method, backbone, values, is_current))
    return result
