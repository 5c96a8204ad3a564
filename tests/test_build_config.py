# ruff: noqa: E501
"""A build's configuration: checked whole, with the line and what is allowed, before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from groundingme.build import stages
from groundingme.build.config import Section, check_options, load
from groundingme.build.publish import PublishOptions
from groundingme.build.verify import FLAGS
from groundingme.errors import UsageError


class Source(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    limit: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Suppress(msgspec.Struct, frozen=True, kw_only=True):
    policy: Literal["instances", "none"] = "instances"
    iou: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.7


class Detect(msgspec.Struct, frozen=True, kw_only=True):
    by: str
    batch: int = 1
    options: dict[str, Any] = {}


def make_detector(*, model: str, threshold: float = 0.3) -> None: ...


def check(by: str, options: dict[str, Any]) -> None:
    if by != "dino":
        raise UsageError(f"no detector is named {by!r}; known: dino")
    check_options("detector", by, make_detector, options)


SECTIONS = {
    "source": Section(Source, needed=True),
    "suppress": Section(Suppress, default=True),
    "detect": Section(Detect, check=check),
}

GOOD = """\
seed = 3

[source]
path = "photos"

[suppress]
iou = 0.5

[detect]
by = "dino"
model = "there"
"""


def read(tmp_path: Path, text: str, *overrides: str) -> Any:
    path = tmp_path / "build.toml"
    path.write_text(text)
    return load(path, SECTIONS, overrides)


def test_a_section_becomes_its_options(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD)
    assert config.seed == 3
    assert config.sections["source"] == Source(path="photos")
    assert config.sections["suppress"] == Suppress(iou=0.5)
    assert config.sections["detect"] == Detect(by="dino", options={"model": "there"})


def test_a_section_that_is_left_out_has_its_defaults_or_none(tmp_path: Path) -> None:
    config = read(tmp_path, '[source]\npath = "photos"\n')
    assert config.sections["suppress"] == Suppress()
    assert config.sections["detect"] is None


def test_overrides_win(tmp_path: Path) -> None:
    config = read(
        tmp_path, GOOD, "suppress.iou=0.25", "source.path=other", "seed=9", "detect.threshold=0.1"
    )
    assert config.seed == 9
    assert config.sections["suppress"].iou == 0.25
    assert config.sections["source"].path == "other"
    assert config.sections["detect"].options == {"model": "there", "threshold": 0.1}


def test_no_file_is_needed() -> None:
    assert load(None, SECTIONS, ["source.path=photos"]).sections["source"] == Source(path="photos")


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        (GOOD.replace("iou = 0.5", "iou = 2"), (), "line 7, suppress.iou: expected a number at least 0 and at most 1, got 2"),
        (GOOD.replace("iou = 0.5", 'policy = "best"'), (), "line 7, suppress.policy: expected one of instances, none, got 'best'"),
        (GOOD.replace("iou = 0.5", "iuo = 0.5"), (), "line 7, suppress.iuo: no key is named 'iuo'; did you mean 'iou'?"),
        (GOOD.replace("[suppress]", "[supress]"), (), "line 6, supress: no section of a build is named 'supress'; did you mean 'suppress'?"),
        (GOOD.replace('"dino"', '"yolo"'), (), "line 10, detect.by: no detector is named 'yolo'; known: dino"),
        (GOOD + "treshold = 1\n", (), "line 12, detect.treshold: no option of the detector dino is named 'treshold'; did you mean 'threshold'?"),
        (GOOD.replace('model = "there"\n', ""), (), "detect.by: expected model for the detector dino, got none"),
        (GOOD.replace("seed = 3", "seed = -1"), (), "line 1, seed: expected a whole number of 0 or more, got -1"),
        (GOOD.replace("seed = 3", "seed = true"), (), "line 1, seed: expected a whole number"),
        (GOOD.replace('path = "photos"', "limit = 5"), (), "line 3, source: expected path, got none; add it"),
        (GOOD.replace('path = "photos"', 'path = "photos"\nlimit = 0'), (), "line 5, source.limit: expected a whole number at least 1, got 0"),
        (GOOD.replace("seed = 3", "source = 3").replace("[source]\n", ""), (), "expected a section [source], got 3"),
        ("seed = = 3", (), "expected TOML, got: Invalid value (at line 1, column 8)"),
        ("", (), "expected a section [source] in the configuration, got none"),
        (GOOD, ("suppress.iou=high",), "suppress.iou: expected a number at least 0 and at most 1, got 'high'"),
        (GOOD, ("iou",), "expected SECTION.KEY=VALUE or seed=VALUE, got 'iou'"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_line_and_what_is_allowed(
    tmp_path: Path, text: str, overrides: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text, *overrides)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


LATE = [
    ("detect", 'model = "none.onnx"', "line 5, detect.model: expected 'model' of the detector yolo to be there, got no file or folder none.onnx"),
    ("tag", 'by = "fixed"\nvocabulary = "cocoa"', "line 8, tag.vocabulary: expected vocabulary as a text file"),
    ("select", 'per_subtask = {"Spatial/Cunting" = 3}', "line 7, select.per_subtask: no subtask is named 'Spatial/Cunting'; did you mean 'Spatial/Counting'?"),
    ("describe", 'model = "openai/x"\nthinking = "maybe"', "line 8, describe.thinking: expected thinking on, off, or a budget"),
    ("describe", 'model = "openai/x"\nprice = "abc"', "line 8, describe.price: expected a price as PROMPT,COMPLETION"),
    ("describe", 'model = "openai/x"\nbase_url = "there"', "line 8, describe.base_url: expected a base URL"),
    ("negatives", 'by = "model"\nmodel = "openai/x"\noptions = {colour = 1}', "line 9, negatives.options: no option of the provider openai is named 'colour'"),
    ("verify", 'models = ["mock/x"]\ncoords = "foo"', "line 8, verify.coords: no coordinate format is named 'foo'"),
    ("verify", 'models = ["openai/x"]\nthinking = "no"', "line 8, verify.thinking: expected thinking on"),
    ("publish", 'without = ["not-uniqe"]', "line 7, publish.without: no flag of verify is named 'not-uniqe'; did you mean 'not-unique'?"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "keys", "said"), LATE)
def test_mistakes_of_late_stages_are_told_at_the_beginning(
    tmp_path: Path, section: str, keys: str, said: str
) -> None:
    text = '[source]\npath = "photos"\n[detect]\nby = "yolo"\n'
    text += f"{keys}\n" if section == "detect" else f'model = "{__file__}"\n[{section}]\n{keys}\n'
    path = tmp_path / "build.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load(path, stages.SECTIONS)
    assert said in str(caught.value)


def test_every_flag_can_be_left_out() -> None:
    page = (Path(__file__).parents[1] / "docs" / "build-descriptions.md").read_text()
    for flag in FLAGS:
        assert f"| `{flag}` |" in page
    assert PublishOptions(without=[*FLAGS, "draft-refused"]).without[-1] == "draft-refused"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="got no file; groundingme build init writes"):
        load(tmp_path / "no.toml", SECTIONS)
