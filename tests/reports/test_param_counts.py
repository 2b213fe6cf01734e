"""Exact parameter counts of the real networks on the meta device, and the published figures beside them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

from conftest import tiny_vit
from glorabench.analysis import published_counts
from glorabench.analysis.published_counts import PublishedCount
from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.config.instantiate import BACKBONE, METHOD, make
from glorabench.config.paths import options
from glorabench.errors import BadInput, UnsuitableBackbone
from glorabench.reports.tables.param_counts import Counting, CountTable, count_tables, counts_markdown
from glorabench.training.measure import profiling
from glorabench.training.measure.profiling import head_size, parameters_of, trained_size

COUNTING = Counting(trained_size, head_size)
BOOK = published_counts.load_count_config()
D, BLOCKS, MLP = 768, 12, 3072
VIT_B16 = {  # the integers of the papers' definitions, head apart
    "method=full": 85_798_656,
    "method=linear": 0,
    "method=bitfit": 102_912,
    "method=bitfit method.norms=false": 83_712,
    "method=vpt_deep method.prompts=7": 9_216 * 7,
    "method=vpt_deep method.prompts=100 method.keys_only=false": 9_216 * 100,
    "method=vpt_shallow method.prompts=7": D * 7,
    "method=pfeiffer method.rank=8": 156_768,
    "method=houlsby method.rank=8 method.norms=false": 313_536,
    "method=houlsby method.rank=8": 313_536 + 38_400,
    "method=adapter_plus method.rank=8": 165_984,
    "method=adaptformer method.rank=64": 1_189_632,
    "method=adaptformer method.rank=8": 156_768,
    "method=ssf": 205_824,
    "method=fact_tt method.rank=16": 2 * D * 16 + 144 * 16**2,
    "method=fact_tt method.rank=4 method.targets=[q,k,v,o,fc1,fc2]": 2 * D * 4 + 144 * 4**2,
    "method=fact_tk method.rank=16": 2 * D * 16 + 16**3 + 144 * 16,
    "method=fact_tk method.rank=32 method.targets=[q,k,v,o,fc1,fc2]": 2 * D * 32 + 32**3 + 144 * 32,
    "method=repadapter": 239_808,
    "method=repadapter method.targets=[q,k,v,fc1]": 239_808,
    "method=repadapter_attn": 119_904,
    "method=convpass": 327_552,
    "method=convpass method.targets=[attn]": 163_776,
    "method=ia3": BLOCKS * (2 * D + MLP),
    "method=lora": 294_912,
    "method=lora method.targets=[qkv]": 294_912,
    "method=lora method.targets=[q,k,v,o,fc1,fc2] method.rank=4": 4 * (12 * (8 * 768 + 2 * 3840)),
    "method=dora": 294_912 + BLOCKS * 2 * D,
    "method=glora method.path=supernet method.rank=2": 884_832,
    "method=glora method.path=supernet method.rank=4": 1_603_776,
    "method=glora method.path=supernet method.rank=8": 3_041_664,
}
LLAMA_7B = {
    "method=lora method.rank=8": 4_194_304,
    "method=lora method.rank=1 method.targets=[q,k,v,o,gate,up,down]": 2_498_560,
    "method=lora method.rank=3 method.targets=[q,k,v,o,gate,up,down]": 3 * 2_498_560,
    "method=ia3": 614_400,
    "method=dora method.targets=[q,v]": 4_194_304 + 262_144,
    "method=glora method.path={A: lora, B: lora, C: none, D: none, E: none} method.rank=8": 2 * 4_194_304,
    "method=pfeiffer method.rank=8": 32 * (2 * 4096 * 8 + 8 + 4096),
}
CONVNEXT_B = {  # widths C of 128, 256, 512, 1024 in 3, 3, 27, 3 blocks; fc1 and fc2 are C x 4C
    "method=lora": 8 * 2 * 5 * (3 * 128 + 3 * 256 + 27 * 512 + 3 * 1024),
    "method=lora method.rank=4 method.targets=[dwconv]": 4 * (36 * 7**2 + 3 * 128 + 3 * 256 + 27 * 512 + 3 * 1024),
    "method=ssf": 255_232 - 2_048,  # the released code has a pair behind the last stage
    "method=ssf method.targets=[stem,stem_norm,dwconv,norm2,fc1,fc2,downsample_norm,downsample]": 260_608 - 2_048,
}
EVERY = [
    (backbone, words, size)
    for backbone, known in (("vit_b16", VIT_B16), ("convnext_b", CONVNEXT_B), ("llama_7b", LLAMA_7B))
    for words, size in known.items()
]
LLAMA_3B = [  # the shape of Llama-3.2-3B
    "backbone=llama_7b",
    "backbone.model_args.vocab_size=128256",
    "backbone.model_args.hidden_size=3072",
    "backbone.model_args.intermediate_size=8192",
    "backbone.model_args.num_hidden_layers=28",
    "backbone.model_args.num_attention_heads=24",
    "backbone.model_args.num_key_value_heads=8",
    "+backbone.model_args.tie_word_embeddings=true",
]
HUGGING_FACE = {  # huggingface/peft, method_comparison/MetaMathQA/results: trainable_params of Llama-3.2-3B
    "method=full": 3_212_749_824,
    "method=lora method.rank=32": 9_175_040,
    "method=lora method.rank=64": 18_350_080,
    "method=lora method.rank=10 method.targets=[gate,up,down]": 9_461_760,
    "method=dora method.rank=32 method.targets=[q,v]": 9_289_728,
    "method=ia3": 286_720,
    "method=glora method.rank=8 method.path={A: lora, B: lora, C: none, D: none, E: none}": 4_587_520,
    "method=glora method.path={A: vector, B: vector, C: none, D: none, E: none}": 229_376,
}


def split(words: str) -> list[str]:
    """Overrides of a line; a path holds blanks."""
    return [f"method{word}" for word in words.replace(" method", "\n").removeprefix("method").split("\n")]


@pytest.mark.parametrize(("backbone", "words", "size"), EVERY, ids=[f"{b} {w}" for b, w, _ in EVERY])
def test_counts(backbone, words, size):
    assert trained_size([f"backbone={backbone}", *split(words)]) == size


@pytest.mark.parametrize("words", HUGGING_FACE)
def test_counts_are_those_that_hugging_face_prints_for_another_llama(words):
    assert trained_size([*LLAMA_3B, *split(words)]) == HUGGING_FACE[words]


def test_the_head_is_counted_apart():
    assert parameters_of(["backbone=vit_b16"])["head"] == 769
    assert parameters_of(["backbone=convnext_b"])["head"] == 1025
    assert parameters_of(["backbone=llama_7b"])["head"] == 0


def test_counting_leaves_the_backbone_as_it_was():
    words = ["backbone=vit_b16", "method=ssf"]
    assert parameters_of(words) == parameters_of(words)


def test_a_random_path_is_as_large_as_the_mean_of_the_supernet():
    """Expected size of a uniform subnet, rank 4: 499,320 (closed form); one draw of 48 layers lies near it."""
    found = parameters_of(["backbone=vit_b16", "method=glora", "method.path=random"])["method"]
    assert 0.6 * 499_320 < found < 1.4 * 499_320


def test_stored_bytes_and_total_of_a_small_case():
    made = tiny_vit()
    make(compose(["method=lora", "method.targets=[qkv]", "method.rank=2"])["method"], METHOD).inject(made)
    found = profiling.parameters(made)
    assert found["method"] == 2 * 2 * (32 + 96)
    assert found["head"] == 5 * 33
    assert found["stored_bytes"] == 4 * (found["method"] + found["head"])
    assert found["total"] == sum(p.numel() for p in made.net.parameters())


def test_every_method_has_a_row():
    named = {word for row in BOOK.rows for word in row.run}
    assert {f"method={name}" for name in options("method")} <= named


def test_a_method_that_no_row_names_gets_one(monkeypatch):
    monkeypatch.setattr(published_counts, "options", lambda group: [*options(group), "scaling"])
    last = published_counts.load_count_config().rows[-1]
    assert (last.label, last.run) == ("scaling", ["method=scaling"])


def test_labels_tell_rows_apart():
    for family in ("vit", "convnext", "llama"):
        labels = [row.label for row in BOOK.rows if not row.families or family in row.families]
        assert len(labels) == len(set(labels))


def test_facts_of_the_tasks():
    tasks = {task: facts for group in BOOK.tasks.values() for task, facts in group.items()}
    assert [len(group) for group in BOOK.tasks.values()] == [7, 4, 8]
    assert sum(facts["classes"] for facts in tasks.values()) == 940
    assert published_counts.mean_head(BOOK.tasks, 769) == round(769 * 940 / 19) == 38_045


UNEXPLAINED = {("VPT-Shallow, prompts per task", "V-PETL Bench"), ("VPT-Deep, prompts per task", "NOAH")}


@cache
def table(backbone: str) -> CountTable:
    (made,) = count_tables(BOOK, [f"backbone={backbone}"], COUNTING)
    return made


@pytest.mark.campaign
def test_published_figures_follow_from_our_counts():
    found, label = {}, ""
    for line in (line for backbone in BOOK.backbones for line in table(backbone).lines):
        label = line[0] or label
        if line[2]:
            found[label, line[2].rpartition(", ")[2]] = line[3]
    assert set(found) == {(r.label, f.source) for r in BOOK.rows for fs in r.published.values() for f in fs}
    assert {source for _, source in found} <= set(BOOK.sources)
    assert {pair for pair, said in found.items() if said.startswith("not explained")} == UNEXPLAINED


def test_the_arithmetic_in_words():
    def said(figure: PublishedCount, found: object) -> str:
        return published_counts.reconcile(figure, found, 769, BOOK.tasks)[1]

    assert said(PublishedCount("0.24 M", "x", head=True), 205_824) == "205,824 + 38,045 (mean head) = 243,869"
    assert (
        said(PublishedCount("0.22 M", "x", less={"biases": 18_624}), 239_808) == "239,808 - 18,624 (biases) = 221,184"
    )
    assert said(PublishedCount("0.21 M", "x"), 205_824) == "the same, rounded"
    assert said(PublishedCount("4,194,304", "x"), 4_194_304) == "the same"
    assert said(PublishedCount("4,194,305", "x"), 4_194_304) == "not explained: 4,194,304"
    assert said(PublishedCount("0.3 M", "x"), 205_824) == "not explained: 205,824"
    ranks = {task: facts["tt"] for group in BOOK.tasks.values() for task, facts in group.items()}
    sizes = {task: 2 * D * r + 144 * r**2 for task, r in ranks.items()}
    assert said(PublishedCount("0.037 M", "x", mean="groups"), sizes) == "36,649 (mean of the 3 group means)"
    assert published_counts.mean_count(BOOK.tasks, sizes, "tasks") == 39_734


def test_repadapters_biases_are_what_its_paper_leaves_out():
    with torch.device("meta"):
        backbone = make(compose(["backbone=vit_b16"])["backbone"], BACKBONE)
        make(compose(["backbone=vit_b16", "method=repadapter"])["method"], METHOD).inject(backbone)
    named = {n: p for n, p in backbone.net.named_parameters() if p.requires_grad and "reparams" in n}
    assert sum(p.numel() for n, p in named.items() if n.endswith("bias")) == 18_624


@pytest.mark.campaign
def test_a_backbone_that_cannot_host_a_method_says_why():
    reasons = {line[0]: line[3] for line in table("convnext_b").lines if not line[1] and line[0]}
    assert "VPT puts prompts among the tokens of a ViT" in reasons["VPT-Deep, 1 prompt"]
    assert "blocks of one width" in reasons["FacT-TT, rank 16"]
    assert all(reason.startswith("not defined: ") for reason in reasons.values())
    with pytest.raises(UnsuitableBackbone, match="trains nothing on llama_7b"):
        parameters_of(["backbone=llama_7b", "method=bitfit"])


def test_markdown_is_a_table_with_its_notes():
    text = counts_markdown(table("convnext_b"))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {5}
    assert "| SSF | 253,184 |" in text
    assert "1,025 for each class" in text
    assert text.startswith("### convnext_b\n")


@pytest.mark.parametrize("backbone", BOOK.backbones)
def test_the_committed_table_is_that_of_the_code(backbone):
    """But for methods that have just been added: `make table` takes them in."""
    page = (Path(__file__).parents[2] / "docs" / "counts.md").read_text()
    new = tuple(f"| {name} |" for name in options("method") if f"| {name} |" not in page)
    lines = [line for line in counts_markdown(table(backbone)).splitlines() if not line.startswith(new or "\0")]
    assert "\n".join(lines) in page


def test_the_count_command(capsys, tmp_path):
    assert main(["count", "backbone=vit_b16", "method=lora", "method.rank=2,4"]) == 0
    printed = capsys.readouterr().out
    assert "73,728" in printed
    assert "147,456" in printed
    assert main(["count", "backbone=vit_mini,convnext_b", "method=lora", "method.targets=[q]"]) == 0
    assert "not defined: backbone convnext_b has no role 'q'" in " ".join(capsys.readouterr().out.split())
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table:counts -->\n<!-- /table:counts -->\nafter\n")
    assert main(["count", "backbone=vit_mini", "method=lora", "--into", str(page)]) == 0
    assert "### vit_mini" in page.read_text()
    assert page.read_text().endswith("after\n")
    assert main(["count", "backbone=vit_mini", "method=lora", "--format", "md"]) == 0
    assert capsys.readouterr().out in page.read_text()


def test_words_may_change_the_backbone():
    sizes = ["backbone=llama_7b", "backbone.model_args.num_hidden_layers=2"]
    (made,) = count_tables(BOOK, [*sizes, "method=lora", "method.rank=1,2"], COUNTING)
    assert [line[:2] for line in made.lines] == [
        ("method=lora method.rank=1", f"{4_194_304 // 8 // 16:,}"),
        ("method=lora method.rank=2", f"{4_194_304 // 4 // 16:,}"),
    ]


def test_wrong_words_are_refused(capsys):
    assert main(["count", "backbone=vit_mini", "method=lora", "method.rank=0"]) == 2
    assert "method.rank must be a whole number" in capsys.readouterr().err
    assert main(["count", "backbone=convnext_b,vit_mini", "method=lora", "method.targets=[foo]"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("glorabench: backbone convnext_b has no role 'foo'")
    assert (said.out, said.err.count("\n")) == ("", 1)
    with pytest.raises(BadInput, match=r"no key 'method\.rnak'"):
        list(count_tables(BOOK, ["backbone=vit_mini", "method.rnak=2"], COUNTING))
