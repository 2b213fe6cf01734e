"""What many configurations cost to read: the quick ways say what the plain definitions say; a large page is divided."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glorabench import cli
from glorabench.analysis import cells
from glorabench.analysis.fronts import on_front
from glorabench.analysis.labels import PUBLISHED, TUNED, _differing_keys, _distinctions, _text, is_recipe_key
from glorabench.cli import main
from glorabench.records.store import suite_by_file
from glorabench.reports.html.report import PAGE_LIMIT, report_page, report_pages

RESULTS = Path(__file__).parents[2] / "results"
few = st.integers(0, 3).map(float)


@given(st.lists(st.tuples(few, few), min_size=1, max_size=12), st.integers(1, 3))
def test_a_front_is_what_no_other_point_beats(points, samples):
    top1, cost = (np.array([[p[i] for p in points]] * samples) for i in (0, 1))
    expected = [not any(a >= x and b <= y and (a > x or b < y) for a, b in points) for x, y in points]
    assert on_front(top1, cost).tolist() == [expected] * samples
    assert on_front(top1[0], cost[0]).tolist() == expected


KEYS = ("method.rank", "method.scale", "train.lr", "seedless", "search.winner", TUNED)
values = st.sampled_from([None, 1, 2, "a", [1, 2]])
flats = st.lists(
    st.tuples(st.sampled_from(["x", "y", "z"]), st.dictionaries(st.sampled_from(KEYS), values)), min_size=1, max_size=9
).map(lambda made: [{"names.task": task, **own} for task, own in made])


def plain_apart(family):
    """By comparing all with all."""
    same = [(f, g) for f in family for g in family if f["names.task"] == g["names.task"]]
    return {key for f, g in same for key in f if f[key] != g.get(key)}


def plain_varying(flat, kin, own):
    recipe = [key for key in own if is_recipe_key(key)]
    peers = [f for f in kin if all(f.get(key) == flat.get(key) for key in own.difference(recipe))]
    found = {}
    for f in peers:
        found.setdefault(json.dumps([f.get(key) for key in recipe]), []).append(f)
    everywhere = len({f["names.task"] for f in peers})
    rest = [f for same in found.values() if len({f["names.task"] for f in same}) < everywhere for f in same]
    if not any(f is flat for f in rest) or len({f["names.task"] for f in rest}) < len(rest):
        return set()
    return {key for key in recipe if any(f.get(key) != flat.get(key) for f in rest)}


@settings(max_examples=300)
@given(flats, st.booleans())
def test_labels_are_those_of_the_plain_rule(family, by_task):
    keys = plain_apart(family)
    assert _differing_keys(family) == keys
    for flat, told in zip(family, _distinctions(family, by_task), strict=True):
        kin = [f for f in family if TUNED not in keys or f.get(TUNED) == flat.get(TUNED)]
        own = ({key for key in keys if not is_recipe_key(key)} | plain_apart(kin)) - {
            "search.winner",
            "backbone.sha256",
        }
        varying = plain_varying(flat, kin, own) if by_task else set()
        expected = [PUBLISHED] if TUNED in keys and flat.get(TUNED) is not None else []
        for key in sorted(own):
            name = key.removeprefix("method.")
            expected.append(f"{name} by task" if key in varying else f"{name}={_text(flat.get(key))}")
        assert told == expected


@pytest.mark.parametrize("words", [["table"], ["table", "--long"], ["cost"], ["report", "--out", "page.html"]])
def test_a_command_groups_the_records_into_cells_once(words, monkeypatch, tmp_path):
    """Counted where it is the dear part: once for each table."""
    calls = []
    counted = cells.refuse_mixtures
    monkeypatch.setattr(cells, "refuse_mixtures", lambda records: calls.append(len(records)) or counted(records))
    words = [str(tmp_path / word) if word == "page.html" else word for word in words]
    assert cli.main([words[0], "mini", "--results", str(RESULTS / "quickstart"), *words[1:]]) == 0
    assert len(calls) == 1


def data_of(text: str) -> dict:
    return json.loads(text.partition('id="data">')[2].partition("</script>")[0])


def test_a_page_that_is_too_large_leaves_its_cards_to_a_second_one(tmp_path, monkeypatch, capsys):
    records = list(suite_by_file("mini", RESULTS / "quickstart").values())
    whole = report_page(records)
    assert report_pages(records, "x.html", len(whole.encode())) == (whole, None)
    first, second = report_pages(records, "my runs.html", len(whole.encode()) - 1)
    assert 'id="data"' not in first
    assert '<a href="my%20runs.html">The runs, one by one</a>' in first
    assert first.count("<table") == whole.count("<table") > 0
    assert data_of(second) == data_of(whole)
    assert second.count("<table") == 0
    assert 'id="cards"' in second
    assert {"<title>glorabench: mini</title>", "<title>glorabench: mini: the runs</title>"} <= {
        line for text in (first, second) for line in text.splitlines()
    }
    assert len(whole.encode()) < PAGE_LIMIT
    monkeypatch.setattr(
        "glorabench.reports.html.report.report_pages", lambda records, beside: report_pages(records, beside, 1000)
    )
    out = tmp_path / "out" / "all.html"
    assert main(["report", "mini", "--results", str(RESULTS / "quickstart"), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.parent.iterdir()) == ["all-runs.html", "all.html"]
    assert 'href="all-runs.html"' in out.read_text()
    assert capsys.readouterr().err.splitlines() == [str(out), str(out.with_name("all-runs.html"))]


@pytest.mark.parametrize("size", [200, 400])
def test_memory_of_a_front_grows_with_the_points_and_not_with_their_square(size):
    """Of 2,000 samples and 400 points the square would be 2.6 GB."""
    import tracemalloc

    generator = np.random.default_rng(0)
    top1, cost = generator.random((2000, size)), generator.random((2000, size))
    tracemalloc.start()
    on_front(top1, cost)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * top1.nbytes
