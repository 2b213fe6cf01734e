"""Pages: numbers that come from records, bytes that stay, what is missing, what is not overwritten."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import ttest_1samp

from glorabench import cli
from glorabench.analysis.comparison import Side, compare, select
from glorabench.config.compose import compose
from glorabench.config.paths import options
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.record import Record
from glorabench.reports import claims
from glorabench.reports.figures import search_curves
from glorabench.reports.tables.comparison import conclusion_of
from glorabench.training.objectives.classification import TOP1
from test_long_table import made

TASKS = ("digits", "dsprites_loc")
SEEDS = (0, 1, 2)
STAGES = {"retrain": (1.5, 4e12), "search": (2.5, 2e12), "supernet": (3.0, 1e12)}
LORA = {"label": "LoRA", "where": {"method": "lora"}}
GLORA = {"label": "GLoRA", "where": {"method": "glora", "search": "evolution"}}
RANDOM = {"label": "random", "where": {"method": "glora", "search": "random"}}
PAGE = {
    "title": "A title",
    "text": "Some words.\n",
    "comparisons": [
        {"claim": "GLoRA wins", "first": GLORA, "second": LORA, "note": "A note."},
        {"claim": "Search matters", "first": GLORA, "second": RANDOM},
    ],
    "curves": [GLORA, RANDOM],
    "curse": [RANDOM, GLORA],
}


def found(score: float, held_out: float | None, best: list[list[Any]]) -> dict[str, Any]:
    """What a search found, as a record says it."""
    split = {"n": 150, "n_held_out": 50 if held_out is not None else 0}
    return {"evaluated": 20, "score": score, "held_out": held_out, "first": 0.25, "best": best, **split}


def runs() -> list[Record]:
    stages = {name: {"seconds": s, "flops": f} for name, (s, f) in STAGES.items()}
    train = {"train": {"seconds": 10.0, "flops": 14e12}}
    records = []
    for index, task in enumerate(TASKS):
        for seed in SEEDS:
            base = 100 + 10 * index
            best = [[1, 0.3], [3 + seed, 0.5 + 0.02 * seed]]
            searched = found(0.5 + 0.02 * seed, 0.45 - 0.01 * index, best)
            records += [
                made("lora", task, seed, base + seed, params=400, stages=train),
                made("glora", task, seed, base + 30, params=500, search="evolution", found=searched, stages=stages),
                made("glora", task, seed, base + 31 - seed, params=500, search="random", found=searched, stages=stages),
            ]
    return records


RECORDS = runs()


def side(described: dict[str, Any], records: list[Record] = RECORDS) -> Side:
    return Side(described["label"], select(records, described["where"]))


def table(text: str, heading: str) -> list[list[str]]:
    """The cells below a heading of a page, head included and rule left out."""
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line[2:-2].split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return [row for row in rows if not set("".join(row)) <= set("-: ")]


def test_the_summary_says_of_each_claim_what_the_comparison_says() -> None:
    first, second = table(claims.rendered(PAGE, RECORDS)["README.md"], "What holds")[1:]
    wins = compare(side(GLORA), side(LORA))
    assert first == [
        "GLoRA wins",
        "**holds**",
        "14.50",  # mean of 30 - (0, 1, 2) of 200 on both tasks
        f"{TOP1.difference_text(wins.mean.low)} to {TOP1.difference_text(wins.mean.high)}",
        "3",
        " / ".join(map(str, wins.tally)),
        "1.25",
        "0.50",
    ]
    assert second[:3] == ["Search matters", "**not decided**", "0.00"]
    assert second[-2:] == ["1.00", "1.00"]
    assert wins.tally == (2, 0, 0)


def test_a_claim_that_the_records_speak_against_does_not_hold() -> None:
    turned = {**PAGE, "comparisons": [{"claim": "LoRA wins", "first": LORA, "second": GLORA}]}
    assert table(claims.rendered(turned, RECORDS)["README.md"], "What holds")[1][1:3] == ["**does not hold**", "-14.50"]


def test_each_claim_stands_task_by_task_with_its_conclusion_and_note() -> None:
    text = claims.rendered(PAGE, RECORDS)["README.md"]
    compared = compare(side(GLORA), side(LORA))
    assert f"\n## 1. GLoRA wins\n\n{conclusion_of(compared)}.\n\nA note.\n\n| task |" in text
    rows = table(text, "1. GLoRA wins")
    assert rows[0] == ["task", "GLoRA", "LoRA", "points", "95 % interval", "n", "outcome"]
    for row, on in zip(rows[1:], compared.tasks, strict=False):
        d = on.difference
        assert row[:4] == [on.task, f"{100 * on.first:.2f}", f"{100 * on.second:.2f}", TOP1.difference_text(d.value)]
        assert row[4:] == [f"{TOP1.difference_text(d.low)} to {TOP1.difference_text(d.high)}", "3", "win"]
    assert rows[-1][:4] == ["mean of 2", "67.50", "53.00", "14.50"]
    assert "\n## 2. Search matters\n\nNot decided: GLoRA minus random is " in text


def test_the_cost_of_each_stage_is_told_once_for_each_configuration() -> None:
    rows = table(claims.rendered(PAGE, RECORDS)["README.md"], "Cost")
    assert rows[1:6] == [
        ["GLoRA", "`method=glora, search=evolution`", "6", "500", "supernet", "3.0", "1.000"],
        ["", "", "", "", "search", "2.5", "2.000"],
        ["", "", "", "", "retrain", "1.5", "4.000"],
        ["", "", "", "", "together", "7.0", "7.000"],
        ["LoRA", "`method=lora`", "6", "400", "train", "10.0", "14.000"],
    ]
    assert [row[0] for row in rows[1:] if row[0]] == ["GLoRA", "LoRA", "random"]


def test_records_that_say_no_stages_have_no_price() -> None:
    one = {**PAGE, "comparisons": [{"claim": "c", "first": LORA, "second": FULL}], "curves": [], "curse": []}
    records = [made(method, seed=seed) for method in ("lora", "full") for seed in SEEDS]
    text = claims.rendered(one, records)["README.md"]
    assert [row[4:] for row in table(text, "Cost")[1:]] == [["not recorded", "", ""]] * 2
    assert table(text, "What holds")[1][-1] == ""
    assert "winner's curse" not in text
    assert "curves" not in text


FULL = {"label": "full", "where": {"method": "full"}}


def test_the_winners_curse_is_the_score_minus_that_on_images_that_chose_nothing() -> None:
    (_, random, glora) = table(claims.rendered(PAGE, RECORDS)["README.md"], "The winner's curse")
    gaps = [0.5 + 0.02 * seed - (0.45 + 0.44) / 2 for seed in SEEDS]
    expected = ttest_1samp(gaps, 0).confidence_interval(0.95)
    assert glora == [
        "GLoRA",
        "150 / 50",
        "20",
        "25.00",
        "52.00",
        "44.50",
        "67.50",
        f"7.50 ({TOP1.difference_text(expected.low)} to {TOP1.difference_text(expected.high)})",
    ]
    assert random[0] == "random"


def test_a_search_without_held_out_images_has_no_curse_to_show() -> None:
    records = [
        made("glora", search=name, seed=s, found=found(0.5, None, [[1, 0.5]]))
        for name in ("evolution", "random")
        for s in SEEDS
    ]
    one = {**PAGE, "comparisons": PAGE["comparisons"][1:]}
    (_, random, _) = table(claims.rendered(one, records)["README.md"], "The winner's curse")
    assert (random[1], random[5], random[7]) == ("150 / 0", "", "")


def test_a_curve_is_the_mean_of_step_functions() -> None:
    points = [p[2:] for p in search_curves.best_so_far([side(GLORA)]) if p[:2] == ("GLoRA", "digits")]
    # rises: 3 -> 0.50 (seed 0), 4 -> 0.52 (seed 1), 5 -> 0.54 (seed 2)
    means = [0.3, (0.5 + 0.3 + 0.3) / 3, (0.5 + 0.52 + 0.3) / 3, 0.52, 0.52]
    assert [count for count, _ in points] == [1, 3, 4, 5, 20]
    assert [best for _, best in points] == pytest.approx(means)


def test_the_numbers_of_the_figure_lie_beside_it() -> None:
    files = claims.rendered(PAGE, RECORDS)
    drawn = search_curves.best_so_far([side(GLORA), side(RANDOM)])
    read = list(csv.reader(io.StringIO(files["curves.csv"])))
    assert read[0] == ["configuration", "task", "candidates", "best"]
    assert [(n, t, int(c), float(b)) for n, t, c, b in read[1:]] == [(*p[:3], pytest.approx(p[3])) for p in drawn]
    assert "(curves.svg)" in files["README.md"]
    assert "(curves.csv)" in files["README.md"]


def test_the_figure_names_configurations_and_tasks_and_no_date() -> None:
    svg = claims.rendered(PAGE, RECORDS)["curves.svg"]
    words = [
        "".join(node.itertext()).strip() for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("}text")
    ]
    assert {"GLoRA", "random", *TASKS} <= set(words)
    assert "<dc:date>" not in svg


def test_the_same_records_give_the_same_bytes_in_any_order() -> None:
    files = claims.rendered(PAGE, RECORDS)
    assert claims.rendered(PAGE, RECORDS[::-1]) == files
    assert claims.rendered(PAGE, runs()) == files


def test_every_number_of_the_records_that_is_shown_moves_the_page() -> None:
    other = [r if r.names["method"] != "lora" else made("lora", r.names["task"], r.config["seed"], 99) for r in RECORDS]
    assert claims.rendered(PAGE, other)["README.md"] != claims.rendered(PAGE, RECORDS)["README.md"]


def test_what_saw_the_test_split_is_marked_and_decides_nothing() -> None:
    records = [made("lora", task, seed, 50) for task in TASKS for seed in SEEDS]
    records += [
        made("glora", task, seed, 190, search="evolution", on="test", found=found(0.5, 0.4, [[1, 0.5]]))
        for task in TASKS
        for seed in SEEDS
    ]
    one = {**PAGE, "comparisons": PAGE["comparisons"][:1], "curves": [GLORA], "curse": [GLORA]}
    files = claims.rendered(one, records)
    assert table(files["README.md"], "What holds")[1][1] == "**not decided**"
    assert "Not decided: GLoRA saw the test split." in files["README.md"]
    for heading in ("Cost", "The winner's curse"):
        assert table(files["README.md"], heading)[1][0] == "GLoRA [chosen on test]"
    assert table(files["README.md"], "1. GLoRA wins")[0][1] == "GLoRA [chosen on test]"
    assert "GLoRA [chosen on test],digits,1," in files["curves.csv"]


@pytest.mark.parametrize("index", range(len(RECORDS)))
def test_a_record_that_is_gone_is_named(index: int) -> None:
    gone = RECORDS[index]
    label = {None: "LoRA", "evolution": "GLoRA", "random": "random"}[gone.names.get("search")]
    with pytest.raises(BadInput) as refused:
        claims.rendered(PAGE, [r for r in RECORDS if r is not gone])
    told = f"{label} on {gone.names['task']}, seed {gone.config['seed']}"
    assert re.findall(r"\w+ on \w+, seed \d", str(refused.value)).count(told) == 1


def test_every_configuration_that_is_gone_is_named() -> None:
    with pytest.raises(BadInput) as refused:
        claims.rendered(PAGE, [r for r in RECORDS if r.names.get("search") == "random"])
    assert "GLoRA: no record has search=evolution: those with method=glora have random" in str(refused.value)
    assert "LoRA: no record has method=lora: they have glora" in str(refused.value)
    with pytest.raises(BadInput, match=r"(?s)GLoRA: .*LoRA: .*random: there are no records"):
        claims.rendered(PAGE, [])


@pytest.mark.parametrize("key", ["curves", "curse"])
def test_what_has_no_search_has_neither_curve_nor_curse(key: str) -> None:
    with pytest.raises(BadInput, match="LoRA: its records have no search"):
        claims.rendered({**PAGE, key: [LORA]}, RECORDS)


@pytest.mark.parametrize("name", options("page"))
def test_each_configuration_of_a_page_is_one_that_can_be_run(name: str) -> None:
    """The conditions, given to `glorabench run`, make a config that they choose, and no other condition does."""
    described = claims.spec(name)
    wheres = {}
    for item in described["comparisons"]:
        wheres |= {item[which]["label"]: item[which]["where"] for which in ("first", "second")}
    wheres |= {item["label"]: item["where"] for key in ("curves", "curse") for item in described[key]}
    made = {}
    for label, where in wheres.items():
        firsts = {key: value[0] if isinstance(value, list) else value for key, value in where.items()}
        # groups first: their values are changed by the others
        words = sorted((f"{k}={v}" for k, v in firsts.items() if v is not None), key=lambda word: word.count("."))
        config = compose(words)
        made[label] = Record(record.run_id(config), "done", config)
    assert {label: select(made.values(), where) for label, where in wheres.items()} == {k: [v] for k, v in made.items()}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a page `mine` of conf/ and its records below results/mine, in which the command runs."""
    conf = tmp_path / "conf"
    (conf / "page").mkdir(parents=True)
    (conf / "run.yaml").write_text("seed: 0\n")
    (conf / "page" / "mine.yaml").write_text(
        "title: Mine\ntext: Words.\ncomparisons:\n"
        "- {claim: c, first: &glora {label: G, where: {method: glora, search: evolution}},\n"
        "   second: {label: L, where: {method: lora}}}\n"
        "curves: [*glora]\n"
    )
    for r in RECORDS:
        record.write(r, record.path_of(tmp_path / "results" / "mine", r.config))
    monkeypatch.setenv("GLORABENCH_CONF", str(conf))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_writes_the_page_beside_its_records_and_again_the_same(place: Path) -> None:
    assert cli.main(["page", "mine"]) == 0
    folder = place / "results" / "mine"
    files = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    assert set(files) == {"README.md", "curves.svg", "curves.csv"}
    assert files["README.md"].startswith("<!-- written by `glorabench page mine`: change conf/page/mine.yaml")
    assert str(place) not in "".join(files.values())
    assert cli.main(["page", "mine", "--results", "results/mine"]) == 0
    assert {name: (folder / name).read_text() for name in files} == files
    assert cli.main(["page", "mine", "--out", "elsewhere"]) == 0
    assert {path.name: path.read_text() for path in (place / "elsewhere").iterdir()} == files


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["page", *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return said


def test_the_command_says_what_is_missing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "page 'mne'; did you mean 'mine'?" in refusal(capsys, "mne")
    assert "no records below empty/runs" in refusal(capsys, "mine", "--results", "empty")
    gone = next(path for path in (place / "results").rglob("lora-*-digits-s1-*.json"))
    gone.unlink()
    assert "runs are missing: L on digits, seed 1. " in refusal(capsys, "mine")
    assert not (place / "results/mine/README.md").exists()
    gone.write_text("{")
    assert gone.name in refusal(capsys, "mine")


def test_a_page_written_by_hand_stays(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    readme = place / "results" / "mine" / "README.md"
    readme.write_text("# Mine\n")
    assert "README.md was written by hand" in refusal(capsys, "mine")
    assert readme.read_text() == "# Mine\n"
    assert not (readme.parent / "curves.svg").exists()


def test_a_folder_that_cannot_be_made_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "file").write_text("")
    assert "file/out cannot be written" in refusal(capsys, "mine", "--out", "file/out")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("title: Mine\n", "", "'title' is missing"),
        ("title", "titel", "no key 'titel'; did you mean 'title'?"),
        ("text: Words.", "text: [1]", "text is a text, got [1]"),
        ("curves: [*glora]", "curves: 3", "curves is a list, got 3"),
        ("curves: [*glora]", "curves: [G]", "expected label, where, got 'G'"),
        ("curves: [*glora]", "curves: [{label: G, where: {method: lora}}]", "'G' is two configurations"),
        ("label: L, where: {method: lora}", "label: L", "'where' is missing"),
        ("where: {method: lora}", "where: lora", "where of 'L' is keys and values, got 'lora'"),
        ("claim: c, ", "", "'claim' is missing"),
        ("claim: c, ", "clam: c, claim: c, ", "no key 'clam'; did you mean 'claim'?"),
        ("curves: [*glora]", "curves: [*glor]", "mine.yaml: "),
    ],
)
def test_a_page_that_is_not_made_as_one_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, named: str
) -> None:
    path = place / "conf" / "page" / "mine.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    said = refusal(capsys, "mine")
    assert named in said
    assert "mine.yaml" in said
