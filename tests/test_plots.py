"""Every figure draws from a small table, says what its axes are, and stays within grey."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from prism_utils import plots

EXPLANATIONS = pd.DataFrame(
    {
        "sample_id": ["1", "2", "1", "2"],
        "system": ["grammar", "grammar", "prism", "prism"],
        "text": ["a b", "a b c", "a", "a b c d"],
        "error": ["", "title", "", ""],
    }
)
TABLES = {
    "history_lengths": (np.array([1, 2, 2, 3]), 3),
    "leakage": (
        pd.DataFrame({"split": ["random", "temporal"], "question": "pairs", "share": [0.9, 0.1]}),
    ),
    "text_lengths": (EXPLANATIONS,),
    "error_kinds": (EXPLANATIONS,),
    "learning_curves": (
        pd.DataFrame({"step": [1, 2], "train_loss": [2.0, np.nan], "valid_loss": [2.1, 1.5]}),
    ),
    "validation_curves": (
        pd.DataFrame({"system": ["a", "b"], "step": [1, 1], "valid_loss": [2.1, 1.5]}),
    ),
    "vocabulary_trial": (
        pd.DataFrame(
            {
                "vocabulary": ["bytes", "whole_titles"],
                "seconds": [1.0, 2.0],
                "seen in training": [0.1, 0.9],
                "never seen": [0.0, 0.1],
            }
        ),
    ),
    "cited_movers": (
        pd.DataFrame(
            [
                (ranker, facts, system, metric, value, value - 0.1, value + 0.1)
                for ranker in ("ease", "item_cf")
                for facts, marked in (("none", 0.8), ("all", 0.9))
                for system, share in (("marked", marked), ("random-title", 0.2), ("teacher", 1))
                for metric, value in (("cites_mover", share), ("chance", 0.3), ("cites_any", 1))
            ],
            columns=["ranker", "facts", "system", "metric", "value", "low", "high"],
        ),
    ),
    "grounding_bars": (
        pd.DataFrame(
            {"system": "prism", "metric": ["names_item", "foreign_title"], "value": [1.0, 0.0]}
        ),
    ),
    "latency": (
        pd.DataFrame(
            {"model": ["a", "b"], "batch_size": 1, "median_s": [1.0, 2.0], "p5_s": 0.9, "p95_s": 3}
        ),
    ),
    "sizes": (
        pd.DataFrame(
            {
                "model": ["a", "b"],
                "parameters": [1e6, 2e6],
                "weight_bytes": 4e6,
                "cache_bytes": 1e6,
                "activation_bytes": [1e6, 2e6],
            }
        ),
    ),
    "rouge_by_faithfulness": (pd.DataFrame({"group": ["a", "b"], "rougeL": [0.2, 0.8]}),),
    "auc_by_metric": (
        pd.DataFrame(
            {
                "metric": ["rougeL", "rougeL", "error_free"],
                "references": ["true", "erring", "none"],
                "value": [0.6, 0.2, np.nan],
                "low": [0.5, 0.1, np.nan],
                "high": [0.7, 0.3, np.nan],
            }
        ),
    ),
    "own_words": (
        pd.DataFrame({"system": ["a", "a"], "references": ["own", "other"], "value": [0.3, 0.2]}),
    ),
    "two_orders": (
        pd.DataFrame(
            {
                "system": ["a", "a", "b", "b"],
                "metric": ["rougeL", "error_free"] * 2,
                "value": [0.2, 0.9, 0.3, 0.5],
                "low": 0.1,
                "high": 1.0,
            }
        ),
        "rougeL",
        "error_free",
    ),
    "likert_bars": (
        pd.DataFrame(
            {
                "dimension": ["faithfulness", "faithfulness", "persuasiveness"],
                "system": ["a", "b", "a"],
                "1": 0.1,
                "2": 0.1,
                "3": 0.2,
                "4": [0.3, 0.1, 0.6],
                "5": [0.3, 0.5, 0.0],
            }
        ),
    ),
    "coefficient_bars": (
        pd.DataFrame(
            {"case": ["as rated", "shuffled"], "coefficient": "alpha", "value": [0.9, -0.1]}
        ),
    ),
    "curves": (
        pd.DataFrame({"coefficient": "kappa", "noise": [0.1, 1.0], "value": [0.9, 0.2]}),
        "noise",
        "coefficient",
        "noise of a rating",
        "agreement",
        0.6,
    ),
    "rejections": (
        pd.DataFrame(
            {
                "analysis": ["pooled", "crossed"],
                "setting": "30 raters",
                "rejected": [0.4, 0.05],
                "low": [0.3, 0.04],
                "high": [0.5, 0.06],
            }
        ),
        0.05,
    ),
    "overlap_shares": (
        pd.DataFrame({"split": ["random", "temporal"], "history": "kept", "share_90": [0.9, 0.1]}),
    ),
    "factor_curves": (
        pd.DataFrame(
            {
                "metric": ["rougeL", "rougeL", "rougeL", "grounded"],
                "length": ["1-5", "1-5", "6-10", "6-10"],
                "system": ["own", "zero", "own", "own"],
                "value": [0.1, 0.2, 0.3, 0.4],
                "low": [-0.1, 0.1, 0.2, 0.4],
                "high": [0.2, 0.3, 0.4, 0.4],
            }
        ),
        "length",
        "system",
    ),
    "error_curves": (
        pd.DataFrame(
            {
                "error_kinds": "title",
                "systematic": [False, False, False, False, True, True],
                "error_rate": [0.5, 0.2, 0.2, 0.5, 0.2, 0.2],
                "decoding": "greedy",
                "what": ["teacher", "teacher", "student", "student", "teacher", "student"],
                "value": [0.48, 0.22, 0.1, 0.3, 0.2, 0.6],
                "low": [0.4, 0.2, 0.05, 0.2, np.nan, np.nan],
                "high": [0.5, 0.24, 0.15, 0.4, np.nan, np.nan],
            }
        ),
    ),
    "factor_levels": (
        pd.DataFrame(
            {
                "factor": ["size", "size", "n_train"],
                "level": ["0.5M", "2M", "750"],
                "group": "greedy",
                "value": [0.1, 0.2, 0.3],
                "low": [-0.1, 0.1, np.nan],
                "high": [0.3, 0.3, np.nan],
                "teacher": 0.25,
            }
        ),
        "share with an error",
    ),
    "title_mass": (
        pd.DataFrame(
            {
                "systematic": False,
                "error_rate": 0.3,
                "what": ["history", "foreign", "item", "other", "golden_foreign"],
                "value": [0.5, 0.2, 0.2, 0.1, 0.3],
            }
        ),
    ),
    "ratio_grid": (
        pd.DataFrame(
            {
                "source": ["here", "here", "a GPU"],
                "batch_size": [1, 8, 128],
                "input_tokens": 64,
                "output_tokens": [20, 40, 20],
                "value": [3.0, 4.0, 30.0],
                "low": [2.0, 4.0, 29.0],
                "high": [3.5, 5.0, 31.0],
            }
        ),
        24.2,
    ),
    "rooflines": (
        pd.DataFrame(
            {
                "source": "here",
                "model": ["a", "b"],
                "dtype": "float32",
                "operations_per_byte": [1.0, 100.0],
                "operations_per_s": [1e9, 1e10],
                "peak_operations_per_s": 1e11,
                "peak_bytes_per_s": 1e10,
            }
        ),
    ),
    "backend_speeds": (
        pd.DataFrame(
            {
                "source": ["here", "here", "a GPU"],
                "backend": ["generate", "onnx", "generate"],
                "batch_size": [1, 8, 1],
                "value": [1.0, 4.0, 1.0],
                "low": [0.9, 3.0, 0.9],
                "high": [1.1, 5.0, 1.1],
            }
        ),
    ),
    "rates": (
        pd.DataFrame(
            {"model": "a", "way": ["one by one", "batches"], "explanations_per_s": [1.0, 4.0]}
        ),
    ),
    "fleets": (
        pd.DataFrame(
            {
                "model": ["a", "a", "b", "b"],
                "explanations_per_day": [1e4, 1e5] * 2,
                "money_per_day": [48.0, 96.0, np.nan, np.nan],
            }
        ),
    ),
    "score_intervals": (
        pd.DataFrame(
            {
                "system": ["a", "b", "a", "b"],
                "metric": ["rougeL", "rougeL", "bleu4", "bleu4"],
                "split": ["random", "random", "temporal", "leave_last"],
                "value": [0.1, 0.2, 0.3, 0.4],
                "low": [-0.1, 0.1, 0.2, 0.4],
                "high": [0.2, 0.3, 0.4, 0.4],
            }
        ),
        "split",
    ),
    "training_cost": (
        pd.DataFrame(
            {
                "table": ["none", "dense", "dense", "sparse", "sparse"] * 2,
                "users": [10, 10, 1000, 1000, 10] * 2,
                "what": ["a step (ms)"] * 5 + ["peak (GiB)"] * 5,
                "value": [1.0, 2.0, 90.0, 3.0, 2.5] * 2,
                "low": [0.9, 1.9, 80.0, 2.0, 2.0] * 2,
                "high": [1.1, 2.1, 99.0, 3.5, 2.6] * 2,
            }
        ),
    ),
}


def test_every_figure_is_tested():
    public = {
        name
        for name, thing in vars(plots).items()
        if getattr(thing, "__module__", "").startswith(plots.__name__)
        and thing.__module__ != f"{plots.__name__}.tables"
    }
    assert public == {*TABLES, "style"}


@pytest.mark.parametrize("name", TABLES)
def test_figures_have_labelled_axes_and_no_title(name):
    with plt.rc_context():
        plots.style()
        figure = getattr(plots, name)(*TABLES[name])
        figure.canvas.draw()
    assert isinstance(figure, Figure)
    for axes in figure.axes:
        assert (axes.get_xlabel() or axes.get_ylabel()) and not axes.get_title()
    assert not plt.get_fignums()  # the notebook shows what is returned, and only that


def test_drawn_values_are_those_of_the_table():
    figure = plots.error_kinds(EXPLANATIONS)
    assert [bar.get_width() for bar in figure.axes[0].patches] == [75.0, 25.0]
    figure = plots.learning_curves(TABLES["learning_curves"][0])
    assert [line.get_ydata().tolist() for line in figure.axes[0].lines] == [[2.0], [2.1, 1.5]]


def test_colours_stay_apart_in_grey():
    grey = sorted(np.dot(to_rgb(color), (0.299, 0.587, 0.114)) for color in plots.COLORS)
    assert np.diff(grey).min() > 0.12


def test_intervals_stand_where_the_table_says():
    table = TABLES["score_intervals"][0]
    panels = plots.score_intervals(table, "split").axes
    assert [axes.get_xlabel() for axes in panels] == ["ROUGE-L", "BLEU-4"]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["a", "b"]
    random, temporal, _ = panels[0].containers
    assert random.lines[0].get_xdata().tolist() == [0.1, 0.2]
    (whiskers,) = random.lines[2]
    drawn = [segment[:, 0] for segment in whiskers.get_segments()]
    assert np.allclose(drawn, [[-0.1, 0.2], [0.1, 0.3]])
    assert pd.isna(temporal.lines[0].get_xdata()).all()  # another metric's split
    assert len(panels[0].lines) == len(panels[1].lines) + 1  # a line at zero


def test_a_ranker_has_its_panel_and_a_floor_is_drawn_once():
    figure = plots.cited_movers(TABLES["cited_movers"][0])
    assert [axes.get_xlabel()[-7:] for axes in figure.axes] == ["er ease", "item_cf"]
    (axes, _) = figure.axes
    ticks = [label.get_text() for label in axes.get_yticklabels()]
    assert ticks == ["a title at random", "student, told what moved"]
    first, second = (bars.lines[0].get_xydata() for bars in axes.containers)
    assert first[0].tolist() == [0.2, 0] and np.isnan(second[0, 0])
    assert [first[1, 0], second[1, 0]] == [0.8, 0.9] and first[1, 1] < second[1, 1]
    assert "by chance (items at random had moved it)" in [
        text.get_text() for text in figure.legends[0].texts
    ]


def test_curves_run_through_the_values_in_the_order_of_the_table():
    panels = plots.factor_curves(*TABLES["factor_curves"]).axes
    assert [axes.get_ylabel() for axes in panels] == ["ROUGE-L", "grounded"]
    assert [label.get_text() for label in panels[0].get_xticklabels()] == ["1-5", "6-10"]
    own, zero = panels[0].containers
    assert own.lines[0].get_ydata().tolist() == [0.1, 0.3]
    (whiskers,) = own.lines[2]
    drawn = [segment[:, 1] for segment in whiskers.get_segments()]
    assert np.allclose(drawn, [[-0.1, 0.2], [0.2, 0.4]])
    assert own.lines[0].get_linestyle() != zero.lines[0].get_linestyle()


def test_stacked_ratings_meet_at_the_middle_step():
    panel = plots.likert_bars(TABLES["likert_bars"][0]).axes[0]
    lefts = [[bar.get_x() for bar in bars] for bars in panel.containers]
    widths = [[bar.get_width() for bar in bars] for bars in panel.containers]
    middle = np.add(lefts[2], np.divide(widths[2], 2))
    assert np.allclose(middle, 0)
    assert np.allclose(np.sum(widths, axis=0), 100)
    assert np.allclose(np.add(lefts[3], widths[3]), lefts[4])


def test_errors_stand_over_what_the_teacher_really_did():
    panels = plots.error_curves(TABLES["error_curves"][0]).axes
    assert [axes.get_xlabel().split("\n")[1] for axes in panels] == [
        "(a foreign title, any one)",
        "(a foreign title, the same for an item)",
    ]
    (curve,) = panels[0].containers
    assert curve.lines[0].get_xydata().tolist() == [[0.22, 0.1], [0.48, 0.3]]
    (whiskers,) = curve.lines[2]
    drawn = [segment[:, 1] for segment in whiskers.get_segments()]
    assert np.allclose(drawn, [[0.05, 0.15], [0.2, 0.4]])
    diagonal = panels[1].lines[-1].get_xydata()
    assert (diagonal[:, 0] == diagonal[:, 1]).all()


def test_mass_is_stacked_to_one():
    panel = plots.title_mass(TABLES["title_mass"][0]).axes[0]
    assert [bar.get_height() for bar in panel.patches] == pytest.approx([0.5, 0.2, 0.2, 0.1])
    assert panel.patches[-1].get_y() + panel.patches[-1].get_height() == pytest.approx(1)
    assert panel.lines[0].get_ydata().tolist() == [0.8]  # the teacher's share, atop the history


def test_a_factor_has_its_own_panel():
    panels = plots.factor_levels(*TABLES["factor_levels"]).axes
    assert [axes.get_xlabel() for axes in panels] == ["size", "n train"]
    assert [label.get_text() for label in panels[0].get_xticklabels()] == ["0.5M", "2M"]
    assert panels[0].containers[0].lines[0].get_ydata().tolist() == [0.1, 0.2]
    assert panels[0].lines[-1].get_ydata()[0] == 0.25
    assert panels[0].get_ylabel() == "share with an error"


def test_memory_is_stacked_to_its_peak():
    _, right = plots.sizes(TABLES["sizes"][0]).axes
    ends = [bar.get_x() + bar.get_width() for bar in right.patches[-2:]]
    assert np.allclose(ends, np.array([6e6, 7e6]) / 2**20)
    assert right.texts[0].get_text() == "6"


def test_ratios_stand_in_their_batch_beside_the_published_one():
    here, gpu = plots.ratio_grid(*TABLES["ratio_grid"]).axes
    assert [label.get_text() for label in here.get_xticklabels()] == ["1", "8"]
    assert [label.get_text() for label in gpu.get_xticklabels()] == ["128"]
    drawn = np.concatenate([c.lines[0].get_ydata() for c in here.containers])
    assert drawn.tolist() == [3.0, 4.0]
    assert 24.2 in [line.get_ydata()[0] for line in gpu.lines if len(line.get_ydata())]


def test_lengths_and_models_have_looks_of_their_own():
    """More than four of them: neither colours nor markers begin anew."""
    many = pd.DataFrame({"input_tokens": range(6), "output_tokens": range(6), "batch_size": 1})
    many = many.assign(source="here", value=2.0, low=1.0, high=3.0)
    figure = plots.ratio_grid(many, 24.2)
    handles = figure.legends[0].legend_handles
    assert len({str(handle.get_color()) for handle in handles[:6]}) == 6
    assert len({handle.get_marker() for handle in handles[6:12]}) == 6
    assert figure.legends[0].texts[-1].get_text() == "the paper's"
    (axes,) = figure.axes
    places = [bars.lines[0].get_xdata()[0] for bars in axes.containers]
    assert np.mean(places) == pytest.approx(0) and max(places) < 0.5  # around the batch's tick
    traffic = pd.DataFrame({"model": list("abcdef"), "explanations_per_day": 1, "money_per_day": 1})
    (axes,) = plots.fleets(traffic).axes
    looks = {(line.get_color(), line.get_marker()) for line in axes.lines}
    assert len(looks) == 6 and len({(line.get_color(), line.get_ls()) for line in axes.lines}) == 6


def test_backends_stand_in_their_row_and_generate_is_a_line():
    here, gpu = plots.backend_speeds(*TABLES["backend_speeds"]).axes
    assert [label.get_text() for label in here.get_yticklabels()] == ["generate", "onnx"]
    points = [bars.lines[0].get_xydata().tolist() for bars in here.containers]
    assert points == [[[1, -0.1]], [[4, 1.1]]]
    assert here.lines[-1].get_xdata()[0] == gpu.lines[-1].get_xdata()[0] == 1
    assert here.get_figure().legends[0].texts[0].get_text() == "generate"


def test_the_roof_bends_where_the_two_peaks_meet():
    (panel,) = plots.rooflines(TABLES["rooflines"][0]).axes
    x, y = panel.lines[0].get_data()
    assert np.allclose(y, np.minimum(1e11, 1e10 * x))
    assert panel.lines[1].get_ydata().tolist() == [1e9]
    assert [text.get_text() for text in panel.texts] == ["float32"]


def test_training_cost_has_a_panel_for_each_measure_and_a_line_for_each_table():
    panels = plots.training_cost(*TABLES["training_cost"]).axes
    assert [axes.get_ylabel() for axes in panels] == ["a step (ms)", "peak (GiB)"]
    assert {axes.get_xscale() for axes in panels} == {axes.get_yscale() for axes in panels}
    assert panels[0].get_yscale() == "log"
    dense, sparse = (curve.lines[0].get_xydata().tolist() for curve in panels[0].containers)
    assert dense == [[10, 2], [1000, 90]] and sparse == [[10, 2.5], [1000, 3]]
    assert list(panels[0].lines[-1].get_ydata()) == [1, 1]  # without a table
