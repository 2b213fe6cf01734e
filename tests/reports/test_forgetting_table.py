"""Learning against forgetting: known differences to full fine-tuning, what is left out, the command, file blocks."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from glorabench import cli
from glorabench.analysis import forgetting
from glorabench.analysis.cells import Group
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.metrics import Metric
from glorabench.records.record import Record
from glorabench.reports.tables import forgetting as forgetting_table
from test_costs import N, run

BEFORE = 0.9


def kept(method: str, right: int, after: float, seed: int = 0, task: str = "digits") -> Record:
    """A record with `right` of N examples right, whose trunk is left with `after` of its upstream accuracy."""
    upstream = {
        "task": "glyphs",
        "n": 1000,
        "before": BEFORE,
        "after": after,
        "metric": asdict(Metric("upstream", "upstream")),
    }
    return replace(run(method, right, seed, task), upstream=upstream)


RUNS = [
    *(kept("full", right, after, seed) for seed, (right, after) in enumerate([(40, 0.10), (42, 0.12), (41, 0.11)])),
    *(kept("lora", right, after, seed) for seed, (right, after) in enumerate([(35, 0.50), (36, 0.54), (37, 0.52)])),
    *(kept("glora", right, after, seed) for seed, (right, after) in enumerate([(38, 0.30), (45, 0.32), (40, 0.31)])),
    *(kept("linear", right, BEFORE, seed) for seed, right in enumerate([20, 20, 20])),
]


def test_differences_to_full_fine_tuning_are_those_of_the_same_seeds() -> None:
    found = {k.point.method: k for k in forgetting.forgetting_of_methods(Group(RUNS))[0]}
    assert found["full"].against_base is None
    lora = found["lora"]
    assert (lora.learned.value, lora.after.value, lora.forgotten.value) == pytest.approx((36 / N, 0.52, 0.38))
    learned, forgotten = lora.against_base or pytest.fail("no difference")
    assert learned.value == pytest.approx(-5 / N)
    half = 4.302652729911275 * (1 / N) / 3**0.5  # Student's t of two degrees of freedom; -5, -6 and -4 examples
    assert (learned.low, learned.high) == pytest.approx((-5 / N - half, -5 / N + half))
    assert forgotten.value == pytest.approx(-0.41)
    assert lora.verdict == "learns less, forgets less"
    assert found["glora"].verdict == "learns alike, forgets less"  # -2, 3 and -1 examples
    assert found["linear"].forgotten.value == 0
    assert "lora against full: learned -10.00 (-14.97 to -5.03), forgotten -41.00" in forgetting_table.against_full(
        lora
    )


def test_a_mean_is_over_tasks_before_seeds() -> None:
    runs = [
        kept(m, r + t, a, s, f"task{t}")
        for t in (0, 10)
        for s in (0, 1)
        for m, r, a in (("full", 30, 0.2), ("lora", 20, 0.4))
    ]
    found = {k.point.method: k for k in forgetting.forgetting_of_methods(Group(runs))[0]}
    assert found["lora"].learned.value == pytest.approx(25 / N)
    learned, forgotten = found["lora"].against_base or pytest.fail("no difference")
    assert (learned.value, learned.low, forgotten.value) == pytest.approx((-10 / N, -10 / N, -0.2))


def test_without_full_fine_tuning_there_is_no_verdict_and_what_says_nothing_is_left_out() -> None:
    silent = [replace(r, upstream=None) for r in RUNS if r.names["method"] == "full"]
    found, left = forgetting.forgetting_of_methods(Group([*silent, *RUNS[3:]]))
    assert [k.point.method for k in found] == ["lora", "glora", "linear"]
    assert not any(k.verdict for k in found)
    assert left == ["full: not every run says what it forgot"]
    with pytest.raises(BadInput, match="what it forgot upstream"):
        forgetting_table.forgetting_part(Group(silent))


def test_one_seed_has_a_difference_without_a_verdict_of_less_or_more() -> None:
    found = {k.point.method: k for k in forgetting.forgetting_of_methods(Group([RUNS[0], RUNS[3]]))[0]}
    assert found["lora"].verdict == "one seed"
    assert "(one seed)" in forgetting_table.against_full(found["lora"])


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for r in RUNS:
        record.write_record(r, record.path_of(tmp_path, r.config))
    return tmp_path


@pytest.mark.parametrize("form", ["text", "md", "tex", "html"])
def test_the_command_shows_all_methods_and_what_they_mean(
    results: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["forgetting", "mini", "--results", str(results), "--format", form]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for part in ("learns less, forgets less", "90.00", "1,000 images before fine-tuning", "paired differences"):
        assert part in out.replace("\\%", "%").replace("&#x27;", "'")


def test_a_block_of_a_file_is_replaced_and_only_that(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    empty = "<!-- forgetting:x -->\n<!-- /forgetting:x -->\n"
    page.write_text(f"a\n<!-- forgetting:mini -->\nold\n<!-- /forgetting:mini -->\nb\n{empty}")
    words = ["forgetting", "--results", str(results), "--into"]
    assert cli.main([*words, str(page)]) == 0
    first, _, rest = page.read_text().partition("<!-- /forgetting:mini -->")
    assert first.startswith("a\n<!-- forgetting:mini -->\n**")
    assert "old" not in first
    assert rest == f"\nb\n{empty}"
    assert cli.main([*words, f"{page}#x"]) == 0
    assert page.read_text().count("learns less, forgets less") == 2 * first.count("learns less, forgets less")


def test_a_file_without_the_block_is_refused(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = results / "page.md"
    page.write_text("nothing\n")
    for into, said in ((page, "needs one block <!-- forgetting:mini -->"), (results / "none.md", "no file")):
        assert cli.main(["forgetting", "--results", str(results), "--into", str(into)]) == 2
        assert said in capsys.readouterr().err
    assert page.read_text() == "nothing\n"
