"""Changing words of a description: where that may be, and the article before them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Edit(NamedTuple):
    """Other words in place of some.

    Attributes:
        start: Where they begin.
        end: Where they end.
        before: What stands there.
        after: What is to stand there.
    """

    start: int
    end: int
    before: str
    after: str


_ELSEWHERE = re.compile(
    r"\b(?:(?:to|on|at) (?:the|his|her|its|their) (?:immediate |far |very )?(?:left|right)"
    r"(?: side)? of|(?:left|right) of|next to|beside|besides|behind|in front of|near(?:est)?"
    r"|between|above|below|beneath|under|underneath|on top of|close(?:st)? to|farthest from"
    r"|far from|across from|opposite|alongside|adjacent to|followed by|surrounded by"
    r"|(?:hidden|covered) (?:by|behind)|higher|lower|among|against"
    r"|(?:facing|looking at) (?:an?|the) (?!camera|viewer)|talking to|than)\b[^.;!?]*",
    re.IGNORECASE,
)
"""What is said of other things, up to the end of the sentence: of what stands behind a comma there
it is not certain whose it is."""

_HEAD = re.compile(
    r"(?:(?:to|on|at) (?:the )?(?:immediate |far |very )?)?(?:left|right)\b|in front of"
    r"|on top of|\w+",
    re.IGNORECASE,
)

_QUOTED = re.compile(r'"[^"\n]*"|“[^”\n]*”|«[^»\n]*»|‘[^’\n]*’(?!\w)|(?<!\w)\'[^\'\n]*\'(?!\w)')


def own_spans(
    text: str, words: Iterable[str], *, pattern: str = "", also: Iterable[range] = ()
) -> Iterator[re.Match[str]]:
    """Where words are said of the object itself: outside quotes, and not of other things.

    Args:
        text: The description.
        words: To be found whole, in any case.
        pattern: Instead of them, a regular expression.
        also: Places that count as the object's own, too: see `relation_heads`.
    """
    places = list(also)
    if not pattern:
        joined = "|".join(sorted(map(re.escape, words), key=len, reverse=True))
        pattern = rf"(?<![\w-])(?:{joined})(?!\w)"
    closed = [one.span() for one in _QUOTED.finditer(text)]
    for match in re.finditer(pattern, text, re.IGNORECASE):
        inside = any(start <= match.start() < end for start, end in closed)
        own = is_own(text, match.start()) or any(match.start() in one for one in places)
        if not inside and own:
            yield match


def relation_heads(text: str) -> list[range]:
    """Where the words are that place the object beside others: "to the left" of "the lamp"."""
    return [
        range(one.start(), one.start() + len(_HEAD.match(one[0])[0]))  # type: ignore[index]
        for one in _ELSEWHERE.finditer(text)
    ]


def is_own(text: str, at: int) -> bool:
    """Whether what stands there is said of the object itself, not of other things."""
    return not any(one.start() <= at < one.end() for one in _ELSEWHERE.finditer(text))


def words_before(text: str, at: int, count: int) -> list[str]:
    """The last words before a place, in lower case, within the same clause."""
    clause = re.split(r"[,.;:]", text[:at].lower())[-1]
    return re.findall(r"[\w'’]+", clause)[-count:]


def applied(text: str, edit: Edit) -> str:
    """The text with an edit made, and the article before it put right."""
    head, tail = text[: edit.start], text[edit.end :]
    article = re.search(r"\b(an?) $", head, re.IGNORECASE)
    if article:
        right = "an" if sounds_open(edit.after or tail.lstrip()) else "a"
        if article[1].lower() != right:
            cased = right.capitalize() if article[1][0].isupper() else right
            head = f"{head[: article.start(1)]}{cased} "
    last = re.search(r"\b(an?)$", edit.after, re.IGNORECASE)
    if last:
        right = "an" if sounds_open(tail.lstrip()) else "a"
        return head + edit.after[: last.start(1)] + right + tail
    return head + edit.after + tail


def sounds_open(word: str) -> bool:
    """Whether "an" stands before a word.

    Example:
        >>> [sounds_open(one) for one in ("orange", "unlit", "used", "hour", "red", "one-eyed")]
        [True, True, False, True, False, False]
    """
    word = word.lower()
    if re.match(r"(?:uni(?!n|m)|us[eu]|ut[ei]|eu|ewe|one\b|once|ubi|ur[aio])", word):
        return False
    if re.match(r"(?:hour|honest|honou?r|heir)", word):
        return True
    return word[:1] in "aeiou" and bool(word)
