"""The study of languages on models that understand one language, with a translator at the wire."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from tests.chat import ChatServer, Reply
from tests.perfect import picture

from groundingme.datasets import Dataset
from groundingme.errors import UnknownNameError, UsageError
from groundingme.images import BytesImage
from groundingme.models import Model, Request
from groundingme.models.mock import Mock
from groundingme.schema import Sample
from groundingme.studies import STUDIES, running
from groundingme.studies.study import Outcome, Setting
from groundingme.studies.styles import STYLES, childish, noisy, terse
from groundingme.studies.translating import alike

STUDY = STUDIES.get("languages")
BOX = json.dumps({"bbox_2d": [10, 10, 60, 60]})
NULL = json.dumps({"bbox_2d": None})
GERMAN = {"the": "die", "red": "rote", "mug": "Tasse", "blue": "blaue", "table": "Tischplatte",
          "on": "auf"}  # fmt: skip
ENGLISH = {german: english for english, german in GERMAN.items()}


def data(count: int = 20) -> Dataset:
    samples = [
        Sample(
            id=str(number),
            description=f"the {'blue' if number % 4 == 0 else 'red'} mug on the table {number}",
            target=None if number % 4 == 0 else (10.0, 10.0, 60.0, 60.0),
            width=160 + number,
            height=160,
            image=BytesImage(f"{number}.jpg", picture((160 + number, 160))),
            subtask_l1="Rejection" if number % 4 == 0 else "Discriminative",
        )
        for number in range(count)
    ]
    return Dataset(name="mugs", source="here", samples=samples)


def english(request: Request) -> str:
    """Finds the red mug and rejects the blue one; rejects what it cannot read."""
    return BOX if re.search(r"\bred mug\b", request.prompt) else NULL


def everything(request: Request) -> str:
    return BOX if re.search(r"\bred mug\b|\brote Tasse\b", request.prompt) else NULL


def translator(prompt: str) -> Reply:
    """Word for word; it brings sample 7 back as another thing, and refuses sample 9."""
    text = prompt.rsplit("\n\n", 1)[-1]
    number = int(text.split()[-1])
    table = GERMAN if "into German" in prompt else ENGLISH
    if number == 9 and table is GERMAN:
        return Reply(status=400)
    words = [table.get(word, word) for word in text.split()]
    if number == 7 and table is ENGLISH:
        words = ["a", "green", "hat"]
    return Reply(" ".join(words))


def study(folder: Path, models: list[Model], **knobs: Any) -> Outcome:
    defaults = {one.name: one.default for one in STUDY.knobs}
    given = defaults | {"styles": "", "languages": "de"} | knobs
    return running.run(STUDY, Setting(models=models, datasets=[data()], folder=folder, knobs=given))


def test_a_model_that_reads_english_alone_loses_boxes_and_keeps_rejecting(tmp_path: Path) -> None:
    models: list[Model] = [Mock("english", script=english), Mock("both", script=everything)]
    with ChatServer(default=translator) as server:
        outcome = study(
            tmp_path, models, translator="openai/translator",
            **{"translator-url": server.base_url},
        )  # fmt: skip
        asked = len(server.asked)
    found = outcome.values["found"]
    assert found["mock/english"]["as it is"].value == 1.0
    assert found["mock/english"]["in de"].value == 0.0
    assert found["mock/both"]["in de"].value == 1.0
    # It rejects all of them, which is no understanding.
    assert outcome.values["rejected"]["mock/english"]["in de"].value == 1.0
    assert outcome.values["falsely"]["mock/english"]["in de"].value == 1.0
    assert outcome.values["clear"] == ["mock/english/in de/found"]
    assert "mock/english finds less in 1 of 1 styles and languages" in outcome.finding
    assert "falsely rejects up to 100.0 % ('in de'; 0.0 % as it is)" in outcome.finding
    # One translation failed, and one came back as something else.
    assert outcome.values["samples"]["in de"] == 18
    assert outcome.tables[1].rows == [["de", 18, 2, "1 differs, 1 failed"]]
    # 20 there and 19 back; one failed at once.
    assert asked == 39
    kept = [json.loads(line) for line in (tmp_path / "translations.jsonl").read_text().splitlines()]
    assert sum("problem" in one for one in kept) == 2


def test_supplied_translations_are_used_without_a_translator(tmp_path: Path) -> None:
    path = tmp_path / "given.jsonl"
    rows = [{"id": one.id, "language": "de", "text": "die rote Tasse"} for one in data()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    outcome = study(tmp_path / "a", [Mock("both", script=everything)], translations=str(path))
    assert outcome.values["found"]["mock/both"]["in de"].value == 1.0
    assert outcome.values["rejected"]["mock/both"]["in de"].value == 0.0
    path.write_text('{"id": "x", "language": "de", "text": "nichts"}\n')
    with pytest.raises(UsageError, match="ids have to be"):
        study(tmp_path / "b", [Mock("both", script=everything)], translations=str(path))
    path.write_text('{"id": "x"}\n')
    with pytest.raises(UsageError, match="language"):
        study(tmp_path / "c", [Mock("both", script=everything)], translations=str(path))


def test_without_languages_the_study_says_so(tmp_path: Path) -> None:
    outcome = study(tmp_path, [Mock("english", script=english)], styles="formal,terse")
    assert "translator" in outcome.notes[0]
    assert "none of 2 styles and languages lowers that" in outcome.finding
    with pytest.raises(UnknownNameError, match="formal"):
        study(tmp_path, [Mock("english", script=english)], styles="formel")


def test_styles_keep_what_is_written_in_the_picture() -> None:
    text = 'The large mug that is on the table. It says "the LARGE one".'
    for name, style in STYLES.items():
        said = style(text, random.Random(3))
        assert '"the LARGE one"' in said, name
        assert said != text
    assert terse(text, random.Random(0)) == 'large mug on table. says "the LARGE one".'
    assert "big mug" in childish(text, random.Random(0))
    assert noisy(text, random.Random(3)) == noisy(text, random.Random(3))


def test_words_in_common() -> None:
    assert alike("the red mug", "A red mug.") == 1.0
    assert alike("the red mug", "a green hat") == 0.0


@pytest.mark.slow
def test_the_demonstration_runs(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from groundingme.cli import main

    out = CliRunner().invoke(
        main, ["study", "languages", "--limit", "60", "--quiet", "--out", str(tmp_path)]
    )
    assert out.exit_code == 0, out.output
    written = json.loads((tmp_path / "languages" / "study.json").read_text())
    found = written["values"]["found"]["builtin/grounder"]
    assert set(found) == {"as it is", *STYLES}
    assert found["as it is"]["value"] > 0.6
