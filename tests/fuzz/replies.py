"""A coverage-guided fuzzer of everything that reads a reply. See docs/security.md.

    python tests/fuzz/replies.py FOLDER -max_total_time=3600

FOLDER holds the corpus and grows. Every option behind it is libFuzzer's. It needs `atheris`, and
stops at the first reply of which `sound.check` does not hold, written beside it as `crash-*`.
`python tests/fuzz/replies.py --show FILE` prints a found input as the reply that it stands for.
`python tests/fuzz/replies.py --keep FOLDER OUT` writes the replies of a corpus as JSONL, one for
each way in which a reply is read, the shortest of each.

An input is one byte that says what to do, and UTF-8 (or whatever comes near it). Bits 0 and 1 name
the finish reason, bit 2 puts all behind the first NUL into the reasoning, and where bits 3 to 7
are all set the text is repeated to a hundred thousand characters, and to twice as many, to see
that time grows no faster than the reply.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

TOKENS = (
    '{"bbox_2d": ', '"bbox_2d"', '"box_2d": ', "bounding_box: ", "[1, 2, 30, 40]", "null", "None",
    "NaN", "Infinity", "1e999", "-3.5", "<box>", "</box>", "<|box_start|>", "<|box_end|>",
    "<|begin_of_box|>", "<|end_of_box|>", "<bbox>", "<|det|>", "\\boxed{", "<loc_1>", "<loc0012>",
    "<think>", "</think>", "◁/think▷", "<|channel|>final<|message|>", "[/THINK]", "```json\n",
    "```", "x1", "y_max", "left", "(1,2),(3,4)", "bounding box is ", "Answer: ", "coordinates",
    "no matching object", "If no matching object is found, output ", "I cannot", "sorry", "Error:",
    "没有匹配", "坐标", "答案", "not found in the image", "nothing", "none", "other ", "if ", "、",
    "，", "“", "”", "\u3000", "İ", "ı", "ſ", "Infinİty", "x_mİn", "\\\"", "}, {", "], [",
)  # fmt: skip
KEPT = Path(__file__).resolve().parents[1] / "data" / "replies"
REPEAT = 0xF8


def decode(data: bytes) -> tuple[str, str, str, bool]:
    """An input as text, reasoning, finish reason, and whether to repeat the text."""
    import sound

    flags = data[0] if data else 0
    text = data[1:].decode("utf-8", "surrogatepass" if flags & 1 else "replace")
    reasoning = ""
    if flags & 4:
        text, _, reasoning = text.partition("\0")
    return text, reasoning, sound.FINISHES[flags & 3], flags & REPEAT == REPEAT


def one_input(data: bytes) -> None:
    """Holds one input to everything that must hold."""
    import sound

    try:
        text, reasoning, finish, repeat = decode(data)
    except UnicodeDecodeError:
        return
    sound.check(text, reasoning, finish)
    if repeat and text:
        head, _, tail = reasoning.partition("\0")
        sound.check_growth(head, text[:200], tail)
    elif len(data) > 1 and data[0] & 0x38 == 0x38:
        sound.check_scores(text, reasoning, finish)


def show(path: Path) -> None:
    """Prints what an input stands for."""
    text, reasoning, finish, repeat = decode(path.read_bytes())
    print(json.dumps({"text": text, "reasoning": reasoning, "finish": finish, "repeat": repeat}))


def keep(corpus: Path, out: Path) -> None:
    """Writes the shortest reply for each way of reading one, and of each length in digits."""
    from groundingme.official import parse_official
    from groundingme.parsing import parse

    kept: dict[tuple[Any, ...], dict[str, str]] = {}
    for path in sorted(corpus.iterdir(), key=lambda one: (one.stat().st_size, one.name)):
        try:
            text, reasoning, finish, _ = decode(path.read_bytes())
        except UnicodeDecodeError:
            continue
        if any("\ud800" <= letter <= "\udfff" for letter in text + reasoning):
            continue
        answer = parse(text, reasoning, finish_reason=finish)
        way = (answer.outcome, answer.reason, answer.source, bool(text.strip()), bool(reasoning),
               finish, any(parse_official(text)), len(str(len(text))))  # fmt: skip
        kept.setdefault(way, {"text": text, "reasoning": reasoning, "finish": finish})
    rows = [json.dumps(row, ensure_ascii=True) for row in kept.values()]
    out.write_text("\n".join(rows) + "\n", encoding="utf-8")
    print(f"{len(rows)} replies kept of {len(list(corpus.iterdir()))}")


def main() -> None:
    """Fuzzes until libFuzzer is told to stop."""
    if sys.argv[1:2] == ["--show"]:
        show(Path(sys.argv[2]))
        return
    if sys.argv[1:2] == ["--keep"]:
        keep(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    import atheris

    names = ["groundingme.parsing", "groundingme.rejection_words", "groundingme.official"]
    with atheris.instrument_imports(include=names):
        import sound
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    kept = [json.loads(line) for path in KEPT.glob("*.jsonl") for line in path.open()]
    for number, row in enumerate(kept):
        flags = sound.FINISHES.index(row["finish"]) + (4 if row["reasoning"] else 0)
        text = f"{row['text']}\0{row['reasoning']}" if row["reasoning"] else row["text"]
        (corpus / f"kept-{number}").write_bytes(bytes([flags]) + text.encode())
    with tempfile.NamedTemporaryFile("w", suffix=".dict", delete=False) as words:
        for token in TOKENS:
            escaped = "".join(f"\\x{byte:02x}" for byte in token.encode())
            words.write(f'"{escaped}"\n')
    options = [f"-dict={words.name}", "-timeout=30", "-max_len=2000", f"-artifact_prefix={corpus}-"]
    atheris.Setup([sys.argv[0], str(corpus), *options, *sys.argv[2:]], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
