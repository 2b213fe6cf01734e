"""Check the texts of a run before it starts, and identify them by what they say. Light: no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from glorabench.checksum import sha256_of
from glorabench.data.text.files.collection import TextCollection, TextOptions, collect_texts
from glorabench.data.text.files.forms import METRICS_OF_KIND, TEXT_FIELDS, TEXT_FORMS
from glorabench.data.text.files.reading import UNITS
from glorabench.data.text.task import TextKind
from glorabench.data.text.templates import TEMPLATES, chat_template
from glorabench.errors import BadInput, check_whole_number, nearest, one_of

LOCAL_LOADER: Final = "glorabench.data.text.local.load"
PROTOCOLS: Final[Mapping[str, TextKind]] = {"llm_adapters": "generation", "loglikelihood": "multiple_choice"}
_SIZES: Final = ("train_size", "val_size", "test_size", "max_chars")
# Files that are called Alpaca. The hash is that of the file in the repository stanford_alpaca, as the description of
# that file on Hugging Face's hub gives it; the numbers of rows are those that the repositories state.
_ALPACA_SHA256: Final = "2eddafc6b977608d778aaab8dfc7e50e547b3af9826dfb9e909d9fc362e4a419"
_ALPACA_ROWS: Final = {52_002: "alpaca_data.json of Stanford", 51_760: "alpaca-cleaned of yahma"}


def text_options(data: Mapping[str, Any]) -> TextOptions:
    """The options of a config node or of a command line.

    Raises:
        BadInput: a value is impossible.
    """
    form_name = data.get("form")
    one_of("data.form", form_name, TEXT_FORMS)
    form = TEXT_FORMS[str(form_name)]
    kind = data.get("kind") or form.kinds[0]
    if data.get("protocol") is not None:
        one_of("data.protocol", data["protocol"], PROTOCOLS)
        kind = PROTOCOLS[data["protocol"]]
    one_of("data.kind", kind, form.kinds)
    one_of("data.unit", data.get("unit") or "file", UNITS)
    for key in _SIZES:
        if data.get(key) is not None:
            check_whole_number(f"data.{key}", data[key])
    check_whole_number("data.split_seed", data.get("split_seed", 0), 0)
    fields = {name: name for name in form.fields} | dict(data.get("fields") or {})
    for name, value in fields.items():
        if name not in (form.fields or TEXT_FIELDS):
            raise BadInput(f"data.fields.{name}: no such field{nearest(name, form.fields)}")
        names = value if isinstance(value, list | tuple) else [value]
        if not all(isinstance(part, str) for part in names) and value is not None:
            raise BadInput(f"data.fields.{name} must be the name of a field, got {value!r}")
    sizes = {key: data.get(key) for key in _SIZES}
    sets = None if data.get("sets") is None else list(data["sets"])
    unit, seed = data.get("unit") or "file", data.get("split_seed", 0)
    return TextOptions(str(form_name), kind, fields, unit, sets=sets, split_seed=seed, **sizes)


def check_template(form: str, kind: TextKind, template: str, metrics: list[str] | None) -> None:
    """Refuse a template or metrics that do not fit the form.

    Raises:
        BadInput: naming the key.
    """
    one_of("data.template", template, TEMPLATES)
    if form == "sharegpt":
        chat_template(template)
    for name in metrics or ():
        one_of("data.metrics", name, METRICS_OF_KIND[kind])


def text_task_name(data: Mapping[str, Any]) -> str:
    """The name of the task: the given one, or that of its file or folder."""
    if data.get("task"):
        return str(data["task"])
    path = Path(str(data.get("root") or data.get("form"))).expanduser().absolute()
    return (path.stem if path.is_file() else path.name) or str(data.get("form"))


def identify_texts(data: Mapping[str, Any]) -> dict[str, Any]:
    """The name of the task, and the hash of its examples; None where they have a fault, which the check reports.

    Raises:
        BadInput: the value of an option is impossible.
    """
    task, options = text_task_name(data), text_options(data)
    if data.get("sha256"):
        return {"task": task}
    try:
        return {"task": task, "sha256": collect_texts(data.get("root"), options).fingerprint}
    except (BadInput, OSError):
        return {"task": task, "sha256": None}


def check_texts(data: Mapping[str, Any]) -> TextCollection:
    """The examples of a run, checked.

    Raises:
        BadInput: something is missing, cannot be read or contradicts itself, or a prompt is in two splits.
    """
    options = text_options(data)
    check_template(options.form, options.kind, str(data.get("template")), data.get("metrics"))
    try:
        texts = collect_texts(data.get("root"), options)
    except OSError as error:
        raise BadInput(f"{error.filename or data.get('root')} cannot be read ({error.strerror})") from error
    if texts.leaks and not data.get("allow_duplicates"):
        raise BadInput(texts.leaks[0])
    return texts


def alpaca_file(texts: TextCollection) -> str:
    """Which of the files called Alpaca the training examples are from, and how that is known."""
    path, rows = texts.train_file
    if path.is_file() and path.suffix == ".json" and sha256_of(path) == _ALPACA_SHA256:
        return f"{_ALPACA_ROWS[52_002]} (sha256)"
    return f"{_ALPACA_ROWS[rows]} (by its {rows:,} rows)" if rows in _ALPACA_ROWS else f"unknown ({rows:,} rows)"
