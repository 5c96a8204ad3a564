"""Who judges in the study `judges`: what is there already, second opinions, and a judging model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from groundingme.errors import UsageError
from groundingme.evaluation import spending_for
from groundingme.judges import JUDGES
from groundingme.models import Model, load_model
from groundingme.scale import rulings
from groundingme.scale.court import Court, Purse
from groundingme.scale.curves import counts
from groundingme.scale.judged import Hearing
from groundingme.scale.rulings import Pairs, Ruling
from groundingme.scale.selection import SampleRun
from groundingme.scale.trajectories import answered, clusters, gather, sizes
from groundingme.store import RunFolder
from groundingme.studies.running import FREE
from groundingme.studies.spending import left
from groundingme.studies.study import Condition, Done, Knob, Setting

VOTE = "larger cluster"


def several(
    setting: Setting, model: str | Model | None = None, where: Mapping[str, Any] | None = None
) -> Condition:
    """N sampled answers of a model.

    Args:
        setting: With `n` among its options.
        model: Of the setting's first by default.
        where: Further arguments of `sample`.

    Raises:
        UsageError: N is below 2.
    """
    n = int(setting.knobs["n"])
    if n < 2:
        raise UsageError(f"expected n of 2 or more, got {n}; one answer leaves nothing to judge")
    return Condition(name=f"{n} answers", model=model or setting.models[0],
                     dataset=setting.dataset, n=n,
                     settings={"temperature": _warmth(setting), **(where or {})})  # fmt: skip


def _warmth(setting: Setting) -> float:
    """The temperature at which the first model is sampled."""
    usual = 2.0 if setting.labels[0].startswith("builtin/") else 1.0
    return float(setting.knobs["temperature"]) or usual


def judge_names(setting: Setting) -> list[str]:
    """Judges that ask the judging model; none where none is named.

    Raises:
        UnknownNameError: There is no such judge.
    """
    if not setting.knobs["judge"]:
        return []
    named = setting.listed("judges")
    for one in named:
        JUDGES.get(one)
    return named


def free(run: SampleRun, pairs: Pairs) -> list[Ruling]:
    """Judges that look at what is there already."""
    t = run.t
    label = clusters(t)
    size = np.take_along_axis(sizes(label), np.maximum(label, 0), axis=1)
    found = [rulings.by_numbers(VOTE, pairs, size)]
    if np.isfinite(t.confidence).any():
        found.append(rulings.by_numbers("own confidence", pairs, t.confidence))
    if np.ptp(np.nan_to_num(t.reasoning), axis=1).any():
        found.append(rulings.by_numbers("longer reasoning", pairs, t.reasoning))
    return found


def second(one: Done, run: SampleRun, pairs: Pairs, setting: Setting) -> Ruling:
    """The judge that sides with one greedy answer of a model."""
    folder = RunFolder.open(one.path)
    said = folder.trajectories()
    t = gather(list(one.condition.dataset), said, 1, folder.run.coords)
    label = one.condition.label
    return rulings.by_second(
        f"sides with {label}", pairs, run.t, t, {id: reply for (id, _), reply in said.items()},
        price=spending_for(label, setting.asking.get("price"), None).price,
        free=label.startswith(FREE),
    )  # fmt: skip


def asked(setting: Setting, done: Sequence[Done], run: SampleRun, pairs: Pairs) -> list[Ruling]:
    """Judges that ask the judging model, where one is named.

    Args:
        setting: With `JUDGE_KNOBS`.
        done: All that was paid for, the sampled answers first.
        run: Those answers.
        pairs: Of them.
    """
    spec, asking = setting.knobs["judge"], setting.asking
    if not spec:
        return []
    given = {key: asking[key] for key in ("base_url", "api_key_env", "timeout") if key in asking}
    if setting.knobs["judge-url"]:
        given["base_url"] = setting.knobs["judge-url"]
    model = load_model(spec, **given)
    budget = left(setting, done, "the judges")
    purse = Purse(spending_for(model.name, setting.knobs["judge-price"] or None, budget))
    hearing = Hearing(run.t, list(done[0].condition.dataset), run.generations)
    pace: dict[str, Any] = {key: asking[key] for key in ("retry", "rpm", "tpm") if key in asking}
    found = []
    for name in judge_names(setting):
        court = Court(JUDGES.get(name)(), model, done[0].path, purse=purse,
                      concurrency=asking.get("concurrency"), **pace)  # fmt: skip
        unpaid = model.name.startswith(FREE)
        found.append(rulings.by_court(name, pairs, hearing, court, free=unpaid))
    return found


def demand(run: SampleRun, heard: Sequence[Ruling], candidates: int) -> list[list[object]]:
    """How much a judge is asked for N answers, for 2, 4, ... of those that were sampled.

    Args:
        run: The answers.
        heard: Of which tokens, seconds and dollars are known.
        candidates: Different answers of a sample that compete, at most.

    Returns:
        Rows: N, the knockout, requests a sample, the most rounds; then of each judge tokens,
        seconds and dollars for a thousand samples.
    """
    each = [one.spent(np.ones(len(one.winner), np.bool_)) for one in heard]
    rows: list[list[object]] = []
    for n in counts(run.t.n)[1:]:
        part = run.t.first(n)
        different = [len(row) for row in rulings.pairs_of(part, candidates).candidates]
        for way, players in (
            ("all compete", answered(part).sum(axis=1)),
            ("different answers compete", np.array(different)),
        ):
            met = np.maximum(players - 1, 0)
            mean = float(met.mean())
            costs = (
                (2 * mean * one.tokens, mean * one.seconds, 2000 * mean * one.dollars)
                for one in each
            )
            paid = [cell / max(1, one.requests) for one, row in zip(each, costs, strict=True)
                    for cell in row]  # fmt: skip
            rows.append([n, way, 2 * mean, int(met.max(initial=0)), *paid])
    return rows


JUDGE_KNOBS = (
    Knob("temperature", 0.0, "of the sampling; 0 takes 1, and 2 for a built-in model"),
    Knob("candidates", 4, "different answers of a sample that compete, at most"),
    Knob("judge", "", "PROVIDER/NAME that answers the judges' questions; none by default"),
    Knob("judge-url", "", "address of its server; that of the models by default"),
    Knob("judge-price", "", "PROMPT,COMPLETION in dollars per million tokens"),
    Knob("judges", "answers,traces,checklist", "which judges ask it"),
)
"""Options of every study that judges sampled answers."""
