"""Runs notebooks through papermill: what a step depends on, and what is still up to date.

A notebook whose code cells, parameters, package, inputs and predecessors are unchanged is not run
again; edited prose is merged into its executed copy. Left out on purpose: any knowledge of what the
notebooks compute, and parallel execution (chapters measure time). `book` makes the pages.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat

from ..errors import InputError, nearest
from ..files import fingerprint, read_json, write_json, write_text
from ..runs import Run, home, library_versions, project_root, provenance
from .profile import Step, notebooks, parameters, plan, profiles

# Which notebooks each notebook reads tables from; one not named here needs all before it.
NEEDS: dict[str, tuple[str, ...]] = {
    "01_preprocessing": (),
    "02_distillation": ("01_preprocessing",),
    "03_finetuning": ("01_preprocessing", "02_distillation"),
    "03b_baselines": ("01_preprocessing", "02_distillation", "03_finetuning"),
    "04_efficiency": ("01_preprocessing", "02_distillation", "03_finetuning"),
    "04b_fast_path": ("01_preprocessing", "02_distillation", "03_finetuning"),
    "04c_training_cost": ("01_preprocessing", "02_distillation", "03_finetuning", "04_efficiency"),
    "05_rouge_pitfall": ("01_preprocessing", "02_distillation", "03_finetuning", "03b_baselines"),
    "06_agreement": ("01_preprocessing", "02_distillation", "03_finetuning", "03b_baselines"),
    "07_evaluation": ("01_preprocessing", "02_distillation", "03_finetuning", "03b_baselines"),
    "07b_real_text": (),
    "07c_splits": ("01_preprocessing", "02_distillation"),
    "08_mechanism": (),
    "09_controls": ("01_preprocessing", "02_distillation", "03_finetuning"),
    "10_true": ("01_preprocessing", "02_distillation", "03_finetuning", "03b_baselines"),
}
# What a notebook sees while it is rendered: no progress bars, no fork warnings, stable set order.
RENDERING = {
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "PYTHONHASHSEED": "0",
    # Threads that spin while they wait make two cores slower than one beside any other work.
    "OMP_WAIT_POLICY": "PASSIVE",
}
# Parameters whose values are files or folders, or models that may be.
PATHS = ("data", "path", "init_from", "model", "bertscore", "likelihood_model", "xrec_yelp")
# What must not reach a notebook from the shell that runs the study.
HIDDEN = ("COLAB_RELEASE_TAG", "MPLBACKEND", "WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE",
          "MASTER_ADDR", "MASTER_PORT", "IPYTHONDIR", "JUPYTER_CONFIG_DIR",
          "JUPYTER_PREFER_ENV_PATH")  # fmt: skip


def needs(name: str) -> list[str]:
    """The notebooks that `name` builds on, in order.

    >>> needs("02_distillation")
    ['01_preprocessing']
    """
    earlier = [other for other in notebooks() if other < name]
    return [other for other in earlier if other in NEEDS.get(name, tuple(earlier))]


def named_paths(values: Any, name: str = "") -> list[str]:
    """The files and folders that parameters name, wherever they lie: what a step reads.

    A text names a path, from the project's root, if something lies there, and if it looks like one
    ("a/b", "a.csv") or is the value of one of `PATHS`: "book" is a noun first, and a folder here.
    """
    if isinstance(values, dict):
        return sorted({p for key, value in values.items() for p in named_paths(value, str(key))})
    if isinstance(values, list | tuple):
        return sorted({path for value in values for path in named_paths(value, name)})
    if not isinstance(values, str) or not values or "\0" in values:
        return []
    if name not in PATHS and "/" not in values and not Path(values).suffix:
        return []
    try:
        return [values] if (project_root() / values).exists() else []
    except OSError:  # a text that is too long for a name, or a loop of links
        return []


def package_digest() -> str:
    """SHA-256 of the package's sources and bundled tables."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(p for p in package.rglob("*") if p.is_file()):
        name = path.relative_to(package)
        if not {"__pycache__", "_study"} & set(name.parts):
            digest.update(name.as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def step_key(step: Step, done: dict[str, Any], package: str) -> str:
    """SHA-256 of everything that can change what the notebook computes.

    A predecessor enters with its date as well: if it ran again, it may have rewritten its tables.
    """
    cells = nbformat.read(step.source, as_version=4).cells
    code = [c.source for c in cells if c.cell_type == "code"]
    inputs = {name: value for name, value in step.values.items() if name != "run_dir"}
    # A chapter that shows a record names it, or a family of them: "efficiency-*.json".
    records = sorted((home() / "book" / "records").glob("*.json"))
    names = [(path, (path.name, f"{path.stem.split('-')[0]}-*.json")) for path in records]
    shown = [path for path, told in names if any(name in c for c in code for name in told)]
    parts = {
        "code": code,
        "records": [hashlib.sha256(path.read_bytes()).hexdigest() for path in shown],
        "values": step.values,
        "package": package,
        "needs": {n: [done.get(n, {}).get(k) for k in ("key", "date")] for n in needs(step.name)},
        "read": {path: fingerprint(project_root() / path) for path in named_paths(inputs)},
        "versions": library_versions(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def merged(source: nbformat.NotebookNode, executed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The source's cells with the outputs of its executed copy, whose code is the same.

    Papermill's injected cell keeps its place after the parameters.
    """

    def injected(cell: nbformat.NotebookNode) -> bool:
        return "injected-parameters" in cell.metadata.get("tags", [])

    ran = iter(c for c in executed.cells if c.cell_type == "code" and not injected(c))
    cells = []
    for cell in source.cells:
        if cell.cell_type == "code":
            twin = next(ran)
            cell = nbformat.from_dict(
                cell | {"outputs": twin.outputs, "execution_count": twin.execution_count}
            )
        cells.append(cell)
        if "parameters" in cell.metadata.get("tags", []):
            cells += [c for c in executed.cells if injected(c)]
    language = {"language_info": executed.metadata.get("language_info", {"name": "python"})}
    return nbformat.from_dict(source | {"cells": cells, "metadata": source.metadata | language})


@contextmanager
def locked(run: Run) -> Iterator[None]:
    """Hold the run's folder; a second holder gets an `InputError`. Freed even by a crash."""
    run.path.mkdir(parents=True, exist_ok=True)
    with (run.path / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise InputError(
                f"{run.path} is in use by process {lock.read().strip() or 'unknown'}: "
                "wait until it ends, or give another --runs-dir"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def rendering(offline: bool) -> Iterator[None]:
    """The environment of rendered notebooks, inherited by their kernels; put back afterwards.

    What is left over from elsewhere is hidden: a plotting backend (figures belong into the page),
    what launchers of distributed programs say, `COLAB_RELEASE_TAG` (a predecessor run from here
    must not set itself up again). The kernel is this very Python, whatever Jupyter's "python3" is.
    """
    before = dict(os.environ)
    os.environ.update(RENDERING | ({"HF_HUB_OFFLINE": "1"} if offline else {}))
    for name in HIDDEN:
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as folder:
        kernel = Path(folder) / "kernels" / "python3" / "kernel.json"
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        write_json({"argv": command, "display_name": "Python 3", "language": "python"}, kernel)
        os.environ["JUPYTER_PATH"] = folder
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def execute(step: Step, run: Run) -> None:
    """Run one notebook into the run's folder; a failure is an `InputError` that says where."""
    import papermill  # here: an unchanged study should answer quickly
    from nbclient.exceptions import DeadKernelError

    target = _copy(step, run)
    target.parent.mkdir(parents=True, exist_ok=True)
    look = f"the executed copy is {target}"
    try:
        executed = papermill.execute_notebook(
            str(step.source), str(target.resolve()), step.values,
            kernel_name="python3", language="python", cwd=str(project_root()), progress_bar=False,
            extra_arguments=["--log-level=CRITICAL"],
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        reason = (error.evalue.strip().splitlines() or [""])[-1]
        said = reason if error.ename == "InputError" else f"{error.ename}: {reason}"
        raise InputError(
            f"notebook {step.name} stopped at In [{error.exec_count}]: {said} ({look})"
        ) from error
    except DeadKernelError as error:
        raise InputError(
            f"the kernel of notebook {step.name} died, most often for want of memory ({look})"
        ) from error
    executed.metadata.pop("papermill", None)  # holds absolute paths
    write_text(
        nbformat.writes(merged(nbformat.read(step.source, as_version=4), executed)) + "\n", target
    )


def ledger(run: Run) -> dict[str, Any]:
    """What is known of each notebook that has run, by its name: key, date, seconds, files, page.

    Raises InputError for a `steps.json` that was changed or damaged.
    """
    path, todo = run.path / "steps.json", "delete it, and the notebooks run again"
    done = read_json(path, todo)
    for step in done.values():
        seconds = step.get("seconds") if isinstance(step, dict) else None
        if not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
            raise InputError(f"{path}: damaged: {todo}")
    return done


def read_copy(path: Path, last: dict[str, Any]) -> nbformat.NotebookNode:
    """The executed copy of a notebook; `last`: what the ledger knows of it.

    Raises InputError unless it is a notebook, and that which the step left.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        fits = last.get("page") in (None, _page(notebook))
    except Exception:  # nbformat raises several unrelated types
        fits = False
    if not fits:
        raise InputError(f"{path} is missing or damaged: delete it, and make book runs it again")
    return notebook


def _page(notebook: nbformat.NotebookNode) -> str:
    """SHA-256 of a notebook's code and outputs; prose may change without a run."""
    cells = [(c.source, c.outputs) for c in notebook.cells if c.cell_type == "code"]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def up_to_date(
    step: Step, last: dict[str, Any], key: str, run: Run
) -> nbformat.NotebookNode | None:
    """The executed copy of a step that need not run: its key is the last run's, all is there."""
    files = last.get("files", [])
    if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
        return None
    if last.get("key") != key or not all((run.path / name).exists() for name in files):
        return None
    try:
        return read_copy(_copy(step, run), last) if "page" in last else None
    except InputError:
        return None


def _copy(step: Step, run: Run) -> Path:
    return run.path / "notebooks" / f"{step.name}.ipynb"


def files(run: Run) -> dict[str, tuple[int, int]]:
    """What notebooks left in the run's folder: path -> (size, time of change)."""
    ours = ("book", "notebooks", "steps.json", "run.json", ".lock")
    paths = [
        p for top in run.path.iterdir() if top.name not in ours for p in (top, *top.rglob("*"))
    ]
    stats = {p.relative_to(run.path).as_posix(): p.stat() for p in paths if p.is_file()}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def run_steps(
    steps: list[Step], run: Run, profile: dict[str, Any], name: str, force: bool = False
) -> None:
    """Run what is not up to date, one progress line each; keep `steps.json` and `run.json`."""
    path = run.path / "steps.json"
    package = package_digest()
    with locked(run), rendering(bool(profile.get("offline"))):
        done = ledger(run)
        for number, step in enumerate(steps, 1):
            print(f"[{number}/{len(steps)}] {step.name} … ", end="", flush=True)
            key = step_key(step, done, package)
            target = _copy(step, run)
            executed = None if force else up_to_date(step, done.get(step.name, {}), key, run)
            if executed is not None:
                source = nbformat.read(step.source, as_version=4)
                text = nbformat.writes(merged(source, executed)) + "\n"
                edited = text != target.read_text(encoding="utf-8")
                if edited:
                    write_text(text, target)
                print("unchanged, prose updated" if edited else "unchanged", flush=True)
                continue
            done.pop(step.name, None)
            write_json(done, path, sealed=True)
            before, start = files(run), time.perf_counter()
            try:
                execute(step, run)
            except BaseException:
                print("stopped", flush=True)
                raise
            seconds = time.perf_counter() - start
            done[step.name] = {
                "key": key,
                "date": datetime.now(UTC).isoformat(),
                "seconds": round(seconds, 1),
                "files": sorted(p for p, stat in files(run).items() if before.get(p) != stat),
                "page": _page(read_copy(target, {})),
            }
            write_json(done, path, sealed=True)
            record(run, step, profile, name)
            print(f"done in {seconds:.0f} s", flush=True)


def record(run: Run, step: Step, profile: dict[str, Any], name: str) -> None:
    """Put the provenance of a step that has just run into `run.json`."""
    values = {p.name: p.default for p in parameters(step.source).values()} | step.values
    known = run.facts
    run.record(
        profile=name,
        description=profile.get("description", ""),
        seeds=known.get("seeds", {}) | ({step.name: values["seed"]} if "seed" in values else {}),
        parameters=known.get("parameters", {}) | {step.name: values},
        **provenance(project_root()),
    )


def run(
    profile: str = "quick",
    *,
    data: str = "",
    only: Iterable[str] = (),
    settings: Iterable[str] = (),
    runs_dir: str = "runs",
) -> Run:
    """Run a profile's notebooks; `only` runs just those named, even if they are up to date."""
    root = project_root()
    run_dir = Path(os.path.relpath((Path.cwd() / runs_dir / profile).resolve(), root)).as_posix()
    steps, content = plan(profile, run_dir, data, settings)
    names = [step.name for step in steps]
    chosen = list(only) or names
    for name in chosen:
        if name not in names:
            raise InputError(f"--only {name}: unknown notebook: {nearest(name, names)}")
    target = Run.open(run_dir)
    run_steps([s for s in steps if s.name in chosen], target, content, profile, force=bool(only))
    return target


def prepare(notebook: str, run_dir: str = "runs/quick") -> Run:
    """Run the notebooks that `notebook` builds on, where they are missing; for Colab's set-up cell.

    The profile is the last part of `run_dir` if there is one of that name, else `quick`.
    """
    known = notebooks()
    if notebook not in known:
        raise InputError(f"unknown notebook '{notebook}': {nearest(notebook, known)}")
    last = Path(run_dir).name
    profile = last if last in profiles() else "quick"
    steps, content = plan(profile, run_dir)
    target = Run.open(run_dir)
    wanted = needs(notebook)
    run_steps([s for s in steps if s.name in wanted], target, content, profile)
    return target
