"""Wall clock and memory of a training step, on the machine at hand.

One process per variant, all warm at once, steps of all of them in turn; a step is forward, backward and a fused AdamW,
random weights and images, the last block for all tokens. Medians, with the distance of the quartiles; ratios to the
floor are medians over rounds. The supernet draws a new path every step, and taken literally (W' formed with plain
autograd) the same ones. Peak memory is that of the process, or what is allocated on CUDA. On CUDA the products are
bfloat16 under autocast, and images/s are those of a whole epoch through the data path of a run, images of the embedded
suite resized to the backbone's size.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import torch
from rich.console import Console

from counters import FLOOR, PEFT, VARIANTS
from glorabench.training.measure.profiling import PeakMemory
from worker import Variant, Worker

WARM_UP = 1
LORA, ALL, VECTORS = "lora, all linear layers", "glora, all lora", "glora, all vectors"
SUPERNET, LITERAL = "glora supernet", "glora supernet, formula taken literally"
THEIRS = "Hugging Face peft: glora, all lora"


_DRAWN = ("method=glora", "method.path=supernet")
WALL: dict[str, Variant] = {
    FLOOR: Variant(None),
    "head only": Variant(["method=linear"]),
    "full fine-tuning": Variant(["method=full"]),
    LORA: Variant(VARIANTS[LORA]),
    SUPERNET: Variant(_DRAWN),
    ALL: Variant(VARIANTS[ALL]),
    VECTORS: Variant(VARIANTS[VECTORS]),
    LITERAL: Variant(_DRAWN, literal=True),
    f"{ALL}, formula taken literally": Variant(VARIANTS[ALL], literal=True),
    "Hugging Face peft: lora": Variant(PEFT[LORA]),
    THEIRS: Variant(PEFT[ALL]),
}


def _serve(pipe: Connection, variant: Variant, backbone: str, batch: int, threads: int) -> None:
    """Do what the other end of the pipe asks for, until it asks for nothing."""
    torch.set_num_threads(threads)
    worker = Worker(variant, backbone, batch)
    with PeakMemory() as peak:
        for _ in range(WARM_UP):
            worker.step()
        pipe.send(torch.cuda.get_device_name() if worker.device.type == "cuda" else "cpu")
        while (asked := pipe.recv()) is not None:
            pipe.send(getattr(worker, asked)())
    pipe.send((peak.bytes, peak.kind))


@contextmanager
def workers(
    variants: Mapping[str, Variant], backbone: str, batch: int, threads: int
) -> Iterator[tuple[dict[str, Connection], str]]:
    """A pipe to a warm process for each variant, and the device they share.

    Raises:
        RuntimeError: a process ended.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # threads of a waiting process leave the cores to the others
    context, pipes, processes = multiprocessing.get_context("forkserver"), {}, []
    context.set_forkserver_preload(["glorabench.training.build"])  # torch and the rest are imported once
    device = ""
    try:
        for label, variant in variants.items():
            say(f"starting {label}")
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, variant, backbone, batch, threads), daemon=True)
            process.start()
            there.close()
            processes.append(process)
            pipes[label] = here
            device = answer(here, label)
        yield pipes, device
    finally:
        for process in processes:
            process.terminate()


def answer(pipe: Connection, label: str) -> Any:
    """What a worker says.

    Raises:
        RuntimeError: it ended instead.
    """
    try:
        return pipe.recv()
    except EOFError as error:
        raise RuntimeError(f"the process of '{label}' ended: its message stands above") from error


def say(text: str) -> None:
    """Progress."""
    Console(stderr=True).print(text)


def measure(backbone: str, batch: int, repeats: int, threads: int) -> dict[str, Any]:
    """Milliseconds of `repeats` steps of each variant, taken in turns, and peak memory.

    Returns:
        {device, batch, threads, repeats, ms: {label: [...]}, peak_bytes, peak_kind, images_per_s (CUDA)}.
    """
    ms: dict[str, list[float]] = {label: [] for label in WALL}
    found: dict[str, Any] = {"backbone": backbone, "batch": batch, "threads": threads, "ms": ms, "peak_bytes": {}}
    found["precision"] = "bf16 autocast" if torch.cuda.is_available() else "float32"
    with workers(WALL, backbone, batch, threads) as (pipes, found["device"]):
        for repeat in range(repeats):
            say(f"round {repeat + 1} of {repeats}")
            for label, pipe in pipes.items():
                pipe.send("step")
                ms[label].append(round(answer(pipe, label), 3))
        if found["device"] != "cpu":
            found["images_per_s"] = {}
            for label, pipe in pipes.items():
                pipe.send("epoch")
                found["images_per_s"][label] = round(answer(pipe, label), 1)
        for label, pipe in pipes.items():
            pipe.send(None)
            found["peak_bytes"][label], found["peak_kind"] = answer(pipe, label)
    return found
