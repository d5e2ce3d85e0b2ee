"""Speed of what the study does to tables and texts: medians with their range, one line each.

    make benchmark

Generates files of MovieLens-1M's shape in a temporary folder; every measure is warmed up once and
then taken in turn with the others, five times. Models are timed by chapters 4 and 4b, not here.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.csv

from prism_utils import corpora, runs, sequences
from prism_utils.corpora import embedded
from prism_utils.metrics import speed
from prism_utils.metrics.grounding import Grounding
from prism_utils.metrics.overlap import rouge
from prism_utils.metrics.receipts import Auditor
from prism_utils.metrics.suite import evaluate
from prism_utils.teachers.grammar import GrammarTeacher

ROUNDS = 5
USERS, ITEMS, RATINGS = 6040, 3883, 1_000_209


def write_movielens_1m(folder: Path) -> None:
    """Files of MovieLens-1M's shape and format, contents random; at least 20 ratings a user."""
    rng = np.random.default_rng(0)
    extra = rng.multinomial(RATINGS - 20 * USERS, rng.dirichlet(np.full(USERS, 0.5)))
    users = np.repeat(np.arange(1, USERS + 1), 20 + extra)
    columns = [
        users,
        rng.integers(1, ITEMS + 1, RATINGS),
        rng.integers(1, 6, RATINGS),
        rng.integers(956_703_932, 1_046_454_590, RATINGS),
    ]
    table = pa.table(
        {str(n): pa.array(column).cast(pa.string()) for n, column in enumerate(columns)}
    )
    lines = pa.compute.binary_join_element_wise(*table.columns, "::").to_pylist()
    (folder / "ratings.dat").write_text("\n".join(lines) + "\n", encoding="latin-1")
    films = [f"{n}::Film {n} (19{n % 90 + 10})::Drama" for n in range(1, ITEMS + 1)]
    (folder / "movies.dat").write_text("\n".join(films) + "\n", encoding="latin-1")


def main() -> int:
    """Measure and print; the first line says on what."""
    machine = runs.device()
    print(f"{machine['cpu']}, {machine['cores']} cores, commit {runs.commit(Path.cwd())}")
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_movielens_1m(folder)
        small = embedded.load(users=400, interactions_per_user=30)
        samples = sequences.make_samples(small.interactions)
        teacher = GrammarTeacher(small.items, max_history=5)
        told = teacher.explain(samples)
        grounding, auditor = Grounding(small.items), Auditor(small.items)
        asked = list(zip(told["text"], samples["history"], samples["item_id"], strict=True))

        large = embedded.load(users=2000, interactions_per_user=51)
        shown = sequences.make_samples(large.interactions)
        golden = GrammarTeacher(large.items, max_history=5).explain(shown)
        other = GrammarTeacher(large.items, max_history=5, seed=7).explain(shown)
        other = other.assign(system="other")
        catalogue = speed.enlarge(embedded.read_catalogue(embedded.CATALOGUE))
        drawn = speed.random_samples(catalogue, 40_000)
        of_many = GrammarTeacher(catalogue).explain(drawn)
        among_many = Grounding(catalogue)

        def million() -> None:
            source = corpora.load("movielens", folder)
            sequences.write_samples(source.interactions, folder / "samples.parquet")

        measures: dict[str, tuple[Callable[[], object], int, str]] = {
            "MovieLens-1M's files to Parquet samples": (million, 0, ""),
            "simulate 6,040 users, 1,000,209 interactions": (
                lambda: embedded.load(users=USERS, interactions_per_user=RATINGS / USERS), 0, "",
            ),
            "grammar teacher": (lambda: teacher.explain(samples), len(samples), "explanations"),
            "grounding metric": (lambda: grounding.score(told, samples), len(told), "texts"),
            "receipts": (lambda: auditor.audit_all(asked), len(asked), "texts"),
            "receipts, two processes": (
                lambda: auditor.audit_all(asked, workers=2), len(asked), "texts",
            ),
            "build the matcher of 150,000 titles": (lambda: Grounding(catalogue), 0, ""),
            "grounding among 150,000 titles, two processes": (
                lambda: among_many.score(of_many, drawn, workers=2), len(of_many), "texts",
            ),
            "metric suite without neural metrics, floors and intervals": (
                lambda: evaluate(other, shown, large.items, golden), len(shown), "texts",
            ),
            "ROUGE-1, -2, -L, -Lsum": (lambda: rouge(told, told), len(told), "pairs"),
        }  # fmt: skip
        seconds: dict[str, list[float]] = {name: [] for name in measures}
        for round_ in range(ROUNDS + 1):
            for name, (work, _, _) in measures.items():
                start = time.perf_counter()
                work()
                if round_:
                    seconds[name].append(time.perf_counter() - start)
    for name, (_, count, unit) in measures.items():
        times = seconds[name]
        line = f"{name}: {statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})"
        if count:
            line += f", {count / statistics.median(times):,.0f} {unit} a second"
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
