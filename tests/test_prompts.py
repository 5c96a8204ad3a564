"""The prompt is a fact to reproduce, so it is held against the digest of the published one."""

from __future__ import annotations

import hashlib

import pytest

from groundingme import prompts
from groundingme.errors import UnknownNameError, UsageError

# sha256 of the published template with `{description}` in place, computed from the paper's text.
PUBLISHED = "e6e4b96242be2f0377bb0856cd93aca1815e346cf10d2c9d8f7cf4465dca2bbe"


def test_unified_prompt_is_byte_identical_to_the_published_one() -> None:
    assert hashlib.sha256(prompts.UNIFIED.encode()).hexdigest() == PUBLISHED


def test_gemini_variant_differs_only_in_the_order_of_coordinates() -> None:
    assert prompts.UNIFIED_YXYX != prompts.UNIFIED
    assert prompts.UNIFIED_YXYX.replace("[y1, x1, y2, x2]", "[x1, y1, x2, y2]") == prompts.UNIFIED


def test_a_description_with_braces_is_kept_verbatim() -> None:
    text = prompts.render(prompts.UNIFIED, "a cup {description} with {x}")
    assert "\na cup {description} with {x}\n" in text
    assert text.endswith('{"bbox_2d": null}.')


def test_template_by_name_by_text_or_not_at_all() -> None:
    assert prompts.template("unified") == prompts.UNIFIED
    assert prompts.template("where is {description}?") == "where is {description}?"
    with pytest.raises(UnknownNameError, match="did you mean 'unified'"):
        prompts.template("unifed")
    with pytest.raises(UsageError, match="expected a prompt with"):
        prompts.render("where?", "a cup")
