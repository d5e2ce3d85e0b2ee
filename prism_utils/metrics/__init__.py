"""Automatic metrics: each takes explanations and returns a scores table.

A scores table has one row for each explanation and metric (sample_id, system, metric, value).
Left out on purpose: any model of ours; a metric sees texts, samples and items only.
"""

from __future__ import annotations
