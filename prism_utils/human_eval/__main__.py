"""A blind rating study: python -m prism_utils.human_eval design | power | form | collect.

`design` draws samples and writes the key file, `form` makes one HTML file per rater from it, and
`collect` turns what comes back into ratings.parquet. Left out on purpose: sending mail.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError, run_cli
from ..tables import read_given as read
from ..tables import write_table
from .checks import check_name, check_output, unwritten, whole
from .collect import collect
from .design import balance, make_study, required
from .form import load_guide, write_forms
from .key import Study


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see `python -m prism_utils.human_eval --help`. 1: a file was refused."""
    parser = argparse.ArgumentParser(prog="python -m prism_utils.human_eval", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    command = commands.add_parser("design", help="draw samples, assign them, write the key file")
    for name, holds in {
        "explanations": "sample_id, system, text: .csv, .jsonl or .parquet",
        "samples": "sample_id, user_id, history, item_id: .csv, .jsonl or .parquet",
        "items": "item_id, title, year, attributes: .csv, .jsonl or .parquet",
    }.items():
        command.add_argument(f"--{name}", required=True, metavar="FILE", help=holds)
    command.add_argument("--study", required=True, help="its name, which names files too")
    command.add_argument("--out", required=True, metavar="KEY", help="the key file (.json)")
    command.add_argument("--raters", type=int, default=30)
    command.add_argument("--n-samples", type=int, default=20)
    command.add_argument("--raters-per-sample", type=int, help="default: all raters")
    command.add_argument("--systems", help="separated by commas (default: all)")
    command.add_argument("--noun", default="film", help="what an item is (default: film)")
    command.add_argument("--max-history", type=int, default=50, help="items shown (default: 50)")
    command.add_argument("--no-facts", action="store_true", help="hide the catalogue's attributes")
    command.add_argument("--seed", type=int, default=0)

    command = commands.add_parser("power", help="samples and raters that a difference needs")
    command.add_argument("--difference", type=float, required=True, help="in points of the scale")
    command.add_argument("--wanted", type=float, default=0.8, help="power (default: 0.8)")
    command.add_argument("--level", type=float, default=0.05, help="for k tests give level / k")
    for name, default, what in (
        ("sample", 0.5, "the difference varies between samples"),
        ("rater", 0.3, "the difference varies between raters"),
        ("noise", 0.7, "a single rating varies"),
    ):
        command.add_argument(
            f"--{name}-sd", type=float, default=default, help=f"how {what} (default: {default})"
        )

    command = commands.add_parser("form", help="write one HTML file per rater")
    command.add_argument("--key", required=True, metavar="KEY")
    command.add_argument("--out", required=True, metavar="FOLDER")
    command.add_argument("--guide", metavar="FILE", help="guidelines and practice of your own")
    command.add_argument("--send-to", default="", help="where raters send their file, in words")

    command = commands.add_parser("collect", help="read what came back, write the ratings table")
    command.add_argument("files", nargs="+", metavar="FILE", help="or a folder of them")
    command.add_argument("--key", required=True, metavar="KEY")
    command.add_argument("--out", required=True, metavar="FILE", help="ratings (.parquet)")
    command.add_argument("--partial", action="store_true", help="take unfinished files as well")
    args = parser.parse_args(arguments)
    return {"design": _design, "power": _power, "form": _form, "collect": _collect}[args.command](
        args
    )


def _output(path: str, suffix: str) -> Path:
    if Path(path).suffix != suffix:
        raise InputError(f"--out {path}: give a file whose name ends in {suffix}")
    return check_output("--out", Path(path))


def _design(args: argparse.Namespace) -> int:
    out = _output(args.out, ".json")
    check_name("--study", args.study)
    for name, least in {"raters": 1, "n_samples": 1, "max_history": 1, "seed": 0}.items():
        whole("--" + name.replace("_", "-"), getattr(args, name), least)
    if out.exists():
        raise InputError(
            f"--out {out}: there is a key already; forms made from it could not be read without it"
        )
    study = make_study(
        read(args.explanations, "explanations"),
        read(args.samples, "samples"),
        read(args.items, "items"),
        name=args.study,
        raters=args.raters,
        n_samples=args.n_samples,
        raters_per_sample=args.raters_per_sample,
        systems=[name.strip() for name in args.systems.split(",")] if args.systems else None,
        noun=args.noun,
        max_history=args.max_history,
        facts=not args.no_facts,
        seed=args.seed,
    )
    study.save(out)
    print(balance(study).to_string())
    print(f"key: {out} (keep it from raters: it says which system wrote what)")
    return 0


def _power(args: argparse.Namespace) -> int:
    table = required(
        args.difference,
        wanted=args.wanted,
        level=args.level,
        sample_sd=args.sample_sd,
        rater_sd=args.rater_sd,
        noise_sd=args.noise_sd,
    )
    shown = table.astype(object).where(table.notna(), "not reached")
    print(shown.to_string(index=False, float_format="{:.3f}".format))
    print("not reached: not by 1000 samples, since raters differ in what they prefer")
    return 0


def _form(args: argparse.Namespace) -> int:
    out = check_output("--out", Path(args.out), folder=True)
    study, guide = Study.load(args.key), load_guide(args.guide)
    paths = write_forms(study, out, guide=guide, send_to=args.send_to)
    print(f"{len(paths)} forms in {args.out}: {paths[0].name} to {paths[-1].name}")
    return 0


def _collect(args: argparse.Namespace) -> int:
    out = _output(args.out, ".parquet")
    collected = collect(args.files, Study.load(args.key), partial=args.partial)
    for row in collected.report.itertuples():
        print(f"{row.outcome:8}  {row.file}: {row.reason}")
    if not len(collected.ratings):
        raise InputError("no rating could be taken; the lines above say why")
    try:
        write_table(collected.ratings, out, "ratings")
    except OSError as error:
        raise unwritten(f"--out {out}", error) from error
    skipped = f", {len(collected.skipped)} explanations skipped" if len(collected.skipped) else ""
    print(f"{len(collected.ratings)} ratings{skipped}: {out}")
    if collected.waiting:
        print(f"still waiting for: {', '.join(collected.waiting)}")
    return 1 if len(collected.refused) else 0


if __name__ == "__main__":
    run_cli(main)
