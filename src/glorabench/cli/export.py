"""The `export` command: a finished run as files for others. Light until called."""

from __future__ import annotations

from pathlib import Path

from glorabench.cli.options import Allow, Words
from glorabench.errors import BadInput, one_of


def export(words: Words = None, allow: Allow = None) -> int:
    """Write a finished run as a checkpoint or an adapter.

    The words are run=ID and to=FORMAT, and if needed out=, results_dir= and backbone.weights_from=.
    to=merged is a plain timm or Hugging Face checkpoint. to=adapter is for glorabench.export.load. to=peft is for
    peft.PeftModel. docs/export.md says what each holds.

    Examples:
        glorabench export run=3fa9 to=merged                                beginning of a run's id; below results/
        glorabench export run=3fa9 to=peft out=/models/digits results_dir=/data/results
        glorabench export run=3fa9 to=adapter backbone.weights_from=/data/ViT-B_16.npz

    Raises:
        BadInput: a word that it does not know, no such run, or the folder is there already.
    """
    from glorabench.config.instantiate import allow_packages
    from glorabench.export import folder, summary
    from glorabench.files import safe_name
    from glorabench.training.trained_network import WEIGHTS, parse_export_words, run_of_words

    values = parse_export_words(words or [], ["run", "to", "out", "results_dir", WEIGHTS])
    for key, value in (("run", "ID"), ("to", "|".join(folder.FORMATS))):
        if key not in values:
            raise BadInput(f"export needs {key}={value}")
    one_of("to", values["to"], folder.FORMATS)
    with allow_packages(allow or ()):
        root, record, overrides = run_of_words(values)
        method, task = safe_name(record.names["method"]), safe_name(record.names["task"])
        name = f"{method}-{task}-s{record.config['seed']}-{record.run_id}-{values['to']}"
        out = Path(values["out"]).expanduser() if "out" in values else root / "exports" / name
        adapter = root / "adapters" / f"{record.run_id}.safetensors"
        files = folder.export_run(record, adapter, values["to"], out, overrides)
    summary.print_export(files, values["to"])
    return 0
