"""The `glorabench` command; light: nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glorabench import __version__, cli_readers, signals, streams
from glorabench.errors import BadInput, printable

_PRINTING = ("count", "table", "compare", "cost", "forgetting", "optimism", "tuned")  # they do nothing else
_RESUMABLE = ("run", "search", "push")
_EXAMPLES = """examples:
  glorabench run experiment=quickstart                 GLoRA against LoRA on embedded images, with a table
  glorabench run method=lora data.task=digits seed=1   one run
  glorabench run -m method=lora,glora seed=0,1,2       every combination; type it again to resume
  glorabench count backbone=vit_b16                    exact parameter counts, no weights needed
  glorabench doctor                                    what is missing on this machine
"""
_COUNTS = """examples:
  glorabench count                                            three tables, all methods
  glorabench count backbone=vit_b16                           one table
  glorabench count method=lora method.rank=2,4,8 'method.targets=[q,v]' backbone=vit_b16,llama_7b
"""
_EXPORTS = """examples:
  glorabench export run=3fa9 to=merged                                beginning of a run's id; below results/
  glorabench export run=3fa9 to=peft out=/models/digits results_dir=/data/results
  glorabench export run=3fa9 to=adapter backbone.weights_from=/data/ViT-B_16.npz
"""
_SEARCHES = """examples:
  glorabench search run=3fa9                                          the official evolution, weights inherited
  glorabench search run=3fa9 search=random search.winner=retrain      as many random paths; the best trained again
  glorabench search run=3fa9 search=nsga2 search.max_params=20000
"""
_DATA = """examples:
  glorabench data check vtab1k root=/data                             every list and image of all 19 tasks
  glorabench data check vtab1k root=/data task=cifar,dtd deep=true    two tasks, every image decoded
  glorabench data check fewshot root=/data shots=1,16 split_seed=0    options of a suite: docs/data.md
  glorabench data check                                               all suites below $GLORABENCH_DATA, or data
  glorabench data fake vtab1k root=/tmp/fake                          a tiny set, to rehearse the whole table with
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="glorabench",
        description="Fine-tune one frozen backbone with one method on one task, record it, compare records.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"glorabench {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def worded(name: str, overrides: str, **said: Any) -> argparse.ArgumentParser:
        made = commands.add_parser(name, formatter_class=argparse.RawDescriptionHelpFormatter, **said)
        made.add_argument("overrides", nargs="*", help=overrides)
        return made

    brief = "run one configuration, or with -m every combination of listed values"
    run = worded("run", "group=name or key=value, as in conf/", help=brief)
    run.add_argument("-m", "--multirun", action="store_true", help="sweep over comma-separated values")

    cli_readers.add(commands)

    count = worded(
        "count",
        "backbone=NAME, method=NAME, method.rank=2,4,8, ...",
        help="exact parameter counts beside the published ones (meta device, no weights)",
        description="Exact parameter counts of every method, head apart, beside the published ones and what explains "
        "the difference: on ViT-B/16, ConvNeXt-B and LLaMA-7B, or on what the overrides say. No weights are needed.",
        epilog=_COUNTS,
    )
    count.add_argument("--format", choices=("text", "md"), default="text")
    count.add_argument("--into", type=Path, help="replace the block between the markers table:counts of this file")

    exporter = worded(
        "export",
        "run=ID to=FORMAT, and out=, results_dir=, backbone.weights_from=",
        help="a finished run as a plain checkpoint, an adapter, or an adapter of Hugging Face peft",
        description="Write a finished run into a folder. to=merged: a plain timm or Hugging Face checkpoint. "
        "to=adapter: for glorabench.export.load. to=peft: for peft.PeftModel. docs/export.md says what each holds.",
        epilog=_EXPORTS,
    )
    searcher = worded(
        "search",
        "run=ID, search=NAME, search.winner=retrain, results_dir=, ...",
        help="search the supernet of a finished run, without training it again",
        description="Search a path on val with the supernet that a run has trained (method.path=supernet), then test "
        "the winner once. Without further words it is the official evolution.",
        epilog=_SEARCHES,
    )

    for command in (run, count, exporter, searcher):
        told = "let _target_ name code of this package of yours (methods, backbones, data, searches)"
        command.add_argument("--allow", action="append", default=[], metavar="PACKAGE", help=told)

    worded(
        "data",
        "check [SUITE] or fake SUITE; root=FOLDER, task=NAMES, deep=true, shots=..., full=true",
        help="check the data sets on disk, or write fake ones to rehearse with",
        description="check: lists, counts, labels, and the beginning and end of every image; deep=true decodes all.\n"
        "Exit code 2 when something that a run needs is missing or wrong, with how to get it.\n"
        "fake: a tiny set in the true layout; full=true has the true counts.\n"
        "Suites: vtab1k, fewshot, fgvc, imagenet. docs/data.md tells of each.",
        epilog=_DATA,
    )

    commands.add_parser("doctor", help="name what is missing on this machine")

    pretrain = commands.add_parser("pretrain", help="remake the weights of the embedded backbone")
    pretrain.add_argument("--out", type=Path, required=True, help="folder for the weights and their JSON")
    pretrain.add_argument("--seed", type=int, default=0)
    return parser


def _dispatch(args: argparse.Namespace) -> int:
    if packages := getattr(args, "allow", None):
        from glorabench.config.instantiate import allowing

        args.allow = []
        with allowing(packages):
            return _dispatch(args)
    if args.command in cli_readers.COMMANDS:
        return cli_readers.dispatch(args)
    if args.command == "run":
        from glorabench import sweep

        return sweep.main(args.overrides, args.multirun)
    if args.command == "count":
        from glorabench import count

        return count.main(args.overrides, args.format, args.into)
    if args.command == "export":
        from glorabench.export import command

        return command.main(args.overrides)
    if args.command == "search":
        from glorabench.search import command

        return command.main(args.overrides)
    if args.command == "data":
        from glorabench.data import command

        return command.main(args.overrides)
    if args.command == "doctor":
        from glorabench import doctor

        return doctor.main()
    from glorabench import pretrain

    pretrain.pretrain(args.out, seed=args.seed)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    args, late = parser.parse_known_args(argv)
    rest = next((name for name in ("overrides", "where") if hasattr(args, name)), None)
    if late and (rest is None or any(word.startswith("-") for word in late)):
        parser.error(f"unknown argument: {' '.join(late)}")
    if late and rest:  # they may stand on both sides of an option
        setattr(args, rest, [*getattr(args, rest), *late])
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 for success, 1 for a failed run, 2 for bad input, 130 after Ctrl-C or another signal.

    A reader that leaves (`... | head -1`) or a closed standard output is no error; a run goes on without it.
    """
    # a thread that waits in OpenMP soon sleeps instead of spinning: twice as fast where cores are shared
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # "no CUDA runtime" is no news here
    with streams.forgiving():
        resumable = False
        try:
            with signals.listening():
                args = _arguments(argv)
                if args.command in _PRINTING:
                    streams.end_with_reader()
                resumable = args.command in _RESUMABLE
                code = _dispatch(args)
                if not signals.interrupted():
                    return code
        except BadInput as error:
            print(f"glorabench: {printable(str(error))}", file=sys.stderr)
            return 2
        except streams.ReaderLeft:
            return 0
        except KeyboardInterrupt:
            pass
        print(f"\ninterrupted{'; the same command goes on from here' * resumable}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
