"""Human evaluation: agreement between raters, and simulated raters to rehearse a study with."""

from __future__ import annotations
