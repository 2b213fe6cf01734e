"""The rules of the source tree, read from its syntax trees."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "glorabench"
CONF = ROOT / "conf"
FILES = sorted(SRC.rglob("*.py"))
NAMES = [path.relative_to(SRC).as_posix() for path in FILES]
TREES = {name: ast.parse(path.read_text()) for name, path in zip(NAMES, FILES, strict=True)}
METHODS = {path.stem for path in (CONF / "method").glob("*.yaml")}
STDLIB = sys.stdlib_module_names

each_file = pytest.mark.parametrize("name", NAMES)


def imports(name: str) -> set[str]:
    """Every module that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno} imports relatively"
            module = node.module or ""
            inside = SRC.parent.joinpath(*module.split("."))
            submodules = {
                a.name for a in node.names if (inside / f"{a.name}.py").is_file() or (inside / a.name).is_dir()
            }
            found |= {f"{module}.{a}" for a in submodules}
            if len(submodules) < len(node.names):
                found.add(module)
    return found


def below(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def calls(name: str) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(TREES[name]) if isinstance(node, ast.Call))


def test_the_rules_look_at_the_whole_tree() -> None:
    assert {"config/compose.py", "methods/lora.py", "backbones/base.py", "data/images/task.py"} <= set(NAMES)
    assert {"lora", "glora", "full"} <= METHODS
    assert "hydra" in imports("config/compose.py")
    assert "glorabench.data.images.task" in imports("data/mini.py")


@each_file
def test_what_a_config_names_is_imported_in_one_place(name: str) -> None:
    used = [c.lineno for c in calls(name) if ast.unparse(c.func).endswith(("import_module", "__import__"))]
    assert bool(used) == (name in ("config/instantiate.py", "__init__.py")), used  # the latter: what the library offers
    assert "hydra.utils" not in imports(name), "its instantiate obeys whatever a config says"


@each_file
def test_hydra_is_known_to_three_files(name: str) -> None:
    if name not in ("config/compose.py", "config/words.py", "training/sweep.py"):
        assert not [module for module in imports(name) if below(module, "hydra")]


@each_file
def test_peft_is_known_to_two_files(name: str) -> None:
    if name not in ("methods/peft.py", "export/to_peft.py"):
        assert not [module for module in imports(name) if below(module, "peft")]


@each_file
def test_nothing_asks_what_a_method_is_called(name: str) -> None:
    if name.startswith("methods/"):
        return
    compared = []
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        else:
            continue
        strings = [c for part in parts for c in ast.walk(part) if isinstance(c, ast.Constant)]
        compared += [(c.lineno, c.value) for c in strings if c.value in METHODS]
    assert not compared


@each_file
def test_no_device_is_hard_wired(name: str) -> None:
    wired = [c.lineno for c in calls(name) if isinstance(c.func, ast.Attribute) and c.func.attr == "cuda"]
    assert not wired


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("methods/")])
def test_a_method_knows_torch_and_the_interface_of_backbones(name: str) -> None:
    reading = ("backbones.layer_kinds", "backbones.quantized", "backbones.precision")  # how a frozen weight is read
    known = ("backbones.base", *reading, "errors", "methods")
    bridged = ("peft", "glorabench.backbones.bitsandbytes_library") if name == "methods/peft.py" else ()
    allowed = ("torch", "numpy", *bridged, *STDLIB, *(f"glorabench.{module}" for module in known))
    assert not [module for module in imports(name) if not below(module, *allowed)]


def test_the_training_loop_knows_no_method() -> None:
    searching = [name for name in NAMES if name.startswith("search/")]
    for name in (
        "training/finetuner.py",
        "training/stage.py",
        "training/searched_run.py",
        "training/objectives/classification.py",
        "training/history.py",
        "training/measure/profiling.py",
        *searching,
    ):
        own = [m for m in imports(name) if below(m, "glorabench.methods")]
        assert set(own) <= {"glorabench.methods.base", "glorabench.methods.reparam"}, name


@pytest.mark.parametrize("name", ["cli/__init__.py", "cli/__main__.py", "cli/app.py"])
def test_the_command_itself_needs_no_torch(name: str) -> None:
    assert not [m for m in imports(name) if below(m, "torch", "lightning", "timm")]


def methods() -> list[tuple[str, str]]:
    """(module, class) of every Method, also of those that build on another one."""
    classes = [
        (
            f"glorabench.methods.{Path(name).stem}",
            node.name,
            {ast.unparse(base) for base in node.bases},
        )
        for name in NAMES
        if name.startswith("methods/")
        for node in TREES[name].body
        if isinstance(node, ast.ClassDef)
    ]
    kinds = {"Method"}
    while more := {kind for _, kind, bases in classes if bases & kinds} - kinds:
        kinds |= more
    return [(module, kind) for module, kind, bases in classes if bases & kinds]


TARGETS = {path.stem: yaml.safe_load(path.read_text())["_target_"] for path in (CONF / "method").glob("*.yaml")}


@pytest.mark.parametrize(("module", "kind"), methods())
def test_every_method_can_be_chosen_by_name(module: str, kind: str) -> None:
    assert f"{module}.{kind}" in TARGETS.values()


@pytest.mark.parametrize("option", sorted(TARGETS))
def test_every_name_of_a_method_is_a_method(option: str) -> None:
    assert tuple(TARGETS[option].rsplit(".", 1)) in methods()


@pytest.mark.parametrize(("module", "kind"), methods())
def test_a_method_has_no_values_of_its_own(module: str, kind: str) -> None:
    """Hyper-parameters stand in conf/ only."""
    tree = TREES[module.removeprefix("glorabench.").replace(".", "/") + ".py"]
    (node,) = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == kind]
    assert not [f.lineno for f in node.body if isinstance(f, ast.AnnAssign) and f.value is not None]


@each_file
def test_a_file_is_one_subject(name: str) -> None:
    assert len((SRC / name).read_text().splitlines()) <= 400


def test_a_function_is_one_thought() -> None:
    """At most 40 lines, the docstring apart."""
    long_functions = set()
    for name in NAMES:
        for node in ast.walk(TREES[name]):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                docs = node.body[0] if ast.get_docstring(node) else None
                spoken = docs.end_lineno - docs.lineno + 1 if docs and docs.end_lineno else 0
                if (node.end_lineno or 0) - node.lineno + 1 - spoken > 40:
                    long_functions.add(f"{name}: {node.name}")
    assert not long_functions


# public names that may be defined in several files
DOUBLES = {
    "load",  # glorabench.data.mini.load, data.files.load and data.folder.load, which conf/ and committed records name
    *("run", "pretrain"),  # a command is called as what it does
    *("count", "merge", "search"),  # and so is what the library offers: glorabench.count(model)
}


def public_names(tree: ast.Module) -> set[str]:
    """The functions, classes and constants that a module defines for others."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
    return {name for name in names if not name.startswith("_")}


def test_a_public_name_is_defined_once_in_the_package() -> None:
    files: dict[str, list[str]] = {}
    for file, tree in TREES.items():
        for name in public_names(tree):
            files.setdefault(name, []).append(file)
    doubles = {name: places for name, places in files.items() if len(places) > 1}
    assert doubles.keys() == DOUBLES, {name: doubles.get(name) for name in doubles.keys() ^ DOUBLES}


@each_file
def test_no_file_is_a_drawer_for_odds_and_ends(name: str) -> None:
    drawers = {"utils", "util", "common", "misc", "helpers", "tools"}
    assert not drawers & {part.removesuffix(".py") for part in name.split("/")}


def public(node: ast.Module | ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for child in node.body:
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not child.name.startswith("_"):
            yield child
        elif isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public(child)


@each_file
def test_whatever_is_public_says_what_it_does_and_takes(name: str) -> None:
    tree = TREES[name]
    assert ast.get_docstring(tree), "the module"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name
    for function in public(tree):
        assert ast.get_docstring(function), function.name
        assert function.returns is not None, f"{function.name} returns"
        args = function.args
        for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg):
            if arg is not None and arg.arg not in ("self", "cls"):
                assert arg.annotation is not None, f"{function.name}({arg.arg})"


@each_file
def test_errors_are_never_swallowed_whole(name: str) -> None:
    handlers = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.ExceptHandler)]
    assert not [h.lineno for h in handlers if h.type is None]
