"""The commands that only read records: their arguments, and what they start. Light, as `cli` is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

COMMANDS = ("table", "compare", "cost", "forgetting", "optimism", "tuned", "push", "page", "report")
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


def add(commands: Any) -> None:
    """Add the parsers of `COMMANDS`."""

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


def dispatch(args: argparse.Namespace) -> int:
    """Run one of `COMMANDS`; its exit code."""
    if args.command == "table":
        from glorabench import render, why

        if "=" in args.suite:  # the suite may be left out, as in `compare`
            args.suite, args.where = "mini", [args.suite, *args.where]
        if args.why is not None:
            return why.main(args.suite, args.results, args.why, args.where)
        asked = (args.where, args.long, args.published, args.brief)
        return render.main(args.suite, args.results, args.format, args.into, *asked)
    if args.command == "compare":
        from glorabench.comparison import versus

        return versus.main(args.overrides, args.results, args.at, args.format, args.into)
    if args.command == "cost":
        from glorabench import frontier

        return frontier.main(args.suite, args.results, args.format, args.into, args.figures)
    if args.command == "forgetting":
        from glorabench import retention

        return retention.main(args.suite, args.results, args.format, args.into)
    if args.command == "optimism":
        from glorabench import optimism

        return optimism.main(args.suite, args.results, args.format, args.into)
    if args.command == "tuned":
        from glorabench import tuned

        return tuned.main(args.suite, args.results, args.into)
    if args.command == "push":
        from glorabench import push

        return push.main(args.suite, args.results, args.project, args.entity, args.mode, args.again)
    if args.command == "report":
        from glorabench.report import command

        return command.main(args.suite, args.results, args.out)
    from glorabench.comparison import page

    return page.main(args.name, args.results, args.out)
