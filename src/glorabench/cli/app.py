"""Parse the command line and start a command. Light: nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from glorabench import __version__, signals, streams
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

_READERS = ("table", "compare", "cost", "forgetting", "optimism", "tuned", "push", "page", "report")
_AS_IS = argparse.RawDescriptionHelpFormatter
_COMPARES = """examples:
  glorabench compare method=lora method=glora         the second side begins where the first key comes again
  glorabench compare mini --results results method=lora method=glora search=evolution
  glorabench compare vtab1k method=lora method=glora --at params   of several configurations the nearest in it
"""
_PUSHES = """examples:
  glorabench push                                     every record below results/local or results, offline
  glorabench push mini --results results --mode online --entity my-team
  wandb sync results/wandb/pushed/glorabench/wandb/offline-run-*      sends what was pushed offline
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

    _add_readers(commands)

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
        from glorabench.config.instantiate import allow_packages

        args.allow = []
        with allow_packages(packages):
            return _dispatch(args)
    if args.command in _READERS:
        return _dispatch_reader(args)
    if args.command == "run":
        from glorabench.cli import run

        return run.run(args.overrides, args.multirun)
    if args.command == "count":
        from glorabench.cli import tables

        return tables.count(args.overrides, args.format, args.into)
    if args.command == "export":
        from glorabench.cli import export

        return export.export(args.overrides)
    if args.command == "search":
        from glorabench.cli import run

        return run.search(args.overrides)
    if args.command == "data":
        from glorabench.cli import data

        return data.data(args.overrides)
    if args.command == "doctor":
        from glorabench.cli import doctor

        return doctor.doctor()
    from glorabench.training import pretrain

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
    with streams.tolerate_broken_streams():
        resumable = False
        try:
            with signals.handle_signals():
                args = _arguments(argv)
                if args.command in _PRINTING:
                    streams.end_with_reader()
                resumable = args.command in _RESUMABLE
                code = _dispatch(args)
                if not signals.is_interrupted():
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


def _add_readers(commands: Any) -> None:
    """Add the parsers of `_READERS`."""

    def of_suite(name: str, default: str | None = "mini", **said: Any) -> argparse.ArgumentParser:
        made = commands.add_parser(name, formatter_class=_AS_IS, **said)
        made.add_argument("suite", nargs="?", default=default)
        made.add_argument("--results", type=Path, help="results folder (default: results/local, else results)")
        return made

    def into(parser: argparse.ArgumentParser) -> None:
        told = f"write Markdown between <!-- {parser.prog.split()[-1]}:SUITE --> and its end; FILE#NAME: ...:NAME"
        parser.add_argument("--into", metavar="FILE", help=told)

    def shown(parser: argparse.ArgumentParser, *more: str) -> None:
        parser.add_argument("--format", choices=("text", "md", "tex", "html", *more), default="text")
        into(parser)

    table = of_suite("table", help="print the table of a suite from its records")
    shown(table, "csv")
    told = "only records with it, in words of the config; A,B is any of both"
    table.add_argument("where", nargs="*", metavar="KEY=VALUE", help=told)
    table.add_argument("--long", action="store_true", help="a row for each task and method, with costs, for any suite")
    table.add_argument("--brief", action="store_true", help="without how each method stands to the best of each task")
    table.add_argument("--published", action="store_true", help="hold every task, too, against what papers print")
    table.add_argument("--why", metavar="CELL", help="the runs behind METHOD/TASK, and in what they differ")

    about = "two configurations, task by task, from records"
    versus = commands.add_parser("compare", formatter_class=_AS_IS, help=about, epilog=_COMPARES)
    versus.add_argument("overrides", nargs="+", metavar="WORD", help="the suite, then key=value of both sides")
    versus.add_argument("--results", type=Path, help="results folder (default: results/local, else results)")
    versus.add_argument("--at", choices=("params", "flops", "time"), help="the pair that is nearest in it")
    shown(versus)

    cost = of_suite("cost", help="accuracy against parameters, FLOPs, time, memory and latency: the Pareto fronts")
    shown(cost, "csv")
    cost.add_argument("--figures", type=Path, metavar="FOLDER", help="draw the fronts: accuracy-COST.svg")

    about = "learning against forgetting: accuracy, and what is left of that on the upstream task"
    shown(of_suite("forgetting", help=about))

    about = "what reporting the best epoch, instead of the last, would have added"
    optimism = of_suite("optimism", help=about, description=f"{about[0].upper()}{about[1:]}, from curves on val.")
    shown(optimism)

    tuned = of_suite("tuned", help="the learning rate that equal tuning found best for each method, as YAML")
    into(tuned)

    push = of_suite("push", None, help="replay local records into W&B, each once", epilog=_PUSHES)
    push.add_argument("--project", default="glorabench")
    push.add_argument("--entity", help="team or user (default: that of the login)")
    push.add_argument("--mode", choices=("offline", "online"), default="offline")
    push.add_argument("--again", action="store_true", help="also what was pushed before")

    page = commands.add_parser("page", help="write the results page conf/page/NAME.yaml from records")
    page.add_argument("name", metavar="NAME", help="a file of conf/page/")
    page.add_argument("--results", type=Path, help="folder of the records (default: results/NAME)")
    page.add_argument("--out", type=Path, help="folder for README.md and its figures (default: that of the records)")

    about = "write one HTML page of all records: tables, figures, a card for each run"
    report = of_suite("report", None, help=about, description=f"{about[0].upper()}{about[1:]}; docs/report.md.")
    report.add_argument("--out", type=Path, help="the file (default: report.html in the results folder)")


def _dispatch_reader(args: argparse.Namespace) -> int:
    """Run one of `_READERS`; its exit code."""
    if args.command == "table":
        from glorabench.cli import tables

        if "=" in args.suite:  # the suite may be left out, as in `compare`
            args.suite, args.where = "mini", [args.suite, *args.where]
        if args.why is not None:
            return tables.explain(args.suite, args.results, args.why, args.where)
        asked = (args.where, args.long, args.published, args.brief)
        return tables.table(args.suite, args.results, args.format, args.into, *asked)
    if args.command == "compare":
        from glorabench.cli import tables

        return tables.compare(args.overrides, args.results, args.at, args.format, args.into)
    if args.command == "cost":
        from glorabench.cli import analyses

        return analyses.cost(args.suite, args.results, args.format, args.into, args.figures)
    if args.command == "forgetting":
        from glorabench.cli import analyses

        return analyses.forgetting(args.suite, args.results, args.format, args.into)
    if args.command == "optimism":
        from glorabench.cli import analyses

        return analyses.optimism(args.suite, args.results, args.format, args.into)
    if args.command == "tuned":
        from glorabench.cli import analyses

        return analyses.tuned(args.suite, args.results, args.into)
    if args.command == "push":
        from glorabench.cli import pages

        return pages.push(args.suite, args.results, args.project, args.entity, args.mode, args.again)
    if args.command == "report":
        from glorabench.cli import pages

        return pages.report(args.suite, args.results, args.out)
    from glorabench.cli import pages

    return pages.page(args.name, args.results, args.out)
