"""What a run imports: nothing that it does not use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from glorabench.cli import main
code = main(sys.argv[1:])
unused = [name for name in ("transformers", "peft", "wandb", "nltk") if name in sys.modules]
import glorabench.backbones.llama
import wandb
from lightning.pytorch.loggers.wandb import _WANDB_AVAILABLE
print(code, unused, "transformers" in sys.modules, bool(_WANDB_AVAILABLE))
"""


def test_a_run_on_images_imports_no_package_of_others_and_says_nothing_on_standard_error(
    cache: Path, results: Path
) -> None:
    """What needs such a package, a Llama or the logger, can still import it afterwards."""
    words = ["run", "method=lora", "train.epochs=1", "train.warmup_epochs=0", "logger=none", "latency_rounds=0"]
    line = [sys.executable, "-c", CODE, *words, "progress=none", f"results_dir={results}"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "0 [] True True"


def test_words_are_refused_before_torch_is_imported() -> None:
    """Who mistypes a key waits a second for the answer, not for the libraries of a training."""
    code = "import sys; from glorabench.cli import main; code = main(sys.argv[1:]); print(code, 'torch' in sys.modules)"
    line = [sys.executable, "-c", code, "run", "method=lora", "train.epoch=1"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["2 False"]
    assert "did you mean 'train.epochs'?" in done.stderr
