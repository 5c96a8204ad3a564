"""What replies say: worked examples, properties, hostile input, and time."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from groundingme.parsing import parse
from groundingme.prompts import UNIFIED

BOX = (1.0, 2.0, 30.0, 40.0)

BOXES = [
    # The asked JSON, and how models deviate from it.
    ("json", '{"bbox_2d": [1, 2, 30, 40]}'),
    ("json", ' {"bbox_2d":[1,2,30,40]} \n'),
    ("json", '```json\n{"bbox_2d": [1, 2, 30, 40]}\n```'),
    ("json", '```\n{"bbox_2d": [1, 2, 30, 40]}\n```\nThis is the red cup.'),
    ("json", '[{"bbox_2d": [1, 2, 30, 40], "label": "cup"}]'),
    ("json", '{"label": "cup", "bbox_2d": [1.0, 2.0, 30.0, 40.0]}'),
    ("json", '{\n  "bbox_2d": [\n    1,\n    2,\n    30,\n    40\n  ]\n}'),
    ("json", 'It is here: {"bbox_2d": [1, 2, 30, 40]}. It matches all details.'),
    ("json", "{'bbox_2d': [1, 2, 30, 40]}"),
    ("json", "{bbox_2d: [1, 2, 30, 40]}"),
    ("json", "bbox_2d = [1, 2, 30, 40]"),
    ("json", '{"bbox_2d": ["1", "2", "30", "40"]}'),
    ("json", '{"bbox_2d": "1, 2, 30, 40"}'),
    ("json", '{"bbox_2d": "[1, 2, 30, 40]"}'),
    ("json", '{"bbox_2d": [[1, 2, 30, 40]]}'),
    ("json", '{"bbox_2d": [[1, 2], [30, 40]]}'),
    ("json", '{"bbox_2d": [1 2 30 40]}'),
    ("json", '{"bbox_2d": (1, 2, 30, 40)}'),
    ("json", '{"bbox_2d": [1, 2, 30, 40]'),
    ("json", '{"bbox_2d": [1, 2, 30, 40}'),
    ("json", '{"bbox_2d": [1, 2, 30, 40]}</s>'),
    ("json", '{\\"bbox_2d\\": [1, 2, 30, 40]}'),
    ("json", "{“bbox_2d”: [1，2，30，40]}"),
    ("json", '{"bbox_2d": [1e0, 2., 3E+1, +40]}'),
    ("json", '{"box_2d": [1, 2, 30, 40], "label": "cup"}'),
    ("json", '{"bounding_box": [1, 2, 30, 40]}'),
    ("json", '<answer>{"bbox_2d": [1, 2, 30, 40]}</answer>'),
    ("json", '<|begin_of_box|>{"bbox_2d": [1, 2, 30, 40]}<|end_of_box|>'),
    ("json", '\\boxed{{"bbox_2d": [1, 2, 30, 40]}}'),
    ("corners", '{"x1": 1, "y1": 2, "x2": 30, "y2": 40}'),
    ("corners", '{"bbox_2d": {"x1": 1, "y1": 2, "x2": 30, "y2": 40}}'),
    ("corners", '{"x_min": 1, "y_min": 2, "x_max": 30, "y_max": 40}'),
    ("corners", "The box has left=1, top=2, right=30, bottom=40."),
    ("corners", '{"x1": 1, "x2": 30, "y1": 2, "y2": 40}'),
    # Native wrappers.
    ("box-tokens", "<ref>the cup</ref><box>[[1, 2, 30, 40]]</box>"),
    (
        "box-tokens",
        "<|object_ref_start|>cup<|object_ref_end|><|box_start|>(1,2),(30,40)<|box_end|>",
    ),
    ("box-tokens", "<|begin_of_box|>[[1, 2, 30, 40]]<|end_of_box|>"),
    ("box-tokens", "<|begin_of_box|>[1, 2, 30, 40]<|end_of_box|>"),
    ("box-tokens", "<bbox>1 2 30 40</bbox>"),
    ("box-tokens", "<box>1 2 30 40</box>"),
    ("box-tokens", "<box>(1, 2), (30, 40)</box>"),
    ("box-tokens", "<|ref|>cup<|/ref|><|det|>[[1, 2, 30, 40]]<|/det|>"),
    ("box-tokens", "<|box_start|><1><2><30><40><|box_end|>"),
    ("box-tokens", "So the answer is \\boxed{[1, 2, 30, 40]}."),
    ("loc-tokens", "cup<loc_1><loc_2><loc_30><loc_40>"),
    ("loc-tokens", "<loc0001><loc0002><loc0030><loc0040> cup"),
    # Lists.
    ("list", "[1, 2, 30, 40]"),
    ("list", "[[1, 2, 30, 40]]"),
    ("list", "1, 2, 30, 40"),
    ("list", "1 2 30 40"),
    ("list", "(1,2),(30,40)"),
    ("list", "```json\n[1, 2, 30, 40]\n```"),
    ("list", "The bounding box coordinates are:\n\n[1, 2, 30, 40]"),
    ("list", "The bounding box of the cup is [1, 2, 30, 40]."),
    ("list", "The cup is located at [1, 2, 30, 40] in the image."),
    ("list", "Answer: 1, 2, 30, 40"),
    ("list", "The cup [[1, 2, 30, 40]] stands left."),
    ("list", "坐标为[1, 2, 30, 40]。"),
    # The last answer after the reasoning counts.
    ("json", '{"bbox_2d": [9, 9, 9, 9]}\nWait: {"bbox_2d": [1, 2, 30, 40]}'),
    ("json", '[{"bbox_2d": [9, 9, 9, 9]}, {"bbox_2d": [1, 2, 30, 40]}]'),
    ("json", '{"bbox_2d": [[9, 9, 9, 9], [1, 2, 30, 40]]}'),
    ("json", '{"bbox_2d": null} No, here it is: {"bbox_2d": [1, 2, 30, 40]}'),
    ("json", '<think>maybe {"bbox_2d": null}</think>{"bbox_2d": [1, 2, 30, 40]}'),
    ("json", 'maybe [9, 9, 9, 9]\n</think>\n\n{"bbox_2d": [1, 2, 30, 40]}'),
    ("json", '<think>a</think> b <think>c</think> {"bbox_2d": [1, 2, 30, 40]}'),
    ("json", '◁think▷no◁/think▷{"bbox_2d": [1, 2, 30, 40]}'),
    ("json", '<think></think>{"bbox_2d": [1, 2, 30, 40]}'),
    ("json", '{"bbox_2d": [1, 2, 30, 40]} No other object matches the description.'),
    ("json", '{"bbox_2d": [1, 2, 30, 40]} There is no object in front of it in the image.'),
    ("json", 'There is no exact match, but the nearest is {"bbox_2d": [1, 2, 30, 40]}'),
    ("json", f'{UNIFIED}\n{{"bbox_2d": [1, 2, 30, 40]}}'),
]


@pytest.mark.parametrize(("reason", "reply"), BOXES)
def test_boxes(reason: str, reply: str) -> None:
    answer = parse(reply)
    assert (answer.outcome, answer.reason, answer.coords) == ("box", reason, BOX)
    assert answer.span is not None
    assert "40" in reply[slice(*answer.span)]


NULLS = [
    '{"bbox_2d": null}',
    '```json\n{"bbox_2d": null}\n```',
    '[{"bbox_2d": null}]',
    "{'bbox_2d': None}",
    '{"bbox_2d": "null"}',
    '{"bbox_2d": []}',
    '{"bbox_2d": [null, null, null, null]}',
    '{"bbox_2d": null',
    '{"bbox_2d": null, "reason": "the dog is at [1, 2, 3, 4] and no cat"}',
    'No object matches. {"bbox_2d": null}',
    '{"bbox_2d": [9, 9, 9, 9]} is not it. {"bbox_2d": null}',
    'maybe {"bbox_2d": [9, 9, 9, 9]} </think> {"bbox_2d": null}',
    "null",
    "None",
    "[]",
    "```json\n[]\n```",
    "<box>null</box>",
    "<|box_start|>None<|box_end|>",
    "\\boxed{null}",
    "I looked everywhere.\n\nNone",
    f'{UNIFIED}\n{{"bbox_2d": null}}',
]


@pytest.mark.parametrize("reply", NULLS)
def test_rejections_in_the_asked_format(reply: str) -> None:
    answer = parse(reply)
    assert (answer.outcome, answer.reason, answer.coords) == ("rejected", "null", None)
    assert answer.span is not None


WORDS = [
    "No matching object.",
    "There is no matching object in the image.",
    "There is no such object.",
    "No object in the image matches the description.",
    "None of the objects match the description.",
    "Nothing in the image fits this description.",
    "I could not find any object that matches.",
    "I'm sorry, but I can't find any object matching the description.",
    "I am unable to locate the described object.",
    "The red cup is not present in the image.",
    "The image does not contain a red cup.",
    "The described object does not exist.",
    "Not found",
    "**Answer**: No match.",
    "<|begin_of_box|>No matching object found.<|end_of_box|>",
    '{"bbox_2d": "No matching object found"}',
    '{"bbox_2d": [9, 9, 9, 9]} But looking again, there is no matching object.',
    "<think>There is a cup at [9, 9, 9, 9].</think>No such cup exists.",
    "图中没有符合描述的物体。",
    "没有找到匹配的对象。",
    "未找到符合条件的目标",
    "圖中沒有符合描述的物體。",
    "一致するオブジェクトはありません。",
    "該当する物体は見つかりませんでした。",
    "설명과 일치하는 객체가 없습니다.",
    "Es gibt kein passendes Objekt im Bild.",
    "Aucun objet ne correspond à la description.",
    "No hay ningún objeto que coincida con la descripción.",
    "Não há nenhum objeto correspondente.",
    "Nessun oggetto corrisponde alla descrizione.",
    "Er is geen passend object gevonden.",
    "Brak obiektu odpowiadającego opisowi.",
    "На изображении нет объекта, соответствующего описанию.",
    "Немає об'єкта, що відповідає опису.",
    "Tidak ada objek yang cocok.",
    "Không có đối tượng nào phù hợp.",
    "Eşleşen nesne bulunamadı.",
    "لا يوجد كائن مطابق.",
    "कोई मेल खाने वाली वस्तु नहीं है।",
    "ไม่มีวัตถุที่ตรงกัน",
]


@pytest.mark.parametrize("reply", WORDS)
def test_rejections_in_words(reply: str) -> None:
    answer = parse(reply)
    assert (answer.outcome, answer.reason, answer.coords) == ("rejected", "words", None)


UNPARSED = [
    ("empty", ""),
    ("empty", " \n\t"),
    ("empty", "<think>hm</think>"),
    ("unfinished-thinking", '<think>It is at {"bbox_2d": [1, 2, 3, 4]}, but'),
    ("unfinished-thinking", "<think>"),
    ("truncated", '{"bbox_2d": [1, 2, 30, 4'),
    ("truncated", '{"bbox_2d": [1, 2, 30'),
    ("truncated", '{"bbox_2d": [1, 2,'),
    ("truncated", '{"bbox_2d": ['),
    ("truncated", '{"bbox_2d":'),
    ("truncated", '{"bbox_2d": nul'),
    ("truncated", "[1, 2, 30, 4"),
    ("truncated", "<box>1 2 3"),
    ("truncated", '{"bbox_2d": [9, 9, 9, 9]} or rather {"bbox_2d": [1, 2'),
    ("wrong-count", '{"bbox_2d": [1, 2, 3]}'),
    ("wrong-count", '{"bbox_2d": [1, 2, 3, 4, 5]}'),
    ("wrong-count", "<box>[[1, 2, 3]]</box>"),
    ("non-finite", '{"bbox_2d": [NaN, 2, 3, 4]}'),
    ("non-finite", '{"bbox_2d": [1, 2, 3, Infinity]}'),
    ("non-finite", '{"bbox_2d": [1, 2, 3, 1e999]}'),
    ("refusal", "I cannot help with that."),
    ("refusal", "I'm sorry, but I can't assist with this request."),
    ("refusal", "I'm sorry, I can't see the image."),
    ("refusal", "As an AI language model, I am unable to view images."),
    ("refusal", "I can't identify people in images."),
    ("refusal", "抱歉，我无法协助处理这个请求。"),
    ("refusal", "Es tut mir leid, dabei kann ich nicht helfen."),
    ("error", "Error: rate limit exceeded"),
    ("error", '{"error": {"message": "context length exceeded", "code": 400}}'),
    ("error", "Failed to obtain answer via API."),
    ("error", "openai.APITimeoutError: Request timed out."),
    ("error", "503 Service Unavailable"),
    ("error", "<html><body>502 Bad Gateway</body></html>"),
    # Four numbers are not a box because they are four.
    ("no-answer", "I count 1, 2, 3, 4 cups."),
    ("no-answer", "The image is [0, 0, 640, 480] pixels."),
    ("no-answer", "Cups stand at 10, 20, 30 and 40 cm."),
    ("no-answer", "The year 2024 had 12 months, 52 weeks, 366 days."),
    ("no-answer", "The bounding box is not [1, 2, 3, 4]."),
    ("no-answer", "The box: 3 4 5 6 cups are in it."),
    ("no-answer", '{"bbox_2d": [x1, y1, x2, y2]}'),
    ("no-answer", '{"bbox": {"x": 1, "y": 2, "width": 3, "height": 4}}'),
    ("no-answer", "The cup on the left has no handle visible."),
    ("no-answer", "It is the cup on the left; there is no doubt that it matches."),
    ("no-answer", "If no matching object is found, I will say so."),
    ("no-answer", "I see a red cup."),
    ("no-answer", UNIFIED),
]


@pytest.mark.parametrize(("reason", "reply"), UNPARSED)
def test_replies_that_say_nothing_readable(reason: str, reply: str) -> None:
    answer = parse(reply)
    assert (answer.outcome, answer.reason) == ("unparsed", reason)
    assert answer.coords is None
    assert answer.span is None


def test_finish_reasons_explain_a_missing_answer_and_take_none_away() -> None:
    assert parse("The red cup stands", finish_reason="length").reason == "truncated"
    assert parse("", finish_reason="length").reason == "truncated"
    assert parse("", finish_reason="content_filter").reason == "content-filter"
    assert parse("The red", finish_reason="content_filter").reason == "content-filter"
    assert parse('{"bbox_2d": null}', finish_reason="length").reason == "null"
    # Without brackets nothing tells a cut number from a whole one but the finish reason.
    assert parse("1 2 30 40", finish_reason="stop").coords == BOX
    assert parse("1 2 30 40", finish_reason="length").reason == "truncated"
    assert parse("Answer: 1, 2, 30, 40", finish_reason="length").reason == "truncated"
    assert parse("x1=1, y1=2, x2=30, y2=40", finish_reason="length").reason == "truncated"


def test_a_reply_that_the_server_filed_under_reasoning() -> None:
    whole = 'It is the cup. {"bbox_2d": [1, 2, 30, 40]}'
    answer = parse("", whole)
    assert (answer.outcome, answer.coords, answer.source) == ("box", BOX, "reasoning")
    assert answer.span is not None
    assert whole[slice(*answer.span)] == '{"bbox_2d": [1, 2, 30, 40]}'
    assert parse("", "```json\n" + whole + "\n```").coords == BOX
    assert parse("", '{"bbox_2d": null}').reason == "null"


@pytest.mark.parametrize(
    "reasoning",
    [
        'Perhaps {"bbox_2d": [1, 2, 30, 40]}, but the handle is wrong. Let me look again.',
        "There is no matching object, or is there?",
        '<think>{"bbox_2d": [1, 2, 30, 40]}',
    ],
)
def test_reasoning_is_no_answer(reasoning: str) -> None:
    assert parse("", reasoning).outcome == "unparsed"
    assert parse('{"bbox_2d": null}', reasoning).reason == "null"


def test_reasoning_cut_at_the_token_limit_is_no_answer() -> None:
    answer = parse("", 'so {"bbox_2d": [1, 2, 30, 40]}', finish_reason="length")
    assert answer.reason == "unfinished-thinking"


NUMBER = st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6).map(lambda x: round(x, 3)))
WRAPPERS = [
    '{{"bbox_2d": {}}}',
    '```json\n{{"bbox_2d": {}}}\n```',
    '[{{"label": "cup", "bbox_2d": {}}}]',
    'Here: {{"bbox_2d": {}}}. Done.',
    "<box>{}</box>",
    "<box>[{}]</box>",
    "<|begin_of_box|>{}<|end_of_box|>",
    "<|det|>[{}]<|/det|>",
    'reason [5, 6, 7, 8] </think> {{"bbox_2d": {}}}',
    "The bounding box is {}.",
    "{}",
]


@given(st.tuples(NUMBER, NUMBER, NUMBER, NUMBER), st.sampled_from(WRAPPERS))
def test_every_box_reads_back_from_every_wrapper(
    box: tuple[float, float, float, float], wrapper: str
) -> None:
    answer = parse(wrapper.format(json.dumps(box)))
    assert answer.outcome == "box"
    assert answer.coords == box


@given(st.tuples(NUMBER, NUMBER, NUMBER, NUMBER), st.sampled_from(WRAPPERS[:-2]))
def test_no_prefix_of_a_reply_reads_as_another_box(
    box: tuple[float, float, float, float], wrapper: str
) -> None:
    reply = wrapper.format(json.dumps(box))
    for end in range(len(reply)):
        answer = parse(reply[:end])
        assert answer.coords in (None, box, (5, 6, 7, 8)), reply[:end]
        assert answer.outcome != "rejected"


PIECES = st.sampled_from(
    [
        *"{}[]()<>|\\/\"'`,.:;=-+ \n\t0123x，。",
        *(
            '{"bbox_2d": ',
            '"bbox_2d"',
            "null",
            "None",
            "NaN",
            "1e999",
            "12",
            "-3.5",
            "[1, 2, 3, 4]",
        ),
        *("<box>", "</box>", "<|box_start|>", "<|begin_of_box|>", "<bbox>", "<|det|>", "\\boxed{"),
        *("<loc_1>", "<loc0002>", "<think>", "</think>", "◁/think▷", "```json\n", "x1", "y_max=3"),
        *(
            "the bounding box is ",
            "Answer: ",
            "no matching object",
            "I cannot",
            "Error:",
            "没有匹配",
        ),
        *("\u3000", "\ud800", "\x00", "٣", "½", "if ", "other "),
    ]
)


@given(
    st.lists(PIECES, max_size=24).map("".join),
    st.text(max_size=40),
    st.sampled_from(["", "length"]),
)
@example("[" * 50 + "1,2,3,4" + "]" * 50, "", "")
def test_anything_at_all_gives_a_sound_answer(text: str, reasoning: str, finish: str) -> None:
    answer = parse(text, reasoning, finish_reason=finish)
    assert (answer.coords is not None) == (answer.outcome == "box")
    assert (answer.span is None) == (answer.outcome == "unparsed")
    if answer.span is not None:
        start, end = answer.span
        read = text if answer.source == "text" else reasoning
        assert 0 <= start < end <= len(read)
    if answer.coords is not None:
        assert all(isinstance(x, float) and abs(x) < float("inf") for x in answer.coords)


HOSTILE = [
    *"{}[](<>|\\\"'`,.:-+ \n\t1x，",
    *('{"bbox_2d": [', '{"bbox_2d": [1,', '"bbox_2d":', '{"bbox_2d": "', "bbox_2d: [1,2,3,4,"),
    *("<box>", "<box>1 2 3 ", "<|det|>[", "<bbox>1 ", "\\boxed{", "<loc_1>", "<", "<|"),
    *("[1, 2, 3, 4, ", "(1,2),", "(1,2) ", "[[", "[ ", "* [1", "\n[1,2,3,4", "1.", "1e", "-1 "),
    *("x1=1,y1=2,", "x1:", "bounding box ", "answer is ", "coordinates (1,2", "坐标", "located "),
    *("<think>", "</think>", "no ", "no matching ", "none of ", "if no ", "没有", "not found in "),
    *("error ", "sorry ", "null ", "```json ", "{\n", '"\\"'),
]


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("end", ["", '{"bbox_2d": [1, 2, 30, 40]}'])
def test_hostile_replies_take_milliseconds(piece: str, end: str) -> None:
    text = (piece * (200_000 // len(piece) + 1))[:200_000] + end
    began = time.process_time()
    parse(text)
    # A quadratic step takes ten seconds and more here; all of these take 10 to 200 ms.
    assert time.process_time() - began < 1.5


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=4).map("".join),
    st.sampled_from(["", '{"bbox_2d": [1, 2, 30, 40]}']),
)
@example("{[", "")
@example("'[ ", "")
def test_hostile_patterns_take_milliseconds(pattern: str, end: str) -> None:
    text = (pattern * (200_000 // len(pattern) + 1))[:200_000] + end
    began = time.process_time()
    parse(text)
    assert time.process_time() - began < 1.5


@given(st.text(), st.text(), st.text(max_size=10))
def test_any_text_whatever_gives_an_answer(text: str, reasoning: str, finish: str) -> None:
    assert parse(text, reasoning, finish_reason=finish).outcome in ("box", "rejected", "unparsed")
