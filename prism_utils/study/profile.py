"""Profiles: which notebooks, with which parameters, checked against the notebooks themselves.

Left out on purpose: running anything (`steps`).
"""

from __future__ import annotations

import ast
import math
import os
import re
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
    """One line of a notebook's `parameters` cell: its name, type name, default and range.

    The range is what the line's comment begins with: "at least 1: …", "above 0: …", "0 to 1: …",
    "multiples of 4: …". A list of texts in its form field, `@param ["cpu", "cuda"]`, names all that
    it may be; a device may have a number, "cuda:1".
    """

    name: str
    type: str
    default: Any
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False  # `low` itself is out of range
    multiple: float = 0  # of which it must be a multiple; 0: of nothing
    choices: tuple[str, ...] = ()  # of a text, all that it may be; none: anything

    def out_of_range(self, value: Any) -> str:
        """What `value` must be, or each of a list, if it is a number out of range; else nothing."""
        if isinstance(value, list | tuple):
            each = (self.out_of_range(one) for one in value)
            return next((f"hold numbers that each {must}" for must in each if must), "")
        if isinstance(value, bool) or not isinstance(value, int | float):
            return ""
        if abs(value) > 2.0**63:
            return "lie between -2**63 and 2**63"
        above = value > self.low if self.open_low else value >= self.low
        if self.multiple and not (value >= self.multiple and value % self.multiple == 0):
            return f"be a multiple of {self.multiple:g}"
        if math.isfinite(value) and above and value <= self.high:
            return ""
        if self.high < math.inf:
            return f"lie between {self.low:g} and {self.high:g}"
        if self.low > -math.inf:
            return f"be {'above' if self.open_low else 'at least'} {self.low:g}"
        return "be finite"


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


class _Loader(yaml.SafeLoader):
    """YAML without what surprises: a key given twice, and aliases, which can grow without bound."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="write out what *stands* for", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"'{key.value}' stands there twice", problem_mark=key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


def read_yaml(text: str, where: str) -> Any:
    """The value that YAML text holds; `InputError` with `where` and the line for what is none."""
    try:
        return _Loader(text).get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", "") or "malformed"
        raise InputError(f"{where}{line}: not valid YAML ({problem})") from error
    # Nested too deep, a date that is none, a tag whose value does not fit it.
    except (RecursionError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(f"{where}: not valid YAML ({error})") from error


def load_profile(name: str) -> dict[str, Any]:
    """Read and check a profile: `description`, `offline`, and `notebooks` (name -> parameters)."""
    known = profiles()
    if name not in known:
        raise InputError(f"unknown profile '{name}': {nearest(name, known)}")
    where = f"profiles/{name}.yml"
    profile = read_yaml(read_text(known[name], where), where)
    fields = {"description": str, "offline": bool, "notebooks": dict}
    if not isinstance(profile, dict) or not isinstance(profile.get("notebooks"), dict):
        raise InputError(f"{where}: needs 'notebooks:', a mapping of notebook names to parameters")
    for key, value in profile.items():
        if key not in fields:
            raise InputError(f"{where}: unknown key '{key}': {nearest(str(key), fields)}")
        if not isinstance(value, fields[key]):
            raise InputError(f"{where}: '{key}' must be {fields[key].__name__}, found {value!r}")
    return profile


def read_text(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not UTF-8 (byte {error.start + 1}): save it so") from error
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror}): put a file there") from error


def parameters(source: Path) -> dict[str, Parameter]:
    """The parameters of a notebook, read from its cell tagged `parameters` without running it."""
    try:
        cells = nbformat.reads(read_text(source, source.name), as_version=4).cells
    except InputError:
        raise
    except Exception as error:  # nbformat raises several unrelated types for what is no notebook
        raise InputError(f"{source.name}: not a notebook ({type(error).__name__})") from error
    tagged = [c for c in cells if "parameters" in c.metadata.get("tags", [])]
    if not tagged:
        raise InputError(f"{source.name}: no cell is tagged 'parameters'")
    try:
        body = ast.parse(tagged[0].source).body
    except SyntaxError as error:
        raise InputError(
            f"{source.name}: its parameters cell, line {error.lineno}: not plain Python: keep to "
            "lines of 'name: type = literal'"
        ) from error
    lines = tagged[0].source.splitlines()
    found = {}
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            name, value = node.target.id, node.value
            kind = ast.unparse(node.annotation).split("[")[0]
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value, kind = node.targets[0].id, node.value, ""
        else:
            continue
        try:
            default = ast.literal_eval(value)
        except ValueError as error:
            raise InputError(
                f"{source.name}: its parameters cell, line {node.lineno}: '{name}' is no literal: "
                "derive values in the next cell"
            ) from error
        line = lines[(node.end_lineno or node.lineno) - 1]
        form = _CHOICES.search(line)
        choices = tuple(ast.literal_eval(form[1])) if form else ()
        kind = kind or type(default).__name__
        found[name] = Parameter(name, kind, default, *_bounds(line), choices)
    return found


_CHOICES = re.compile(r'# @param (\["[^\]]*"\])')
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_RANGE = re.compile(
    rf"# @param .*?[\])}}]  (?:(at least|above|multiples of) {_NUMBER}|{_NUMBER} to {_NUMBER}):"
)


def _bounds(line: str) -> tuple[float, float, bool, float]:
    """`low`, `high`, `open_low` and `multiple` of a `Parameter`, by its line's comment.

    >>> _bounds('steps: int = 9  # @param {type:"integer"}  at least 1: updates')
    (1.0, inf, False, 0)
    >>> _bounds('dropout: float = 0.0  # @param {type:"number"}  0 to 1: share')
    (0.0, 1.0, False, 0)
    """
    match = _RANGE.search(line)
    if not match:
        return -math.inf, math.inf, False, 0
    word, least, low, high = match.groups()
    if word == "multiples of":
        return -math.inf, math.inf, False, float(least)
    if word:
        return float(least), math.inf, word == "above", 0
    return float(low), float(high), False, 0


def checked(value: Any, parameter: Parameter, where: str) -> Any:
    """`value` as `parameter` wants it, its range included, else `InputError`.

    An int is a float, and 1e-4 needs no dot.
    """
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
    choices = parameter.choices
    if choices and not {str(value), str(value).partition(":")[0]} & set(choices):
        hint = nearest(str(value), choices)
        raise InputError(f"{where}: '{parameter.name}' {value!r} is unknown: {hint}")
    must = parameter.out_of_range(value)
    if must:
        found = "a number beyond these" if "2**63" in must else repr(value)
        raise InputError(f"{where}: '{parameter.name}' must {must}, found {found}")
    known: Any = value
    return float(known) if parameter.type == "float" else known


def parse_setting(setting: str) -> tuple[str, str, str]:
    """Split `03_finetuning.steps=10` into notebook, parameter and the value's text.

    >>> parse_setting("03_finetuning.steps=10")
    ('03_finetuning', 'steps', '10')
    """
    target, equals, text = setting.partition("=")
    notebook, dot, parameter = target.partition(".")
    if not (equals and dot and notebook and parameter):
        raise InputError(f"--set {setting}: write it as 03_finetuning.steps=10")
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
            if name == "run_dir":
                raise InputError(f"{where}: run_dir is where the run lies: give --runs-dir instead")
            if name not in wanted:
                raise InputError(
                    f"{where}: {notebook} has no parameter '{name}': {nearest(name, wanted)}"
                )
            if where.startswith("--set") and wanted[name].type != "str":
                value = read_yaml(value, where)
            final[name] = checked(value, wanted[name], where)
        steps.append(Step(notebook, known[notebook], final | {"run_dir": run_dir}))
    return sorted(steps, key=lambda step: step.name), content
