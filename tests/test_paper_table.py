"""The paper's table and figures: the published rows, the three forms of a table, the pictures."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from groundingme import taxonomy
from groundingme.cli import main
from groundingme.errors import MissingDependencyError, UsageError
from groundingme.loading import load_entry
from groundingme.report import figures, papertables
from groundingme.report.contents import Contents, gather
from reported import make_data, make_runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_runs(make_data(tmp_path_factory.mktemp("paper") / "pointing"))


@pytest.fixture(scope="module")
def contents(runs: list[Path]) -> Contents:
    return gather([load_entry(one) for one in runs])


def test_published_rows_are_those_of_the_reference(shared: Path) -> None:
    text = (shared / "reference" / "paper.md").read_text(encoding="utf-8")
    block = re.search(r"## 3\..*?```\n(.*?)```", text, re.DOTALL)
    thinking = re.search(r"With thinking on .*?: (.*?)\.\n", text)
    assert block
    assert thinking
    rows = {one.label: one for one in papertables.published()}
    lines = block[1].strip().splitlines()
    for line in lines:
        name, *cells = re.findall(r"[^\s|]+", line)
        assert [rows[name].cells[c] for c in papertables.make(paper=True).columns] == [
            float(cell) for cell in cells
        ], name
    parts = thinking[1].split("; ")
    for part in parts:
        name, *cells = part.split()
        found = rows[f"{name} (thinking)"].cells
        assert [found[c] for c in (*taxonomy.L1, "Total")] == [float(cell) for cell in cells]
    assert len(lines) == 25
    assert len(rows) == len(lines) + len(parts)


def test_published_totals_follow_from_the_subtasks() -> None:
    """Whoever mistypes a cell makes a category differ from the mean of its subtasks."""
    for line in papertables.published():
        groups = {"Total": taxonomy.SUBTASKS} | {
            l1: tuple(row for row in taxonomy.SUBTASKS if row.l1 == l1) for l1 in taxonomy.L1
        }
        for name, rows in groups.items():
            if not all(row.name in line.cells for row in rows):
                continue
            hits = sum(round(line.cells[row.name] * row.samples / 100) for row in rows)
            share = 100 * hits / sum(row.samples for row in rows)
            assert line.cells[name] == pytest.approx(share, abs=0.051), (line.label, name)


def test_columns_are_the_papers() -> None:
    table = papertables.make(paper=True)
    assert [len(names) for _, names in table.groups()] == [5, 3, 3, 5]
    assert [name for name, _ in table.groups()] == list(taxonomy.L1)
    assert table.columns[:5] == [
        "Discriminative/Appearance", "Discriminative/Component", "Discriminative/Text",
        "Discriminative/State", "Discriminative",
    ]  # fmt: skip


def test_own_rows_and_notes(contents: Contents) -> None:
    table = papertables.make(contents, paper=True)
    sources = [one.source for one in table.lines]
    assert sources == [papertables.PUBLISHED] * 32 + [papertables.OWN] * 2
    careful, eager = table.lines[-2:]
    # 110 and 84 of 120; half of Counting and all of Rejection are wrong.
    assert careful.text("Total") == "91.7"
    assert eager.text("Total") == "70.0"
    assert eager.text("Spatial/Counting") == eager.text("Spatial") == "50.0"
    assert eager.text("Rejection") == "0.0"
    assert careful.text("Spatial/Relationship") == "–"
    assert careful.low
    assert careful.high
    assert careful.low < 91.7 < careful.high
    said = " ".join(table.notes)
    assert "nothing of them was run again" in said
    assert "120 samples of pointing, not the 1,005" in said
    assert "--protocol official" in said
    alone = papertables.make(contents)
    assert len(alone.lines) == 2
    assert "Spatial/Relationship" not in alone.columns
    assert alone.notes == []


def test_csv_reads_back(contents: Contents) -> None:
    table = papertables.make(contents, paper=True)
    rows = list(csv.DictReader(io.StringIO(papertables.as_csv(table))))
    assert len(rows) == len(table.lines)
    by_name = {row["model"]: row for row in rows}
    assert by_name["Qwen3-VL-8B"]["Limited/Small"] == "16.0"
    assert by_name["Qwen3-VL-8B"]["source"] == "published, not rerun"
    assert by_name["Qwen3-VL-8B"]["Total low"] == ""
    assert by_name["Qwen3-VL-8B (thinking)"]["Limited/Small"] == ""
    assert by_name["mock/eager"]["source"] == "run"


def test_markdown_has_as_many_cells_in_every_row(contents: Contents) -> None:
    text = papertables.markdown(papertables.make(contents, paper=True))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count(" | ") for line in rows}) == 1
    assert "| *published, not rerun* |" in text
    assert "nothing of them was run again" in text


def test_latex_is_whole(contents: Contents) -> None:
    text = papertables.latex(papertables.make(contents, paper=True))
    rows = [line for line in text.splitlines() if re.match(r"[A-Za-z].*&", line)]
    assert len(rows) == 34
    assert {line.count("&") for line in rows} == {17}
    for command in (
        r"\toprule", r"\midrule", r"\bottomrule", r"\cmidrule(lr){2-6}",
        r"\multicolumn{5}{c}{Discriminative}", r"\emph{published, not rerun}",
    ):  # fmt: skip
        assert command in text
    hostile = papertables.Line(label=r"a_b & 50% \x{y}", cells={"Total": 1.0}, source="run")
    made = papertables.latex(papertables.PaperTable(columns=["Total"], lines=[hostile], notes=[]))
    assert r"a\_b \& 50\% \textbackslash{}x\{y\} & 1.0" in made


@pytest.mark.slow
def test_latex_compiles(contents: Contents, tmp_path: Path) -> None:
    if not (compiler := shutil.which("pdflatex")):
        pytest.skip("needs pdflatex")
    table = papertables.latex(papertables.make(contents, paper=True))
    head = r"\documentclass[landscape]{article}\usepackage{booktabs}\begin{document}\tiny"
    (tmp_path / "a.tex").write_text(f"{head}\n{table}\n\\end{{document}}\n")
    done = subprocess.run(
        [compiler, "-interaction=nonstopmode", "-halt-on-error", "a.tex"], cwd=tmp_path,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_a_narrow_terminal_gets_the_categories() -> None:
    table = papertables.make(paper=True)
    wide, nothing = papertables.terminal(table)
    narrow, note = papertables.terminal(table, width=80)
    assert len(wide.columns) == 18
    assert nothing == ""
    assert len(narrow.columns) == 6
    assert "--figures" in note


def test_figures_and_tables_are_written(contents: Contents, tmp_path: Path) -> None:
    written = figures.write(tmp_path / "fig", contents, paper=True)
    names = {one.name for one in written}
    assert {"table.md", "table.tex", "table.csv"} <= names
    stems = {one.stem for one in written} - {"table"}
    assert stems == {"leaderboard", "subtasks", "thresholds", "sizes", "rejection",
                     "risk-coverage", "reliability", "published"}  # fmt: skip
    starts = {".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG"}
    for stem in stems:
        for kind, start in starts.items():
            assert (tmp_path / "fig" / f"{stem}{kind}").read_bytes().startswith(start)
    text = (tmp_path / "fig" / "subtasks.svg").read_text(encoding="utf-8")
    assert "Spatial: Counting" in text
    assert "mock/eager" in text
    before = (tmp_path / "fig" / "rejection.svg").read_bytes()
    figures.write(tmp_path / "fig", contents)
    assert (tmp_path / "fig" / "rejection.svg").read_bytes() == before


def test_without_matplotlib_the_tables_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else real(name)
    )
    with pytest.raises(MissingDependencyError, match=r"pip install 'groundingme\[figures\]'"):
        figures.write(tmp_path, None, paper=True)
    assert (tmp_path / "table.tex").is_file()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="expected a folder that can be written"):
        figures.write(tmp_path / "file" / "fig", None, paper=True)


def test_paper_needs_no_run(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["report", "--paper"])
    assert done.exit_code == 0, done.output
    assert "published, not rerun" in done.stdout
    line = next(one for one in done.stdout.splitlines() if "Qwen3-VL-235B-A22B " in one)
    assert line.split()[-1] == "45.1"
    assert not list(tmp_path.iterdir())
    read = json.loads(CliRunner().invoke(main, ["report", "--paper", "--json"]).stdout)
    assert len(read["lines"]) == 32
    refused = CliRunner().invoke(main, ["report"])
    assert refused.exit_code == 2
    assert "expected a run folder or more" in refused.output


def test_report_with_runs_and_the_paper(runs: list[Path], tmp_path: Path) -> None:
    done = CliRunner().invoke(
        main,
        ["report", str(runs[0]), "--paper", "--figures", str(tmp_path / "fig"),
         "-o", str(tmp_path / "page.html"), "--workers", "1"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "Gemma-3-27B" in done.stdout
    assert "mock/careful" in done.stdout
    assert (tmp_path / "page.html").is_file()
    assert "Gemma-3-27B" in (tmp_path / "fig" / "table.md").read_text(encoding="utf-8")


def test_matplotlib_is_imported_in_functions_alone() -> None:
    code = "import groundingme.report.figures, sys; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
