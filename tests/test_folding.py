"""Tables on a narrow terminal show every figure."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from groundingme import evaluate
from groundingme.cli.folding import folded
from groundingme.terminal import plain_console


def lines(table: Table, width: int) -> list[str]:
    """What a terminal of that width shows."""
    console = plain_console(width=width, color_system=None)
    with console.capture() as capture:
        for part in folded(table, console):
            console.print(part)
    return capture.get().splitlines()


def made(text: str = "a cup") -> Table:
    """Eight columns of figures behind a name and a text."""
    table = Table(title="Figures", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("text", overflow="fold")
    for at in range(8):
        table.add_column(f"measure number {at}", justify="right", no_wrap=True)
    for row in range(3):
        table.add_row(f"builtin/model-{row}", text, *(f"{row}{at}.25" for at in range(8)))
    return table


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_figure_is_cut(width: int) -> None:
    shown = lines(made(), width)
    assert max(map(len, shown)) <= width
    words = " ".join(shown).split()
    for row in range(3):
        assert words.count(f"builtin/model-{row}") > 1
        for at in range(8):
            assert words.count(f"{row}{at}.25") == 1
    assert "…" not in "".join(shown)


def test_rows_stay_together() -> None:
    for line in lines(made(), 60):
        figures = [word for word in line.split() if word.endswith(".25")]
        assert len({figure[0] for figure in figures}) <= 1
        if figures:
            assert f"builtin/model-{figures[0][0]}" in line


def test_what_fits_stays_one_table() -> None:
    console = Console(width=300)
    assert [len(one.columns) for one in folded(made(), console)] == [10]
    assert len([line for line in lines(made(), 300) if "model" in line]) == 4


def test_text_folds_before_a_table_does() -> None:
    table = Table("id", "description")
    table.add_row("0001", "the small red cup " * 20)
    assert len(folded(table, Console(width=60))) == 1
    assert max(map(len, lines(table, 60))) <= 60


def test_a_name_longer_than_the_terminal_folds() -> None:
    table = Table("run", "done")
    table.add_row("runs/" + "x" * 90, "12/12")
    shown = lines(table, 40)
    assert "".join(shown).count("x") == 90
    assert max(map(len, shown)) <= 40


def test_scores_of_a_run_at_eighty_characters(tmp_path: Path) -> None:
    result = evaluate("baseline/null", "scenes:n=12", out=tmp_path)
    shown = lines(result.table(), 80)
    heads = " ".join(shown)
    for name in ("Acc@0.5", "Acc@0.75", "centre", "rejected", "unparsed", "failed"):
        assert name in heads
    assert max(map(len, shown)) <= 80
