"""`glorabench backbone`: layers, roles and methods of one network; families of networks and the reasons."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from glorabench.analysis.hosting import Hosting, load_families, reasons_of_families, shared_reason
from glorabench.cli import main
from glorabench.cli.backbones import backbone_words
from glorabench.config.paths import options
from glorabench.errors import BadInput
from glorabench.reports.rendering import part_markdown
from glorabench.reports.tables.hosting import families_part

PAGE = Path(__file__).parents[2] / "docs" / "backbones.md"
SMALL = ["backbone.image_size=32", "backbone.model_args={patch_size:8,embed_dim:32,depth:2,num_heads:2}"]


def rows(text: str) -> dict[str, list[str]]:
    """The lines of the Markdown tables by their first cell."""
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return {line[0]: line[1:] for line in lines}


@pytest.fixture
def few_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four methods: each kind of line, in a fifth of the time."""
    monkeypatch.setattr("glorabench.training.measure.hosting.options", lambda _: ["ia3", "linear", "lora", "pfeiffer"])


@pytest.mark.usefixtures("few_methods")
def test_every_layer_and_every_method_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backbone", "eva02_tiny_patch14_224", *SMALL, "--format", "md"]) == 0
    text = capsys.readouterr().out
    assert "eva02_tiny_patch14_224: a Eva, 32,180 parameters without head, reads images of 32 x 32 pixels" in text
    found = rows(text)
    assert found["blocks.*.attn.qkv"] == ["2", "Linear", "96 x 32", "qkv, q[0/3], k[1/3], v[2/3]"]
    assert found["blocks.*.mlp.fc2"] == ["2", "Linear", "32 x 85", "fc2"]
    assert found["blocks.*.norm1"] == ["2", "LayerNorm", "32", "norm1, in1"]
    assert found["head"][-1] == "the head"
    assert found["lora"] == [f"{2 * 2 * 8 * 64:,}", "yes", ""]
    assert found["pfeiffer"][1:] == ["no", ""]
    assert found["linear"] == ["0", "nothing to merge", ""]
    assert "of which the network reads the weight alone" in found["ia3"][2]


@pytest.mark.usefixtures("few_methods")
def test_a_backbone_of_conf_is_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backbone", "vit_mini", "--format", "md"]) == 0
    found = rows(capsys.readouterr().out)
    assert found["patch_embed.proj"][-1] == "stem"
    assert found["patch_embed.stem.*"][-1] == "none"  # what has no role is not hidden
    assert not any(found[method][2] for method in ("ia3", "linear", "lora", "pfeiffer"))


@pytest.mark.usefixtures("few_methods")
def test_roles_of_the_user_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["resnet18", "backbone.model_args={layers:[1,1,1,1],channels:[8,8,8,8]}"]
    assert main(["backbone", *words, "backbone.roles={fc2:layer*.0.conv2}", "--format", "md"]) == 0
    assert rows(capsys.readouterr().out)["layer1.*.conv2"][-1] == "conv, fc2"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], r"timm has no model 'nonsense'; did you mean"),
        (["resnet18", "backbone.roles={fc2:layer*.conv9}"], r"'layer\*.conv9' matches no layer"),
        (["resnet18", "backbone.rolls={fc2:x}"], r"no key 'backbone.rolls'; did you mean 'backbone.roles'"),
        (["backbone.model=resnet18"], r"the name of a backbone comes first: glorabench backbone resnet50"),
    ],
)
def test_what_is_wrong_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backbone", *words]) == 2
    error = capsys.readouterr().err
    assert re.search(said, error), error
    assert error.count("\n") == 1


def test_a_name_is_looked_for_in_conf_then_on_disk_then_in_timm(tmp_path: Path) -> None:
    assert backbone_words(["vit_b16", "x=1"]) == ("vit_b16", ["backbone=vit_b16", "x=1"])
    assert backbone_words([str(tmp_path)])[1] == ["backbone=hf_vision", f"backbone.model={tmp_path}"]
    assert backbone_words(["swin_x"])[1] == ["backbone=timm", "backbone.model=swin_x"]
    with pytest.raises(BadInput, match="comes first"):
        backbone_words(["seed=1"])


def test_equal_reasons_are_written_once() -> None:
    families = {"one": ["backbone=timm", "backbone.model=net_1"], "two": ["backbone=timm", "backbone.model=net_2"]}
    fits = Hosting("lora", 10, "", True)
    hosted = {
        name: [fits, Hosting("vpt", None, f"VPT needs tokens; {model} has none: choose another method")]
        for name, model in (("one", "net_1"), ("two", "net_2"))
    }
    refusals, reasons = reasons_of_families(families, hosted)
    assert refusals == {"one": [("vpt", 1)], "two": [("vpt", 1)]}
    assert reasons == ["VPT needs tokens; the network has none: choose another method"]
    text = part_markdown(families_part(families, hosted))
    assert "| one | net_1 | 1 of 2 | vpt (1) |" in text
    assert "- (1) VPT needs tokens" in text


@pytest.mark.parametrize(
    ("reason", "shared"),
    [
        ("FacT shares; those of m have widths [96, 192]: choose", "FacT shares: choose"),
        ("SSF does not fit m, a Swin: its code does not call layers.0.blocks.1.attn.qkv", None),
    ],
)
def test_what_is_of_one_network_alone_is_left_out(reason: str, shared: str | None) -> None:
    expected = shared or "SSF does not fit the network: its code does not call attn.qkv"
    assert shared_reason(reason, "m") == expected


def test_the_page_has_every_family_and_every_method_it_refuses() -> None:
    """The whole page is made anew by a campaign test; here is what it must hold."""
    found = rows(PAGE.read_text(encoding="utf-8"))
    for family, words in load_families().items():
        assert found[family][0] == dict(word.split("=") for word in words)["backbone.model"]
        count, total = map(int, found[family][1].split(" of "))
        assert total == len(options("method"))
        assert count == total - len(re.findall(r"\(\d+\)", found[family][2]))


@pytest.mark.campaign
def test_the_page_is_what_the_command_writes(tmp_path: Path) -> None:
    copy = tmp_path / "backbones.md"
    copy.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    assert main(["backbone", "--into", str(copy)]) == 0
    assert copy.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
