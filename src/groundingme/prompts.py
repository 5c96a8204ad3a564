"""What a model is asked. Image first, then this text, in one user turn."""

from __future__ import annotations

from groundingme.errors import UsageError
from groundingme.registry import unknown

UNIFIED = (
    "All spatial relationships are defined from the viewer's perspective, where 'front' means "
    "closer to the viewer and 'back' means farther from the viewer. Please provide the bounding "
    "box coordinate of the object the following statement describes:\n"
    "{description}\n"
    "Ensure that all details mentioned about the object are accurate. Provide at most one "
    "bounding box. If a matching object is found, provide its bounding box as a JSON in the "
    'format {"bbox_2d": [x1, y1, x2, y2]}. If no matching object is found, output '
    '{"bbox_2d": null}.'
)
"""The unified prompt, byte for byte. Source: arXiv 2512.17495 and its published scorer."""

UNIFIED_YXYX = UNIFIED.replace("[x1, y1, x2, y2]", "[y1, x1, y2, x2]")
"""The unified prompt as the paper asks it of Gemini 2.5, whose boxes are y first."""

PROMPTS: dict[str, str] = {"unified": UNIFIED, "unified-yxyx": UNIFIED_YXYX}
"""Templates by the name that `--prompt` takes."""

_SLOT = "{description}"


def template(name: str) -> str:
    """A template by name, or `name` itself where it is one.

    Args:
        name: A name in `PROMPTS`, or a text that contains `{description}`.

    Raises:
        UnknownNameError: Neither.
    """
    if name in PROMPTS:
        return PROMPTS[name]
    if _SLOT in name:
        return name
    raise unknown("prompt", name, [*PROMPTS, f"any text with {_SLOT}"])


def render(template: str, description: str) -> str:
    """The prompt for one description; braces in either stay as they are.

    Raises:
        UsageError: The template has no `{description}`.

    Example:
        >>> render('find {description}, say {"bbox_2d": null}', "a {red} cup")
        'find a {red} cup, say {"bbox_2d": null}'
    """
    if _SLOT not in template:
        raise UsageError(f"expected a prompt with {_SLOT}, got {template[:60]!r}; add it")
    return template.replace(_SLOT, description, 1)
