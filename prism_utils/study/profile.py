"""Profiles: which notebooks, with which parameters, checked against the notebooks themselves.

Left out on purpose: running anything (`steps`).
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import yaml

from ..errors import InputError, nearest
from ..runs import home, project_root

TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,), "float": (float, int), "str": (str,), "bool": (bool,), "list": (list,),
    "tuple": (list, tuple), "dict": (dict,),
}  # fmt: skip


@dataclass(frozen=True)
class Parameter:
    """One line of a notebook's `parameters` cell: its name, type name and default."""

    name: str
    type: str
    default: Any


@dataclass(frozen=True)
class Step:
    """One notebook with the values that it is run with."""

    name: str
    source: Path
    values: dict[str, Any]


def notebooks() -> dict[str, Path]:
    """Name -> source of every notebook, in order.

    >>> list(notebooks())[:1]
    ['01_preprocessing']
    """
    return {p.stem: p for p in sorted((home() / "notebooks").glob("[0-9]*.ipynb"))}


def profiles() -> dict[str, Path]:
    """Name -> file of every profile."""
    return {p.stem: p for p in sorted((home() / "profiles").glob("*.yml"))}


def load_profile(name: str) -> dict[str, Any]:
    """Read and check a profile: `description`, `offline`, and `notebooks` (name -> parameters)."""
    known = profiles()
    if name not in known:
        raise InputError(f"unknown profile '{name}': {nearest(name, known)}")
    where = f"profiles/{name}.yml"
    try:
        profile = yaml.safe_load(known[name].read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", "") or "malformed"
        raise InputError(f"{where}{line}: not valid YAML ({problem})") from error
    fields = {"description": str, "offline": bool, "notebooks": dict}
    if not isinstance(profile, dict) or not isinstance(profile.get("notebooks"), dict):
        raise InputError(f"{where}: needs 'notebooks:', a mapping of notebook names to parameters")
    for key, value in profile.items():
        if key not in fields:
            raise InputError(f"{where}: unknown key '{key}': {nearest(str(key), fields)}")
        if not isinstance(value, fields[key]):
            raise InputError(f"{where}: '{key}' must be {fields[key].__name__}, found {value!r}")
    return profile


def parameters(source: Path) -> dict[str, Parameter]:
    """The parameters of a notebook, read from its cell tagged `parameters` without running it."""
    cells = nbformat.read(source, as_version=4).cells
    tagged = [c for c in cells if "parameters" in c.metadata.get("tags", [])]
    if not tagged:
        raise InputError(f"{source.name}: no cell is tagged 'parameters'")
    found = {}
    for node in ast.parse(tagged[0].source).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            name, value = node.target.id, node.value
            kind = ast.unparse(node.annotation).split("[")[0]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value, kind = node.targets[0].id, node.value, ""
        else:
            continue
        default = ast.literal_eval(value)
        found[name] = Parameter(name, kind or type(default).__name__, default)
    return found


def checked(value: Any, parameter: Parameter, where: str) -> Any:
    """`value` as `parameter` wants it (an int is a float, 1e-4 needs no dot), else `InputError`."""
    if parameter.type == "float" and isinstance(value, str):  # YAML reads 1e-4 as text
        try:
            value = float(value)
        except ValueError:
            pass
    wanted = TYPES.get(parameter.type, (object,))
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise InputError(
            f"{where}: '{parameter.name}' must be {parameter.type}, "
            f"found {value!r} ({type(value).__name__})"
        )
    known: Any = value
    return float(known) if parameter.type == "float" else known


def parse_setting(setting: str) -> tuple[str, str, str]:
    """Split `03_finetuning.max_steps=10` into notebook, parameter and the value's text.

    >>> parse_setting("03_finetuning.max_steps=10")
    ('03_finetuning', 'max_steps', '10')
    """
    target, equals, text = setting.partition("=")
    notebook, dot, parameter = target.partition(".")
    if not (equals and dot and notebook and parameter):
        raise InputError(f"--set {setting}: write it as 03_finetuning.max_steps=10")
    return notebook, parameter, text


def plan(
    profile: str, run_dir: str, data: str = "", settings: Iterable[str] = ()
) -> tuple[list[Step], dict[str, Any]]:
    """Every step of a profile with its checked values, and the profile; nothing is run yet.

    `data` becomes the first notebook's parameter of that name; `settings` are `--set` values and
    win over the profile. Raises `InputError` for an unknown profile, notebook or parameter name
    (with the nearest right one), a value of the wrong type, or a data folder that is not there.
    """
    content = load_profile(profile)
    known = notebooks()
    given: dict[str, dict[str, tuple[Any, str]]] = {}
    for name, values in content["notebooks"].items():
        if not isinstance(values or {}, dict):
            raise InputError(f"profiles/{profile}.yml: '{name}' must map parameters to values")
        where = f"profiles/{profile}.yml, {name}"
        given[str(name)] = {str(k): (v, where) for k, v in (values or {}).items()}
    if data:
        root = project_root()
        if not (Path.cwd() / data).exists():
            raise InputError(f"--data {data}: no such file or folder")
        first = next(iter(given), "")
        path = Path(os.path.relpath((Path.cwd() / data).resolve(), root)).as_posix()
        given.setdefault(first, {})["data"] = (path, "--data")
    for setting in settings:
        notebook, name, text = parse_setting(setting)
        if notebook not in given:
            raise InputError(f"--set {setting}: unknown notebook: {nearest(notebook, given)}")
        given[notebook][name] = (text, f"--set {setting}")

    steps = []
    for notebook, values in given.items():
        if notebook not in known:
            raise InputError(
                f"profiles/{profile}.yml: unknown notebook '{notebook}': {nearest(notebook, known)}"
            )
        wanted = parameters(known[notebook])
        final = {}
        for name, (value, where) in values.items():
            if name not in wanted:
                raise InputError(
                    f"{where}: {notebook} has no parameter '{name}': {nearest(name, wanted)}"
                )
            if where.startswith("--set") and wanted[name].type != "str":
                try:
                    value = yaml.safe_load(value)
                except yaml.YAMLError as error:
                    raise InputError(f"{where}: the value is not readable") from error
            final[name] = checked(value, wanted[name], where)
        steps.append(Step(notebook, known[notebook], final | {"run_dir": run_dir}))
    return sorted(steps, key=lambda step: step.name), content
