"""Carry the repository's address from `_config.yml` to every file that repeats it.

    python tools/address.py            rewrite
    python tools/address.py --check    name the files that disagree, exit 1 if there are any

The address that was carried before is read from `pyproject.toml`; links to other people's
repositories are left alone.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
FILES = ["README.md", "CITATION.cff", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml"]
# What only ever names this repository: a Colab link, and the package a set-up cell installs.
OURS = re.compile(r"(colab\.research\.google\.com/github/|git\+https://github\.com/)[\w.-]+/[\w-]+")


def owner_and_name(url: str) -> str:
    """`owner/name` of a GitHub address."""
    return "/".join(url.rstrip("/").removesuffix(".git").split("/")[-2:])


def main() -> int:
    """Rewrite or check; the files are the notebooks and those in `FILES`."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    new = owner_and_name(config["repository"]["url"])
    metadata = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    repository = re.search(r'^Repository = "(.+)"$', metadata, re.MULTILINE)
    old = owner_and_name(repository[1]) if repository else new
    wrong = []
    for path in [*sorted((ROOT / "notebooks").glob("*.ipynb")), *(ROOT / name for name in FILES)]:
        text = path.read_text(encoding="utf-8")
        carried = OURS.sub(lambda m: m[1] + new, text.replace(old, new))
        if carried != text:
            wrong.append(path.relative_to(ROOT).as_posix())
            if "--check" not in sys.argv:
                path.write_text(carried, encoding="utf-8")
    for name in wrong:
        print(name)
    return int("--check" in sys.argv and bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
