"""Scenes: every question has exactly one answer, or none, by another reading than the generator's.

`holds` below reads a phrase in plain two-valued logic, straight from the scene graph and without
the generator's margins. Whatever the generator calls certain has to be so under it as well.
"""

from __future__ import annotations

import math
import random
import re
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundingme.datasets.scenes import catalog, generator, language, logic
from groundingme.datasets.scenes.casting import Knobs, draw_thing, vary
from groundingme.datasets.scenes.catalog import AXES, KINDS
from groundingme.datasets.scenes.logic import Fact, Phrase, Pick, Relation
from groundingme.datasets.scenes.scene import Scene, Stage, Thing
from groundingme.taxonomy import SUBTASKS

NAMES = [(row.l1, row.l2) for row in SUBTASKS]


# ---- the other reading


def middle(thing: Thing) -> tuple[float, float]:
    return (thing.box[0] + thing.box[2]) / 2, (thing.box[1] + thing.box[3]) / 2


def fact_holds(fact: Fact, thing: Thing, scene: Scene) -> bool:
    v = fact.value
    if fact.name == "rug":
        assert scene.stage.rug
        x1, y1, x2, y2 = scene.stage.rug
        return ((thing.x - (x1 + x2) / 2) / ((x2 - x1) / 2)) ** 2 + (
            (thing.y - (y1 + y2) / 2) / ((y2 - y1) / 2)
        ) ** 2 < 1
    if fact.name == "row":
        rank, end = str(v).split()
        feet = sorted(set(scene.stage.boards), reverse=end == "bottom")
        return abs(thing.y - feet[int(rank) - 1]) < 0.05 * scene.height
    if fact.name == "group":
        # Things in one line: whoever can be reached by small steps.
        line = sorted(scene.things, key=lambda one: one.box[0])
        groups: list[list[Thing]] = [[line[0]]]
        for one in line[1:]:
            if one.box[0] - groups[-1][-1].box[2] < 0.4 * max(t.height for t in line):
                groups[-1].append(one)
            else:
                groups.append([one])
        return any(thing in group and len(group) == v for group in groups)
    return {
        "color": lambda: thing.color == v,
        "surface": lambda: thing.surface == v,
        "part": lambda: v in thing.parts,
        "no-part": lambda: v in KINDS[thing.kind].parts and v not in thing.parts,
        "state": lambda: thing.state == v,
        "text": lambda: thing.text == v,
        "count": lambda: thing.count == v,
        "covered": lambda: thing.visible < 0.95,
        "cut": lambda: thing.full[0] < 0 if v == "left" else thing.full[2] > scene.width,
    }[fact.name]()


def relation_holds(relation: Relation, thing: Thing, scene: Scene) -> bool:
    found = [matches(other, scene) for other in relation.others]
    assert all(len(one) == 1 for one in found), "each reference means exactly one thing"
    others = [scene.things[one[0]] for one in found]
    if thing in others:
        return False
    (ax, ay), (bx, by) = middle(thing), middle(others[0])
    if relation.name == "between":
        (cx, cy) = middle(others[1])
        detour = math.dist((ax, ay), (bx, by)) + math.dist((ax, ay), (cx, cy))
        return detour < 1.25 * math.dist((bx, by), (cx, cy))
    if relation.name == "hidden":
        return thing.visible < 0.95 and others[0].y > thing.y
    return {
        "left": ax < bx,
        "right": ax > bx,
        "above": ay < by,
        "below": ay > by,
        "front": thing.y > others[0].y,
        "behind": thing.y < others[0].y,
    }[relation.name]


def matches(phrase: Phrase, scene: Scene) -> list[int]:
    """Indices of everything that the phrase is true of."""
    left = [
        i
        for i, thing in enumerate(scene.things)
        if (not phrase.kind or thing.kind == phrase.kind)
        and all(fact_holds(fact, thing, scene) for fact in phrase.facts)
    ]
    for relation in phrase.relations:
        if relation.name in ("nearest", "farthest"):
            [there] = matches(relation.others[0], scene)
            left = [i for i in left if i != there]
            place = middle(scene.things[there])
            order = sorted(left, key=lambda i: math.dist(middle(scene.things[i]), place))
            left = order[:1] if relation.name == "nearest" else order[-1:]
        else:
            left = [i for i in left if relation_holds(relation, scene.things[i], scene)]
    if phrase.pick:
        left = picked(phrase.pick, left, scene)
    for one in phrase.also:
        if isinstance(one, Fact):
            left = [i for i in left if fact_holds(one, scene.things[i], scene)]
        else:
            left = [i for i in left if relation_holds(one, scene.things[i], scene)]
    return left


def picked(pick: Pick, left: list[int], scene: Scene) -> list[int]:
    keys = {
        "left": lambda i: middle(scene.things[i])[0],
        "right": lambda i: -middle(scene.things[i])[0],
        "large": lambda i: -scene.things[i].height,
        "small": lambda i: scene.things[i].height,
        "near": lambda i: -scene.things[i].y,
        "far": lambda i: scene.things[i].y,
        "most": lambda i: -scene.things[i].count,
        "fewest": lambda i: scene.things[i].count,
    }
    return sorted(left, key=keys[pick.by])[pick.rank - 1 : pick.rank]


def could_match(phrase: Phrase, scene: Scene) -> list[int]:
    """As `matches`, but without relations, so that it finds at least as much."""
    return matches(msgspec.structs.replace(phrase, relations=(), also=()), scene)


HARD = Knobs(distractors=(4, 7), clutter=(4, 8), size=(0.18, 0.27), similar=0.9, facts=(2, 10))


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 10**9), st.sampled_from([Knobs(), HARD]))
def test_exactly_one_thing_matches_or_none(name: tuple[str, str], seed: int, knobs: Knobs) -> None:
    scene, question = generator.compose(*name, random.Random(f"test:{seed}"), knobs)
    found = matches(question.phrase, scene)
    if name[0] == "Rejection":
        assert (question.target, found) == (-1, [])
        assert question.changed is not None
        was, became = question.changed
        assert was != became
        # With the fact as it was, the description is true: only that one fact is wrong.
        facts = tuple(was if fact == became else fact for fact in question.phrase.facts)
        true = msgspec.structs.replace(question.phrase, facts=facts)
        assert matches(true, scene) == [question.near]
        assert sum(a != b for a, b in zip(facts, question.phrase.facts, strict=True)) == 1
    else:
        assert found == [question.target]
        assert question.changed is None


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_questions_on_any_scene_hold_as_well(seed: int) -> None:
    rng = random.Random(f"test:{seed}")
    scene = generator.random_scene(rng, small=0.1)
    questions = generator.ask(scene, rng, 8)
    assert len({one.description for one in questions}) == len(questions)
    for one in questions:
        assert matches(one.phrase, scene) == ([one.target] if one.target >= 0 else [])


def test_the_subtask_decides() -> None:
    """Without the subtask's own fact a description mostly fits several things."""
    facts = {"Component": ("part", "no-part"), "Text": ("text",), "State": ("state",)}
    for l2, names in facts.items():
        several = 0
        for seed in range(60):
            rng = random.Random(f"test:{l2}:{seed}")
            scene, question = generator.compose("Discriminative", l2, rng, Knobs(facts=(1, 1)))
            rest = tuple(fact for fact in question.phrase.facts if fact.name not in names)
            assert len(rest) < len(question.phrase.facts)
            several += (
                len(could_match(msgspec.structs.replace(question.phrase, facts=rest), scene)) > 1
            )
        assert several >= 45, l2


def test_the_same_seed_gives_the_same_sample() -> None:
    for name in NAMES:
        one = generator.compose(*name, random.Random("test:again"))
        two = generator.compose(*name, random.Random("test:again"))
        assert one == two


# ---- what a careful person could argue about is asked of nobody


def thing(
    kind: str = "mug", x: float = 100, y: float = 200, height: float = 60, **more: object
) -> Thing:
    box = (x - 0.4 * height, y - height, x + 0.4 * height, y)
    fixed: dict[str, object] = {"color": "red", "surface": "plain", "parts": (), **more}
    made = draw_thing(random.Random(0), kind, **fixed)
    full = more.get("full", box)
    return msgspec.structs.replace(made, x=x, y=y, height=height, box=box, full=full)  # type: ignore[arg-type]


def scene_of(*things: Thing, stage: str = "table", **more: object) -> Scene:
    boards = (200.0, 400.0) if stage == "shelf" else ()
    made = Stage(name=stage, horizon=100.0 if not boards else 0.0, boards=boards)
    return Scene(width=640, height=480, stage=msgspec.structs.replace(made, **more), things=things)


LAMP = Phrase(kind="lamp")


@pytest.mark.parametrize(
    ("x", "expected"),
    [(100, logic.YES), (292, logic.UNSURE), (304, logic.NO), (500, logic.NO)],
)
def test_left_has_a_margin(x: float, expected: int) -> None:
    scene = scene_of(thing(x=x), thing("lamp", x=300))
    left = Phrase(kind="mug", relations=(Relation("left", (LAMP,)),))
    assert logic.evaluate(left, scene)[0] == expected


@pytest.mark.parametrize(
    ("surface", "value", "expected"),
    [
        ("checked", "brown", logic.YES),
        ("checked", "white", logic.UNSURE),
        ("striped", "white", logic.UNSURE),
        ("dotted", "white", logic.NO),
        ("plain", "white", logic.NO),
        ("checked", "red", logic.NO),
    ],
)
def test_a_checked_thing_may_be_called_by_its_other_colour(
    surface: str, value: str, expected: int
) -> None:
    scene = scene_of(thing("bucket", color="brown", surface=surface))
    asked = Phrase(kind="bucket", facts=(Fact("color", value),))
    assert logic.evaluate(asked, scene) == [expected]


def test_left_is_no_matter_of_a_steep_diagonal() -> None:
    scene = scene_of(thing(x=250, y=450), thing("lamp", x=300, y=150))
    left = Phrase(kind="mug", relations=(Relation("left", (LAMP,)),))
    assert logic.evaluate(left, scene)[0] == logic.UNSURE


def test_an_ordinal_needs_gaps() -> None:
    third = Phrase(kind="mug", pick=Pick("left", 3))
    apart = scene_of(*(thing(x=100 * i) for i in range(1, 5)))
    assert logic.evaluate(third, apart) == [logic.NO, logic.NO, logic.YES, logic.NO]
    close = scene_of(thing(x=100), thing(x=200), thing(x=208), thing(x=400))
    assert logic.only(logic.evaluate(third, close)) == -2
    two = scene_of(thing(x=100), thing(x=200))
    assert logic.evaluate(third, two) == [logic.NO, logic.NO]


def test_counting_along_several_rows_is_not_asked() -> None:
    second = Phrase(kind="mug", pick=Pick("left", 2))
    scene = scene_of(thing(x=100), thing(x=200, y=400), thing(x=300), stage="shelf")
    assert logic.only(logic.evaluate(second, scene)) == -2
    in_row = Phrase(kind="mug", facts=(Fact("row", "1 top"),), pick=Pick("left", 2))
    assert logic.only(logic.evaluate(in_row, scene)) == 2
    lower = Phrase(kind="mug", facts=(Fact("row", "1 bottom"),))
    assert logic.only(logic.evaluate(lower, scene)) == 1


def test_what_is_hidden_or_tiny_is_not_certain() -> None:
    handle = Phrase(kind="mug", facts=(Fact("part", "handle"),))
    for mug, expected in (
        (thing(parts=("handle",)), logic.YES),
        (thing(), logic.NO),
        (msgspec.structs.replace(thing(), visible=0.7), logic.UNSURE),
        (msgspec.structs.replace(thing(), height=20.0), logic.UNSURE),
    ):
        assert logic.evaluate(handle, scene_of(mug)) == [expected]
    hidden = msgspec.structs.replace(thing(), visible=0.6)
    assert logic.evaluate(Phrase(facts=(Fact("color", "red"),)), scene_of(hidden)) == [logic.YES]


def test_nearest_needs_a_clear_second() -> None:
    nearest = Phrase(kind="mug", relations=(Relation("nearest", (LAMP,)),))
    lamp = thing("lamp", x=300)
    assert logic.evaluate(nearest, scene_of(thing(x=200), thing(x=520), lamp))[:2] == [2, 0]
    assert logic.evaluate(nearest, scene_of(thing(x=200), thing(x=410), lamp))[:2] == [1, 1]


def test_an_ambiguous_reference_decides_nothing() -> None:
    left = Phrase(kind="mug", relations=(Relation("left", (LAMP,)),))
    scene = scene_of(thing(x=100), thing("lamp", x=300), thing("lamp", x=500))
    assert logic.evaluate(left, scene)[0] == logic.UNSURE
    without = scene_of(thing(x=100), thing("hat", x=300))
    assert logic.evaluate(left, without) == [logic.NO, logic.NO]


def test_groups_by_their_gaps() -> None:
    pairs = scene_of(thing(x=60), thing(x=115), thing(x=300), thing(x=355), thing(x=410))
    assert logic.groups_of(pairs) == [2, 2, 3, 3, 3]
    assert logic.groups_of(scene_of(thing(x=60), thing(x=140), thing(x=300))) is None


def test_the_larger_one_is_larger_in_the_room_as_well() -> None:
    largest = Phrase(kind="mug", pick=Pick("large"))
    near = thing(x=100, y=470, height=80)
    far_but_big = thing(x=400, y=120, height=60)
    assert logic.only(logic.evaluate(largest, scene_of(near, far_but_big, stage="room"))) == -2
    assert logic.only(logic.evaluate(largest, scene_of(near, far_but_big))) == 0


# ---- words


def test_every_fact_is_said() -> None:
    """The words of a description name all that its phrase says."""
    for seed in range(400):
        rng = random.Random(f"test:words:{seed}")
        _, question = generator.compose(*NAMES[seed % len(NAMES)], rng)
        text = question.description.lower()
        phrase = question.phrase
        for fact in (*phrase.facts, *(one for one in phrase.also if isinstance(one, Fact))):
            assert said(fact, phrase.kind, text), (fact, question.description)
        assert not phrase.kind or any(
            noun in text or language._PLURALS.get(noun, f"{noun}s") in text
            for noun in KINDS[phrase.kind].nouns
        )
        assert re.fullmatch(r'[A-Za-z0-9",.\- ]+', question.description)
        assert "  " not in question.description


def said(fact: Fact, kind: str, text: str) -> bool:
    value = str(fact.value)
    if fact.name == "color":
        return re.search(rf"\b{value}\b", text) is not None
    if fact.name == "surface":
        stems = {"plain": "plain|solid|without any pattern|one colour", "striped": "strip",
                 "dotted": "dot|spotted", "checked": "check|chequered", "wooden": "wood",
                 "metal": "metal"}  # fmt: skip
        return re.search(stems[value], text) is not None
    if fact.name in ("part", "no-part"):
        return KINDS[kind].parts[value] in text
    if fact.name == "text":
        return f'"{value.lower()}"' in text
    if fact.name == "count":
        return language.NUMBERS[int(value)] in text
    if fact.name == "state":
        axis = AXES[KINDS[kind].axis]
        words = axis.phrases[axis.values.index(value)]
        special = language._STATE_WORDS.get((kind, value), ())
        return any(one in text for one in (*words, *special))
    return True


def test_lengths_vary_from_a_few_words_to_sixty() -> None:
    lengths = []
    for seed in range(600):
        rng = random.Random(f"test:length:{seed}")
        _, question = generator.compose(*NAMES[seed % len(NAMES)], rng)
        lengths.append(len(question.description.split()))
    assert min(lengths) <= 5
    assert max(lengths) <= 70
    assert max(lengths) >= 40
    assert len(set(lengths)) > 25


def test_more_facts_make_longer_descriptions() -> None:
    def mean(knobs: Knobs) -> float:
        words = [
            len(generator.compose(*NAMES[i % 12], random.Random(f"test:{i}"), knobs)[1]
                .description.split())
            for i in range(96)
        ]  # fmt: skip
        return sum(words) / len(words)

    assert mean(Knobs(facts=(1, 1))) + 4 < mean(Knobs(facts=(6, 6)))


def test_length_and_paraphrase_are_knobs() -> None:
    for seed in range(48):
        name = NAMES[seed % 12]
        words = Knobs(words=(12, 20), facts=(2, 5))
        _, question = generator.compose(*name, random.Random(f"test:{seed}"), words)
        assert 12 <= len(question.description.split()) <= 20
    _, question = generator.compose(*NAMES[0], random.Random("test:say"), Knobs(facts=(4, 4)))
    said = [
        {language.say(question.phrase, random.Random(i), paraphrase=level) for i in range(60)}
        for level in (0, 1, 2)
    ]
    assert len(said[0]) == 1
    assert 1 < len(said[1]) < len(said[2])


# ---- the catalogue


def test_no_two_kinds_share_a_name() -> None:
    names = Counter(noun for kind in KINDS.values() for noun in kind.nouns)
    assert max(names.values()) == 1
    assert max(len(text) for kind in KINDS.values() for text in catalog.texts(kind)) == 5


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(list(KINDS)), st.integers(0, 10**6), st.sampled_from(
    ["color", "surface", "part", "state", "text", "count"]))  # fmt: skip
def test_vary_changes_something_that_can_be_seen(kind: str, seed: int, key: str) -> None:
    rng = random.Random(seed)
    one = draw_thing(rng, kind)
    other = vary(one, key, rng)
    blank = {"flip": False, "lean": 0.0}
    assert msgspec.structs.replace(one, **blank) != msgspec.structs.replace(other, **blank)
    assert other.kind == kind
    assert catalog.FIXED_COLOR.get(other.surface, other.color) == other.color


def test_facts_of_one_thing_are_told_from_it_alone() -> None:
    told = Counter[int]()
    for seed in range(40):
        scene = generator.random_scene(random.Random(f"alone {seed}"))
        thing = scene.things[seed % len(scene.things)]
        for other in scene.things:
            for fact in (
                Fact("color", other.color), Fact("surface", other.surface),
                Fact("state", other.state), Fact("text", other.text), Fact("count", other.count),
                Fact("cut", "left"), Fact("covered"),
                *(Fact("part", part) for part in KINDS[other.kind].parts),
            ):  # fmt: skip
                whole = logic.evaluate(Phrase(facts=(fact,)), scene)
                found = logic.of_thing(thing, fact, scene)
                assert found == whole[scene.things.index(thing)]
                told[found] += 1
    assert min(told[value] for value in (logic.NO, logic.UNSURE, logic.YES)) > 20
