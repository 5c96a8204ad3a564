"""The commands that make a run, its scores and this report again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import msgspec

from groundingme import prompts
from groundingme.alignment import Entry
from groundingme.scale.selection import SAMPLED
from groundingme.schema import Run

_OPTIONS = {"temperature": 0.0, "max_tokens": 20480, "jpeg_quality": None, "split": None,
            "thinking": None, "extra_body": None, "control": None}  # fmt: skip
"""Settings that are options of `groundingme eval` and `sample`, and the defaults of `eval`."""


def eval_command(
    run: Run, place: Path | None = None, trajectories: int | None = None
) -> tuple[str, list[str]]:
    """The command that asks a run's questions again.

    Args:
        run: Its manifest.
        place: Its folder.
        trajectories: Of each sample, where there are several.

    Returns:
        The command, and the names of settings that it does not show, as they were set by the
        model's family or by options of its provider.
    """
    kind = "sample" if trajectories else "eval"
    words = ["groundingme", kind, run.model, "--data", run.data]
    if trajectories:
        words += ["-n", str(trajectories)]
    if run.subset:
        words += ["--subset", run.subset]
    if run.limit is not None:
        words += ["--limit", str(run.limit)]
    if run.prompt != prompts.UNIFIED:
        words += ["--prompt", run.prompt]
    words += ["--coords", run.coords]
    hidden = []
    defaults = _OPTIONS | ({"temperature": 0.7, SAMPLED: True} if trajectories else {})
    for name, value in run.settings.items():
        if name not in defaults:
            hidden.append(name)
        elif value != defaults[name]:
            words += [f"--{name.replace('_', '-')}", _word(value)]
    if place is not None:
        words += ["--out", str(place.parent)]
    return shlex.join(words), hidden


def report_command(entries: Sequence[Entry], protocol: str) -> str:
    """The command that makes this report again from the run folders."""
    words = ["groundingme", "report", *(str(one.path) for one in entries if one.path)]
    if protocol != "strict":
        words += ["--protocol", protocol]
    return shlex.join([*words, "-o", "report.html"])


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return (
        str(value) if isinstance(value, str | int | float) else msgspec.json.encode(value).decode()
    )
