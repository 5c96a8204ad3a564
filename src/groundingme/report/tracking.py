"""Figures and the page of a report in an experiment tracker, through its own SDK.

Where they go is the tracker's own setting: `MLFLOW_TRACKING_URI` and `MLFLOW_EXPERIMENT_NAME`;
`WANDB_MODE`, `WANDB_DIR` and `WANDB_PROJECT`; `TRACKIO_DIR`. The project is called `groundingme`
where none is named.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from groundingme import metrics
from groundingme.comparison import ALL, Standing
from groundingme.errors import JobError, MissingDependencyError
from groundingme.registry import unknown
from groundingme.report.contents import Contents

PROJECT = "groundingme"
_LONGEST = 500
"""Characters of a setting that every tracker takes."""


def track(contents: Contents, page: Path, to: str) -> int:
    """Logs each run of a report as a run of a tracker: settings, figures, and the page.

    Args:
        contents: Of the report.
        page: The HTML file.
        to: `mlflow`, `wandb` or `trackio`.

    Returns:
        How many runs were logged.

    Raises:
        MissingDependencyError: The tracker's SDK is not installed.
        JobError: The tracker refused; the report itself is written.
    """
    if to not in TRACKERS:
        raise unknown("tracker", to, TRACKERS)
    sdk = _sdk(to)
    for standing in contents.standings:
        try:
            # What an SDK prints must not get into our figures.
            with contextlib.redirect_stdout(sys.stderr):
                TRACKERS[to](
                    sdk, standing.label, settings(contents, standing), figures(contents, standing),
                    page,
                )  # fmt: skip
        except Exception as error:  # each SDK raises what it likes
            said = " ".join(str(error).split())[:300]
            raise JobError(
                f"expected {to} to take the figures of {standing.label}, got: {said}; the report "
                f"is written, check the settings of {to}"
            ) from error
    return len(contents.standings)


def _sdk(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingDependencyError(
            f"expected the package {name} for --track {name}, got none; "
            f"pip install 'groundingme[{name}]'"
        ) from None


def settings(contents: Contents, standing: Standing) -> dict[str, str]:
    """What was asked of which model, as text."""
    entry = contents.entries[standing.entry]
    run = entry.run
    found = {
        "model": run.model,
        "data": run.data_name,
        "data_fingerprint": run.data_fingerprint,
        "samples": len(contents.samples),
        "protocol": entry.scores.protocol,
        "coords": run.coords,
        "prompt": run.prompt,
        "created": run.created,
        **run.settings,
    }
    return {name: str(value)[:_LONGEST] for name, value in found.items()}


def figures(contents: Contents, standing: Standing) -> dict[str, float]:
    """Every figure that is known, with `_at_` for `@`, which not every tracker takes.

    The published names in [0, 1], counts, the interval of the accuracy, and the measures of
    rejection.
    """
    scores = contents.entries[standing.entry].scores
    whole = standing.accuracy[ALL]
    found = {
        **metrics.summarize(scores),
        "ACC@0.5 low": whole.low,
        "ACC@0.5 high": whole.high,
        **{name: one.value for name, one in standing.rejection.items()},
    }
    return {
        name.replace("@", "_at_"): float(value)
        for name, value in found.items()
        if not math.isnan(value)
    }


def _mlflow(sdk: Any, name: str, said: dict[str, str], known: dict[str, float], page: Path) -> None:
    if "MLFLOW_EXPERIMENT_NAME" not in os.environ and "MLFLOW_EXPERIMENT_ID" not in os.environ:
        sdk.set_experiment(PROJECT)
    with sdk.start_run(run_name=name):
        sdk.log_params(said)
        sdk.log_metrics(known)
        sdk.log_artifact(str(page))


def _wandb(sdk: Any, name: str, said: dict[str, str], known: dict[str, float], page: Path) -> None:
    project = os.environ.get("WANDB_PROJECT", PROJECT)
    with sdk.init(project=project, name=name, config=said, reinit="finish_previous") as run:
        run.log(known)
        artifact = sdk.Artifact("groundingme-report", type="report")
        artifact.add_file(str(page))
        run.log_artifact(artifact)


def _trackio(
    sdk: Any, name: str, said: dict[str, str], known: dict[str, float], page: Path
) -> None:
    sdk.init(project=PROJECT, name=name, config=said, embed=False)
    try:
        sdk.log(known)
        sdk.log_artifact(str(page), name="groundingme-report", type="report")
    finally:
        sdk.finish()


TRACKERS: dict[str, Callable[[Any, str, dict[str, str], dict[str, float], Path], None]] = {
    "mlflow": _mlflow,
    "wandb": _wandb,
    "trackio": _trackio,
}
"""What logs one run, by the name of the package."""
