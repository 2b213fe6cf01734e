"""Language models of Hugging Face's folders: recognised, read, refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from glorabench import cli
from glorabench.backbones.base import Backbone
from glorabench.backbones.generation import generate
from glorabench.backbones.hf_text import TEXT_FAMILIES, hf_text_backbone
from glorabench.checksum import sha256_of
from glorabench.config.compose import compose
from glorabench.config.instantiate import BACKBONE, make
from glorabench.config.text_folder import TEXT_MODELS
from glorabench.errors import BadInput
from tiny_text_models import save_tiny_text_model

CAUSAL = [name for name in TEXT_FAMILIES if name != "t5"]


def read(family: str, folder: Path, dtype: str = "float32") -> Backbone:
    return hf_text_backbone("mine", family, "auto", str(folder), None, dtype)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_tiny_text_model("qwen3", tmp_path / "qwen", shards="100KB")
    return tmp_path / "qwen"


def composed(folder: Path, *words: str) -> dict:
    return compose(["backbone=hf_text", f"backbone.weights_from={folder}", *words])["backbone"]


def test_the_known_types_are_those_that_can_be_built() -> None:
    assert tuple(TEXT_FAMILIES) == TEXT_MODELS


@pytest.mark.parametrize("family", TEXT_FAMILIES)
def test_logits_are_those_of_transformers_and_roles_are_all_layers(family: str, tmp_path: Path) -> None:
    theirs = save_tiny_text_model(family, tmp_path / "model", shards="100KB")
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 1
    made = read(family, tmp_path / "model")
    tokens = torch.randint(3, 2000, (3, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        rest = {"decoder_input_ids": theirs._shift_right(tokens)} if family == "t5" else {}
        assert torch.equal(made.net(tokens), theirs(input_ids=tokens, **rest).logits)
    names = ["q", "k", "v", "o", "gate", "up", "down", *(f"cross_{r}" for r in "qkvo" if family == "t5")]
    linear = {path for path, module in made.net.named_modules() if isinstance(module, torch.nn.Linear)}
    assert {site.path for site in made.sites(names)} == linear - {"lm_head"}
    blocks = 4 if family == "t5" else 2
    for role in ("block", "norm1", "attn", "norm2", "mlp", "in1", "out1", "in2", "out2"):
        assert [site.depth for site in made.sites([role])] == list(range(blocks)), role
    assert made.weights["sha256"] == sha256_of(tmp_path / "model")


@pytest.mark.parametrize("family", CAUSAL)
def test_packed_texts_and_padded_prompts_change_nothing(family: str, tmp_path: Path) -> None:
    theirs = save_tiny_text_model(family, tmp_path / "model")
    net = read(family, tmp_path / "model").net
    tokens = torch.randint(3, 2000, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        positions = torch.cat([torch.arange(9), torch.arange(11)]).expand(2, -1)
        packed = net.logits(net.hidden(tokens, positions))
        alone = torch.cat([net(tokens[:, :9]), net(tokens[:, 9:])], dim=1)
    torch.testing.assert_close(packed, alone, rtol=0, atol=1e-5)
    mask = torch.ones_like(tokens)
    mask[0, :7] = 0
    expected = theirs.generate(tokens, attention_mask=mask, max_new_tokens=9, do_sample=False, eos_token_id=None)
    assert generate(net, tokens, mask, 9, end=-1) == expected[:, 20:].tolist()
    lone = theirs.generate(tokens[:1, 7:], max_new_tokens=9, do_sample=False, eos_token_id=None)
    assert lone[0, 13:].tolist() == expected[0, 20:].tolist()


def test_a_config_says_what_the_folder_holds(folder: Path) -> None:
    node = composed(folder)
    assert (node["name"], node["model"], node["sha256"]) == ("qwen", "qwen3", sha256_of(folder))
    assert node["model_args"]["num_hidden_layers"] == 2
    random = make({**node, "weights_from": None}, BACKBONE)  # what the latency of a plain network is measured on
    shapes = {name: p.shape for name, p in make(node, BACKBONE).net.named_parameters()}
    assert {name: p.shape for name, p in random.net.named_parameters()} == shapes


def test_null_in_a_config_stays_null(tmp_path: Path) -> None:
    """Mistral 0.3 has no window, and transformers' default is one of 4,096 tokens."""
    save_tiny_text_model("mistral", tmp_path / "mistral", sliding_window=None)
    node = composed(tmp_path / "mistral")
    assert node["model_args"]["sliding_window"] is None
    assert make({**node, "weights_from": None}, BACKBONE).net.config.sliding_window is None


def test_flan_t5_base_has_its_published_size() -> None:
    """247,577,856 with a head of its own, as in the checkpoint (v1.1 ties nothing)."""
    with torch.device("meta"):
        made = make(compose(["backbone=flan_t5"])["backbone"], BACKBONE)
    assert sum(p.numel() for p in made.net.parameters()) == 247_577_856
    assert made.text.start == 0


def test_flan_t5_takes_the_sizes_of_another_folder(tmp_path: Path) -> None:
    save_tiny_text_model("t5", tmp_path / "flan-t5-tiny")
    node = compose(["backbone=flan_t5", f"backbone.weights_from={tmp_path / 'flan-t5-tiny'}"])["backbone"]
    assert (node["name"], node["model_args"]["d_model"]) == ("flan_t5", 32)


def test_the_first_t5_has_no_gate(tmp_path: Path) -> None:
    save_tiny_text_model("t5", tmp_path / "t5", feed_forward_proj="relu")
    made = read("t5", tmp_path / "t5")
    assert {site.path.rpartition(".")[2] for site in made.sites(["up"])} == {"wi"}
    with pytest.raises(BadInput, match="no role 'gate'"):
        made.sites(["gate"])


def test_a_tokenizer_without_padding_pads_with_its_end(folder: Path, tmp_path: Path) -> None:
    """What is padded is never scored and never seen."""
    from glorabench.training.build import build

    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["pad_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert AutoTokenizer.from_pretrained(folder).pad_token is None
    words = ["backbone=hf_text", f"backbone.weights_from={folder}", "data=mini_text", "train=mini_text", "method=lora"]
    parts = build(compose([*words, f"cache_dir={tmp_path}"]))
    assert parts.data.pad == 2
    batch = next(iter(parts.data.training_batches("train")))
    net = parts.backbone.net.eval()
    with torch.no_grad():
        losses = parts.objective.loss(net, batch)
        batch.tokens[batch.tokens == 2] = 0
        ends = batch.targets == 2
        assert ends.sum() == len(batch)  # the end of a text is learned, padding is not
        assert torch.equal(parts.objective.loss(net, batch), losses)


# Refusals: one line, exit code 2


def edit_config(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(config))

    return edit


def drop_shard(folder: Path) -> None:
    (folder / "model-00002-of-00003.safetensors").unlink()


def drop_all_shards(folder: Path) -> None:
    for file in folder.glob("*.safetensors"):
        file.unlink()


def pointer(folder: Path) -> None:
    path = folder / "model-00001-of-00003.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4976698672\n")


def pickled(folder: Path) -> None:
    drop_all_shards(folder)
    (folder / "model.safetensors.index.json").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")


def foreign_tensor(folder: Path) -> None:
    path = folder / "model-00003-of-00003.safetensors"
    tensors = load_file(path)
    save_file({f"more.{name}": tensor for name, tensor in tensors.items()}, path, {"format": "pt"})


def big_tokenizer(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<{n}>" for n in range(9)])
    tokenizer.save_pretrained(folder)


def no_end(folder: Path) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["eos_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "another model": (edit_config(model_type="mamba"), "the layers of a 'mamba' are not known. Known: gemma, gemma2"),
    "no type": (edit_config(model_type=None), "the layers of a 'None' are not known"),
    "quantised": (edit_config(quantization_config={"quant_method": "gptq"}), "holds quantised weights"),
    "a lost shard": (drop_shard, "model-00002-of-00003.safetensors is missing (1 of the files"),
    "no shards": (drop_all_shards, "is missing (3 of the files"),
    "a broken index": (lambda f: (f / "model.safetensors.index.json").write_text("{"), "index.json cannot be read"),
    "a gated pointer": (pointer, "model-00001-of-00003.safetensors is a pointer of Git LFS"),
    "pickles alone": (pickled, "its *.bin are not read"),
    "other tensors": (foreign_tensor, "holds another architecture"),
    "no config": (lambda f: (f / "config.json").unlink(), "config.json cannot be read"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer"),
    "a larger tokenizer": (big_tokenizer, "tokens, but the network knows 2048"),
    "no end of a text": (no_end, "has no token that ends a text (eos)"),
    "other sizes": (edit_config(num_attention_heads=3), "qwen3"),
}
RUN = ["backbone=hf_text", "data=mini_text", "train=mini_text", "method=lora", "progress=none", "logger=none"]


@pytest.mark.parametrize("fault", SPOILED)
def test_a_folder_that_cannot_be_used_is_refused_in_one_line(fault: str, folder: Path, cache, capsys) -> None:
    spoil, message = SPOILED[fault]
    spoil(folder)
    assert cli.main(["run", *RUN, f"backbone.weights_from={folder}", f"results_dir={folder}/results"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert message in line
    assert "Traceback" not in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "needs a folder: backbone.weights_from=FOLDER"),
        (["backbone.weights_from=meta-llama/Llama-3.1-8B"], "nothing is downloaded: fetch the model (a gated one"),
        (["backbone.weights_from=hub"], "there is no folder hub"),
        (["backbone.weights_from=null"], "random weights need a model type"),
        (["backbone.weights_from=null", "backbone.model=bert"], "the layers of a 'bert' are not known"),
        (["backbone.weights_from=null", "backbone.model=llama", "backbone.dtype=int8"], "backbone.dtype 'int8'"),
        (["backbone=flan_t5", "backbone.weights_from=/nowhere"], "no config.json and *.safetensors in /nowhere"),
    ],
)
def test_words_that_name_no_model_are_refused(words: list[str], message: str, tmp_path: Path, capsys) -> None:
    assert cli.main(["run", *RUN, *words, f"results_dir={tmp_path}"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert message in line


def test_flan_t5_refuses_a_folder_of_another_type(folder: Path, capsys) -> None:
    assert cli.main(["run", *RUN, "backbone=flan_t5", f"backbone.weights_from={folder}"]) == 2
    assert "holds a qwen3, this backbone is a t5" in capsys.readouterr().err
