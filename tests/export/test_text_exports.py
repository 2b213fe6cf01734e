"""What a text run exports is read by transformers or peft alone, where glorabench cannot be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from glorabench import cli
from glorabench.backbones.llama_mini import llama_mini_folder
from glorabench.export import load
from glorabench.records import record

BASE = [
    "backbone=llama_mini", "data=mini_text", "train=mini_text", "data.task=record_form", "train.epochs=1",
    "trainer.limit_train_batches=3", "selection.fit_on=train", "selection.report_on=val", "data.max_new_tokens=2",
    "train.lr=5e-2", "train.warmup_epochs=0", "latency_rounds=0", "logger=none", "progress=none",
]  # fmt: skip
METHODS = {  # name -> words, and the forms that it can take
    "lora": ("method=lora", ("merged", "adapter", "peft")),
    "glora": ("method=glora method.path={A:lora,B:lora,C:none,D:none,E:none}", ("merged", "adapter", "peft")),
    "full": ("method=full", ("merged",)),
    "vpt_shallow": ("method=vpt_shallow", ("adapter",)),
}
_READER = """
import sys, torch
from pathlib import Path
from safetensors.torch import load_file, save_file
class Wall:
    def find_spec(self, name, *rest):
        if name.split(".")[0] == "glorabench":
            raise ImportError("glorabench is not here")
sys.meta_path.insert(0, Wall())
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base, places = sys.argv[1], sys.argv[2:]
for place in map(Path, places):
    tokens = load_file(place / "tokens.safetensors")["tokens"]
    if (place / "adapter_config.json").exists():
        net = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), place).eval()
        tokenizer = AutoTokenizer.from_pretrained(base)
    else:
        net, tokenizer = AutoModelForCausalLM.from_pretrained(place).eval(), AutoTokenizer.from_pretrained(place)
    text = tokenizer("Question: Where does Ben live? Answer:", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        save_file({"logits": net(input_ids=tokens).logits, "text": text}, place / "logits.safetensors")
assert "glorabench" not in sys.modules
print("read", len(places))
"""


@pytest.mark.usefixtures("cache")
@pytest.mark.campaign
def test_each_export_has_the_logits_of_the_trained_network_without_this_package(tmp_path: Path) -> None:
    results, tokens = tmp_path / "results", torch.randint(3, 2048, (2, 20), generator=torch.Generator().manual_seed(0))
    expected: dict[Path, torch.Tensor] = {}
    for name, (words, forms) in METHODS.items():
        assert cli.main(["run", *BASE, *words.split(), f"results_dir={results}"]) == 0
        (made,) = [r for r in record.read_all([results / "runs"]) if r.names["method"] == name]
        folders = {form: tmp_path / f"{name}-{form}" for form in (*forms, "adapter")}
        for form, out in folders.items():
            words_of_export = [f"run={made.run_id}", f"to={form}", f"out={out}", f"results_dir={results}"]
            assert cli.main(["export", *words_of_export]) == 0
        with torch.no_grad():
            logits = load(folders["adapter"])(tokens)
        for form in set(forms) - {"adapter"}:
            save_file({"tokens": tokens}, folders[form] / "tokens.safetensors")
            expected[folders[form]] = logits
    words = [sys.executable, "-c", _READER, str(llama_mini_folder()), *map(str, expected)]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ""}, cwd=tmp_path)
    assert done.stdout.strip().endswith(f"read {len(expected)}"), done.stderr
    for folder, logits in expected.items():
        answer = load_file(folder / "logits.safetensors")
        assert (answer["logits"] - logits).abs().max() <= 1e-4 * logits.abs().max(), folder.name
        assert answer["text"][0, 0] == 1
    assert len({tuple(logits.flatten()[:5].tolist()) for logits in expected.values()}) == 3
