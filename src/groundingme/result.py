"""What an evaluation gives back: the scores of a whole data set, and how they show themselves."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundingme import frames, metrics, taxonomy
from groundingme.costs import Spending
from groundingme.errors import MissingDependencyError
from groundingme.protocols import Scores
from groundingme.schema import Generation, Outcome, Run, Sample
from groundingme.terminal import plain_console

if TYPE_CHECKING:
    import pandas
    import polars
    from rich.table import Table

OUTCOMES: tuple[Outcome, ...] = ("box", "rejected", "unparsed", "failed")

MAX_FAILED = 0.05
"""Share of samples without a reply up to which the figures are a result."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table: the whole data set, a category, or a subtask.

    Attributes:
        name: `all`, an L-1 name, or `L1/L2`.
        level: 0 for all, 1 for L-1, 2 for L-2.
        samples: In the protocol's denominator.
        acc50: Acc@0.5 in [0, 1]; NaN where there are no samples. So are the others.
        acc75: Acc@0.75.
        acc90: Acc@0.9.
        macc: Mean of Acc at 0.50:0.05:0.95.
        iou: Mean IoU.
        center: Centre accuracy.
        outcomes: How many are `box`, `rejected`, `unparsed`, `failed`; failed ones are counted
            here even where the protocol leaves them out.
    """

    name: str
    level: int
    samples: int
    acc50: float
    acc75: float
    acc90: float
    macc: float
    iou: float
    center: float
    outcomes: dict[str, int]


class Result:
    """Scores of one run under one protocol. Shows itself as a table, in a notebook as HTML.

    Attributes:
        run: What was asked.
        path: The run folder; None when scored from a file.
        protocol: Whose scores these are.
        scores: One row a sample, in the order of the data set.
        metrics: Figures under the published script's names (`ACC@0.5`,
            `Rejection_ACC@0.5`, `Spatial_Counting_ACC@0.5`, ...), in [0, 1], NaN where undefined;
            and counts. Where every sample failed all figures are NaN.
        difference: One line on why the official protocol says something else; "" where it agrees.
        notes: Lines that the reader should not miss, such as a coordinate format that fits better.
        interrupted: Whether the run was stopped before every sample was asked.
        spending: Tokens and dollars of all replies.
        max_failed: Share of samples without a reply up to which this is a result, in [0, 1].
        samples: What was asked, in the order of `scores`.
        generations: Replies by sample id.
        stopped: Why the budget ended the run before every sample was asked, or "".
    """

    def __init__(
        self,
        run: Run,
        scores: Scores,
        *,
        protocol: str,
        path: Path | None = None,
        difference: str = "",
        notes: tuple[str, ...] = (),
        interrupted: bool = False,
        spending: Spending | None = None,
        max_failed: float = MAX_FAILED,
        samples: Sequence[Sample] = (),
        generations: Mapping[str, Generation] | None = None,
    ) -> None:
        self.run = run
        self.path = path
        self.protocol = protocol
        self.scores = scores
        self.metrics = metrics.summarize(scores)
        if self.without_score:
            counts = {"samples", "scored", *OUTCOMES}
            self.metrics |= {name: math.nan for name in self.metrics if name not in counts}
        self.difference = difference
        self.notes = notes
        self.interrupted = interrupted
        self.spending = spending or Spending(price=None)
        self.max_failed = max_failed
        self.samples = samples
        self.generations = generations or {}
        self.stopped = ""

    @property
    def accuracy(self) -> float:
        """Acc@0.5 over the whole data set, in [0, 1]."""
        return self.metrics["ACC@0.5"]

    @property
    def failed(self) -> int:
        """Samples without a reply."""
        return int(self.metrics["failed"])

    @property
    def without_score(self) -> bool:
        """Whether not one sample has a reply."""
        return self.failed == len(self.scores)

    @property
    def incomplete(self) -> str:
        """One line where too many samples have no reply for this to be a result, else ""."""
        failed, samples = self.failed, len(self.scores)
        if self.without_score:
            return f"No score: none of {samples} samples has a reply."
        if failed <= self.max_failed * samples:
            return ""
        share = f"{100 * failed / samples:.1f} %, where {100 * self.max_failed:g} % may"
        return f"Not a result: {failed} of {samples} samples have no reply ({share})."

    def rows(self) -> list[Row]:
        """The table: all, then each category and its subtasks in the taxonomy's order."""
        l1 = np.asarray(self.scores.subtask_l1, dtype=object)
        l2 = np.asarray(self.scores.subtask_l2, dtype=object)
        rows = [self._row("all", 0, np.ones(len(l1), dtype=bool))]
        present = dict.fromkeys(zip(l1.tolist(), l2.tolist(), strict=True))
        ordered = [(row.l1, row.l2) for row in taxonomy.SUBTASKS]
        pairs = [p for p in ordered if p in present]
        pairs += [p for p in present if p not in pairs and p[0]]
        for category in dict.fromkeys(pair[0] for pair in pairs):
            rows.append(self._row(category, 1, l1 == category))
            rows += [
                self._row(f"{category}/{name}", 2, (l1 == category) & (l2 == name))
                for parent, name in pairs
                if parent == category and name
            ]
        return rows

    def _row(self, name: str, level: int, mask: NDArray[np.bool_]) -> Row:
        scored = mask & self.scores.scored
        if self.without_score:
            scored = np.zeros_like(scored)
        ious = self.scores.ious[scored]
        return Row(
            name=name,
            level=level,
            samples=int(scored.sum()),
            acc50=metrics.accuracy(ious, threshold=0.5),
            acc75=metrics.accuracy(ious, threshold=0.75),
            acc90=metrics.accuracy(ious, threshold=0.9),
            macc=metrics.mean_accuracy(ious),
            iou=metrics.mean_iou(ious),
            center=metrics.center_accuracy(self.scores.centers[scored]),
            outcomes=metrics.count_outcomes(self.scores, mask),
        )

    def as_dict(self) -> dict[str, Any]:
        """All of it as one JSON-ready object; undefined figures are None."""
        figures = {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in self.metrics.items()
        }
        return {
            "model": self.run.model,
            "data": self.run.data_name,
            "subset": self.run.subset,
            "protocol": self.protocol,
            "coords": self.run.coords,
            "incomplete": self.incomplete,
            **figures,
            "prompt_tokens": self.spending.prompt_tokens,
            "completion_tokens": self.spending.completion_tokens,
            "dollars": round(self.spending.dollars, 6) if self.spending.price else None,
            "interrupted": self.interrupted,
            "difference": self.difference,
            "notes": list(self.notes),
            "run": str(self.path) if self.path else None,
        }

    def columns(self) -> frames.Columns:
        """Samples, replies and scores, a list a column, under the names of `frames.KINDS`."""
        return frames.columns(self.samples, self.scores, self.generations)

    def to_pandas(self) -> pandas.DataFrame:
        """One row a sample, with the columns of `frames.KINDS`.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise MissingDependencyError(
                "expected pandas for a data frame, got none; pip install pandas"
            ) from None
        kinds = {str: "object", int: "Int64", float: "float64", bool: "bool"}
        return pandas.DataFrame(
            {
                name: pandas.Series(column, dtype=kinds[frames.KINDS[name]])
                for name, column in self.columns().items()
            }
        )

    def to_polars(self) -> polars.DataFrame:
        """One row a sample, with the columns of `frames.KINDS`.

        Raises:
            MissingDependencyError: polars is not installed.
        """
        try:
            import polars
        except ImportError:
            raise MissingDependencyError(
                "expected polars for a data frame, got none; pip install polars"
            ) from None
        return polars.DataFrame(self.columns(), schema=frames.KINDS)

    def table(self) -> Table:
        """The rows as a `rich` table."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        table = Table(
            title=self._title(),
            title_justify="left",
            title_style="bold",
            header_style="bold",
            box=SIMPLE_HEAD,
            pad_edge=False,
        )
        table.add_column("", no_wrap=True)
        for heading in _HEADINGS:
            table.add_column(heading, justify="right", no_wrap=True)
        for row in self.rows():
            style = ("bold", "", "dim")[row.level]
            table.add_row("  " * (row.level == 2) + _leaf(row), *_cells(row), style=style)
        return table

    def _title(self) -> str:
        subset = f" · {self.run.subset}" if self.run.subset else ""
        return f"{self.run.model} on {self.run.data_name}{subset} · {self.protocol}"

    def __repr__(self) -> str:
        console = plain_console(width=110, color_system=None)
        with console.capture() as capture:
            if self.incomplete:
                console.print(self.incomplete, soft_wrap=True)
            if not self.without_score:
                console.print(self.table())
            for line in self.lines():
                console.print(line, soft_wrap=True)
        return capture.get()

    def lines(self) -> list[str]:
        """What stands under the table."""
        return [line for line in (self.difference, *self.notes, self.spending.line()) if line]

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ("", *_HEADINGS))
        body = []
        for row in self.rows():
            weight = ("bold", "600", "normal")[row.level]
            pad = f"padding-left:{row.level}em"
            cells = "".join(f"<td style='text-align:right'>{c}</td>" for c in _cells(row))
            name = html.escape(_leaf(row))
            body.append(
                f"<tr style='font-weight:{weight}'>"
                f"<td style='text-align:left;{pad}'>{name}</td>{cells}</tr>"
            )
        under = "".join(f"<p>{html.escape(line)}</p>" for line in self.lines())
        lead = f"<p><b>{html.escape(self.incomplete)}</b></p>" if self.incomplete else ""
        if self.without_score:
            return lead + under
        return (
            f"{lead}<table><caption>{html.escape(self._title())}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>{under}"
        )


_HEADINGS = (
    "n", "Acc@0.5", "Acc@0.75", "Acc@0.9", "mAcc", "IoU", "centre",
    "box", "rejected", "unparsed", "failed",
)  # fmt: skip


def _leaf(row: Row) -> str:
    return row.name.rpartition("/")[2]


def _cells(row: Row) -> list[str]:
    shares = (row.acc50, row.acc75, row.acc90, row.macc, row.iou, row.center)
    return [
        str(row.samples),
        *(percent(share) for share in shares),
        *(str(row.outcomes[name] or "·") for name in OUTCOMES),
    ]


def percent(share: float) -> str:
    """A share in [0, 1] in percent with one decimal; an en dash where it is undefined."""
    return "–" if math.isnan(share) else f"{100 * share:.1f}"
