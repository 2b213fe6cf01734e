"""Methods on every family of language models: from a saved folder, trained a step, merged, back into transformers."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from glorabench.backbones.base import Backbone
from glorabench.backbones.hf_text import TEXT_FAMILIES, hf_text_backbone
from glorabench.config.auto_family import AUTO
from glorabench.config.instantiate import METHOD, make
from glorabench.config.method_defaults import default_method_node
from glorabench.config.paths import options
from glorabench.data.text.batches import TextBatch
from glorabench.data.text.datamodule import TextData
from glorabench.data.text.encoding import Encoder
from glorabench.data.text.task import TextExample, TextSettings, TextTask
from glorabench.errors import BadInput
from glorabench.export.to_merged import write_merged
from glorabench.methods.base import Method
from glorabench.methods.reparam import has_foldable, merge, merge_obstacle, merging_adds_bias
from glorabench.training.measure.profiling import certificate
from glorabench.training.objectives.language import Generation
from tiny_text_models import save_tiny_text_model

VALUES = {
    "glora": {"path": {"A": "lora", "B": "lora", "C": "none", "D": "none", "E": "none"}},
    "peft": {"args": {"r": 2, "lora_alpha": 2}},
}
BIASES = {"qwen2"}  # whose queries, keys and values have biases
UNSUPPORTED = {  # method: the reason, for every family unless it is named
    "linear": "trains nothing on .*: it has no head",
    "bitfit": "trains nothing on .*: it has no biases",
    "vpt_shallow": "has no class token|VPT puts prompts among the tokens",
    "convpass": "has no role|patch tokens",
}
UNSUPPORTED_PAIRS = {
    ("vpt_deep", "t5"): "VPT puts prompts among the tokens of a ViT; .* is none",
    **{  # keys and values are fewer than queries: no square
        (name, family): "FacT cuts weights into 32 x 32 slices; role 'k'"
        for name in ("fact_tk", "fact_tt")
        for family in TEXT_FAMILIES
        if family != "t5"
    },
}
EXAMPLES = [
    TextExample(f"Tell me {word}", f"a {word} with {word}s") for word in ("one", "two", "three", "a small four")
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("families")

    @cache
    def folder(family: str) -> Path:
        save_tiny_text_model(family, root / family, shards="100KB")
        return root / family

    return folder


def read(family: str, folder: Path) -> Backbone:
    return hf_text_backbone(f"tiny_{family}", family, AUTO, str(folder), None, "float32")


def method(name: str, backbone: Backbone) -> Method:
    node = default_method_node(name, AUTO, None, VALUES.get(name, {}), tuple(backbone.roles))
    if "rank" in node:
        node["rank"] = min(node["rank"], 2)
    return make(node, METHOD)


def text_batch(backbone: Backbone) -> TextBatch:
    settings = TextSettings("plain", 64, None, "response", 8)
    splits = dict.fromkeys(("train", "val", "trainval", "test"), EXAMPLES)
    task = TextTask("s", "t", "g", "generation", ("exact_match",), splits, "f", settings, "")
    encoder = Encoder(backbone.tokenizer, "", settings, 256, backbone.text.start)
    data = TextData(task, encoder, fit_on="trainval", report_on="test", batch_size=4, eval_batch_size=4, seed=0)
    data._rows[("train", False, False)] = encoder.encode(EXAMPLES, all_choices=False)
    return data._collator("train", training=True)(range(4))


@torch.no_grad()
def plain_logits(family: str, folder: Path, tokens: torch.Tensor) -> torch.Tensor:
    if family == "t5":
        net = AutoModelForSeq2SeqLM.from_pretrained(folder, local_files_only=True).eval()
        return net(input_ids=tokens, decoder_input_ids=net._shift_right(tokens)).logits
    return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()(input_ids=tokens).logits


def check(name: str, family: str, folder: Path, out: Path) -> None:
    """A step moves what is trained and nothing else; merged, it computes the same, in transformers, too."""
    torch.manual_seed(0)
    backbone = read(family, folder)
    method(name, backbone).inject(backbone)
    net, batch = backbone.net, text_batch(backbone)
    before = {key: p.detach().clone() for key, p in net.named_parameters()}
    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1.0)
    for _ in range(2):
        optimizer.zero_grad()
        net.train()
        Generation(["exact_match"], backbone.tokenizer, 8).loss(net, batch).backward()
        torch.nn.utils.clip_grad_norm_(trained, 0.5)
        optimizer.step()
    net.eval()
    moved = {key for key, p in net.named_parameters() if not torch.equal(p, before[key])}
    assert moved <= {key for key, p in net.named_parameters() if p.requires_grad}
    assert moved
    if merge_obstacle(net) is not None:
        return
    tokens = batch.example_inputs
    if has_foldable(net):
        proof = certificate(net, merge(copy.deepcopy(net)), tokens)
        assert proof["max_abs_diff"] < 1e-4
    with torch.no_grad():
        logits = net(tokens)
    assert not torch.allclose(logits, plain_logits(family, folder, tokens), atol=1e-4)
    if merging_adds_bias(net):
        with pytest.raises(BadInput, match="tensors that the original network does not have"):
            write_merged(backbone, lambda: read(family, folder).net, out)
        return
    write_merged(backbone, lambda: read(family, folder).net, out)
    torch.testing.assert_close(plain_logits(family, out, tokens), logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["lora", "glora"])
@pytest.mark.parametrize("family", TEXT_FAMILIES)
def test_a_folder_is_trained_merged_and_read_by_transformers(family: str, name: str, folders, tmp_path: Path) -> None:
    check(name, family, folders(family), tmp_path / "merged")


def reason(name: str, family: str) -> str | None:
    if name == "bitfit" and family in BIASES:
        return None
    return UNSUPPORTED_PAIRS.get((name, family)) or UNSUPPORTED.get(name)


@pytest.mark.campaign
@pytest.mark.parametrize("name", [name for name in options("method") if name not in ("lora", "glora")])
@pytest.mark.parametrize("family", TEXT_FAMILIES)
def test_every_method_works_or_says_why_not(family: str, name: str, folders, tmp_path: Path) -> None:
    if (words := reason(name, family)) is None:
        check(name, family, folders(family), tmp_path / "merged")
        return
    backbone = read(family, folders(family))
    with pytest.raises(BadInput, match=words):
        method(name, backbone).inject(backbone)


def test_cross_attention_is_adapted_like_self_attention() -> None:
    """As peft does on a T5: its default names q and v, whatever they attend to."""
    backbone = hf_text_backbone("t5", "t5", AUTO, None, None, "float32", {"d_model": 8, "num_heads": 2, "d_kv": 4})
    assert method("lora", backbone).targets == ("q", "v", "cross_q", "cross_v")
    assert method("ia3", backbone).targets == ("k", "v", "down", "cross_k", "cross_v")
