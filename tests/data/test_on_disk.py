"""Tasks of image files, end to end: decoded once, never half, corrupt images named, resumed to the last digit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import stopped_in_epoch, tiny_vit
from glorabench.cli import main
from glorabench.config.compose import compose
from glorabench.config.instantiate import DATA, make
from glorabench.data.checks import image_files
from glorabench.data.images import decoding
from glorabench.data.images.datamodule import ImageData
from glorabench.data.images.on_disk import FilesOnDisk
from glorabench.data.images.preprocessing import NORMALISATIONS, View
from glorabench.data.suites import fewshot, vtab1k
from glorabench.data.suites.listing import Listing
from glorabench.errors import BadInput
from glorabench.records import record
from glorabench.records.compatibility import refuse_mixtures
from glorabench.training.kinds import kind_of
from glorabench.training.run import run

FAST = ["logger=none", "progress=none", "train.epochs=1", "latency_rounds=0", "method=linear"]
VIEW = View(32, *NORMALISATIONS["half"], "bicubic", "vtab")


@pytest.fixture(scope="session")
def vtab(tmp_path_factory):
    """A fake VTAB-1k, not to be written to."""
    root = tmp_path_factory.mktemp("vtab")
    vtab1k.write_fake_vtab1k(root, full=False)
    return root


@pytest.fixture(scope="session")
def shots(tmp_path_factory):
    """Fake few-shot sets, not to be written to."""
    root = tmp_path_factory.mktemp("shots")
    fewshot.write_fake_fewshot(root, full=False)
    return root


@pytest.fixture
def places(tmp_path):
    """Words that keep results and caches of a test to itself."""
    return [f"results_dir={tmp_path / 'results'}", f"cache_dir={tmp_path / 'cache'}"]


def of_vtab(root, *words):
    return ["data=vtab1k", f"data.root={root}", *FAST, *words]


def files_of(listing, caches):
    """A split as it is found on the disk now."""
    splits = {"train": listing}
    return FilesOnDisk(
        listing, "train", caches, image_files.split_stamps(splits, image_files.split_statuses(splits))["train"]
    )


@pytest.fixture
def split(tmp_path):
    """Ten images on the disk and where their caches go."""
    names = tuple(f"{i}.jpg" for i in range(10))
    for i, name in enumerate(names):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 50 + i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    return files_of(Listing(tmp_path / "list.txt", tmp_path, names, tuple(range(10))), tmp_path / "cache" / "x")


def test_a_split_is_decoded_once_for_each_way_it_is_looked_at(split):
    counts = []

    def count():
        counts.append(decoding.images_decoded())

    count()
    first = split.still(VIEW)
    count()
    again = split.still(View(32, *NORMALISATIONS["imagenet"], "bicubic", "vtab"))
    count()
    larger = split.still(View(48, *NORMALISATIONS["half"], "bicubic", "vtab"))
    count()
    whole = split.whole()
    split.whole()
    count()
    assert np.diff(counts).tolist() == [10, 0, 10, 10]
    assert np.array_equal(first, again)
    assert larger.shape == (10, 3, 48, 48)
    for i in range(10):
        with Image.open(split.listing.path(i)) as image:
            assert np.array_equal(first[i], VIEW.still(image.convert("RGB")))
            assert np.array_equal(whole[i], np.asarray(image.convert("RGB")))


def test_large_images_are_kept_with_a_shorter_side_of_512(tmp_path):
    Image.new("RGB", (2000, 1000)).save(tmp_path / "a.png")
    Image.new("RGB", (512, 3000)).save(tmp_path / "b.png")
    files = files_of(Listing(tmp_path, tmp_path, ("a.png", "b.png"), (0, 1)), tmp_path / "cache")
    assert [image.shape for image in (files.whole()[i] for i in range(2))] == [(512, 1024, 3), (3000, 512, 3)]


@pytest.mark.parametrize("how", ["still", "whole"])
def test_a_corrupt_image_is_named_and_leaves_no_cache(split, how):
    path = split.listing.path(7)
    path.write_bytes(path.read_bytes()[:600])
    ask = {"still": lambda files: files.still(VIEW), "whole": FilesOnDisk.whole}[how]
    with pytest.raises(BadInput, match=r"7\.jpg is truncated .*fetch it again"):
        ask(split)
    assert [path.suffix for path in split.folder.iterdir()] == [".lock"]
    with Image.open(split.listing.path(6)) as image:
        image.save(path)
    with pytest.raises(BadInput, match=r"7\.jpg was replaced while this run was reading it"):
        ask(split)
    assert len(ask(files_of(split.listing, split.caches))) == 10


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA", "P"])
def test_images_of_every_mode_become_rgb(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode in ("L", "CMYK") else "a.png")
    Image.new("RGB", (9, 5), (200, 30, 40)).convert(mode).save(path)
    assert decoding.decode_for_run(path).mode == "RGB"


def test_a_damaged_cache_is_decoded_again(split):
    split.still(VIEW)
    file = split.folder / VIEW.key / "images.npy"
    for damage in (b"", file.read_bytes()[:1000], b"nonsense"):
        whole = file.read_bytes()
        file.write_bytes(damage)
        before = decoding.images_decoded()
        assert split.still(VIEW).tobytes() in whole
        assert decoding.images_decoded() - before == 10


KILLED = """
import os, signal
from glorabench.data.images import decoding as decode
import tests_split
count = 0
read = decode.decode_for_run
def dies(path):
    global count
    count += 1
    if count == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(path)
decode.decode_for_run = dies
tests_split.still()
"""


SPLIT = """
from pathlib import Path
import numpy as np
from glorabench.data import cache
from glorabench.data.images import decoding as decode
from glorabench.data.images.preprocessing import NORMALISATIONS, View
view = View(32, *NORMALISATIONS["half"], "bicubic", "vtab")
folder = Path({folder!r})
def announced(read):
    print("decoding", flush=True)
    return decode.map_in_threads(lambda i: read(decode.decode_for_run(Path(f"{{i}}.jpg"))), 10)
def still():
    return cache.cached_stack(folder / view.key, (10, 3, 32, 32), lambda: announced(view.still))
def whole():
    return cache.cached_ragged(folder / "whole_512", 10, lambda: announced(np.asarray))
"""


@pytest.fixture
def programs(split, tmp_path):
    """Python processes that keep the images of `split` as it does, without torch, by the module tests_split."""
    (tmp_path / "tests_split.py").write_text(SPLIT.format(folder=str(split.folder)))

    def start(program, **more):
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, **{**pipe, **more})

    return start


def test_a_cache_whose_making_was_killed_is_never_used(split, programs):
    """A process dies at the sixth of ten images; the next decodes all ten, and removes what the first left."""
    killed = programs(KILLED)
    assert killed.wait(120) == -signal.SIGKILL, killed.stderr.read()
    assert not (split.folder / VIEW.key).exists()
    assert [path for path in split.folder.iterdir() if path.suffix != ".lock"]
    (split.folder / f"{VIEW.key}_other").mkdir()
    before = decoding.images_decoded()
    found = split.still(VIEW)
    assert decoding.images_decoded() - before == 10
    assert all(np.array_equal(found[i], split.read(VIEW, i)) for i in range(10))
    names = {VIEW.key, f"{VIEW.key}.lock", f"{VIEW.key}_other"}
    assert {path.name for path in split.folder.iterdir()} == names


RACING = """
import hashlib, sys, time
from glorabench.data.images import decoding as decode
from tests_split import still, whole
read = decode.decode_for_run
def slow(path):
    time.sleep(0.05)
    return read(path)
decode.decode_for_run = slow
print("ready", flush=True)
sys.stdin.readline()
found = {how}
print(decode.images_decoded(), hashlib.sha256(b"".join(found[i].tobytes() for i in range(10))).hexdigest())
"""


@pytest.mark.parametrize("how", ["still()", "whole()"])
@pytest.mark.parametrize("damaged", [False, True])
def test_processes_that_start_together_decode_each_image_once(split, programs, how, damaged):
    place = split.folder / (VIEW.key if "still" in how else "whole_512")
    if damaged:
        place.mkdir(parents=True)
        (place / "images.npy").write_bytes(b"half")
    running = [programs(RACING.format(how=how), stdin=subprocess.PIPE) for _ in range(4)]
    assert [process.stdout.readline() for process in running] == ["ready\n"] * 4
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0] * 4, said
    found = [out.splitlines()[-1].split() for out, _ in said]
    assert sorted(int(count) for count, _ in found) == [0, 0, 0, 10]
    assert len({digest for _, digest in found}) == 1
    assert sum("waiting for the process" in out for out, _ in said) == 3
    assert {path.name for path in split.folder.iterdir()} == {place.name, f"{place.name}.lock"}


BOUNDED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # a disk that fills up: files end there
from glorabench.errors import BadInput
from tests_split import still, whole
try:
    {how}
except BadInput as error:
    print(error)
"""


@pytest.mark.parametrize("how", ["still()", "whole()"])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_disk_that_is_full_is_said(split, programs, how, damaged):
    place = split.folder / (VIEW.key if "still" in how else "whole_512")
    if damaged:
        place.mkdir(parents=True)
        (place / "images.npy").write_bytes(b"half")
    out, err = programs(BOUNDED.format(how=how)).communicate(timeout=120)
    assert f"{place} cannot be written (File too large): free space or set cache_dir=FOLDER" in out, err
    assert {path.name for path in split.folder.iterdir()} == {f"{place.name}.lock"}


@pytest.mark.parametrize("how", ["still()", "whole()"])
def test_a_reader_that_went_away_is_no_full_disk(split, programs, how):
    reader, writer = os.pipe()
    os.close(reader)
    process = programs(f"from tests_split import still, whole\n{how}", stdout=writer)
    os.close(writer)
    said = process.communicate(timeout=120)[1]
    assert "BrokenPipeError" in said
    assert "cannot be written" not in said


def test_a_system_that_cannot_reserve_room_decodes_all_the_same(split, programs):
    """macOS has no os.posix_fallocate."""
    program = "import os\ndel os.posix_fallocate\nfrom tests_split import still\nprint(len(still()))"
    out, err = programs(program).communicate(timeout=120)
    assert out.splitlines()[-1:] == ["10"], err


def test_how_large_uncropped_images_become_is_said(split, tmp_path, capsys):
    split.whole()
    exact = sum(3 * 40 * (50 + i) for i in range(10))
    assert f"whole_512 (about {exact / 1e6:.1f} MB)" in capsys.readouterr().out
    Image.new("RGB", (2048, 1024)).save(tmp_path / "large.png")
    files = files_of(Listing(tmp_path, tmp_path, ("large.png",) * 100, (0,) * 100), tmp_path / "cache")
    before = decoding.images_decoded()
    assert files._bytes_whole() == 100 * 3 * 512 * 1024
    assert decoding.images_decoded() == before


def test_what_cannot_be_kept_is_refused_before_it_is_decoded(tmp_path):
    """The pixels are cut off, so that nobody who decodes them fills the disk of a test."""
    path = tmp_path / "wide.png"
    Image.effect_noise((30_000, 512), 50).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    count = shutil.disk_usage(tmp_path).free // (3 * 512 * 30_000) * 2
    files = files_of(Listing(tmp_path, tmp_path, (path.name,) * count, (0,) * count), tmp_path / "cache")
    before = decoding.images_decoded()
    with pytest.raises(BadInput, match=r"images of train take about [\d,.]+ GB .* GB are free: .*cache_dir=FOLDER"):
        files.whole()
    assert decoding.images_decoded() == before


@pytest.mark.parametrize("cache_test", ["auto", "false"])
def test_the_second_run_decodes_nothing_but_a_test_split_that_is_not_kept(vtab, places, cache_test):
    words = of_vtab(vtab, *places, f"data.cache_test={cache_test}")
    first, second = (run(compose([*words, f"seed={seed}"])) for seed in (0, 1))
    assert first.status == second.status == "done"
    assert first.cost["images_decoded"] == 32 + 16  # trainval, test
    assert second.cost["images_decoded"] == (0 if cache_test == "auto" else 16)


def test_a_streamed_test_split_gives_the_numbers_of_a_kept_one(vtab, tmp_path):
    made = [
        run(compose([*of_vtab(vtab, "train.eval_batch_size=5"), f"data.cache_test={keep}",
                     f"results_dir={tmp_path / keep}", f"cache_dir={tmp_path / 'cache'}"]))
        for keep in ("true", "false")
    ]  # fmt: skip
    assert made[0].outcomes == made[1].outcomes
    assert made[0].run_id == made[1].run_id


def test_a_record_says_what_the_data_were(vtab, places):
    made = run(compose(of_vtab(vtab, *places, "data.task=pets", "data.preprocess=vtab_bicubic_imagenet")))
    told = made.provenance["data"]
    assert {key: told[key] for key in ("suite", "task", "group", "preprocess", "extraction", "fake")} == {
        "suite": "vtab1k",
        "task": "oxford_iiit_pet",
        "group": "natural",
        "preprocess": "vtab_bicubic_imagenet",
        "extraction": "jpeg",
        "fake": True,
    }
    assert str(vtab) not in json.dumps(made.config)


def test_fake_and_real_images_are_other_runs_and_share_no_table(vtab, places, tmp_path):
    real = tmp_path / "real"
    shutil.copytree(vtab / "vtab-1k" / "dtd", real / "dtd")
    lists = real / "dtd" / "train800val200.txt"
    lines = lists.read_text().splitlines()
    lists.write_text("\n".join([*lines[1:], lines[0]]) + "\n")
    words = ["data.task=dtd", *places]
    one, two = (compose(of_vtab(root, *words)) for root in (vtab, real))
    assert record.run_id(one) != record.run_id(two)
    fake = run(one)
    honest = record.Record(**{**fake.__dict__, "provenance": {**fake.provenance, "data": {"fake": False}}})
    with pytest.raises(BadInput, match="made on fake data"):
        refuse_mixtures([fake, honest])


def test_other_files_under_the_same_names_are_another_run(vtab, tmp_path):
    shutil.copytree(vtab / "vtab-1k" / "svhn", tmp_path / "svhn")
    for path in (tmp_path / "svhn").glob("images/test/*.jpg"):
        with Image.open(path) as image:
            image.load()
        image.save(path, "PNG")
    jpeg, lossless = (compose(of_vtab(root, "data.task=svhn")) for root in (vtab, tmp_path))
    assert record.run_id(jpeg) != record.run_id(lossless)


def test_an_alias_is_the_task_and_the_place_of_the_data_is_not_the_run(vtab, tmp_path):
    shutil.copytree(vtab / "vtab-1k" / "cifar", tmp_path / "cifar")
    words = [of_vtab(vtab, f"data.task={name}") for name in ("cifar", "cifar100")]
    configs = [compose(found) for found in (*words, of_vtab(tmp_path, "data.task=cifar"))]
    assert len({record.run_id(config) for config in configs}) == 1
    with pytest.raises(BadInput, match=r"no task 'cifra'.* did you mean 'cifar'"):
        compose(of_vtab(vtab, "data.task=cifra"))


def test_a_task_that_is_not_right_is_refused_before_training(vtab, places, tmp_path, capsys):
    shutil.copytree(vtab / "vtab-1k" / "kitti", tmp_path / "kitti")
    (tmp_path / "kitti" / "images" / "test" / "000003.jpg").unlink()
    assert main(["run", *of_vtab(tmp_path, *places, "data.task=kitti")]) == 2
    said = capsys.readouterr().err
    assert "000003.jpg" in said
    assert "Traceback" not in said
    assert said.count("\n") == 1
    assert main(["run", *of_vtab(tmp_path / "nowhere", *places)]) == 2
    assert "data.root=FOLDER" in capsys.readouterr().err


def test_a_sweep_is_refused_before_its_first_training(vtab, places, tmp_path, capsys):
    root = tmp_path / "vtab"
    shutil.copytree(vtab, root)
    shutil.rmtree(root / "vtab-1k" / "kitti")
    (root / "vtab-1k" / "dmlab" / "test.txt").unlink()
    words = of_vtab(root, *places, "data.task=dtd,kitti,dmlab", "seed=0,1")
    assert main(["run", "-m", *words]) == 2
    said = capsys.readouterr()
    assert "kitti is missing" in said.err
    assert "Wrong as well: dmlab" in said.err
    assert said.err.count("\n") == 1
    assert not list(tmp_path.glob("results/runs/*/*"))


@pytest.mark.parametrize("value", ["-1", "abc", "true", "0"])
def test_a_mixup_that_is_none_is_refused(vtab, places, value, capsys):
    assert main(["run", *of_vtab(vtab, *places, f"train.mixup={value}")]) == 2
    assert "train.mixup must be null or a number above 0" in capsys.readouterr().err


def test_the_command_that_shows_a_fault_has_the_options_of_the_run(shots, places, capsys):
    assert main(["run", "data=fewshot", f"data.root={shots}", *FAST, *places, "data.task=food101", "data.shots=3"]) == 2
    assert "glorabench data check fewshot task=food101" in (said := capsys.readouterr().err)
    assert "shots=3" in said.partition("All of it")[2]
    assert ".." not in said


def test_a_damaged_test_image_is_met_before_training(vtab, places, tmp_path, monkeypatch, capsys):
    shutil.copytree(vtab / "vtab-1k" / "eurosat", tmp_path / "eurosat")
    monkeypatch.setattr("glorabench.data.checks.inspect.SAMPLE", 2)  # as if the image lay among 26,000
    path = tmp_path / "eurosat" / "images" / "test" / "000007.jpg"
    path.write_bytes(path.read_bytes()[:500])
    monkeypatch.setattr("glorabench.training.stage.Stage.fit", lambda _: pytest.fail("it was trained"))
    assert main(["run", *of_vtab(tmp_path, *places, "data.task=eurosat")]) == 2
    assert "000007.jpg is truncated" in capsys.readouterr().err


AUGMENTED = [
    *("logger=none", "progress=none", "latency_rounds=0", "method=lora", "checkpoint_every=1", "train.epochs=5"),
    *("train.augment=timm", "train.mixup=0.8", "train.cutmix=1.0", "train.label_smoothing=0.1", "train.drop_path=0.1"),
    *("train.batch_size=8", "data=fewshot", "data.task=pets", "data.shots=2"),
]


def test_an_augmented_run_that_was_stopped_equals_an_uninterrupted_one(shots, tmp_path):
    words = [*AUGMENTED, f"data.root={shots}", f"cache_dir={tmp_path / 'cache'}"]
    whole = run(compose([*words, f"results_dir={tmp_path / 'whole'}"]))
    assert whole.status == "done", whole.error
    config = compose([*words, f"results_dir={tmp_path / 'pieces'}"])
    with stopped_in_epoch(3):
        run(config)
    assert list(tmp_path.glob("pieces/checkpoints/*/last.ckpt"))
    pieces = run(config)
    assert pieces.outcomes == whole.outcomes
    assert [entry["train_loss"] for entry in pieces.history] == [entry["train_loss"] for entry in whole.history]


@pytest.mark.campaign
def test_an_augmented_run_that_was_killed_equals_an_uninterrupted_one(shots, tmp_path):
    words = [*AUGMENTED, f"data.root={shots}", f"cache_dir={tmp_path / 'cache'}"]
    whole = run(compose([*words, f"results_dir={tmp_path / 'whole'}"]))
    assert whole.status == "done", whole.error
    again = [sys.executable, "-m", "glorabench.cli", "run", *words, f"results_dir={tmp_path / 'pieces'}"]
    first = subprocess.Popen(again, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("pieces/checkpoints/*/last.ckpt")):
        assert first.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    first.kill()
    assert first.wait(60) == -signal.SIGKILL
    assert not list(tmp_path.glob("pieces/runs/**/*.json"))
    done = subprocess.run(again, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pieces = record.read_record(record.path_of(tmp_path / "pieces", whole.config))
    assert pieces.outcomes == whole.outcomes
    assert [entry["train_loss"] for entry in pieces.history] == [entry["train_loss"] for entry in whole.history]


def test_one_shot_of_few_classes_is_at_least_one_step(shots, places):
    words = [*AUGMENTED[:4], "train.epochs=1", *AUGMENTED[6:], "data.shots=1", "train.batch_size=64"]
    made = run(compose([*words, f"data.root={shots}", *places]))
    assert made.status == "done", made.error
    assert made.history[-1]["step"] == 1
    assert made.names["task"] == "oxford_pets_1shot"


def test_features_of_images_that_vary_are_not_kept(shots, places):
    """A frozen trunk sees other images at each visit, so its features are computed at each."""
    made = run(compose([*AUGMENTED, "method=linear", "train.epochs=2", f"data.root={shots}", *places]))
    assert made.cost["ways"]["cached_features"] is False


def test_a_task_opens_with_the_objective_of_its_scorings(vtab, tmp_path):
    task = make(compose([*of_vtab(vtab), f"cache_dir={tmp_path}"])["data"], DATA)
    assert task.tests == ["test"]
    assert kind_of(task).objective(task, tiny_vit(), {"train": {"label_smoothing": 0.0}}).scorings == [{"top1": None}]
    assert task.split("train").labels.shape == (24,)
    assert torch.is_tensor(ImageData(task,
        fit_on="train", report_on="test", batch_size=8, eval_batch_size=8, seed=0, size=16, mean=(0.5,) * 3,
        std=(0.5,) * 3, interpolation="bilinear",
    ).example(4, torch.device("cpu")))  # fmt: skip
