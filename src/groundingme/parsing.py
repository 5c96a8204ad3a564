"""Any reply -> an `Answer`: a box, a rejection, or nothing readable. Never raises, never guesses.

How a reply is read, in this order:

1. Reasoning goes: all up to the last `</think>` (its opening tag may be missing). Reasoning that
   never ends is `unfinished-thinking`. Where the server put everything into its reasoning field,
   an answer at the very end of that is read.
2. The *last* answer counts. An answer is one of

   ==============  ==============================================================================
   `json`          a value under `bbox_2d` or a sister key (`bbox`, `box_2d`, `bounding_box`, ...),
                   in fences, lists, prose, with single quotes, strings for numbers, missing closers
   `corners`       `x1`, `y1`, `x2`, `y2` (or `xmin`, ..., or y first) as named numbers
   `box-tokens`    four numbers in `<box>`, `<|box_start|>`, `<|begin_of_box|>`, `<bbox>`, `<|det|>`
                   or `\\boxed{}`
   `loc-tokens`    four location tokens: `<loc_12>`, `<loc0012>`
   `list`          four numbers in brackets: a line of their own, in double brackets, or introduced
                   as the bounding box or answer; four bare numbers as the whole reply
   `null`          null, None or an empty list in one of those places
   `words`         a statement that nothing matches (see `rejection_words`), after any other answer
   ==============  ==============================================================================

   The example in the prompt, when a model repeats it, is no answer; nor are four numbers in prose.
3. Else the reply is `unparsed`, with the reason:

   ======================  ======================================================================
   `empty`                 nothing but blanks
   `unfinished-thinking`   reasoning without an end
   `truncated`             the answer is cut, or the reply ended at its token limit without one
   `wrong-count`           a box of other than four numbers
   `non-finite`            NaN, infinity, or a number beyond float64
   `refusal`               the model declines the work
   `content-filter`        the server does
   `error`                 the text of an error instead of a reply
   `no-answer`             anything else
   ======================  ======================================================================

A number at the very end of a cut reply may lack digits, so it is not read. Time is linear in the
length of the reply: one pass finds where answers begin, and each of the last 20,000 is read by
bounded steps.
"""

from __future__ import annotations

import math
import re
from collections import deque
from typing import Any

from groundingme.rejection_words import find_rejection, is_error, is_refusal, is_rejection
from groundingme.schema import Answer, Generation

_NUM = r"[-+]?+(?:\d{1,400}+(?:\.\d{0,400}+)?+|\.\d{1,400}+)(?:[eE][-+]?+\d{1,6}+)?+"
# ASCII alone: ignoring case, the i of "inf" would be a dotless one too, which is no number.
_VALUE = rf"(?:{_NUM}|[-+]?+(?a:NaN|Infinity|inf)\b)"
# A number may stand in quotes, in a bracket pair of its own corner, or in a token of its own.
_SEP = r"[\s\"'\])}>|,，、;]{1,200}+[\s\"'\[({<|]{0,200}+"
_FOUR = re.compile(
    rf"({_VALUE}){_SEP}({_VALUE}){_SEP}({_VALUE}){_SEP}({_VALUE})(?![\w.])", re.IGNORECASE
)
_MORE = re.compile(rf"[\s\"']*+[,，][\s\"']*+{_NUM}")
_NEXT_BOX = re.compile(r"\s*+\]\s*+,\s*+\[\s*+")
_TWO_POINTS = rf"\(\s*+{_NUM}\s*+,\s*+{_NUM}\s*+\)\s*+,?+\s*+(?=\()"

_FAST_NUM = r"(-?+\d{1,15}+(?:\.\d{1,15}+)?+)\s*+"
_FAST = re.compile(
    r"\s*+(?:```(?:json)?+\s*+)?+(\[\s*+)?+(?P<answer>\{\s*+\"bbox_2d\"\s*+:\s*+(?:(?P<null>null)|\[\s*+"
    rf"{_FAST_NUM},\s*+{_FAST_NUM},\s*+{_FAST_NUM},\s*+{_FAST_NUM}\])\s*+"
    r"(?:,\s*+\"label\"\s*+:\s*+\"[^\"\\<]{0,200}+\"\s*+)?+\})\s*+(?(1)\])\s*+(?:```)?+\s*+"
)

_KEYS = (
    r"(?:bbox_?2d|box_?2d|bboxes|bbox(?:_xyxy|_coordinates)?|boxes|bounding[_ ]?box(?:es)?"
    r"(?:_2d|[_ ]coordinates?)?|coordinates?|coords|box)"
)
# The look at the first characters keeps the scan fast where nothing begins. Openers belong to
# their anchor, so a run of them is scanned once.
_ANCHOR = re.compile(
    rf"""
    (?=[\\"'“<\[(xyltbca坐座边邊答])(?=[\\"'“<\[(坐座边邊答]|\b[xylt]|b[bo]|co|an|lo)
    (?: (?P<key>\\?["'“]{_KEYS}\\?["'”]\s*+[:=]\s*+ | \b{_KEYS}\s{{0,4}}[:=]\s*+)
      | (?P<wrap><\|?box(?:_start)?\|?>|<\|begin_of_box\|>|<bbox>|<\|?det\|?>|\\boxed\{{)
      | (?P<loc>(?:<\|?loc_?\d{{1,5}}\|?>\s?){{4}})
      | (?P<corner>["']?\b(?:x_?1|x_?min|left|y_?1|y_?min|top)\b["']?\s{{0,4}}(?=[:=]))
      | (?P<intro>
          (?:bounding\ box|bbox|coordinates?|coords|answer|located|坐标|座標|边界框|邊界框|答案)
          [^\n\[({{<"'.]{{0,100}}?(?=\[|{_TWO_POINTS}))
      | (?P<list>(?=\[|{_TWO_POINTS}))
    )
    (?P<open>[\s\[(]*+(?:[\s\[({{"']{{1,40}}+(?=[-+.\dNI]))?+)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_NULL = re.compile(
    r"[\s\"'\[({]{0,40}+(?:null|none|nil)\b(?:[\s,]{1,40}+(?:null|none|nil)\b){0,3}+[\"'\])}]{0,4}+"
    r"|\[\s*+\]|\{\s*+\}|\"\"|''",
    re.IGNORECASE,
)
_CUT_NULL = re.compile(r"(?:n|nu|nul|no|non)?", re.IGNORECASE)
_STRING = re.compile(r"\"([^\"\n]{1,400}+)\"|'([^'\n]{1,400}+)'")
_CORNERS = re.compile(
    r"[\s,;{]*+[\"']?(?P<name>(?a:[xy]_?(?:[12]|min|max)|left|top|right|bottom))[\"']?\s*+[:=]\s*+"
    rf"[\"']?(?P<number>{_VALUE})(?:px)?[\"']?",
    re.IGNORECASE,
)
_SIDES = {"left": "x1", "top": "y1", "right": "x2", "bottom": "y2"}
_CORNER_ORDERS = (("x1", "y1", "x2", "y2"), ("y1", "x1", "y2", "x2"))
_DENIED = re.compile(
    r"\b(?:not|n['’]t|size|resolution|range|format|example|dimensions?)\b|不是|格式|例如", re.I
)
_LINE_START = re.compile(r"(?:\A|\n)[ \t>*`-]{0,12}+\Z")
_LINE_END = re.compile(r"[^\S\n]*+[\])}>|,.;。`*\"']{0,8}+[^\S\n]*+(?:\n|\Z)")
_NUMBER = rf"({_NUM})"
_BARE = re.compile(
    rf"[\s`*\[(]*+(?:json\b)?[\s`*\[(]*+{_NUMBER}[\s,]++{_NUMBER}[\s,]++{_NUMBER}[\s,]++{_NUMBER}"
    r"(?P<close>[\s`*\])]*+\.?\s*+)"
)
_LABELLED = re.compile(
    r"(?:bounding box|bbox|coordinates?|coords|answer|坐标|边界框|答案)[ *]{0,4}"
    rf"(?:is|are)?[ *]{{0,4}}[:=：][ *]{{0,4}}{_NUMBER}[ ,]{{1,4}}{_NUMBER}[ ,]{{1,4}}{_NUMBER}"
    rf"[ ,]{{1,4}}{_NUMBER}[ .*]{{0,4}}$",
    re.IGNORECASE | re.MULTILINE,
)
_EMPTY_LIST = re.compile(r"[\s`]*+(?:json\b)?\s*+\[\s*+\][\s`]*+", re.IGNORECASE)
_CLOSERS = re.compile(
    r"[\s\"'`\\]{0,40}?[\])}>]{1,6}+(?:\s{0,4}+(?:</?\w{1,20}>|<\|/?\w{1,20}\|>))?+"
    r"|\s{0,4}+(?:</\w{1,20}>|<\|/?\w{1,20}\|>)"
)
_OBJECT_START = re.compile(r"\{\s{0,40}\Z")

_THINK_END = re.compile(
    r"</(?:\w{1,10}:)?(?:think|thinking|thought|reasoning)>|◁/think▷|<\|/think\|>|<channel\|>"
    r"|<\|channel\|>final<\|message\|>|\[/THINK\]",
    re.IGNORECASE,
)
_THINK_START = re.compile(
    r"<(?:\w{1,10}:)?(?:think|thinking|thought|reasoning)>|◁think▷|<\|think\|>|<\|channel>"
    r"|<\|channel\|>analysis|\[THINK\]",
    re.IGNORECASE,
)
_EXAMPLE = re.compile(r"If no matching object is found, output\s{1,4}\{?\s?$")
_PLACEHOLDER = re.compile(r"[\s\"'\[({<]*+(?:[xy]_?(?:1|2|min|max)\b|\.\.\.|…)", re.IGNORECASE)
_LOOSE_END = re.compile(r"[\s`*\])}>.,|/\w]{0,40}")

_TOKENS = re.compile(r"[\s<|(\[]{1,40}+")
_WRAP_END = re.compile(r"</|\|>|\}|\]")
_LONGEST = 4000
"""Characters in which the value of a box must end."""
_MOST = 20_000
"""Places, counted from the end, where an answer is looked for; 10 MB may have millions."""

_LENGTH = ("length", "max_tokens", "MAX_TOKENS")
_FILTER = ("content_filter", "content-filter", "SAFETY", "sensitive", "RECITATION")

_UNPARSED = {
    reason: Answer("unparsed", reason)
    for reason in (
        "empty", "unfinished-thinking", "truncated", "wrong-count", "non-finite", "refusal",
        "content-filter", "error", "no-answer",
    )
}  # fmt: skip


def parse(text: str, reasoning: str = "", *, finish_reason: str = "") -> Answer:
    """Reads a reply.

    Args:
        text: The reply, verbatim.
        reasoning: What the server returned as reasoning in a field of its own.
        finish_reason: As the server says it; `length` and `content_filter` explain a reply
            without an answer.

    Returns:
        The answer, with the span of characters it was read from. Coordinates are as written, in
        the reply's own order and space; they may be swapped, degenerate or outside.

    Example:
        >>> parse('</think> It is {"bbox_2d": [1, 2, 30, 40]}').coords
        (1.0, 2.0, 30.0, 40.0)
        >>> parse("There is no matching object.").outcome
        'rejected'
        >>> parse("I cannot help with that.").reason
        'refusal'
    """
    usual = _usual(text, 0)
    if usual is not None:
        return usual
    start, end = _body(text)
    if start is None:
        return _UNPARSED["unfinished-thinking"]
    usual = _usual(text, start) if start else None
    if usual is not None:
        return usual
    body = text[:end]
    if not body[start:].strip():
        return _from_reasoning(reasoning, finish_reason)
    return _read(body, start, finish_reason)


class _Kept:
    """Answers by what they were read from; forgotten all at once when they hold too much text."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._answers: dict[tuple[str, str, str], Answer] = {}
        self._size = 0

    def of(self, text: str, reasoning: str, finish_reason: str) -> Answer:
        key = text, reasoning, finish_reason
        found = self._answers.get(key)
        if found is None:
            size = len(text) + len(reasoning) + _OVERHEAD
            if self._size + size > self._most:
                self._answers, self._size = {}, 0
            found = self._answers[key] = parse(text, reasoning, finish_reason=finish_reason)
            self._size += size
        return found


_OVERHEAD = 300
"""Characters that keeping an answer costs beside its text, about."""

_kept = _Kept(2**25)


def answer_of(generation: Generation) -> Answer:
    """The answer of a reply, parsed once however often it is asked for.

    Progress, hints, scores, tables and pages ask in turn, and thinking is long. Of text that
    nobody else holds, no more than 32 M characters are kept.
    """
    return _kept.of(generation.text, generation.reasoning, generation.finish_reason)


def _usual(text: str, start: int) -> Answer | None:
    """The asked JSON and nothing else: what most replies are, read in one step."""
    match = _FAST.fullmatch(text, start)
    if match is None:
        return None
    if match["null"]:
        return Answer("rejected", "null", None, match.span("answer"))
    _, _, _, a, b, c, d = match.groups()
    return Answer("box", "json", (float(a), float(b), float(c), float(d)), match.span("answer"))


def _body(text: str) -> tuple[int | None, int]:
    """What is left without reasoning; a start of None where reasoning never ends."""
    start = 0
    for match in _THINK_END.finditer(text):
        start = match.end()
    opened = _THINK_START.search(text, start)
    if opened is None:
        return start, len(text)
    if not text[start : opened.start()].strip():
        return None, len(text)
    return start, opened.start()


def _from_reasoning(reasoning: str, finish_reason: str) -> Answer:
    """For a reply without text: some servers file the whole of it under reasoning."""
    if not reasoning.strip():
        if finish_reason in _FILTER:
            return _UNPARSED["content-filter"]
        if finish_reason in _LENGTH:
            return _UNPARSED["truncated"]
        return _UNPARSED["empty"]
    if finish_reason in _LENGTH:
        return _UNPARSED["unfinished-thinking"]
    start, end = _body(reasoning)
    if start is not None:
        answer = _structured(reasoning[:end], start, cut=False)
        if answer and answer.span and _LOOSE_END.fullmatch(reasoning, answer.span[1], end):
            return Answer(answer.outcome, answer.reason, answer.coords, answer.span, "reasoning")
    return _UNPARSED["empty"]


def _read(body: str, start: int, finish_reason: str) -> Answer:
    answer = _structured(body, start, cut=finish_reason in _LENGTH)
    if answer is not None and answer.outcome != "box":
        return answer
    after = answer.span[1] if answer and answer.span else start
    words = find_rejection(body, after, again=answer is not None)
    if words is not None:
        bare = body[words[0] : words[1]].strip(" \n\t\r`\"'*.").lower()
        return Answer("rejected", "null" if bare in ("null", "none") else "words", None, words)
    if answer is not None:
        return answer
    if finish_reason in _FILTER:
        return _UNPARSED["content-filter"]
    rest = body[start:]
    if is_error(rest):
        return _UNPARSED["error"]
    if is_refusal(rest):
        return _UNPARSED["refusal"]
    return _UNPARSED["truncated" if finish_reason in _LENGTH else "no-answer"]


def _structured(body: str, start: int, *, cut: bool) -> Answer | None:
    """The last answer that is not in words; None where there is none.

    An answer under a key of JSON that is cut or has another count of numbers is one as well: an
    earlier answer does not stand in for it.

    Args:
        body: The reply without what follows an unfinished thought.
        start: Where the reasoning ends.
        cut: Whether the reply ended at its token limit, so that its last number may lack digits.
    """
    bare = _BARE.fullmatch(body, start)
    if bare is not None:
        if not bare["close"] and (cut or bare[0].lstrip()[:1] in "[("):
            return _UNPARSED["truncated"]
        return _box(bare.groups()[:4], "list", bare.span())
    if _EMPTY_LIST.fullmatch(body, start):
        return Answer("rejected", "null", None, (start, len(body)))
    for anchor in reversed(deque(_ANCHOR.finditer(body, start), maxlen=_MOST)):
        answer = _at(body, anchor, cut)
        if answer is not None:
            return answer
    found = deque(_LABELLED.finditer(body, start), maxlen=1)
    if not found:
        return None
    labelled = found[0]
    if cut and labelled.end() == len(body):
        return _UNPARSED["truncated"]
    return _box(labelled.groups(), "list", labelled.span())


def _at(body: str, anchor: re.Match[str], cut: bool) -> Answer | None:
    """What stands at a place where an answer may begin; None where it is none."""
    begin, value, at = anchor.start(), anchor.start("open"), anchor.end()
    if anchor["loc"]:
        return _box(re.findall(r"\d+", anchor[0])[-4:], "loc-tokens", anchor.span("loc"))
    if anchor["corner"] is not None:
        return _corners(body, begin, begin, cut)
    if anchor["key"]:
        sure = anchor[0].lstrip("\\")[0] in "\"'“" or anchor[0][:6].lower() == "bbox_2"
        before = _OBJECT_START.search(body, max(0, begin - 41), begin)
        return _under_key(body, before.start() if before else begin, value, at, sure, cut)
    if anchor["wrap"]:
        return _in_tokens(body, begin, value, at)
    introduced = anchor["intro"] is not None
    if introduced and _DENIED.search(anchor["intro"]):
        return None
    four = _FOUR.match(body, at)
    if four is None or four.end() == len(body) or _MORE.match(body, four.end()):
        return None
    if not introduced and anchor["open"].count("[") < 2:
        own_line = _LINE_START.search(body, max(0, begin - 13), begin)
        if not own_line or not _LINE_END.match(body, four.end()):
            return None
    return _box(four.groups(), "list", (begin, _closed(body, four.end())))


def _under_key(body: str, begin: int, value: int, at: int, sure: bool, cut: bool) -> Answer | None:
    """The value of a key.

    Args:
        body: The reply.
        begin: Where the answer's span begins.
        value: Where the value begins.
        at: The same behind its opening brackets and quotes.
        sure: Whether the key can be nothing but JSON. Without quotes, "box: 3 by 4" may be prose.
        cut: Whether the reply ended at its token limit.
    """
    null = _NULL.match(body, value)
    if null:
        if not sure and body[null.end() : null.end() + 40].strip(' \n\t}])`.*"'):
            return None
        if _EXAMPLE.search(body, max(0, begin - 80), begin):
            return None
        return Answer("rejected", "null", None, (begin, _closed(body, null.end())))
    if value == len(body):
        return _UNPARSED["truncated"] if sure else None
    corners = _corners(body, value, begin, cut)
    if corners is not None:
        return corners
    four = _FOUR.match(body, at)
    if four is not None and (sure or at > value):
        while (more := _NEXT_BOX.match(body, four.end())) and (
            another := _FOUR.match(body, more.end())
        ):
            four = another
        if four.end() == len(body):
            return _UNPARSED["truncated"]
        if _MORE.match(body, four.end()):
            return _UNPARSED["wrong-count"] if sure else None
        return _box(four.groups(), "json", (begin, _closed(body, four.end())))
    if not sure or _PLACEHOLDER.match(body, at):
        return None
    string = _STRING.match(body, value)
    if string:
        if is_rejection(string[1] or string[2]):
            return Answer("rejected", "words", None, (begin, _closed(body, string.end())))
        return _UNPARSED["no-answer"]
    if _CUT_NULL.fullmatch(body, at):
        return _UNPARSED["truncated"]
    if body[value] != "[":
        return _UNPARSED["no-answer"]
    if body.find("]", at, at + _LONGEST) < 0 and len(body) - at < _LONGEST:
        return _UNPARSED["truncated"]
    return _UNPARSED["wrong-count"]


def _in_tokens(body: str, begin: int, value: int, at: int) -> Answer | None:
    null = _NULL.match(body, value)
    if null:
        return Answer("rejected", "null", None, (begin, _closed(body, null.end())))
    token = _TOKENS.match(body, at)
    four = _FOUR.match(body, token.end() if token else at)
    if four is not None:
        if four.end() == len(body):
            return _UNPARSED["truncated"]
        if _MORE.match(body, four.end()):
            return _UNPARSED["wrong-count"]
        return _box(four.groups(), "box-tokens", (begin, _closed(body, four.end())))
    if body[at : at + 1].isdigit():
        closed = _WRAP_END.search(body, at, at + _LONGEST)
        return _UNPARSED["wrong-count" if closed else "truncated"]
    return None


def _corners(body: str, at: int, begin: int, cut: bool) -> Answer | None:
    """Four named numbers in a row, in the order in which they stand."""
    found: dict[str, str] = {}
    for _ in range(4):
        pair = _CORNERS.match(body, at)
        if pair is None:
            return None
        name = pair["name"].lower().replace("_", "")
        found[_SIDES.get(name, name.replace("min", "1").replace("max", "2"))] = pair["number"]
        at = pair.end()
    if len(found) < 4:
        return None
    if cut and at == len(body):
        return _UNPARSED["truncated"]
    order = _CORNER_ORDERS[next(iter(found))[0] == "y"]
    return _box([found[name] for name in order], "corners", (begin, _closed(body, at)))


def _closed(body: str, end: int) -> int:
    """The end of an answer with the brackets and tokens that close it."""
    closers = _CLOSERS.match(body, end)
    return closers.end() if closers else end


def _box(numbers: tuple[str | Any, ...] | list[str], reason: str, span: tuple[int, int]) -> Answer:
    a, b, c, d = (float(number) for number in numbers)
    if not all(map(math.isfinite, (a, b, c, d))):
        return _UNPARSED["non-finite"]
    return Answer("box", reason, (a, b, c, d), span)
