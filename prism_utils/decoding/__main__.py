"""python -m prism_utils.decoding: `export` a student, time its start, receipts and titles."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import run_cli
from ..tables import read_table


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and write the folder."""
    parser = argparse.ArgumentParser(prog="python -m prism_utils.decoding")
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write a student for the fast CPU backend")
    export.add_argument("student", type=Path, help="a folder that finetune wrote")
    export.add_argument("out", type=Path, help="a new folder; Explainer.load reads it")
    export.add_argument("--precision", default="int8", help="float32, mixed or int8 (default)")
    start = commands.add_parser("start", help="time until a fresh process explains, and its memory")
    start.add_argument("folder", type=Path, help="a student's folder or an exported one")
    speed = commands.add_parser("audit-speed", help="texts whose claims are audited a second")
    speed.add_argument("folder", type=Path, help="a student's folder or an exported one")
    speed.add_argument("--texts", type=int, default=20_000, help="how many (default: 20000)")
    speed.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    price = commands.add_parser("titles", help='what explain(…, titles="shown") costs')
    price.add_argument("folder", type=Path, help="a student's folder or an exported one")
    price.add_argument("--samples", type=Path, help="a samples table; else the catalogue is asked")
    price.add_argument("--backend", default="auto", help="as Explainer.load takes it")
    price.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    price.add_argument("--seconds", type=float, default=10.0, help="of each batch size")
    given = parser.parse_args(arguments)

    if given.command == "export":
        from .export import export as write  # needs the training stack; --help does not

        out = write(given.student, given.out, given.precision)
        size = sum(path.stat().st_size for path in out.iterdir())
        print(f"{out}: {size / 2**20:,.1f} MiB, {given.precision}; load it with Explainer.load")
    elif given.command == "audit-speed":
        from .audit import audit_speed

        rates = audit_speed(given.folder, given.texts, given.workers)
        print(
            f"{rates['texts_per_s']:,.0f} texts a second, {rates['claims_per_text']:.1f} claims "
            f"a text, workers: {given.workers}"
        )
    elif given.command == "titles":
        from . import Explainer
        from .price import price as cost

        explainer = Explainer.load(given.folder, backend=given.backend)
        samples = given.samples and read_table(given.samples, "samples")
        for size in given.batches:
            found = cost(explainer, samples, batch_size=size, seconds=given.seconds)
            print(
                f"{explainer.backend.name}, batch {size}: {1e3 * found['any_s']:.2f} ms, with "
                f"titles='shown' {1e3 * found['shown_s']:.2f} ms: {found['price']:+.1%} (quartiles "
                f"{found['price_low']:+.1%} to {found['price_high']:+.1%}; "
                f"{found['price_unbound']:+.1%} where no text changed, {found['price_mean']:+.1%} "
                f"on average); {found['bound']:.1%} of texts changed, {found['rounds']} rounds"
            )
    else:
        from .start import start as measure

        told = measure(given.folder)
        heavy = ", ".join(told["imported"]) or "neither torch nor transformers"
        print(
            f"ready after {told['ready_s']:.2f} s, first explanation after "
            f"{told['answered_s']:.2f} s, at most {told['peak_bytes'] / 2**20:.0f} MiB, "
            f"imported: {heavy} (medians of three processes)"
        )


if __name__ == "__main__":
    run_cli(main)
