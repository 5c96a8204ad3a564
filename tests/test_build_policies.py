"""The picture of what each policy keeps."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from groundingme.build.policies import SAYS, draw_policies
from groundingme.build.suppress import POLICIES
from groundingme.errors import UnknownNameError

FIRST, SECOND = (247, 144, 9), (46, 144, 250)
"""Colours of the class with most boxes and of the next."""
WIDTH, GAP, HEAD = 400, 16, 58


def test_every_policy_says_what_it_does() -> None:
    assert set(SAYS) == set(POLICIES)


def test_kept_boxes_are_in_the_colour_of_their_class() -> None:
    """Two ducks, of which one was found as a surer bird as well."""
    boxes = [[40, 60, 140, 160], [40, 60, 142, 160], [220, 60, 320, 160]]
    blank = Image.new("RGB", (400, 200), "#000000")
    policies = ("agnostic", "instances")
    sheet = draw_policies(
        blank, boxes, ["duck", "bird", "duck"], [0.5, 0.9, 0.6], policies=policies, width=WIDTH
    )
    assert sheet.size == (3 * WIDTH + 4 * GAP, 200 + HEAD + 2 * GAP)
    pixels = np.asarray(sheet)
    for column, lower, upper in ((0, SECOND, FIRST), (1, FIRST, FIRST)):
        x, y = GAP + column * (WIDTH + GAP), GAP + HEAD
        assert tuple(pixels[y + 100, x + 41]) == lower
        assert tuple(pixels[y + 100, x + 221]) == upper


def test_nothing_found_and_boxes_that_cannot_be_drawn() -> None:
    blank = Image.new("L", (50, 80))
    assert draw_policies(blank, [], [], [], columns=9).height > 0
    broken = [[float("nan")] * 4, [9, 9, 1, 1], [-50, -50, 500, 500], [49, 79, 50, 80]]
    names = [f"class {i}" for i in range(4)]
    assert draw_policies(blank, broken, names, [1, 1, 1, float("nan")]).width > 0


def test_many_classes_fit() -> None:
    blank = Image.new("RGB", (600, 300))
    boxes = [[5 * i, 5, 5 * i + 40, 45] for i in range(60)]
    drawn = draw_policies(blank, boxes, [f"class {i}" for i in range(60)], [0.5] * 60)
    assert drawn.size == draw_policies(blank, [], [], []).size


def test_unknown_policy() -> None:
    with pytest.raises(UnknownNameError, match="no suppression policy is named 'nms'"):
        draw_policies(Image.new("RGB", (9, 9)), [], [], [], policies=["nms"])
