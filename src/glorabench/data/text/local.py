"""Load texts from files on this machine: your own, or those of data sets of papers (docs/text.md)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from glorabench.data.text.answers import SENTENCE_END
from glorabench.data.text.files.checking import alpaca_file, check_texts, text_options, text_task_name
from glorabench.data.text.files.collection import TextCollection, TextOptions
from glorabench.data.text.task import TextSettings, TextTask
from glorabench.errors import BadInput

_ROUGES: Final = ("rouge_l", "rouge1", "rouge2", "rouge_lsum")


def load(
    form: str,
    root: str | None,
    cache_dir: str,
    template: str,
    max_length: int,
    truncate: str | None,
    loss_on: str,
    max_new_tokens: int = 1,
    pack: bool = False,
    num_beams: int = 1,
    task: str | None = None,
    kind: str | None = None,
    protocol: str | None = None,
    fields: Mapping[str, Any] | None = None,
    metrics: list[str] | None = None,
    unit: str = "file",
    max_chars: int | None = None,
    sets: list[str] | None = None,
    train_size: int | None = None,
    val_size: int | None = None,
    test_size: int | None = None,
    split_seed: int = 0,
    allow_duplicates: bool = False,
    sha256: str | None = None,
) -> TextTask:
    """The task of a file or folder of texts, after the same check as `glorabench data check`.

    Args:
        form: text, alpaca, sharegpt, samsum, commonsense, metamathqa or pretrain_text.
        root: a file or a folder.
        cache_dir: the folder below which tokens are kept.
        template, max_length, truncate, loss_on, max_new_tokens, pack, num_beams: see `TextSettings`.
        task: name of the task; None for the name of the root.
        kind: generation, multiple_choice or language_modelling; None for what is usual for the form.
        protocol: of commonsense: llm_adapters (generated text names an option) or loglikelihood.
        fields: the names of the fields of `text`: prompt, completion, context, choices, answer, text.
        metrics: what is computed, the first decides; None for what is usual.
        unit, max_chars, sets, train_size, val_size, test_size, split_seed: see `TextOptions`.
        allow_duplicates: accept one prompt in two splits; the record counts them.
        sha256: hash of the examples, part of the id of a run; None accepts any.

    Raises:
        BadInput: the texts are missing, damaged or contradict themselves.
    """
    node = locals().copy()
    return _task(node, TextSettings(template, max_length, truncate, loss_on, max_new_tokens, pack, num_beams))


def _task(node: Mapping[str, Any], settings: TextSettings) -> TextTask:
    """The task of a config node."""
    texts, options = check_texts(node), text_options(node)
    if node["sha256"] not in (None, texts.fingerprint):
        raise BadInput(f"the texts in {node['root']} have changed since this run was composed: start it again")
    metrics = tuple(node["metrics"] or _usual_metrics(options, settings))
    return TextTask(
        suite=options.form,
        name=text_task_name(node),
        group=options.form,
        kind=options.kind,
        metrics=metrics,
        splits={**texts.splits, "trainval": [*texts.splits["train"], *texts.splits["val"]]},
        fingerprint=texts.fingerprint,
        settings=settings,
        cache_dir=str(Path(node["cache_dir"]).expanduser()),
        facts=_facts(texts, options, metrics),
        groups=texts.groups,
    )


def _usual_metrics(options: TextOptions, settings: TextSettings) -> tuple[str, ...]:
    """The metrics of a form; the first decides. Bits per byte need whole texts."""
    if options.kind == "multiple_choice":
        return ("acc", "acc_norm")
    if options.kind == "language_modelling":
        if options.form == "sharegpt" or settings.truncate == "end":
            return ("loss",)
        return ("bits_per_byte", "loss") if options.form == "pretrain_text" else ("loss", "bits_per_byte")
    own = {"commonsense": ("right_word", "unparsed"), "metamathqa": ("right_number", "unparsed"), "samsum": _ROUGES}
    return own.get(options.form, ("exact_match", "token_f1", "rouge_l"))


def _facts(texts: TextCollection, options: TextOptions, metrics: tuple[str, ...]) -> dict[str, Any]:
    """Facts for the record: sizes and origin of the splits, and what is known of the file and of the scores."""
    facts: dict[str, Any] = {
        "texts": {split: len(examples) for split, examples in texts.splits.items()},
        "split": texts.origin,
        "fake": texts.is_fake,
    }
    if texts.left_out:
        facts["left_out"] = dict(texts.left_out)
    if texts.duplicates:
        facts["duplicates"] = dict(texts.duplicates)
    if options.form == "alpaca":
        facts["file"] = alpaca_file(texts)
    if any(name.startswith("rouge") for name in metrics):
        facts["rouge"] = {"package": f"rouge-score {version('rouge-score')}", "stemmer": True, "splitter": SENTENCE_END}
    return facts
