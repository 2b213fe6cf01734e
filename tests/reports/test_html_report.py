"""The report: one file that asks for nothing, the same for the same records, and what a browser makes of it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from html import escape, unescape
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from chromium import open_chromium
from glorabench import cli
from glorabench.analysis.cells import named_groups_of
from glorabench.analysis.comparison import Side, compare_sides
from glorabench.data.suites.vtab1k import VTAB_TASKS as ROWS
from glorabench.records import record
from glorabench.records.metrics import Metric
from glorabench.records.record import Record
from glorabench.reports.figures.svg import Scale, axis_of, spread_labels
from glorabench.reports.html.markup import Download, HtmlTable, csv_text
from glorabench.reports.html.report import report_page
from glorabench.reports.tables import suite

PAIR = ("lora", "glora")
ROOT = Path(__file__).resolve().parents[2]
VOID = {"meta", "link", "input", "br", "hr", "img"}
NASTY = '<script>alert("x")</script>'


def committed(folder: str) -> list[Record]:
    return record.read_all([ROOT / "results" / folder / "runs" / "mini"])


def another(r: Record, seed: int | None = None, method: str | None = None, upstream: bool = False) -> Record:
    """The run as it might have been with another seed, or by a method of another name."""
    config = json.loads(json.dumps(r.config))
    if seed is not None:
        config["seed"] = seed
    if method is not None:
        config["names"]["method"] = method
        config["method"]["_target_"] = method
    told = {"task": "glyphs", "n": 2048, "before": 0.91, "after": 0.9 - (len(config["names"]["method"]) % 7) / 10}
    told["metric"] = asdict(Metric("upstream", "upstream"))
    return replace(r, run_id=record.run_id(config), config=config, upstream=told if upstream else None)


def on_vtab(r: Record, task: str) -> Record:
    config = json.loads(json.dumps(r.config))
    config["names"] |= {"data": "vtab1k", "task": task}
    config["data"] = {"suite": "vtab1k", "task": task, "sha256": task}
    data = {"suite": "vtab1k", "task": task, "fingerprint": task}
    return replace(r, run_id=record.run_id(config), config=config, provenance={**r.provenance, "data": data})


def many(seeds: range, upstream: bool = False) -> list[Record]:
    """22 methods on two tasks."""
    first = [r for r in committed("methods") if r.config["seed"] == 0]
    lora = [r for r in first if r.names["method"] == "lora"]
    names = ("a method with a rather long name, of several words", "averylongnamewithoutanyspacesinit")
    first += [another(r, method=name) for r in lora for name in names]
    return [another(r, seed, upstream=upstream) for r in first for seed in seeds]


@pytest.fixture(scope="module")
def mini() -> list[Record]:
    return record.read_all([ROOT / "results" / "quickstart" / "runs" / "mini"])


@pytest.fixture(scope="module")
def text(mini: list[Record]) -> str:
    return report_page(mini)


class Reader(HTMLParser):
    """Holds the document to its nesting, and collects what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.said = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        self.said += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def files(text: str) -> dict[str, list[dict[str, str]]]:
    """The CSV files that a page offers."""
    links = re.findall(r'download="([^"]+)" href="data:text/csv;charset=utf-8,([^"]+)"', text)
    return {name: list(csv.DictReader(io.StringIO(unquote(unescape(data))))) for name, data in links}


def test_the_same_records_give_the_same_bytes_in_any_order(mini: list[Record], text: str) -> None:
    assert report_page(mini[::-1]) == text


def test_the_page_is_well_formed_and_its_ids_are_unique(text: str) -> None:
    ids = [value for _, name, value in read(text).attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_the_page_asks_for_nothing(text: str) -> None:
    loading = {"src", "href", "srcset", "data", "action", "poster", "xlink:href"}
    asked = [value for _, name, value in read(text).attributes if name in loading]
    assert asked
    assert all(value.startswith(("data:", "#")) for value in asked)
    assert not re.search(r"url\(|@import|https?:|fetch\(|XMLHttpRequest|import\(", text)


def test_four_hundred_runs_fit_into_two_megabytes() -> None:
    records = committed("glora")
    copies = [another(r, 100 + r.config["seed"] + 3 * i) for i in range(4) for r in records][:400]
    assert len({r.run_id for r in copies}) == 400
    made = report_page(copies)
    assert len(made.encode()) < 2e6
    runs = json.loads(made.split('id="data">')[1].split("</script>")[0])["runs"]
    assert {run["id"] for run in runs} == {r.run_id for r in copies}


def test_the_files_have_the_numbers_of_the_table(mini: list[Record], text: str) -> None:
    offered = files(text)
    rows = list(csv.DictReader(io.StringIO(suite.suite_csv(named_groups_of(mini), long=True))))
    assert offered["tasks-1.csv"] == rows
    tasks = {row["task"]: {r["method"]: float(r["top-1 %"]) for r in rows if r["task"] == row["task"]} for row in rows}
    assert len(tasks) == 3
    places = {f"bars-{task}.csv": task for task in ("digits", "dsprites_loc")}
    places |= {
        f"accuracy-{name}.csv": "mean of 2 tasks" for name in ("params", "peak_bytes", "latency_64", "latency_1")
    }
    for file, task in places.items():
        drawn = {row["method"]: float(row["top1_percent"]) for row in offered[file]}
        assert drawn == pytest.approx(tasks[task], abs=0.0051)


def test_what_is_not_known_is_said(text: str) -> None:
    assert "No record of this table says what its trunk forgot" in text
    assert "No figure of compute, time:" in text  # these records are older than stages
    assert "learning-forgetting" not in text


def test_forgetting_has_a_figure_where_records_say_it(mini: list[Record]) -> None:
    records = [another(r, upstream=r.names["method"] != "linear") for r in mini]
    made = report_page(records)
    rows = {row["method"]: row for row in files(made)["learning-forgetting.csv"]}
    assert len(rows) == 2
    assert float(rows["LoRA"]["upstream_after"]) == pytest.approx(50)
    assert float(rows["LoRA"]["upstream_before"]) == pytest.approx(91)
    assert "Not known of every run of linear probe" in made


def test_what_saw_the_test_split_is_on_no_front(mini: list[Record]) -> None:
    records = [replace(r, selection={**r.selection, "contaminated": r.names["method"] == "lora"}) for r in mini]
    rows = {row["method"]: row for row in files(report_page(records))["accuracy-params.csv"]}
    assert rows["LoRA [chosen on test]"]["front"] == "0"
    assert rows["LoRA [chosen on test]"]["p_front"] == ""
    assert rows["linear probe"]["front"] == "1"


def test_a_failed_run_has_a_card_and_leaves_the_figures_whole(mini: list[Record]) -> None:
    error = {"kind": "NonFiniteLoss", "message": "step 3"}
    lost = [r for r in mini if (r.names["method"], r.names["task"]) == ("lora", "digits")]
    failed = [replace(r, status="failed", metrics={}, cost={}, params={}, outcomes={}, error=error) for r in lost]
    made = report_page([*(r for r in mini if r not in lost), *failed])
    assert "Not drawn: LoRA, no result on digits" in made
    assert files(made)["bars-digits.csv"][-1] == {
        "method": "LoRA",
        "top1_percent": "failed",
        "low": "",
        "high": "",
        "n": "0",
    }
    data = json.loads(made.split('id="data">')[1].split("</script>")[0])
    facts = [data["facts"][i] for run in data["runs"] if run["score"] == "failed" for i in run["facts"]]
    assert [data["sections"].index("error"), "kind", "NonFiniteLoss"] in facts


def test_no_record_becomes_markup(mini: list[Record]) -> None:
    records = [another(r, method=NASTY if r.names["method"] == "lora" else None) for r in mini]
    assert NASTY not in report_page(records)
    assert NASTY in read(report_page(records)).said


def test_a_column_is_of_numbers_where_half_of_its_cells_are() -> None:
    rows = [("a", "1", "no"), ("b", "failed", "no"), ("c", "2", "1")]
    assert HtmlTable("x", "x", ("method", "top-1 %", "merge"), rows).kinds == ["text", "number", "text"]


def test_a_download_holds_the_text_as_it_is() -> None:
    text = csv_text(["a & b", "%#"], [['"quoted", 5 %', "é\n'<>"]])
    file = Download(text, "a b")
    link = f'download="{file.file}" href="{escape(file.address)}"'
    assert files(link) == {"a-b.csv": list(csv.DictReader(io.StringIO(text)))}


@pytest.mark.parametrize(
    ("values", "log", "texts"),
    [
        ([0, 1_000, 1_000_000], True, ["0", "10k", "100k", "1M"]),
        ([1.0, 1.1], False, ["1.000", "1.025", "1.050", "1.075", "1.100"]),
        ([5.0], False, ["4.8", "4.9", "5.0", "5.1", "5.2"]),
        ([0.0], False, ["-1.0", "-0.5", "0.0", "0.5", "1.0"]),
        ([2e12, 9e12], False, ["2T", "4T", "6T", "8T"]),
    ],
)
def test_ticks_are_round_and_within_the_axis(values: list[float], log: bool, texts: list[str]) -> None:
    scale = axis_of("x", values)
    ticks = scale.ticks(200, 40)
    assert scale.log == log
    assert [text for _, text in ticks] == texts
    places = [place for place, _ in ticks]
    assert all(0 <= place <= 1 for place in places)
    assert all((b - a) * 200 >= 40 - 1e-6 for a, b in pairwise(places))
    assert all(0 <= scale.place(value) <= 1 for value in values)


def test_an_accuracy_axis_ends_where_accuracies_end() -> None:
    assert axis_of("top-1 %", [98, 100], 0, 100) == Scale("top-1 %", 97.86, 100)


def test_labels_are_moved_apart_and_no_further() -> None:
    assert spread_labels([10, 50, 90], [10, 10, 10], 0) == [10, 50, 90]
    centres = spread_labels([20, 20, 21, 80], [10, 10, 20, 10], 0)
    ends = [(c - h / 2, c + h / 2) for c, h in zip(centres, [10, 10, 20, 10], strict=True)]
    assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(ends))
    assert centres[3] == 80
    assert spread_labels([0, 0], [10, 10], 0) == [5, 15]


def test_the_command_writes_one_file(mini: list[Record], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for r in mini:
        record.write_record(r, record.path_of(tmp_path, r.config))
    assert cli.main(["report", "--results", str(tmp_path)]) == 0
    assert (tmp_path / "report.html").read_text() == report_page(mini)
    assert cli.main(["report", "mini", "--results", str(tmp_path), "--out", str(tmp_path / "new" / "a.html")]) == 0
    assert (tmp_path / "new" / "a.html").is_file()
    assert cli.main(["report", "vtab1k", "--results", str(tmp_path)]) == 2
    assert cli.main(["report", "--results", str(tmp_path), "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "no records of suite 'vtab1k'" in said
    assert "cannot be written" in said


def test_the_page_opens_with_the_answer_of_compare_and_the_best_of_all() -> None:
    records = [r for r in record.read_all([ROOT / "results" / "runs" / "mini"]) if r.names["method"] in PAIR]
    said = read(report_page(records)).said
    lora, glora = (Side(n, [r for r in records if r.names["method"] == n and not r.names.get("search")]) for n in PAIR)
    wide = Side("lora", [r for r in lora.records if len(r.config["method"]["targets"]) == 6])
    difference = compare_sides(glora, wide).mean
    assert difference is not None
    numbers = [f"{100 * value:.2f}" for value in (difference.value, difference.low, difference.high)]
    answer = said[said.index("Is GLoRA better than LoRA?") :][:600]
    assert f"GLoRA (random path) is {numbers[0]} points above LoRA (all layers, r = 3)" in answer
    assert f"95 % interval {numbers[1]} to {numbers[2]}, 5 seeds" in answer
    assert answer.index("Not shown: with about as many parameters") < answer.index("1.06 times the parameters")
    assert "Best of all 4: GLoRA (searched), 71.80 %" in answer


def test_without_lora_and_glora_the_question_is_which_method_is_best(mini: list[Record]) -> None:
    said = read(report_page([r for r in mini if r.names["method"] != "glora"])).said
    assert "Which method learns these tasks best" in said
    assert "Best of all 2: LoRA" in said


def test_every_pair_of_the_picture_is_that_of_compare(mini: list[Record], text: str) -> None:
    data = json.loads(text.split('class="picture-data">')[1].split("</script>")[0])
    names = [point["name"] for point in data["points"]]
    methods = {"LoRA": "lora", "GLoRA, random path": "glora", "linear probe": "linear"}
    assert sorted(names) == sorted(methods)
    assert len(data["pairs"]) == 3
    for key, (mean, *tasks) in data["pairs"].items():
        sides = [
            Side(names[int(i)], [r for r in mini if r.names["method"] == methods[names[int(i)]]])
            for i in key.split(",")
        ]
        comparison = compare_sides(*sides)
        assert comparison.mean is not None
        assert mean[0] == pytest.approx(100 * comparison.mean.value, abs=0.0051)
        assert [row[0] for row in tasks] == pytest.approx(
            [100 * t.difference.value for t in comparison.tasks], abs=0.0051
        )
        assert data["tasks"] == [t.task for t in comparison.tasks]


# in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    opened = open_chromium()
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all that there is: 22 methods, forgetting, a mark, a wide table, a second suite."""
    full = many(range(3), upstream=True)
    marked = [replace(r, selection={**r.selection, "contaminated": r.names["method"] == "bitfit"}) for r in full]
    some = [r for r in marked if r.names["method"] in ("lora", "ssf", "vpt_deep") and r.names["task"] == "digits"]
    wide = [on_vtab(r, task) for r in some for task in (row.name for row in ROWS)]
    out = tmp_path_factory.mktemp("report") / "report.html"
    out.write_text(report_page([*marked, *wide]), encoding="utf-8")
    return out


def soon(browser: Any, css: str) -> Any:
    """What a browser draws in answer to an event that it sends a little later."""
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(browser, 10).until(lambda b: b.find_elements("css selector", css))[0]


VIEWS = [(width, scheme) for width in (390, 1440) for scheme in ("light", "dark")]


@pytest.fixture(params=VIEWS, ids=[f"{width}-{scheme}" for width, scheme in VIEWS])
def shown(request: pytest.FixtureRequest, browser: Any, place: Path) -> Any:
    width, scheme = request.param
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [feature]})
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(place.as_uri())
    return browser


def find(browser: Any, css: str) -> Any:
    return browser.find_element("css selector", css)


def test_it_opens_without_an_error_or_a_request_and_never_scrolls_sideways(shown: Any, place: Path) -> None:
    find(shown, "#cards summary").send_keys("\ue007")
    soon(shown, ".card")
    assert shown.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in shown.get_log("performance")]
    asked = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith("data:")} == {place.as_uri()}
    wide, there = shown.execute_script("let d = document.documentElement; return [d.scrollWidth, d.clientWidth]")
    assert wide <= there
    past = "return [...document.querySelectorAll('body *')].filter(n => !n.closest('.scroll, .vh, .skip') && "
    past += "n.getBoundingClientRect().right > innerWidth + 0.5).map(n => n.outerHTML.slice(0, 80))"
    assert shown.execute_script(past) == []


TEXTS = """return [...document.querySelectorAll('figure svg')].filter(svg => svg.checkVisibility()).map(svg => {
  const box = r => [r.left, r.top, r.right, r.bottom];
  return [box(svg.getBoundingClientRect()),
    [...svg.querySelectorAll('text')].map(t => [t.textContent, ...box(t.getBoundingClientRect())])];
})"""


def test_no_label_covers_another_or_is_cut(shown: Any) -> None:
    figures = shown.execute_script(TEXTS)
    assert len(figures) > 25
    assert max(len(labels) for _, labels in figures) > 22
    for (left, top, right, bottom), labels in figures:
        for said, x0, y0, x1, y1 in labels:
            assert x1 > x0, said
            assert left - 0.5 <= x0, said
            assert x1 <= right + 0.5, said
            assert top - 0.5 <= y0, said
            assert y1 <= bottom + 0.5, said
        for a, b in combinations(labels, 2):
            apart = a[3] <= b[1] + 0.5 or b[3] <= a[1] + 0.5 or a[4] <= b[2] + 0.5 or b[4] <= a[2] + 0.5
            assert apart, (a, b)


def test_no_heading_or_control_is_cut(shown: Any) -> None:
    find(shown, "#cards summary").send_keys("\ue007")
    soon(shown, ".card")
    kinds = "thead button, h1, h2, h3, figcaption, summary, .card th, .card td, label"
    cut = f"return [...document.querySelectorAll('{kinds}')]"
    cut += ".filter(n => n.scrollWidth > n.clientWidth + 1 && n.clientWidth).map(n => n.outerHTML.slice(0, 80))"
    assert shown.execute_script(cut) == []


def test_pointing_at_a_method_or_reaching_it_by_keyboard_shows_its_numbers(shown: Any) -> None:
    spot = next(s for s in shown.find_elements("css selector", "#g1 .picture .spot.lora") if s.is_displayed())
    tip = find(shown, "#g1 .tip")
    assert not tip.is_displayed()
    shown.execute_script("arguments[0].dispatchEvent(new PointerEvent('pointerenter'))", spot)
    assert tip.is_displayed()
    name = tip.find_element("css selector", "b").text
    assert spot.get_attribute("aria-label").startswith(f"{name}: ")
    assert "n = 3" in tip.text
    assert "parameters" in tip.text
    left, right, width = shown.execute_script(
        "const r = arguments[0].getBoundingClientRect(); return [r.left, r.right, innerWidth]", tip
    )
    assert left >= 0
    assert right <= width
    shown.execute_script("arguments[0].dispatchEvent(new PointerEvent('pointerleave'))", spot)
    assert not tip.is_displayed()
    shown.execute_script("arguments[0].focus()", spot)
    assert tip.is_displayed()
    spot.send_keys("\ue00c")  # Escape
    assert not tip.is_displayed()


def test_two_methods_are_compared_by_the_pointer_the_keyboard_and_the_lists(shown: Any) -> None:
    box = find(shown, "#g1 .difference")
    data = json.loads(find(shown, "#g1 .picture-data").get_attribute("textContent"))
    assert data["points"][data["first"][0]]["name"] in box.text  # the pair of the answer
    spots = {
        int(s.get_attribute("data-i")): s
        for s in shown.find_elements("css selector", "#g1 .picture .spot[data-i]")
        if s.is_displayed()
    }
    key = next(key for key in data["pairs"] if "0" not in key.split(","))
    first, second = map(int, key.split(","))
    shown.execute_script("arguments[0].dispatchEvent(new MouseEvent('click'))", spots[second])
    assert "Choose a second method" in box.text
    shown.execute_script("arguments[0].focus()", spots[first])
    spots[first].send_keys("\ue007")
    value = data["pairs"][key][0][0]
    assert f"{abs(value):.2f} points" in box.text
    assert [spots[i].get_attribute("aria-pressed") for i in (first, second)] == ["true", "true"]
    rows = shown.find_elements("css selector", "#g1 .difference tr")
    assert [row.find_element("css selector", "th").text for row in rows] == ["mean", *data["tasks"]]
    sign = "" if value == 0 else "\u2212" if value > 0 else "+"  # the second was chosen first
    assert rows[0].text.split("mean")[1].strip().startswith(f"{sign}{abs(value):.2f}")
    select = find(shown, "#g1 .first-side")
    shown.execute_script(
        "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change'))", select, str(first)
    )
    assert box.text == "Choose two different methods."


def test_the_switch_shows_one_cost_at_a_time(shown: Any) -> None:
    def visible() -> list[str]:
        figures = shown.find_elements("css selector", "[data-switch='cost-of-1'] figure")
        return [f.find_element("css selector", "figcaption").text for f in figures if f.is_displayed()]

    inputs = shown.find_elements("css selector", "input[name='cost-of-1']")
    assert len(inputs) > 2
    before = visible()
    shown.execute_script("arguments[0].click()", inputs[1])
    after = visible()
    assert len(before) == len(after) == 1
    assert before != after


def column(browser: Any, css: str, index: int) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0] + ' tbody tr')].filter(r => r.offsetParent)"
    return browser.execute_script(script + ".map(r => r.cells[arguments[1]].textContent)", css, index)


def test_a_column_is_sorted_by_keyboard_numbers_as_numbers(shown: Any) -> None:
    heads = shown.execute_script(
        "return [...document.querySelectorAll('#t-tasks-1 thead th')].map(h => h.innerText.trim())"
    )
    index = next(i for i, head in enumerate(heads) if head.startswith("params"))
    before = column(shown, "#t-tasks-1", index)
    button = find(shown, f"#t-tasks-1 th:nth-child({index + 1}) button")
    for keys, sign, said in (("\ue007", 1, "ascending"), (" ", -1, "descending")):
        button.send_keys(keys)
        now = column(shown, "#t-tasks-1", index)
        assert sorted(now) == sorted(before)
        numbers = [int(cell.replace(",", "")) for cell in now if cell]
        assert numbers == sorted(numbers, key=lambda x: sign * x)
        assert not any(now[len(numbers) :]), "what is no number stands last"
        head = find(shown, f"#t-tasks-1 th:nth-child({index + 1})")
        assert head.get_attribute("aria-sort") == said
    find(shown, "#t-tasks-1 th:nth-child(2) button").send_keys("\ue007")
    names = column(shown, "#t-tasks-1", 1)
    assert names == sorted(names, key=str.lower)
    assert head.get_attribute("aria-sort") == "none"


def test_the_filter_hides_rows_and_says_how_many_are_left(shown: Any) -> None:
    everything = column(shown, "#t-tasks-1", 1)
    field = find(shown, "#f-tasks-1")
    assert find(shown, 'label[for="f-tasks-1"]').text == "Filter rows"
    field.send_keys("Lora digits")
    rows = list(zip(column(shown, "#t-tasks-1", 0), column(shown, "#t-tasks-1", 1), strict=True))
    assert sorted(rows) == [("digits", "GLoRA, random path"), ("digits", "LoRA"), ("digits", "LoRA of peft")]
    assert find(shown, ".sheet:has(#f-tasks-1) .count").text == f"3 of {len(everything)} rows"
    for _ in "Lora digits":
        field.send_keys("\ue003")
    assert column(shown, "#t-tasks-1", 1) == everything


def test_the_runs_are_chosen_by_method_task_and_seed_and_a_card_opens_by_keyboard(shown: Any) -> None:
    for key, value in (("method", "ssf"), ("task", "mini: digits"), ("seed", "1")):
        find(shown, f"#r-{key}").send_keys(value)
    (summary,) = shown.find_elements("css selector", "#cards summary")
    assert "SSF mini: digits seed 1" in " ".join(summary.text.split())
    assert not shown.find_elements("css selector", ".card")
    shown.execute_script("arguments[0].focus()", summary)
    shown.switch_to.active_element.send_keys("\ue007")
    said = soon(shown, ".card").text
    for word in (
        "merge certificate",
        "max_abs_diff",
        "provenance",
        "configuration",
        "train_loss",
        "top1",
        "upstream.after",
    ):
        assert word in said, word
    link = find(shown, ".card a.csv").get_attribute("href")
    assert unquote(link).startswith("data:text/csv;charset=utf-8,epoch,value\n1,")


def test_the_keyboard_gets_everywhere_and_sees_where_it_is(shown: Any) -> None:
    find(shown, "body").send_keys("\ue004")
    first = shown.switch_to.active_element
    assert first.text == "Skip to the results"
    outline = shown.execute_script("return getComputedStyle(arguments[0]).outlineStyle", first)
    assert outline == "solid"
    first.send_keys("\ue007")
    assert shown.execute_script("return document.activeElement.id") == "main"
    nameless = "return [...document.querySelectorAll('input, select')].filter(n => !n.labels.length).length"
    assert shown.execute_script(nameless) == 0


def test_its_colours_follow_the_system_and_can_be_read(shown: Any, request: pytest.FixtureRequest) -> None:
    script = """
    const light = c => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const paper = light(getComputedStyle(document.body).backgroundColor);
    const seen = [...document.querySelectorAll('p, li, td, th, button, a, svg text, figcaption, h2')].map(n => {
      const s = getComputedStyle(n); const ink = light(n.closest('svg') ? s.fill : s.color);
      return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05); });
    return [paper, Math.min(...seen)];"""
    paper, contrast = shown.execute_script(script)
    assert (paper < 0.5) == ("dark" in request.node.name)
    assert contrast >= 4.5


def test_it_prints_without_controls_and_on_white(shown: Any) -> None:
    shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    style = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    assert shown.execute_script(style, "body", "backgroundColor") == "rgb(255, 255, 255)"
    for css in (".tools", ".switch", "nav", "a.csv", "#cards details"):
        assert shown.execute_script(style, css, "display") == "none", css
    assert shown.execute_script(style, ".scroll", "overflowX") == "visible"
    for width, left_out in ((1032, ""), (702, ".wide")):  # A4 without its margins; wide tables lie across
        paper = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        shown.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", paper)
        if left_out:
            hide = "document.querySelectorAll(arguments[0]).forEach(n => n.remove())"
            shown.execute_script(hide, left_out)
        assert shown.execute_script("return document.documentElement.scrollWidth") <= width
