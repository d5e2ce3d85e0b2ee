"""Controlled experiments: small students trained on purpose, and tables of what became of them.

`trial` is one training, `mechanism`, `controls` and `user_table` say what is measured on it,
`sweeps` runs many, `analysis` makes tables of their rows.
"""

from .analysis import (
    against_teacher,
    along,
    amount,
    crossings,
    filled,
    filtering,
    from_records,
    over_seeds,
    records,
    slopes,
)
from .mechanism import GRIDS, RATE, grid, measure, predicted
from .trial import BASE, DECODINGS, FACTORS, SIZES, VECTORS, Trial, build, complete
