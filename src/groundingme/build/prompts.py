"""What the describing model is asked: one frame, and a few lines a subtask.

A text of one's own (`prompt` in the section) may use the same slots: `{label}`, `{others}`,
`{focus}`, `{words}` and `{subtask}`. A slot that is left out is left out.
"""

from __future__ import annotations

from groundingme.build.records import Target
from groundingme.errors import DataError, UsageError

GIVE_UP = "UNCLEAR"
"""What the model says where no description fits the object alone."""

OUTLINE = """\
In this picture one object is outlined in red. A detector calls it: {label}.
Write the description of this object that leads a person, who sees the same picture without the \
outline, to this object and to no other one.

{others}
{focus}

Rules:
- Begin with what the object is, by its everyday name.
- Say only what is plainly visible. Where you are not sure of a detail, leave it out.
- Left and right, in front and behind are as the viewer sees them.
- Never mention the outline, its colour as an outline, a box, coordinates, or that this is a task.
- Write plain English, {words} words, in one to three sentences.
- If it cannot be told apart from the others, or nothing sensible is outlined, reply {give_up}.

Reply with the description and nothing else."""

CROP = """\
This is a small part cut out of a very large photograph. It shows one object. A detector calls it: \
{label}.
Write the description of this object by which a person could find it in the whole photograph.

{focus}

Rules:
- Begin with what the object is, by its everyday name.
- Say only what is plainly visible on the object itself: colours, material, pattern, shape, parts, \
writing, pose.
- Say nothing of its place in the photograph or of what is around it: you do not see that.
- Never mention the cut-out, its edges, its sharpness, or that this is a task.
- Write plain English, {words} words, in one or two sentences.
- If you cannot tell what it is, reply {give_up}.

Reply with the description and nothing else."""

FOCUS: dict[str, str] = {
    "Appearance": (
        "What tells it apart should be how it looks: colours and where on it they are, material, "
        "pattern, texture, shape, clothing. Prefer a small certain difference to a long list."
    ),
    "Component": (
        "What tells it apart should be a part that it has and the others lack, or that it lacks "
        "and the others have: a handle, a lid, a hat, a wheel, a strap, a pocket. Name that part."
    ),
    "Text": (
        "What tells it apart should be what is written on it: letters, words or numbers. Copy "
        "them exactly as they stand there and put them in double quotes. If no writing on it can "
        f"be read for certain, reply {GIVE_UP}."
    ),
    "State": (
        "What tells it apart should be the state it is in: open or closed, lit or unlit, full or "
        "empty, standing, sitting or lying, moving or still, which way it faces, what it is doing."
    ),
    "Relationship": (
        "What tells it apart should be where it is: name one or two other things and how it lies "
        "to them (left of, behind, on top of, between, nearest to). Name them so that each of "
        "them can be found for certain, too."
    ),
    "Counting": (
        "What tells it apart should be a number: its place in a row or order (the third from the "
        "left, the second from the top), or how many of something it has or belongs to. Count "
        "twice before you write. Say where counting begins."
    ),
    "Occlusion": (
        "It is only partly visible. Say what can be seen of it, and what hides it or which edge "
        "of the picture cuts it off."
    ),
    "Small": (
        "It is tiny in its photograph. Say what it is and what of it can be made out for certain."
    ),
}
"""By L-2 subtask, what the description should rest on."""

SLOTS = ("label", "others", "focus", "words", "subtask", "give_up")


def render(template: str, target: Target, words: tuple[int, int]) -> str:
    """The prompt for one target.

    Args:
        template: With any of `SLOTS` in braces; other braces stay as they are.
        target: To be described.
        words: Fewest and most words that are asked for.
    """
    n = len(target.others)
    if n:
        others = f"There {'is' if n == 1 else 'are'} {n} more of its kind in the picture; the "
        others += "description must fit this one and none of them."
    else:
        others = "It is the only one of its kind that was found in the picture."
    values = {
        "label": target.label,
        "others": others,
        "focus": FOCUS.get(target.subtask_l2, ""),
        "words": f"{words[0]} to {words[1]}",
        "subtask": target.subtask_l2,
        "give_up": GIVE_UP,
    }
    text = template
    for name in SLOTS:
        text = text.replace(f"{{{name}}}", values[name])
    return text


def read_template(path: str) -> str:
    """A prompt of one's own.

    Raises:
        UsageError: The file cannot be read, or has no `{label}`.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        said = (isinstance(error, OSError) and error.strerror) or error
        raise DataError(f"expected a prompt at {path}, got: {said}") from None
    if "{label}" not in text:
        raise UsageError(f"expected a prompt with {{label}} in {path}, got none; add it")
    return text


NEGATIVE = """\
{shown}This description is true of {which}:

{description}

Write a variant of it that is false of every object in the picture, by changing exactly one fact \
of the kind "{kind}": {what}

Rules:
- Change as few words as possible, in one place, and leave every other word exactly as it is.
- The change must be plain and wrong, not a matter of taste: nobody who looks closely may call the \
variant true. A synonym, a shade of the same colour or a vaguer word is no change.
- It should be subtle: something that could well be in such a picture, and that is close to what \
is there.
- No other object in the picture may fit the variant.
- The sentence stays grammatical.

Reply with one JSON object and nothing else:
{{"description": "the variant", "before": "the words that were true", "after": "the words in their \
place"}}
If no such variant can be made, reply {give_up}."""

CHANGES: dict[str, str] = {
    "Appearance": "a colour, material, pattern, shape or size of the object.",
    "Component": (
        "a part that the object has or lacks, or something that is worn or carried, or how many "
        "parts it has."
    ),
    "Text": "letters or digits of what is written on the object; change one or two characters.",
    "State": (
        "the state that the object is in: open or closed, lit or unlit, full or empty, its "
        "posture, which way it faces, what it is doing."
    ),
    "Absent": (
        "what the object is: name another thing in its place, one that is nowhere in the picture."
    ),
    "Swap": (
        "where the object is beside other things: left or right, above or below, in front or "
        "behind."
    ),
}
"""By second-level subtask of Rejection, and by further kinds for training, what is to be made
wrong."""


def render_negative(target: Target, kind: str, *, view: str) -> str:
    """What a model is asked for a contradiction of a described target.

    Args:
        target: With a true description.
        kind: A key of `CHANGES`.
        view: `outline`, `crop` or `none`.
    """
    shown, which = {
        "outline": ("", f"the {target.label} that is outlined in red in this picture"),
        "crop": (
            "The picture shows a part cut out of a larger one.\n",
            f"the {target.label} in it",
        ),
        "none": ("", f"one {target.label} in a picture that you do not see"),
    }[view]
    return NEGATIVE.format(
        shown=shown, which=which, description=target.description, kind=kind,
        what=CHANGES[kind], give_up=GIVE_UP,
    )  # fmt: skip
