"""One function a figure, each drawn from a saved table and readable in grey.

Every function takes a frame (its docstring names the columns) and returns a matplotlib Figure
without a title: the caption belongs to the text. Left out on purpose: computing anything that a
table should hold; at most a mean or a count over rows is taken here.
"""

from .data import error_kinds, history_lengths, leakage, text_lengths
from .efficiency import (
    backend_speeds,
    fleets,
    latency,
    rates,
    ratio_grid,
    rooflines,
    sizes,
    training_cost,
)
from .experiments import error_curves, factor_curves, factor_levels, title_mass
from .faithful import cited_movers
from .look import COLORS, curves, style
from .people import coefficient_bars, likert_bars, rejections
from .quality import (
    auc_by_metric,
    grounding_bars,
    overlap_shares,
    own_words,
    rouge_by_faithfulness,
    score_intervals,
    two_orders,
)
from .tables import (
    cite,
    difference,
    escaped,
    glue_all,
    interval,
    listed,
    made_on,
    only,
    order_table,
    score_table,
    table,
    where,
)
from .training import learning_curves, validation_curves, vocabulary_trial
