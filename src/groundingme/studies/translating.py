"""Descriptions in other languages: supplied, or by a model and translated back as a check.

`translations.jsonl` in the study's folder keeps all of them, a line each, with `id`, `language`,
`text`, and `problem` where one was not used; it can be supplied to a later study.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from groundingme.build.questions import Asked, Question, ask_all
from groundingme.build.stage import Context
from groundingme.datasets import Dataset
from groundingme.errors import UsageError
from groundingme.schema import Generation, Sample
from groundingme.store import write_atomically

FILE = "translations.jsonl"
LANGUAGES = {
    "de": "German", "fr": "French", "es": "Spanish", "pt": "Portuguese", "ru": "Russian",
    "zh": "Chinese", "ja": "Japanese", "ar": "Arabic", "hi": "Hindi", "sw": "Swahili",
}  # fmt: skip
"""Ten that differ in script, order of words and how much of them models have read."""

FORTH = (
    "Translate this description of an object in a picture into {language}, as a native speaker "
    "would say it. Keep every detail and add none; keep what stands in quotes as it is. Answer "
    "with the translation alone.\n\n{text}"
)
BACK = (
    "Translate this description of an object in a picture into English, word for word where that "
    "makes sense. Keep what stands in quotes as it is. Answer with the translation alone.\n\n{text}"
)

_SMALL = frozenset(
    re.findall(
        r"\w+",
        "the a an that is it has of and in on at with which who are to its this there one by",
    )
)


class Translation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One description in one language.

    Attributes:
        id: Of the sample.
        language: As it was named.
        text: The translation.
        back: Translated back; "" where nobody did.
        problem: Why it is not used: `failed`, `empty`, `back-failed` or `differs`; "" where it is.
    """

    id: str
    language: str
    text: str
    back: str = ""
    problem: str = ""


def read_translations(path: Path) -> list[Translation]:
    """Supplied translations, a JSON line each with `id`, `language` and `text`.

    Raises:
        UsageError: The file cannot be read.
    """
    try:
        found = msgspec.json.Decoder(Translation).decode_lines(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(
            f'expected {{"id": ..., "language": ..., "text": ...}} a line in {path}, got: {error}'
        ) from None
    return found


def keep(folder: Path, translations: Sequence[Translation]) -> None:
    """Writes them into a study's folder."""
    lines = b"".join(msgspec.json.encode(one) + b"\n" for one in translations)
    write_atomically(folder / FILE, lines)


def alike(one: str, other: str) -> float:
    """Share of the words that two texts have in common, small words apart.

    Example:
        >>> alike("the red mug on the table", "a red cup that is on the table")
        0.5
    """
    a, b = (
        Counter(w for w in re.findall(r"\w+", text.lower()) if w not in _SMALL)
        for text in (one, other)
    )
    return sum((a & b).values()) / max(1, sum((a | b).values()))


def translated(
    dataset: Dataset,
    languages: Sequence[str],
    translator: Asked,
    checker: Asked | None,
    context: Context,
    least: float,
) -> list[Translation]:
    """Every description in every language; what was asked before is not asked again.

    Args:
        dataset: Samples with descriptions.
        languages: Keys of `LANGUAGES`, or names.
        translator: Who translates.
        checker: Who translates back; None for nobody.
        context: Where replies are kept, and the budget.
        least: Share of words of the original that the way back has to bring, in [0, 1].

    Raises:
        FatalError: A model cannot be asked at all; what was said is kept.
        JobError: The budget is spent; likewise.
        Interrupted: Ctrl-C; likewise.
    """
    samples = {one.id: one for one in dataset if not one.problem}
    forth = _ask(
        {(id, language): FORTH.format(language=LANGUAGES.get(language, language),
                                      text=one.description)
         for language in languages for id, one in samples.items()},
        translator, context, "translate",
    )  # fmt: skip
    texts = {key: "" if one.failure else _said(one) for key, one in forth.items()}
    back: dict[tuple[str, str], Generation] = {}
    if checker:
        asked = {key: BACK.format(text=text) for key, text in texts.items() if text}
        back = _ask(asked, checker, context, "back")
    found = []
    for (id, language), text in texts.items():
        again = back.get((id, language))
        said = _said(again) if again and not again.failure else ""
        if forth[id, language].failure:
            problem = "failed"
        elif not text:
            problem = "empty"
        elif checker and not said:
            problem = "back-failed"
        elif checker and alike(samples[id].description, said) < least:
            problem = "differs"
        else:
            problem = ""
        found.append(Translation(id=id, language=language, text=text, back=said, problem=problem))
    return found


def _ask(
    prompts: dict[tuple[str, str], str], asked: Asked, context: Context, stage: str
) -> dict[tuple[str, str], Generation]:
    questions = [
        Question(id=f"{language}\0{id}", prompt=prompt)
        for (id, language), prompt in prompts.items()
    ]
    said: dict[str, Generation] = ask_all(questions, asked, context, stage=stage)
    return {(id, language): said[f"{language}\0{id}"] for id, language in prompts}


def _said(one: Generation) -> str:
    """A reply without reasoning, quotes around it, and line breaks."""
    text: Any = one.text.rsplit("</think>", 1)[-1].strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines).strip("`")


def in_language(
    dataset: Dataset, translations: Sequence[Translation], language: str
) -> dict[str, Sample]:
    """The samples of which there is a translation of use, by id, with its words."""
    said = {
        one.id: one.text
        for one in translations
        if one.language == language and not one.problem and one.text.strip()
    }
    return {
        one.id: msgspec.structs.replace(one, description=said[one.id])
        for one in dataset
        if one.id in said and not one.problem
    }
