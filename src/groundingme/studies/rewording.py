"""Paraphrases by rule: phrases of `rewording.toml` in place of one another.

A table says less than a model would, and nothing that it says changes the meaning.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

from groundingme.build.changing import Edit, applied
from groundingme.studies.mirroring import QUOTED

_FIRST = re.compile(r"\s*(an?)\b", re.IGNORECASE)


@cache
def _next() -> tuple[re.Pattern[str], dict[str, str]]:
    path = Path(__file__).with_suffix(".toml")
    groups = tomllib.loads(path.read_text(encoding="utf-8"))["groups"]
    table = {
        one.lower(): group[(at + 1) % len(group)]
        for group in groups
        for at, one in enumerate(group)
    }
    longest = sorted(map(re.escape, table), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(longest)})(?![\w-])", re.IGNORECASE), table


def reworded(text: str) -> str | None:
    """The same description in other words; None where no rule applies.

    Example:
        >>> reworded('a striped mug closest to the grey sofa that says "closed"')
        'the stripy mug nearest to the gray couch that says "closed"'
        >>> reworded("the red mug") is None
        True
    """
    pattern, table = _next()
    quoted = [one.span() for one in QUOTED.finditer(text)]
    said = text
    for match in reversed(list(pattern.finditer(text))):
        if any(start <= match.start() < end for start, end in quoted):
            continue
        after = table[match[0].lower()]
        after = after[0].upper() + after[1:] if match[0][0].isupper() else after
        said = applied(said, Edit(match.start(), match.end(), match[0], after))
    first = _FIRST.match(said)
    if first:
        article = "The" if first[1][0].isupper() else "the"
        said = said[: first.start(1)] + article + said[first.end(1) :]
    return said if said != text else None
