"""What a person says of an item: its fields, when it is complete, and where two people differ."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from groundingme import geometry, taxonomy
from groundingme.schema import Box
from groundingme.studio.errors import ApiError
from groundingme.studio.fields import Text, Word

CRITERIA = ("uniqueness", "clarity", "specificity", "accuracy")
"""The paper's four: one object fits; it is clear what is meant; it asks for what the subtask
tests; what it says is true."""

SAME_BOX = 0.7
"""IoU from which two people mean the same box."""

Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]


class Rejection(BaseModel):
    """A description that nothing matches, made from the true one."""

    description: Text = ""
    kind: Literal["", "Appearance", "Component", "Text", "State"] = ""


class Criteria(BaseModel):
    """The checklist; null where nobody has looked yet."""

    uniqueness: bool | None = None
    clarity: bool | None = None
    specificity: bool | None = None
    accuracy: bool | None = None


class Document(BaseModel):
    """An annotation. `match` is of presence mode alone: does anything match? `flag` asks a
    reviewer to look."""

    box: tuple[Number, Number, Number, Number] | None = None
    label: Word = ""
    description: Text = ""
    subtask_l1: Word = ""
    subtask_l2: Word = ""
    rejection: Rejection | None = None
    criteria: Criteria = Criteria()
    match: bool | None = None
    flag: bool = False
    note: Text = ""
    seconds: Annotated[float, Field(allow_inf_nan=False, ge=0, le=1e9)] = 0.0


def first(target: dict[str, Any], kind: str) -> dict[str, Any]:
    """The document that an item starts from.

    Of a rejection, `description` is the true one and `rejection` the untrue.

    Args:
        target: Of the item.
        kind: Of the project.
    """
    if kind == "presence":
        return Document().model_dump()
    rejection = None
    description = target["description"]
    if target["absent"]:
        known = {row.l2 for row in taxonomy.SUBTASKS if row.l1 == taxonomy.REJECTION}
        l2 = target["subtask_l2"] if target["subtask_l2"] in known else ""
        rejection = {"description": description, "kind": l2}
        description = target["original"]
    return Document.model_validate(
        {
            "box": target["box"],
            "label": target["label"],
            "description": description,
            "subtask_l1": target["subtask_l1"],
            "subtask_l2": target["subtask_l2"],
            "rejection": rejection,
        }
    ).model_dump(mode="json")


def fitted(document: Document, width: int, height: int) -> dict[str, Any]:
    """The document as it is kept: its box inside the picture.

    Raises:
        ApiError: 422 where nothing of the box is left.
    """
    told = document.model_dump(mode="json")
    if document.box is not None:
        box: Box = document.box
        if width and height:
            x1, y1, x2, y2 = geometry.clip([box], [(width, height)])[0].tolist()
            box = (x1, y1, x2, y2)
        if not (box[2] > box[0] and box[3] > box[1]):
            raise ApiError(
                422,
                "invalid",
                f"expected a box [x1, y1, x2, y2] inside {width} x {height} pixels, got "
                f"{list(document.box)}",
            )
        told["box"] = list(box)
    return told


def missing(document: dict[str, Any], kind: str) -> str:
    """What a document lacks to be submitted; "" where it is complete."""
    if kind == "presence":
        return "an answer, match or no match" if document["match"] is None else ""
    rejection = document["rejection"]
    if rejection is not None and not rejection["description"].strip():
        return "the description that nothing matches"
    if is_rejection(document):
        return "" if rejection is not None else "the description that nothing matches"
    if document["box"] is None:
        return "a box"
    return "" if document["description"].strip() else "a description"


def is_rejection(document: dict[str, Any]) -> bool:
    """Whether the item asks for nothing but a rejection."""
    return bool(document["subtask_l1"] == taxonomy.REJECTION)


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """The fields in which two people's documents disagree; words may differ.

    Example:
        >>> one = Document(box=(0, 0, 10, 10)).model_dump()
        >>> differences(one, {**one, "box": [0, 0, 10, 6], "description": "a cup"})
        ['box']
    """
    found = []
    if (a["box"] is None) != (b["box"] is None) or (
        a["box"] is not None and float(geometry.iou([a["box"]], [b["box"]])[0]) < SAME_BOX
    ):
        found.append("box")
    if (a["subtask_l1"], a["subtask_l2"]) != (b["subtask_l1"], b["subtask_l2"]):
        found.append("subtask")
    if (a["rejection"] is None) != (b["rejection"] is None):
        found.append("rejection")
    for name in CRITERIA:
        one, other = a["criteria"][name], b["criteria"][name]
        if one is not None and other is not None and one != other:
            found.append(name)
    if a["match"] != b["match"]:
        found.append("match")
    return found
