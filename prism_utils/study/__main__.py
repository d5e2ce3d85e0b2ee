"""The notebooks of a profile, in order, through papermill, with checked parameters.

python -m prism_utils.study run --profile quick --set 03_finetuning.steps=10
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..errors import run_cli
from ..runs import Run, project_root
from . import book
from .profile import load_profile, notebooks, parameters, profiles
from .steps import prepare, run


def show() -> None:
    """Print every profile, and every notebook with its parameters and defaults."""
    for name in profiles():
        print(f"{name}: {load_profile(name).get('description', '')}")
    for name, source in notebooks().items():
        print(f"\n{name}")
        for p in parameters(source).values():
            print(f"  {p.name}: {p.type} = {p.default!r}")


def main(arguments: list[str] | None = None) -> None:
    """The command line; see `python -m prism_utils.study --help`."""
    parser = argparse.ArgumentParser(prog="python -m prism_utils.study", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in {
        "run": "run a profile's notebooks",
        "build": "build the book of a run that is there",
        "book": "run, then build",
    }.items():
        sub = commands.add_parser(command, help=text)
        sub.add_argument("--profile", default="quick")
        sub.add_argument("--runs-dir", default="runs", help="where runs are kept (default: runs)")
        if command != "build":
            sub.add_argument("--data", default="", help="folder of the corpus' own files")
            sub.add_argument("--set", action="append", default=[], metavar="NOTEBOOK.NAME=VALUE")
        if command == "run":
            sub.add_argument("--only", action="append", default=[], metavar="NOTEBOOK")
    sub = commands.add_parser("prepare", help="run what a notebook builds on")
    sub.add_argument("notebook")
    sub.add_argument("--run-dir", default="runs/quick")
    commands.add_parser("list", help="print profiles, notebooks and parameters")

    args = parser.parse_args(arguments)
    if args.command == "list":
        show()
    elif args.command == "prepare":
        prepare(args.notebook, args.run_dir)
    elif args.command == "build":
        load_profile(args.profile)
        book.build(Run.open(os.path.relpath(Path(args.runs_dir) / args.profile, project_root())))
    else:
        only = args.only if args.command == "run" else ()
        target = run(
            args.profile, data=args.data, only=only, settings=args.set, runs_dir=args.runs_dir
        )
        if args.command == "book":
            book.build(target)


if __name__ == "__main__":
    run_cli(main)
