"""Llama: where its layers are, reading a folder of Hugging Face's, what methods do on it."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

from conftest import tiny_llama
from glorabench.backbones.llama import LLAMA, llama_backbone
from glorabench.checksum import sha256_of
from glorabench.config.compose import compose
from glorabench.config.instantiate import BACKBONE, make
from glorabench.errors import BadInput
from glorabench.methods.reparam import Reparametrized, merge
from glorabench.training.build import build
from test_methods import batch, loss, method_of

SIZES = {
    **{"vocab_size": 60, "hidden_size": 32, "intermediate_size": 88, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 4},
}
LAYER = "model.layers.{}."
SITES = {  # role: the path in a layer, the width of what it gives or of the stream it belongs to
    "block": ("", 32),
    "norm1": ("input_layernorm", 32),
    "in1": ("input_layernorm", 32),
    "attn": ("self_attn", 32),
    "q": ("self_attn.q_proj", 32),
    "k": ("self_attn.k_proj", 32),
    "v": ("self_attn.v_proj", 32),
    "o": ("self_attn.o_proj", 32),
    "out1": ("self_attn.o_proj", 32),
    "norm2": ("post_attention_layernorm", 32),
    "in2": ("post_attention_layernorm", 32),
    "mlp": ("mlp", 32),
    "gate": ("mlp.gate_proj", 88),
    "up": ("mlp.up_proj", 88),
    "down": ("mlp.down_proj", 32),
    "out2": ("mlp.down_proj", 32),
}


@pytest.mark.parametrize("role", SITES)
def test_a_role_is_one_place_in_every_layer(role):
    path, width = SITES[role]
    found = tiny_llama().sites([role])
    assert [(s.path, s.depth, s.width, s.axis, s.rows) for s in found] == [
        (f"{LAYER.format(depth)}{path}".rstrip("."), depth, width, -1, None) for depth in (0, 1)
    ]


def test_the_last_norm_follows_all_layers_and_no_other_role_is_known():
    (site,) = tiny_llama().sites(["norm"])
    assert (site.path, site.depth, site.width) == ("model.norm", 2, 32)
    assert set(LLAMA) == {*SITES, "norm", "trunk"}


def test_the_linear_roles_are_all_linear_layers_of_the_trunk():
    made = tiny_llama()
    linear = {path for path, m in made.net.named_modules() if isinstance(m, nn.Linear)}
    sites = made.sites(["q", "k", "v", "o", "gate", "up", "down"])
    assert {site.path for site in sites} == linear - {"lm_head"}
    assert [site.depth for site in sites] == [0] * 7 + [1] * 7


def test_it_maps_tokens_to_logits_and_no_position_sees_a_later_token():
    net = tiny_llama().net
    tokens, _ = batch("llama")
    logits = net(tokens)
    assert logits.shape == (*tokens.shape, 60)
    changed = tokens.clone()
    changed[:, 4] = (changed[:, 4] + 1) % 60
    assert torch.equal(net(changed)[:, :4], logits[:, :4])
    assert not torch.allclose(net(changed)[:, 4:], logits[:, 4:])


def test_it_has_no_head_no_images_and_no_prefix():
    made = tiny_llama()
    assert (made.head, made.classifier, made.preprocess, made.prefix_tokens) == (None, None, None, None)
    assert made.head_parameters() == []
    with pytest.raises(BadInput, match="tiny_llama has no classification head"):
        made.set_head(10)


def test_training_moves_the_adapters_alone_and_lowers_the_loss():
    made = tiny_llama(dtype=torch.float64)
    method_of("method=lora method.targets=[q,k,v,o,gate,up,down] method.rank=4", "llama").inject(made)
    frozen = {name: p.clone() for name, p in made.net.named_parameters() if not p.requires_grad}
    optimizer = torch.optim.AdamW([p for p in made.net.parameters() if p.requires_grad], lr=1e-2)
    made.net.train()
    seen = []
    for _ in range(5):
        optimizer.zero_grad()
        value = loss(made.net, "llama")
        value.backward()
        optimizer.step()
        seen.append(value.item())
    assert seen[-1] < seen[0] - 0.05
    assert all(torch.equal(p, frozen[name]) for name, p in made.net.named_parameters() if name in frozen)
    assert frozen.keys() >= {"lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"}


# Heads that share keys and values


def test_lora_takes_layers_with_fewer_keys_and_values():
    made = tiny_llama(dtype=torch.float64, kv_heads=2)
    assert {site.role: site.width for site in made.sites(["q", "k", "v"])} == {"q": 32, "k": 16, "v": 16}
    method_of("method=lora method.rank=4", "llama").inject(made)
    with torch.no_grad():
        for name, parameter in made.net.named_parameters():
            if name.endswith("up"):
                parameter.normal_()
    tokens, _ = batch("llama")
    adapted = made.net(tokens)
    plain = tiny_llama(dtype=torch.float64, kv_heads=2).net
    assert not torch.allclose(adapted, plain(tokens))
    layers = {p: m.fold()[0] for p, m in made.net.named_modules() if isinstance(m, Reparametrized)}
    assert [weight.shape for weight in layers.values()] == [(32, 32), (16, 32)] * 2
    assert torch.allclose(merge(made.net)(tokens), adapted, rtol=0, atol=1e-5)


def test_fact_refuses_layers_that_are_no_square():
    with pytest.raises(
        BadInput, match=r"32 x 32 slices; role 'k' \(model.layers.0.self_attn.k_proj\) is 16 x 32: take"
    ):
        method_of("method=fact_tt method.rank=4", "llama").inject(tiny_llama(kv_heads=2))
    method_of("method=fact_tt method.rank=4 method.targets=[q,o]", "llama").inject(tiny_llama(kv_heads=2))


# A folder of weights


@pytest.fixture
def folder(tmp_path):
    """A tiny Llama as Hugging Face saves it."""
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SIZES)).save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


def read(folder: Path, sha256=None, dtype="float32"):
    return llama_backbone("mine", "llama", str(folder), sha256, dtype, {})


def test_a_saved_folder_is_read_with_equal_logits_and_known_origin(folder):
    made = read(folder)
    tokens, _ = batch("llama")
    theirs = LlamaForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    assert torch.equal(made.net(tokens), theirs(input_ids=tokens).logits)
    assert made.weights == {"source": "llama", "sha256": sha256_of(folder)}
    assert read(folder, sha256_of(folder)).weights == made.weights
    assert not made.net.training


def test_weights_have_the_dtype_asked_for(folder):
    made = read(folder, dtype="bfloat16")
    assert {p.dtype for p in made.net.parameters()} == {torch.bfloat16}
    exact = read(folder)
    for got, want in zip(made.net.parameters(), exact.net.parameters(), strict=True):
        assert torch.equal(got, want.to(torch.bfloat16))


def test_without_a_folder_it_is_random():
    torch.manual_seed(0)
    made = llama_backbone("mine", "llama", None, None, "float32", SIZES)
    assert made.weights == {"source": "random initialisation", "sha256": None}
    assert made.net.lm_head.weight.shape == (60, 32)


def test_a_changed_file_is_refused_by_its_hash(folder):
    expected = sha256_of(folder)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    tensors["lm_head.weight"][0, 0] += 1
    save_file(tensors, file, {"format": "pt"})
    assert sha256_of(folder) != expected
    with pytest.raises(BadInput, match=f"sha256 {sha256_of(folder)}, expected {expected}"):
        read(folder, expected)


def test_the_hash_of_a_folder_is_that_of_its_weights_alone(folder):
    before = sha256_of(folder)
    (folder / "README.md").write_text("notes")
    assert sha256_of(folder) == before
    save_file({"more": torch.zeros(1)}, folder / "model-2.safetensors")
    assert sha256_of(folder) != before


def drop(name):
    return lambda folder: (folder / name).unlink()


def bert(folder):
    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
    BertModel(config).save_pretrained(folder)


def fewer_layers(folder):
    config = LlamaConfig.from_pretrained(folder)
    config.num_hidden_layers = 1
    config.save_pretrained(folder)


def more_layers(folder):
    config = LlamaConfig.from_pretrained(folder)
    config.num_hidden_layers = 3
    config.save_pretrained(folder)


def wider(folder):
    config = LlamaConfig.from_pretrained(folder)
    config.intermediate_size = 96
    config.save_pretrained(folder)


def garbage(folder):
    (folder / "model.safetensors").write_bytes(b"no weights")


WRONG = {
    "no config": (drop("config.json"), r"no config.json and \*.safetensors in .*backbone.weights_from=PATH"),
    "no weights": (drop("model.safetensors"), r"no config.json and \*.safetensors in .*backbone.weights_from=PATH"),
    "another architecture": (bert, "another architecture|no Llama that can be read"),
    "fewer layers": (fewer_layers, "another architecture"),
    "more layers": (more_layers, "another architecture"),
    "other sizes": (wider, "another architecture|no Llama that can be read"),
    "no safetensors": (garbage, "no Llama that can be read"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_folder_that_is_not_this_model_is_refused_in_one_line(what, folder):
    spoil, message = WRONG[what]
    spoil(folder)
    with pytest.raises(BadInput, match=message) as caught:
        read(folder)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_refused_with_the_place_and_the_fix(tmp_path):
    with pytest.raises(BadInput, match=rf"in {tmp_path}/nowhere. Put a Llama .* backbone.weights_from=PATH"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize("dtype", ["float23", "nn", "int8"])
def test_a_dtype_that_no_weights_have_is_refused(dtype):
    with pytest.raises(BadInput, match=f"backbone.dtype '{dtype}' is none of float32, bfloat16, float16"):
        llama_backbone("mine", "llama", None, None, dtype, SIZES)


# The configuration


def test_llama_7b_has_its_published_size():
    config = compose(["backbone=llama_7b", "method=lora"])
    with torch.device("meta"):
        made = make(config["backbone"], BACKBONE)
    assert sum(p.numel() for p in made.net.parameters()) == 6_738_415_616
    assert {p.dtype for p in made.net.parameters()} == {torch.float32}
    assert len(made.sites(["block"])) == 32


def test_its_missing_weights_are_named_with_the_place_to_put_them(tmp_path, monkeypatch):
    monkeypatch.setenv("GLORABENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(BadInput, match=rf"in {tmp_path}/llama-7b. Put a Llama"):
        make(compose(["backbone=llama_7b"])["backbone"], BACKBONE)


def test_a_composed_backbone_reads_the_folder_and_keeps_its_hash(folder):
    config = compose(["backbone=llama_7b", f"backbone.weights_from={folder}", "backbone.dtype=float32"])
    assert config["backbone"]["sha256"] == sha256_of(folder)
    assert make(config["backbone"], BACKBONE).net.model.layers[0].mlp.up_proj.weight.shape == (88, 32)


def test_a_task_of_images_needs_a_backbone_that_sees(folder):
    words = [
        "backbone=llama_7b",
        f"backbone.weights_from={folder}",
        "backbone.dtype=float32",
        "method=lora",
        "data=mini",
    ]
    with pytest.raises(BadInput, match="has images, backbone llama_7b reads tokens: choose vit_mini"):
        build(compose(words))


def test_norms_round_to_single_precision():
    """Why logits of a merged Llama are held to 1e-5 where layers are held to 1e-10."""
    norm = tiny_llama(dtype=torch.float64).net.model.norm
    x = torch.randn(4, 32, dtype=torch.float64)
    exact = x / (x.square().mean(-1, keepdim=True) + norm.variance_epsilon).sqrt() * norm.weight
    error = (norm(x) - exact).abs().max()
    assert 1e-10 < error < 1e-5
    assert F.mse_loss(norm(x), exact) < 1e-12
