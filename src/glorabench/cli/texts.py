"""The `data` command for texts: check files, or write fake ones to rehearse with. Light: no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glorabench.errors import BadInput, first_line, nearest

_FREE = ("max_length", "truncate", "loss_on", "max_new_tokens", "num_beams", "pack")  # a check does not need them


def names_of_forms() -> list[str]:
    """The forms of texts, which are the options of the group `data`, too."""
    from glorabench.data.text.files.forms import TEXT_FORMS

    return list(TEXT_FORMS)


def check_one_form(form: str, settings: Mapping[str, str]) -> int:
    """Check the texts of a form below `root`, with the options of conf/data/FORM.yaml and those that are given.

    Returns:
        0, or 2 where something is wrong.

    Raises:
        BadInput: an option is unknown or has an impossible value.
    """
    from glorabench.data.text.files.checking import check_template, text_options
    from glorabench.data.text.files.collection import UnreadableRows, collect_texts
    from glorabench.data.text.files.summary import print_texts

    node = _options_of_form(form, settings)
    options, texts = text_options(node), None
    check_template(form, options.kind, str(node["template"]), node.get("metrics"))
    try:
        texts = collect_texts(node["root"], options)
        problems = [] if node["allow_duplicates"] else list(texts.leaks)
    except UnreadableRows as error:
        problems = list(error.faults)
    except OSError as error:
        problems = [f"{error.filename or node['root']} cannot be read ({error.strerror}): check its permissions"]
    except BadInput as error:
        problems = [str(error)]
    print_texts(form, str(node["root"]), texts, problems)
    return 2 if problems else 0


def _options_of_form(form: str, settings: Mapping[str, str]) -> dict[str, Any]:
    """The node of conf/data, with the given values in the form that YAML has."""
    import yaml

    from glorabench.config.paths import conf_dir

    node: dict[str, Any] = yaml.safe_load((conf_dir() / "data" / f"{form}.yaml").read_text())
    keys = [key for key in node if key not in ("_target_", "form", "cache_dir", "sha256", "task", *_FREE)]
    for key, text in settings.items():
        name, _, part = key.partition(".")
        if name not in keys:
            raise BadInput(f"no key '{key}' here{nearest(key, keys)}")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise BadInput(f"{key}={text} is no value ({first_line(error)})") from error
        if part:
            node[name] = {**(node[name] or {}), part: value}
        else:
            node[name] = text if key == "root" else value
    return node


def fake_one_form(form: str, settings: Mapping[str, str]) -> int:
    """Write fake texts of a form into `root`/FORM.

    Raises:
        BadInput: no root is given, or other files are there.
    """
    from glorabench.data.text.files.faking import write_fake_texts

    if set(settings) != {"root"}:
        raise BadInput(f"to fake texts say where, and nothing else: `glorabench data fake {form} root=FOLDER`")
    root = Path(settings["root"]).expanduser()
    is_new = write_fake_texts(form, root)
    place = root / form
    print(f"{form}, fake, in {place}{'' if is_new else ' (it was there)'}: glorabench data check {form} root={place}")
    return 0
