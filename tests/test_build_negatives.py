"""Contradictions: by rule, checked against a table; and of a model behind a real server."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from chat import ChatServer, Reply
from groundingme.build import describe
from groundingme.build.changing import sounds_open
from groundingme.build.contradictions import KINDS, contradict
from groundingme.build.negatives import NegativesOptions, work
from groundingme.build.records import Change, Target
from groundingme.build.stage import Context
from groundingme.build.variants import alike, change_of, count_facts, is_true_of_another
from groundingme.build.verify import dataset
from groundingme.datasets import load_dataset
from groundingme.datasets.scenes.catalog import AXES
from groundingme.datasets.scenes.logic import NO, YES, Fact, evaluate
from targets import coco, cups, picture, target

A, C, T, S = KINDS

CHANGED = [
    # kind, true, what any of the variants must be
    (A, "the red mug on the tray", r"the (yellow|green|blue|purple|black|white) mug on the tray"),
    (A, "A man in an orange shirt", r"A man in a (green|blue|purple|pink|black|white) shirt"),
    (A, "A man in a green shirt", r"A man in (an orange|a \w+) shirt"),
    (A, "An orange umbrella", r"A (green|blue|purple|pink|black|white) umbrella"),
    (A, "the black and white dog", r"the (tan and white|black and tan) dog"),
    (A, "a light blue car", r"a light (red|orange|yellow|green|pink|brown) car"),
    (A, "the blue-eyed cat", r"the (brown|green)-eyed cat"),
    (A, "a girl with blond hair", r"a girl with (black|brown|red|grey) hair"),
    (A, "a wooden chair", r"a (metal|plastic|stone) chair"),
    (A, "a chair made of wood", r"a chair made of (metal|plastic|stone)"),
    (A, "a glass bottle", r"a (metal|plastic|wooden) bottle"),
    (A, "the striped umbrella", r"the (checkered|polka-dot|floral) umbrella"),
    (A, "a woman with long hair", r"a woman with short hair"),
    (A, "a boy in a long-sleeved shirt", r"a boy in a short-sleeved shirt"),
    (A, "a round table", r"a (square|triangular) table"),
    (A, "a large bowl of soup", r"a small bowl of soup"),
    (A, 'a red sign that says "RED"', r'a \w+ sign that says "RED"'),
    (A, "It is red. It stands alone.", r"It is \w+\. It stands alone\."),
    (A, "the third cup from the left, which is wider than it is tall",
     r"the third cup from the left, which is taller than it is wide"),
    (A, "the topmost person, who is the largest of them",
     r"the topmost person, who is the smallest of them"),
    (C, "A mug with a lid", r"A mug without a lid"),
    (C, "a mug without a handle", r"a mug with a handle"),
    (C, "the car with a roof rack", r"the car without a roof rack"),
    (C, "a clock that has bells on top", r"a clock that has no bells on top"),
    (C, "a clock that has no bells on top", r"a clock that has bells on top"),
    (C, "It has no antenna.", r"It has an antenna\."),
    (C, "the house has a chimney", r"the house has no chimney"),
    (C, "a chair with two armrests", r"a chair with three armrests"),
    (C, "a man wearing glasses", r"a man not wearing glasses"),
    (C, "a woman not wearing a hat", r"a woman wearing a hat"),
    (C, "a man with a beard and glasses", r"a man with a (ponytail and glasses|beard and goggles)"),
    (T, "jersey number 23", r"jersey number \d\d"),
    (T, "bus with 15 on its front", r"bus with \d\d on its front"),
    (T, 'a sign that says "STOP"', r'a sign that says "[A-Z]{4}"'),
    (T, "the cup with “Happy” on it", r"the cup with “H[a-z]{4}” on it|the cup with “\w{5}” on it"),
    (T, "a player's shirt with 'Nike' on it", r"a player's shirt with '\w{4}' on it"),
    (T, 'marked "7"', r'marked "\d"'),
    (T, 'says "红色"', r'says "色红"'),
    (S, "a laptop that is open", r"a laptop that is closed"),
    (S, "an open book", r"a closed book"),
    (S, "an unlit candle", r"a lit candle"),
    (S, "an empty glass", r"a full glass"),
    (S, "a lamp that is turned on", r"a lamp that is turned off"),
    (S, "the car with its lights on", r"the car with its lights off"),
    (S, "a man standing by the door", r"a man (sitting|lying down) by the door"),
    (S, "a dog lying on the floor", r"a dog standing on the floor"),
    (S, "a person facing left", r"a person facing right"),
    (S, "a woman facing the camera", r"a woman facing away from the camera"),
    (S, "the man sitting next to the open window", r"the man standing next to the open window"),
    (S, "a parked car", r"a moving car"),
    (S, "a woman smiling", r"a woman frowning"),
    (S, "the phone in his left hand", r"the phone in his right hand"),
]  # fmt: skip

LEFT_ALONE = [
    (A, "an orange on the table", "the fruit is no colour"),
    (A, "a glass of white wine", "a name"),
    (A, "a white woman with a bag", "people are not coloured"),
    (A, "the cup to the left of a red plate", "said of another thing"),
    (A, "the leftmost cup", "its opposite is another cup"),
    (A, "the largest cup in the picture", "its opposite is another cup"),
    (A, "the player of the Red Sox", "a name"),
    (A, "a wine glass", "a thing"),
    (A, "a mug that is not red", "what is denied"),
    (A, 'a sign that says "BLUE"', "writing"),
    (C, "a mug with a handle and a lid", "two things would change"),
    (C, "a bowl filled with leaves", "no part"),
    (C, "the man with his mouth open", "a state"),
    (C, "the cup next to the mug with a lid", "said of another thing"),
    (T, "three cups at 2 o'clock", "no writing"),
    (T, 'the cup between "A" and "B"', "said of other things"),
    (T, "the second of 3 cups", "a count"),
    (S, "a cup sitting on the table", "things stand as they sit"),
    (S, "a bottle full of water", "not grammatical"),
    (S, "a man in an open field", "a name"),
    (S, "a red mug", "nothing to change"),
]


@pytest.mark.parametrize(("kind", "true", "pattern"), CHANGED, ids=[row[1] for row in CHANGED])
def test_rules_change_one_fact(kind: str, true: str, pattern: str) -> None:
    for seed in range(12):
        found = contradict(true, kind, random.Random(seed))
        assert found, true
        text, change = found
        assert re.fullmatch(pattern, text), text
        assert text != true
        assert change.kind == kind
        assert change.by == "rules"
        assert change.before in true
        assert change.after in text
        # The checks that a model's variants must pass find one change, too.
        checked = change_of(true, text, kind, "x")
        assert isinstance(checked, Change) or "than it is" in text, (text, checked)
        assert contradict(true, kind, random.Random(seed)) == found


@pytest.mark.parametrize(("kind", "true", "why"), LEFT_ALONE, ids=[row[1] for row in LEFT_ALONE])
def test_rules_leave_alone(kind: str, true: str, why: str) -> None:
    assert all(contradict(true, kind, random.Random(seed)) is None for seed in range(6)), why


def test_articles() -> None:
    words = "orange unlit used hour red one-eyed unicorn umbrella honest European empty x".split()  # noqa: SIM905
    expected = "an an a an a a a an an a an a".split()  # noqa: SIM905
    assert [("an" if sounds_open(word) else "a") for word in words] == expected


def test_no_such_kind() -> None:
    with pytest.raises(KeyError):
        contradict("a red mug", "Mood", random.Random(0))


SURFACES = {
    "striped": "striped", "dotted": "dotted", "polka-dot": "dotted", "spotted": "dotted",
    "checked": "checked", "checkered": "checked", "chequered": "checked", "wooden": "wooden",
    "wood": "wooden", "metal": "metal", "metallic": "metal",
}  # fmt: skip
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")


def meant(fact: Fact, change: Change) -> Fact | None:
    """The fact that the changed words state in the place of one; None where it is not changed."""
    before, after = change.before.lower(), change.after.lower()
    if change.kind == A and fact.name == "color" and fact.value == before:
        return Fact("color", after)
    if change.kind == A and fact.name == "surface" and SURFACES.get(before) == fact.value:
        return Fact("surface", SURFACES.get(after, after))
    if change.kind == C and fact.name == "count" and before in NUMBERS:
        return Fact("count", NUMBERS.index(after)) if NUMBERS.index(before) == fact.value else None
    if change.kind == C and fact.name in ("part", "no-part") and before not in NUMBERS:
        return Fact("no-part" if fact.name == "part" else "part", fact.value)
    if change.kind == T and fact.name == "text":
        return Fact("text", change.after)
    if change.kind == S and fact.name == "state":
        axis = next(one for one in AXES.values() if fact.value in one.values)
        return Fact("state", next(one for one in axis.values if one != fact.value))
    return None


def test_rules_on_scenes_are_false_and_prove_it() -> None:
    """Scenes know the truth: a changed description is false of the thing that it was made from."""
    counts: Counter[str] = Counter()
    fits, choosing = {False: 0, True: 0}, 0
    for sample in load_dataset("scenes:n=400,seed=5"):
        if sample.target is None:
            continue
        scene, question = sample.image.compose()
        for kind in KINDS:
            found = contradict(sample.description, kind, random.Random(sample.id))
            if found is None:
                continue
            text, change = found
            assert not re.search(r"\ba [aeio]|\ban [^aeiouh\W]|\b(\w+) \1\b", text), text
            assert isinstance(change_of(sample.description, text, kind, "x"), Change), text
            facts = question.phrase.facts
            fitting = [one for one in facts if meant(one, change)]
            if len(fitting) != 1 or question.phrase.also:
                continue  # the words may state either of two parts; or come last
            phrase = question.phrase
            became = tuple(meant(one, change) or one for one in facts)
            truth = evaluate(msgspec.structs.replace(phrase, facts=became), scene)
            chooses = phrase.pick or any(
                one.name in ("nearest", "farthest") for one in phrase.relations
            )
            # "The second red mug from the left" chooses among red mugs, so it may choose anew.
            # And a striped thing of two colours is not quite not of the second.
            striped = kind == A and truth[question.target] != YES
            assert chooses or striped or truth[question.target] == NO, text
            counts[kind] += 1
            fits[bool(chooses)] += any(one != NO for one in truth)
            choosing += bool(chooses)
    assert all(counts[kind] >= 15 for kind in KINDS), counts
    # Rules see no picture: so often the change is true, by chance, of something else in it.
    assert fits[False] <= 0.15 * (counts.total() - choosing), (fits, choosing, counts)


# ---- variants


@pytest.mark.parametrize(
    ("original", "variant", "kind", "problem"),
    [
        ("a red cup", "a red cup.", A, "same"),
        ("a red cup", "A red cup", A, "same"),
        ("a grey cup", "a gray cup", A, "paraphrase"),
        ("a blue cup", "a navy cup", A, "paraphrase"),
        ("a black couch by it", "a black sofa by it", A, "paraphrase"),
        ("a red cup on a tray", "a blue cup on a table", A, "several"),
        ("a red cup on a tray", "a small green bird that sings in a tree", A, "several"),
        ("the man standing there", "the man sitting there", A, "wrong-kind"),
        ("the man in red", "the man in blue", S, "wrong-kind"),
        ('the sign "STOP"', 'the sign "STAP"', A, "wrong-kind"),
        ("the red dog there", "the red cat there", A, "wrong-kind"),
    ],
)
def test_what_is_no_variant(original: str, variant: str, kind: str, problem: str) -> None:
    assert change_of(original, variant, kind, "m", noun="dog") == problem


def test_what_a_variant_changes() -> None:
    change = change_of("A mug with a lid.", "A mug without a lid.", C, "m")
    assert change == Change(kind=C, before="with", after="without", by="m")
    unknown = change_of("the fluffy dog", "the shaggy-haired dog", A, "m")
    assert isinstance(unknown, Change), "what rules do not know is left to verifiers"


def test_what_is_true_of_another() -> None:
    red = Change(kind=A, before="red", after="blue", by="rules")
    assert is_true_of_another("a red cup", red, 2, ["the blue cup with a spoon"])
    assert not is_true_of_another("a red cup", red, 2, ["the cup next to a blue plate"])
    assert not is_true_of_another("a red cup", red, 0, [])
    lid = Change(kind=C, before="with", after="without", by="rules")
    # Where the lid alone told it from two others, those have none.
    assert is_true_of_another("a mug with a lid", lid, 2, [])
    assert not is_true_of_another("the leftmost mug with a lid", lid, 2, [])
    assert not is_true_of_another("a mug with a lid", lid, 0, [])
    assert count_facts("a mug") == 0
    assert count_facts('the leftmost red mug with a lid and "B"') >= 4


def test_alike() -> None:
    assert alike("A red cup on the table.", "a red cup on the table")
    assert not alike("a red cup on the table", "a blue cup on the table")
    assert not alike("a cup", "")


# ---- the stage, by rules


def described(folder: Path, pictures: int, texts: list[str], **fields: object) -> list[Target]:
    found = cups(folder, pictures)
    for at, one in enumerate(found):
        one.description = texts[at % len(texts)]
        one.drafts = [one.description]
        for name, value in fields.items():
            setattr(one, name, value)
    return found


RICH = [
    "the leftmost red mug with a lid on the table",
    'the open box on the right with "STOP" on it',
    "a man standing on the left in a green shirt wearing a hat",
]


def test_a_fifth_of_all_in_equal_kinds(tmp_path: Path) -> None:
    targets = described(tmp_path, 16, RICH)
    told: list[str] = []
    done = work(targets, NegativesOptions(), Context(folder=tmp_path, tell=told.append))
    made = [one for one in done if one.is_rejection and one.goes_on]
    assert len(made) == 12
    assert Counter(one.subtask_l2 for one in made) == dict.fromkeys(KINDS, 3)
    assert [one for one in done if not one.is_rejection] == targets
    for one in made:
        at = done.index(one)
        origin = done[at - 1]
        assert one.id == f"{origin.id}-{one.subtask_l2}"
        assert (one.original, one.box) == (origin.description, origin.box)
        assert one.changes[0].kind == one.subtask_l2
        assert one.description != origin.description
        assert one.verdicts == []
    assert len({one.original + one.picture for one in made}) == 12, "each target is used once"
    again = work(targets, NegativesOptions(), Context(folder=tmp_path))
    assert again == done
    assert work(targets, NegativesOptions(), Context(folder=tmp_path, seed=1)) != done


def test_per_kind_and_what_is_missing(tmp_path: Path) -> None:
    targets = described(tmp_path, 2, RICH)
    told: list[str] = []
    given = NegativesOptions(per_kind=2, kinds=["Text", "State"])
    done = work(targets, given, Context(folder=tmp_path, tell=told.append))
    made = [one.subtask_l2 for one in done if one.is_rejection]
    assert Counter(made) == {"Text": 2, "State": 2}
    plain = described(tmp_path, 2, ["a cup"])
    assert work(plain, given, Context(folder=tmp_path, tell=told.append)) == plain
    assert "negatives: 0 of 2 of Text: no more of the targets suit it" in told


def test_what_was_chosen_for_rejection_becomes_one_in_its_place(tmp_path: Path) -> None:
    targets = described(tmp_path, 2, RICH, subtask_l1="Rejection", subtask_l2="State")
    done = work(targets, NegativesOptions(), Context(folder=tmp_path))
    assert [one.id for one in done] == [one.id for one in targets]
    assert [one.fate for one in done] == ["no-rule", "", ""] * 2
    good = [one for one in done if one.goes_on]
    assert all(one.subtask_l2 == "State" and one.changes and one.original for one in good)
    more = work(
        [*targets, *described(tmp_path, 3, RICH)], NegativesOptions(share=0.5),
        Context(folder=tmp_path),
    )  # fmt: skip
    assert sum(one.is_rejection and one.goes_on for one in more) > 4


def test_what_is_true_of_another_object_is_filtered_and_counted(tmp_path: Path) -> None:
    texts = ["the mug with a lid", "a blue mug", "a yellow mug"]
    targets = described(tmp_path, 6, texts, label="mug")
    told: list[str] = []
    given = NegativesOptions(per_kind=5, kinds=["Component"])
    done = work(targets, given, Context(folder=tmp_path, tell=told.append))
    assert not any(one.is_rejection for one in done)
    assert any("gave none (6 true" in line or "6 true)" in line for line in told), told


def test_rules_alone_make_rejections_that_geometry_proves(shared: Path, tmp_path: Path) -> None:
    context = Context(folder=tmp_path)
    targets = coco(shared, ("Appearance", "Counting"))
    made = describe.work(targets, describe.DescribeOptions(by="rules"), context)
    done = work(made, NegativesOptions(kinds=["Appearance"]), context)
    rejections = [one for one in done if one.is_rejection]
    assert len(rejections) >= 40
    for one in rejections:
        head, _, tail = one.description.rstrip(".").rpartition(", ")
        assert one.original.startswith(head), "the head, which picks the object, is as it was"
        wide = one.box[2] - one.box[0] > one.box[3] - one.box[1]
        if "than it is" in tail:
            assert ("taller than" in tail) == wide
        else:
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in [one.box, *one.others]]
            assert areas[0] != (max(areas) if "largest" in tail else min(areas))


# ---- the stage, by a model


def variant(text: str, before: str, after: str) -> Reply:
    answer = {"description": text.replace(before, after), "before": before, "after": after}
    return Reply(f"```json\n{json.dumps(answer)}\n```")


def options(server: ChatServer, **more: object) -> NegativesOptions:
    given = {"by": "model", "model": "openai/m", "base_url": server.base_url, "kinds": [A]}
    return NegativesOptions(**(given | more))  # type: ignore[arg-type]


def test_a_model_makes_them(tmp_path: Path) -> None:
    text = "the leftmost red mug on the table"
    targets = described(tmp_path, 4, [text])
    with ChatServer(default=lambda prompt: variant(text, "red", "green")) as server:
        context = Context(folder=tmp_path)
        done = work(targets, options(server, per_kind=4), context)
        asked = len(server.asked)
        assert asked == 6, "a third more than are wanted"
        assert work(targets, options(server, per_kind=4), context) == done
        assert len(server.asked) == asked
        assert text in server.asked[0]
        assert server.requests[0]["messages"][0]["content"][0]["type"] == "image_url"
    made = [one for one in done if one.is_rejection]
    good = [one for one in made if one.goes_on]
    assert Counter(one.fate for one in made)["spare"] <= 2
    assert {one.description for one in good} == {"the leftmost green mug on the table"}
    assert good[0].changes == [Change(kind=A, before="red", after="green", by="openai/m")]


@pytest.mark.parametrize(
    ("reply", "fate"),
    [
        (Reply('{"description": "the leftmost red mug on the table"}'), "same"),
        (Reply('{"description": "the leftmost crimson mug by the table"}'), "several"),
        (Reply('{"description": "the leftmost red cup on the table"}'), "paraphrase"),
        (Reply('{"description": "the leftmost open mug on the table"}'), "wrong-kind"),
        (Reply('{"description": "the leftmost red plate on the table"}'), "wrong-kind"),
        (Reply("I'm sorry, I can't do that."), "refused"),
        (Reply("UNCLEAR"), "unclear"),
        (Reply('{"description": "the leftmost gre'), "cut"),
        (Reply(""), "empty"),
    ],
)
def test_what_a_model_says_that_is_of_no_use(tmp_path: Path, reply: Reply, fate: str) -> None:
    targets = described(tmp_path, 1, ["the leftmost red mug on the table"], label="mug")[:1]
    with ChatServer(default=lambda prompt: reply) as server:
        done = work(targets, options(server, per_kind=1), Context(folder=tmp_path))
    assert [one.fate for one in done] == ["", fate]
    assert done[1].original == targets[0].description


def test_a_failed_request_is_a_failure_and_asked_again(tmp_path: Path) -> None:
    text = "the leftmost red mug on the table"
    targets = described(tmp_path, 2, [text])[::3]
    turns = iter([Reply(status=400), variant(text, "red", "green"), variant(text, "red", "green")])
    with ChatServer(default=lambda prompt: next(turns)) as server:
        given = options(server, per_kind=2, spare=1.0, concurrency=1)
        once = work(targets, given, Context(folder=tmp_path))
        assert [bool(one.failure) for one in once if one.is_rejection] == [True, False]
        again = work(targets, given, Context(folder=tmp_path))
        assert len(server.asked) == 3
    assert all(one.goes_on for one in again if one.is_rejection)


def test_without_the_picture(tmp_path: Path) -> None:
    text = "the leftmost red mug on the table"
    where = picture(tmp_path, "a.jpg", [(0, 0, 9, 9)])
    one = target(where, (0, 0, 9, 9), [], description=text)
    with ChatServer(default=lambda prompt: variant(text, "red", "green")) as server:
        work([one], options(server, per_kind=1, view="none"), Context(folder=tmp_path))
        content = server.requests[0]["messages"][0]["content"]
    assert "image_url" not in json.dumps(content)
    assert "you do not see" in server.asked[0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"by": "model"}, "expected a model that writes rejections"),
        ({"share": 0.2, "per_kind": 3}, "expected share or per_kind"),
        ({"kinds": []}, "expected different kinds"),
        ({"kinds": ["Mood"]}, "Invalid enum value 'Mood'"),
        ({"share": 0.95}, "<= 0.9"),
    ],
)
def test_options_that_cannot_be(given: dict[str, object], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert(given, NegativesOptions)


def test_a_rejection_is_a_sample_without_a_target(tmp_path: Path) -> None:
    done = work(described(tmp_path, 4, RICH), NegativesOptions(), Context(folder=tmp_path))
    samples = dataset(done, name="x", source="x")
    assert sum(one.target is None for one in samples) == sum(one.is_rejection for one in done) > 0
    assert len({one.id for one in samples}) == len(done)
