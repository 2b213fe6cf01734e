"""The command line itself: help, the words and options of each command, what is refused, completion in a shell."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from glorabench.cli import main
from glorabench.cli.commands import COMMAND_GROUPS, command_name

ROOT = Path(__file__).parents[2]
RECORDS = ["--results", str(ROOT / "results" / "quickstart")]
COMMANDS = [function for functions in COMMAND_GROUPS.values() for function in functions]
HEAVY = ("torch", "numpy", "hydra", "pydantic", "lightning", "timm", "rich", "matplotlib", "yaml")


def help_of(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*words, "--help"]) == 0
    return capsys.readouterr().out


def test_help_lists_every_command_in_its_group(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(capsys=capsys)
    for title, functions in COMMAND_GROUPS.items():
        section = text.partition(f"\n{title}:\n")[2].partition("\n\n")[0]
        assert [line.split()[0] for line in section.splitlines()] == [*map(command_name, functions)]
    assert "glorabench run experiment=quickstart" in text.partition("Examples:")[2]


@pytest.mark.parametrize("command", COMMANDS, ids=command_name)
def test_a_command_is_a_function_whose_docstring_is_its_help(command, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(command_name(command), capsys=capsys)
    assert text.startswith(f"Usage: glorabench {command_name(command)} ")
    lines = inspect.getdoc(command).splitlines()
    assert f"\n  {lines[0]}\n" in text
    assert len(lines[0]) <= 68, "it must fit into a line of the list of commands"
    assert "Raises" not in text
    examples = [line.strip() for line in lines if line.startswith("    glorabench ")]
    assert all(example in text.partition("Examples:")[2] for example in examples)
    assert text.isascii(), "no boxes"
    assert text.replace("\n", "").isprintable(), "no colours"
    for parameter in inspect.signature(command).parameters.values():
        assert parameter.name in ("words", "suite", "conditions", "name", "run") or "--" in text


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom glorabench.cli import main\n"
        f"codes = [main([*words, '--help']) for words in {[[], *[[command_name(command)] for command in COMMANDS]]}]\n"
        f"print(set(codes), [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "{0} []"


def test_without_typer_the_command_names_the_way_out() -> None:
    words = [sys.executable, "-S", "-m", "glorabench.cli", "run"]  # -S: no site-packages
    environment = {**os.environ, "PYTHONPATH": str(Path(inspect.getfile(main)).parents[2])}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "glorabench: the package typer is not installed: `glorabench doctor` says what is missing\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from glorabench import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"glorabench {__version__}\n"


def test_words_and_options_stand_in_any_order(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for words in (
        ["table", "mini", "method=lora", "seed=0", *RECORDS, "--format", "csv", "--long"],
        ["table", "--format", "csv", "mini", "--long", "method=lora", *RECORDS, "seed=0"],
        ["table", *RECORDS, "--long", "--format=csv", "mini", "method=lora", "seed=0"],
        ["table", "method=lora", *RECORDS, "seed=0", "--format", "csv", "--long"],  # the suite may be left out
    ):
        assert main(words) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0].count("digits,lora,") == 1
    assert len(set(shown)) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "missing command (see `glorabench --help`)"),
        ("rnu", "no such command 'rnu'. Did you mean 'run'? (see `glorabench --help`)"),
        ("--foo", "`glorabench` has no option '--foo'."),
        ("run --alow x", "`glorabench run` has no option '--alow'; did you mean '--allow'?"),
        (
            "run method=lora --multirum seed=0,1",
            "`glorabench run` has no option '--multirum'; did you mean '--multirun'?",
        ),
        ("run -x", "`glorabench run` has no option '-x'"),
        ("table mini --fromat csv", "`glorabench table` has no option '--fromat'; did you mean '--format'?"),
        ("table --format txt", "--format 'txt'; did you mean 'text'? Known: csv, html, md, tex, text"),
        ("forgetting --format csv", "--format 'csv'. Known: html, md, tex, text"),
        ("compare --at param", "--at 'param'; did you mean 'params'? Known: flops, params, time"),
        ("push --mode off", "--mode 'off'; did you mean 'offline'? Known: offline, online"),
        ("table --results", "option '--results' requires an argument"),
        ("table --long=3", "option '--long' does not take a value"),
        ("page", "missing argument 'NAME' (see `glorabench page --help`)"),
        ("page one two", "got unexpected extra argument(s) (two)"),
        ("doctor now", "got unexpected extra argument(s) (now)"),
        ("pretrain", "missing option '--out'"),
        ("pretrain --out x --seed two", "--seed 'two': "),
        ("compare", "two sides are needed"),
        ("data", "data needs a word"),
        ("export", "export needs run=ID"),
        ("search", "search needs run=ID"),
        ("table mini \x1b[31mx", "'?[31mx' is no condition"),
        ("run --\x1b[31mx", "`glorabench run` has no option '--?[31mx'"),
    ],
)
def test_a_wrong_command_line_is_one_line(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.startswith(f"glorabench: {message}")
    assert out.err.count("\n") == 1
    assert out.err.strip().isprintable()


@pytest.mark.parametrize(
    ("shell", "line", "expected"),
    [
        ("bash", "glorabench ta", {"table"}),
        ("bash", "glorabench run method = lor", {"lora"}),  # bash cuts words at =
        ("bash", "glorabench run seed=1 method =", None),
        ("bash", "glorabench run -m method = lora,glor", {"lora,glora"}),
        ("bash", "glorabench table --format ", {"text", "md", "tex", "html", "csv"}),
        ("bash", "glorabench run nothing = ", set()),
        ("zsh", "glorabench run method=lor", {"method=lora"}),
        ("zsh", "glorabench run optimizer=s", {"optimizer=sgd", "optimizer=schedulefree"}),
        ("zsh", "glorabench run data=v", {"data=vtab1k"}),
        ("zsh", "glorabench run data=vtab1k data.task=ci", {"data.task=cifar"}),
        ("zsh", "glorabench run train.prec", {"train.precision="}),
        ("zsh", "glorabench run train.precision=1", {"train.precision=16-mixed"}),
        ("zsh", "glorabench run train.cache_features=f", {"train.cache_features=false"}),
        ("bash", "glorabench run train.epochs = ", set()),
    ],
)
def test_a_shell_completes_commands_options_and_names_of_conf(
    shell: str,
    line: str,
    expected: set[str] | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("_GLORABENCH_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    words = set(re.split(r"[\s\"():*]+", out)) - {"", "_arguments", "'"}
    if expected is None:
        expected = {path.stem for path in (ROOT / "conf" / "method").glob("[!_]*.yaml")}
    assert words == expected


def test_the_script_for_a_shell_calls_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_GLORABENCH_COMPLETE", "source_bash")
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    assert "complete -o default -F _glorabench_completion glorabench" in capsys.readouterr().out
