"""The rooms of the package: imports run downwards only, in no circle, and files stay readable."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "prism_utils"
DATA = {"claims/paper.py"}  # the printed tables and claims, written out

_GROUND = {
    "prism_utils",
    "errors",
    "files",
    "checkpoints",
    "tables",
    "wording",
    "statistics",
    "runs",
    "records",
}
_DATA = _GROUND | {"corpora", "sequences", "prompts", "metrics", "rankers"}
_MODELS = _DATA | {"teachers", "distillation", "students", "decoding", "students front"}
#: Room -> the rooms that it may import beside itself. `students front` is `students/__init__.py`,
#: the one door that also gives back what `decoding` makes of a student.
ROOMS: dict[str, set[str]] = {
    "prism_utils": {"errors"},
    "errors": set(),
    "files": {"errors"},
    "checkpoints": {"errors", "files"},
    "tables": {"errors", "files"},
    "wording": {"errors", "tables"},
    "statistics": {"errors", "tables"},
    "runs": {"prism_utils", "errors", "files", "tables"},
    "records": {"errors", "files", "runs"},
    "corpora": _GROUND,
    "sequences": _GROUND,
    "prompts": _GROUND,
    "metrics": _GROUND,
    "rankers": _GROUND,
    "teachers": _GROUND | {"prompts"},
    "distillation": _GROUND | {"teachers"},
    "students": _GROUND | {"prompts", "rankers", "metrics"},
    "decoding": _GROUND | {"prompts", "students", "metrics"},
    "students front": _GROUND | {"students", "decoding"},
    "human_eval": _GROUND,
    "efficiency": _GROUND | {"teachers", "students", "decoding"},
    "experiments": _MODELS | {"human_eval"},
    "claims": _GROUND | {"prompts", "metrics", "human_eval", "efficiency", "experiments"},
    "plots": _GROUND,
    "study": _GROUND | {"claims"},
}


def room(path: Path) -> str:
    """The room of a file of the package."""
    first, *rest = path.relative_to(PACKAGE).with_suffix("").parts
    if (first, rest) == ("students", ["__init__"]):
        return "students front"
    return "prism_utils" if first == "__init__" else first


def target(path: Path, dots: int, module: str, name: str) -> Path | None:
    """The file of this package that `from module import name` reads, None for another package."""
    if not dots:
        first, *rest = module.split(".")
        if first != PACKAGE.name:
            return None
        folder = PACKAGE.joinpath(*rest)
    else:
        folder = path.parents[dots - 1].joinpath(*filter(None, module.split(".")))
    for place in (folder / name, folder):
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return file
    raise AssertionError(f"{path}: {module} {name} is no file")


def imports(path: Path) -> list[tuple[int, Path]]:
    """Line and imported file of every import of the package's own, inside functions too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            wanted = [(node.level, node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            wanted = [(0, alias.name, "") for alias in node.names]
        else:
            continue
        for dots, module, name in wanted:
            file = target(path, dots, module, name)
            if file is not None and file != path:
                found.append((node.lineno, file))
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_run_downwards(path: Path) -> None:
    own = room(path)
    for line, file in imports(path):
        other = room(file)
        assert other == own or other in ROOMS[own], (
            f"{path.relative_to(PACKAGE)}, line {line}: {own} may not import {other}"
        )


def test_the_table_of_rooms_has_no_circle_and_every_room() -> None:
    assert {room(path) for path in FILES} == set(ROOMS)
    tuple(TopologicalSorter(ROOMS).static_order())


def test_no_file_imports_itself_by_a_detour() -> None:
    graph = {path: {file for _, file in imports(path)} for path in FILES}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " -> ".join(p.relative_to(PACKAGE).as_posix() for p in error.args[1])
        raise AssertionError(f"a circle of imports: {circle}") from error


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_files_are_read_in_ten_minutes(path: Path) -> None:
    if path.relative_to(PACKAGE).as_posix() not in DATA:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 450
