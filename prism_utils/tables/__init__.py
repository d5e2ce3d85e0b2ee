"""The tables that every room of the house reads and writes, and the one door for them.

One schema for every system and data set. A function that takes a table calls `check` once, at its
door; a table from a file comes through `read_table`, so that the same table as CSV, JSON lines or
Parquet is the same table in every command. Left out on purpose: joins, caching and any knowledge
of models. Tables are pandas frames in memory and Parquet on disk; all ids are strings.
"""

from .door import defused, framed, given_placed, read_given, read_placed, read_table, write_table
from .named import Named
from .order import Ordered, in_order, times
from .schemas import KEYS, SCHEMAS, attribute_columns, attribute_lists, check

__all__ = [
    "KEYS",
    "SCHEMAS",
    "Named",
    "Ordered",
    "attribute_columns",
    "attribute_lists",
    "check",
    "defused",
    "framed",
    "given_placed",
    "in_order",
    "read_given",
    "read_placed",
    "read_table",
    "times",
    "write_table",
]
