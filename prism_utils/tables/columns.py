"""A column of a file as text, ids, numbers or lists, whichever kind of file it came from.

CSV spells everything as text, JSON mixes types, and Parquet has many types for one thing. Here
they meet: the same column gives the same values from all three, and what does not fit is refused
with its row. Left out on purpose: what a column is for; `tables` knows that by its name.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import InputError

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_EXACT = 2**53  # from here on neighbouring whole numbers are one float
# A printed array that cannot be read back: its texts or numbers have no commas between them.
_ARRAY = re.compile(r"""\[+\s*['"]|\[[\d\s.]+\]""")


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type is text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_list(kind: pa.DataType) -> bool:
    """Whether an Arrow type is a list."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def is_nothing(value: object) -> bool:
    """Whether a value is missing: None, or a float that is no number."""
    return value is None or (isinstance(value, float) and value != value)


def shown(value: Any) -> str:
    """A value as an error shows it, in one line that is not too long."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:79] + "…"


def first(mask: Any) -> int | None:
    """The first True of an Arrow or NumPy mask, or None."""
    found = np.asarray(mask)
    return int(found.argmax()) if found.any() else None


# White space, and marks that no eye sees: zero-width ones, a byte order mark, a soft hyphen.
_UNSEEN = "^[\\s\u00a0\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff\u00ad]*$"


def first_blank(array: pa.Array) -> int | None:
    """The first text that is empty or nothing but white space."""
    return first(pc.match_substring_regex(array, _UNSEEN))


class Column(NamedTuple):
    """A column of a file.

    `values` is an Arrow array, or a list where a file of JSON lines mixes types. `at` says where
    row n, from 0, stands. `spelt`: from CSV, where an empty cell is null and the rest is text.
    """

    name: str
    values: Any
    at: Callable[[int], str]
    spelt: bool = False

    @property
    def kind(self) -> pa.DataType | None:
        """The Arrow type; None for mixed values."""
        return None if isinstance(self.values, list) else self.values.type

    def objects(self) -> list[Any]:
        """The values as Python's."""
        values: list[Any] = (
            self.values if isinstance(self.values, list) else self.values.to_pylist()
        )
        return values

    def refusal(self, row: int, wanted: str) -> InputError:
        """The error that row n, from 0, is not what is wanted."""
        value = self.values[row]
        value = value.as_py() if isinstance(value, pa.Scalar) else value
        if value is None and self.spelt:
            return InputError(f"{self.at(row)}: '{self.name}' is empty; it must be {wanted}")
        return InputError(f"{self.at(row)}: '{self.name}' must be {wanted}, found {shown(value)}")

    def _without_nulls(self, wanted: str) -> Any:
        if self.values.null_count:
            raise self.refusal(int(first(self.values.is_null()) or 0), wanted)
        return self.values

    def ids(self) -> pa.Array:
        """Text that names something, none of it blank; whole numbers become text."""
        wanted = "text or a whole number"
        if self.kind is not None and is_text(self.kind):
            ids = self._without_nulls(wanted)
        elif self.kind is not None and pa.types.is_integer(self.kind):
            ids = self._without_nulls(wanted).cast(pa.string())
        else:
            texts = [_id(value) for value in self.objects()]
            if None in texts:
                raise self.refusal(texts.index(None), wanted)
            ids = pa.array(texts, pa.string())
        blank = first_blank(ids)
        if blank is not None:
            raise self.refusal(blank, "more than blanks")
        return ids

    def texts(self, *, nullable: bool = False) -> pa.Array:
        """Text, which may be empty; an empty cell of CSV is empty text unless it is `nullable`."""
        texts = self.values
        if self.kind is None or not is_text(self.kind):
            for row, value in enumerate(self.objects()):
                if not (isinstance(value, str) or is_nothing(value)):
                    raise self.refusal(row, "text")
            texts = pa.nulls(len(self.values), pa.string())
        if nullable:
            return texts
        return pc.fill_null(texts, "") if self.spelt else self._without_nulls("text")

    def numbers(self, *, endless: bool = False) -> pa.Array:
        """int64 where all are whole and written so, else float64; missing is null.

        Infinite numbers are refused unless `endless`.
        """
        kind = self.kind
        if kind is None:
            numbers = self._spelt_numbers([_spell(value) for value in self.objects()])
        elif is_text(kind):
            numbers = self._spelt_numbers(self.values)
        elif pa.types.is_integer(kind) or pa.types.is_null(kind):
            try:
                numbers = self.values.cast(pa.int64())
            except pa.ArrowInvalid:  # beyond 2**63
                numbers = self.values.cast(pa.float64(), safe=False)
        elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            numbers = self.values.cast(pa.float64())
        else:  # truth values, dates, lists
            row = first(self.values.is_valid())
            if row is not None:
                raise self.refusal(row, "a number")
            numbers = pa.nulls(len(self.values), pa.float64())
        if pa.types.is_floating(numbers.type):
            numbers = pc.if_else(pc.is_nan(numbers), None, numbers)
            row = None if endless else first(pc.fill_null(pc.is_inf(numbers), False))
            if row is not None:
                raise self.refusal(row, "a number")
        return numbers

    def _spelt_numbers(self, texts: Any) -> pa.Array:
        texts = pa.array(texts, pa.string()) if isinstance(texts, list) else texts
        hexadecimal = first(pc.fill_null(pc.match_substring_regex(texts, r"^\s*[+-]?0[xX]"), False))
        if hexadecimal is not None:  # Arrow would read it
            raise self.refusal(hexadecimal, "a number")
        for trimmed in (False, True):
            if trimmed:
                texts = pc.utf8_trim_whitespace(texts)
                texts = pc.if_else(pc.equal(texts, ""), None, texts)
            for kind in (pa.int64(), pa.float64()):
                try:
                    texts.slice(0, 100).cast(kind)  # Arrow is slow to find many faults
                    return texts.cast(kind)
                except pa.ArrowInvalid:
                    continue
        plain = pc.match_substring_regex(texts, rf"^(?:{NUMBER}|[nN][aA][nN])$")
        raise self.refusal(first(pc.invert(pc.fill_null(plain, True))) or 0, "a number")

    def as_numbers(self, *, endless: bool = False) -> pd.Series:
        """`numbers` as pandas has them: int64 or float64."""
        return self.numbers(endless=endless).to_pandas()

    def times(self) -> pd.Series:
        """As `as_numbers`, but Int64 where some are missing, so that nanoseconds stay exact."""
        numbers = self.numbers()
        return whole(numbers) if pa.types.is_integer(numbers.type) else numbers.to_pandas()

    def years(self) -> pd.Series:
        """Whole numbers that can be years, as int64, or Int64 where some are missing."""
        numbers = self.numbers()
        as_float = numbers.cast(pa.float64(), safe=False)
        wrong = pc.or_(
            pc.not_equal(pc.round(as_float), as_float), pc.greater(pc.abs(as_float), 9999)
        )
        row = first(pc.fill_null(wrong, False))
        if row is not None:
            raise self.refusal(row, "a year such as 1999")
        return whole(numbers.cast(pa.int64()))

    def lists(self) -> pd.Series:
        """Lists of ids, none blank, as Python's; text is split at `|`."""
        made = _cut(self.values) if self._holds_ids() else None
        if made is not None:
            return made
        lists = []
        for row, value in enumerate(self.objects()):
            value = "" if value is None and self.spelt else value
            try:
                ids = _split(value) if isinstance(value, str) else [_id(part) for part in value]
            except TypeError as error:
                raise self.refusal(row, "a list of ids") from error
            if not all(id_ and id_.strip() for id_ in ids) or isinstance(value, dict):
                raise self.refusal(row, "a list of ids")
            lists.append(ids)
        return pd.Series(lists, dtype=object)

    def _holds_ids(self) -> bool:
        """Whether Arrow has the values as lists of texts or whole numbers, none missing."""
        if self.kind is None or not is_list(self.kind) or self.values.null_count:
            return False
        flat = self.values.flatten()
        kind = flat.type.value_type if pa.types.is_dictionary(flat.type) else flat.type
        plain = is_text(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)
        return plain and (not flat.null_count or not len(flat))

    def arrow_lists(self) -> pa.Array:
        """`lists` as Arrow's, at its speed where the file has them so."""
        return self.values if self._holds_ids() else pa.array(self.lists(), pa.list_(pa.string()))

    def attributes(self) -> pd.Series:
        """Lists of values, none missing or blank: text is split at `|`, lists of lists are flat.

        Numbers are values too, whole ones without a point, however the file writes them.
        """
        made: list[list[str]] = []
        for row, value in enumerate(self.objects()):
            try:
                made.append(values_of(value))
            except (TypeError, RecursionError) as error:
                wanted = "text, with | between values, or a list of texts"
                raise self.refusal(row, wanted) from error
        known = {value for values in made for value in values}
        if known and all(re.fullmatch(NUMBER, value) for value in known):
            made = [[re.sub(r"\.0+$", "", value) for value in values] for values in made]
        return pd.Series(made, dtype=object)

    def plain(self) -> pd.Series:
        """Whatever it holds, as pandas has it; lists as Python's."""
        if self.kind is None:
            return pd.Series(self.values, dtype=object)
        if pa.types.is_nested(self.kind):
            return pd.Series(self.objects(), dtype=object)
        signed = pa.types.is_signed_integer(self.kind)
        return whole(self.values) if signed else self.values.to_pandas()


def whole(numbers: pa.Array) -> pd.Series:
    """Whole numbers for pandas; Int64 where some are missing, since floats would not be exact."""
    if not numbers.null_count:
        return numbers.to_pandas()
    known = pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False)
    missing = numbers.is_null().to_numpy(zero_copy_only=False)
    return pd.Series(pd.arrays.IntegerArray(known, missing))


def values_of(value: Any) -> list[str]:
    """The values of one cell of an attribute; TypeError for a mapping.

    >>> values_of("Horror | Crime"), values_of([["a"], None, 2.0]), values_of(None)
    (['Horror', 'Crime'], ['a', '2'], [])
    """
    if isinstance(value, str):
        return _split(value)
    if isinstance(value, dict):
        raise TypeError("a mapping is no value")
    if isinstance(value, list | tuple | set | np.ndarray):
        return [part for each in value for part in _inner(each)]
    if isinstance(value, datetime):
        return [value.isoformat(" ").removesuffix(" 00:00:00")]
    number = _id(value)
    return [number] if number is not None else [] if pd.isna(value) else [str(value)]


def _inner(value: Any) -> list[str]:
    """The values of one member of a list, where text is one value as it stands."""
    if isinstance(value, str):
        return [value.strip()] if value.strip() else []
    if isinstance(value, tuple):
        raise TypeError("a pair of a mapping is no value")
    return values_of(value)


def _split(text: str) -> list[str]:
    """The values in a text: separated by `|`, or a list as pandas and JSON print one."""
    bare = text.strip()
    printed = None
    if bare[:1] + bare[-1:] in ("[]", "()", "{}") and (bare[0] == "[" or {*"\"'"} & {*bare}):
        printed = _printed(bare)
    elif bare.startswith("array(["):
        raise TypeError("a printed array cannot be read back")
    return [p.strip() for p in bare.split("|") if p.strip()] if printed is None else printed


def _printed(text: str) -> list[str] | None:
    """The values of a printed list; None for words in brackets, TypeError for an array's print."""
    values: Any = None
    for parse in (json.loads, ast.literal_eval):
        try:
            values = parse(text)
            break
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    if isinstance(values, dict | tuple | set):
        return values_of(sorted(values) if isinstance(values, set) else values)
    # Python reads ['a' 'b'], which is how an array prints, as ['ab']
    if isinstance(values, list) and (parse is json.loads or repr(values) == text):
        return values_of(values)
    if _ARRAY.match(text):
        raise TypeError("a printed array cannot be read back")
    return None


def _id(value: Any) -> str | None:
    """Text, or a whole number as text; None for anything else."""
    if isinstance(value, str):
        return value
    numeric = isinstance(value, int | float | Decimal | np.number)
    if not numeric or isinstance(value, bool):
        return None
    if value != value or value in (float("inf"), -float("inf")) or value != int(value):
        return None
    return None if isinstance(value, float) and abs(value) >= _EXACT else str(int(value))


def _spell(value: Any) -> str | None:
    """A value of a mixed column as a number is spelt; what cannot be a number stays none."""
    if is_nothing(value):
        return None
    return value if isinstance(value, str) else repr(value)


def _cut(lists: pa.Array) -> pd.Series | None:
    """Arrow's lists of ids as Python's, equal texts one object; None where a text is blank."""
    flat = lists.flatten()
    codes = flat if pa.types.is_dictionary(flat.type) else flat.dictionary_encode()
    distinct = codes.dictionary.cast(pa.string())
    if first_blank(distinct) is not None:
        return None
    known = np.array([*distinct.to_pylist(), None], dtype=object)
    texts = known[codes.indices.to_numpy()]
    ends = np.concatenate([[0], np.cumsum(lists.value_lengths().to_numpy())]).tolist()
    return pd.Series([texts[a:b].tolist() for a, b in pairwise(ends)], dtype=object)
