"""Descriptions in other languages: supplied, or by a model and translated back as a check.

`translations.jsonl` in the study's folder keeps all of them, a line each, with `id`, `language`,
`text`, and `problem` where one was not used; it can be supplied to a later study.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from groundingme.build.questions import Asked, Question, ask_all
from groundingme.build.stage import Context
from groundingme.datasets import Dataset
from groundingme.errors import UsageError
from groundingme.schema import Generation, Sample
from groundingme.store import write_atomically
from groundingme.studies.changing import changed, only
from groundingme.studies.study import Knob, Setting

FILE = "translations.jsonl"
IN = "in "
"""Before a language in the name of a condition."""
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


def in_languages(dataset: Dataset, translations: Sequence[Translation]) -> dict[str, Dataset]:
    """The samples of which there is a translation of use, by the language they are in."""
    found = {}
    for language in dict.fromkeys(one.language for one in translations):
        said = {
            one.id: one.text
            for one in translations
            if one.language == language and not one.problem and one.text.strip()
        }
        known = only(dataset, {one.id for one in dataset if one.id in said and not one.problem})
        if len(known):
            found[f"{IN}{language}"] = changed(known, language, partial(_in_words, said=said))
    return found


def _in_words(sample: Sample, said: Mapping[str, str]) -> Sample:
    return msgspec.structs.replace(sample, description=said[sample.id])


def losses(folder: Path) -> list[list[object]]:
    """Of each language how many of a study's translations are used, and why others are not."""
    by_language: dict[str, list[str]] = {}
    for one in read_translations(folder / FILE):
        by_language.setdefault(one.language, []).append(one.problem)
    rows: list[list[object]] = []
    for language, problems in by_language.items():
        why = Counter(one for one in problems if one)
        told = ", ".join(f"{count} {name}" for name, count in why.most_common())
        rows.append([language, len(problems) - why.total(), why.total(), told])
    return rows


KNOBS = (
    Knob("translations", "", "JSONL of id, language and text"),
    Knob("translator", "", "PROVIDER/NAME that translates; none by default"),
    Knob("translator-url", "", "address of its server; that of the models by default"),
    Knob("translator-price", "", "PROMPT,COMPLETION in dollars per million tokens"),
    Knob("checker", "", "PROVIDER/NAME at the same address that translates back; the "
         "translator by default"),
    Knob("languages", ",".join(LANGUAGES), "that the translator translates into"),
    Knob("back", 0.5, "share of words that the way back must bring, small words apart"),
)  # fmt: skip
"""Options of a study that has descriptions translated."""


def supplied(setting: Setting) -> dict[str, Dataset]:
    """The data in the languages that the option `translations` supplies; none without a file.

    Raises:
        UsageError: The file cannot be read, or has nothing of this data set.
    """
    if not (path := setting.knobs["translations"]):
        return {}
    found = in_languages(setting.dataset, read_translations(Path(path)))
    if not found:
        raise UsageError(
            f"expected translations of samples in {setting.dataset.source}, got none in {path}; "
            "ids have to be those of the data set"
        )
    return found


def asked(setting: Setting, budget: float | None) -> dict[str, Dataset]:
    """The data in the languages that a model is asked to translate into; all of it is kept.

    Args:
        setting: With `KNOBS`, of which `translator` is named.
        budget: Dollars that it may cost; None for no limit.
    """
    knobs, asking = setting.knobs, setting.asking
    url = knobs["translator-url"] or asking.get("base_url", "")
    translator = Asked(model=knobs["translator"], base_url=url, price=knobs["translator-price"],
                       concurrency=asking.get("concurrency"))  # fmt: skip
    checker = translator
    if knobs["checker"]:
        checker = msgspec.structs.replace(translator, model=knobs["checker"])
    context = Context(folder=setting.folder / "translator", seed=setting.seed, budget=budget)
    names, least = setting.listed("languages"), float(knobs["back"])
    found = translated(setting.dataset, names, translator, checker, context, least)
    lines = b"".join(msgspec.json.encode(one) + b"\n" for one in found)
    write_atomically(setting.folder / FILE, lines)
    return in_languages(setting.dataset, found)
