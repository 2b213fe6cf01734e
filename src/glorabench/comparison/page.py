"""A results page: claims of conf/page/NAME.yaml, decided by records; the same records give the same bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from glorabench import record
from glorabench.comparison import curves, sections
from glorabench.comparison.compare import check_pairs, compare
from glorabench.comparison.sections import Claim
from glorabench.comparison.side import Side, select, told
from glorabench.compose import conf_dir, options
from glorabench.errors import BadInput, first_line, nearest, one_of
from glorabench.files import check_writable, write_text
from glorabench.record import Record

_T = TypeVar("_T")
_FIELDS = {"title": str, "text": str, "comparisons": list, "curves": list, "curse": list}


def main(name: str, results: Path | None, out: Path | None) -> int:
    """The `page` command: README.md, and curves.svg with curves.csv if the page has curves, in the folder `out`.

    Args:
        name: of a file of conf/page/.
        results: folder of the records (default: results/NAME).
        out: default: `results`.

    Raises:
        BadInput: no such page, records that it needs are missing, a README.md is in the way, or the folder cannot be
            written.
    """
    folder = results or Path("results") / name
    out = out or folder
    mark = f"<!-- written by `glorabench page {name}`: change conf/page/{name}.yaml or the records, not this file -->\n"
    readme = out / "README.md"
    if readme.exists() and not _is_own(readme):
        raise BadInput(f"{readme} was written by hand: give another folder with --out, or remove it")
    files = rendered(spec(name), _records(folder))
    check_writable(out, "give another folder with --out")
    for file, text in files.items():
        write_text(out / file, mark + text if file == readme.name else text, "give another folder with --out")
        print(out / file, file=sys.stderr)
    return 0


def _is_own(readme: Path) -> bool:
    try:
        return readme.read_text(encoding="utf-8").startswith("<!-- written by `glorabench page ")
    except (OSError, UnicodeDecodeError):
        return False


def spec(name: str) -> dict[str, Any]:
    """What conf/page/NAME.yaml says, checked.

    Raises:
        BadInput: there is no such page, or it is not made as a page is.
    """
    one_of("page", name, options("page"))
    path = conf_dir() / "page" / f"{name}.yaml"
    try:
        page = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except (OmegaConfBaseException, YAMLError) as error:
        raise BadInput(f"{path}: {first_line(error)}") from error
    page = {"curves": [], "curse": [], **_mapping(page, str(path), _FIELDS, ("title", "text", "comparisons"))}
    for key, kind in _FIELDS.items():
        if not isinstance(page[key], kind):
            raise BadInput(f"{path}: {key} is a {'text' if kind is str else 'list'}, got {page[key]!r}")
    for item in page["comparisons"]:
        _mapping(item, f"{path}: comparisons", ("claim", "first", "second", "note"), ("claim", "first", "second"))
    wheres: dict[str, Any] = {}
    for side in _described(page):
        _mapping(side, f"{path}: '{side}'", ("label", "where"), ("label", "where"))
        if not isinstance(side["where"], dict):
            raise BadInput(f"{path}: where of '{side['label']}' is keys and values, got {side['where']!r}")
        if wheres.setdefault(side["label"], side["where"]) != side["where"]:
            raise BadInput(f"{path}: '{side['label']}' is two configurations: give one of them another label")
    return page


def rendered(page: Mapping[str, Any], records: Sequence[Record]) -> dict[str, str]:
    """The files of a page (see `spec`) by name.

    Raises:
        BadInput: naming every configuration and run that is missing.
    """
    wheres = {side["label"]: side["where"] for side in _described(page)}
    chosen = _all(lambda label: Side(label, select(records, wheres[label])), list(wheres))
    sides = {side.label: side for side in chosen}

    def claim(item: Mapping[str, Any]) -> Claim:
        first, second = (sides[item[which]["label"]] for which in ("first", "second"))
        return Claim(item["claim"], item.get("note", ""), compare(first, second))

    def searched(item: Mapping[str, Any]) -> Side:
        side = sides[item["label"]]
        side.mean(side.top1)  # refuses a side without results
        if any(r.search is None for r in side.runs.values()):
            raise BadInput(f"{side.label}: its records have no search, so neither curve nor winner")
        return side

    check_pairs((sides[i["first"]["label"]], sides[i["second"]["label"]]) for i in page["comparisons"])
    claims = _all(claim, page["comparisons"])
    drawn, cursed = (_all(searched, page[key]) for key in ("curves", "curse"))
    parts = [[f"# {page['title']}", "", page["text"].strip()], sections.summary(claims)]
    parts += [sections.detail(number, one) for number, one in enumerate(claims, start=1)]
    parts.append(sections.costs((side, told(wheres[label])) for label, side in sides.items()))
    files: dict[str, str] = {}
    if cursed:
        parts.append(sections.curse(cursed))
    if drawn:
        points = curves.best_so_far(drawn)
        files = {"curves.svg": curves.as_svg(points), "curves.csv": curves.as_csv(points)}
        figure = "![Best score so far against candidates scored, a panel for each task](curves.svg)"
        read = "Mean over seeds, on the images that choose the winner; the numbers: [curves.csv](curves.csv)."
        parts.append(["## The searches", "", figure, "", read])
    return {**files, "README.md": "\n\n".join("\n".join(lines) for lines in parts) + "\n"}


def _described(page: Mapping[str, Any]) -> list[Any]:
    """Every description of a configuration, in the order of the page."""
    compared = [item[which] for item in page["comparisons"] for which in ("first", "second")]
    return [*compared, *page["curves"], *page["curse"]]


def _mapping(node: Any, where: str, known: Any, needed: Sequence[str]) -> dict[str, Any]:
    """`node`, a mapping with these keys.

    Raises:
        BadInput: a key that is not known or not there, naming it.
    """
    if not isinstance(node, dict):
        raise BadInput(f"{where}: expected {', '.join(needed)}, got {node!r}")
    for key in node:
        if key not in known:
            raise BadInput(f"{where}: no key '{key}'{nearest(key, known)}")
    for key in needed:
        if key not in node:
            raise BadInput(f"{where}: '{key}' is missing")
    return node


def _all(make: Callable[[Any], _T], items: Sequence[Any]) -> list[_T]:
    """`make` of every item; what is wrong with any of them is said at once."""
    made, wrong = [], []
    for item in items:
        try:
            made.append(make(item))
        except BadInput as error:
            wrong.append(f"{item}: {error}" if isinstance(item, str) else str(error))
    if wrong:
        raise BadInput("this page lacks records: " + " | ".join(dict.fromkeys(wrong)))
    return made


def _records(folder: Path) -> list[Record]:
    if not (folder / "runs").is_dir():
        raise BadInput(f"no records below {folder / 'runs'}: make them with `glorabench run`, or give --results FOLDER")
    return record.read_all([folder / "runs"])
