"""Ask, parse, score: the main job from Python.

>>> from groundingme import evaluate                                    # doctest: +SKIP
>>> evaluate("openai/Qwen/Qwen3-VL-8B-Instruct", "groundingme",
...          base_url="http://localhost:8000/v1", coords="n1000")       # doctest: +SKIP
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

import groundingme
from groundingme import controls, predictions, protocols, readings
from groundingme.asking import AUTO, Asking, reading_of_run, resolve
from groundingme.cache import Cache, Cached
from groundingme.costs import Price, Spending, find_price, parse_price
from groundingme.datasets import Dataset, load_dataset
from groundingme.distributed import Recipe, Workers, ask_with_workers, take_over
from groundingme.errors import DataError, FatalError, UsageError
from groundingme.interrupting import run_to_end as run_to_end
from groundingme.models import Model, load_model
from groundingme.progress import Progress, Silent
from groundingme.registry import unknown
from groundingme.result import MAX_FAILED, Result
from groundingme.runner import HOPELESS, RetryPolicy, ask
from groundingme.saving import load_run_data as load_run_data
from groundingme.saving import load_samples as load_samples
from groundingme.saving import save_samples as save_samples
from groundingme.saving import save_scores as save_scores
from groundingme.schema import Generation, Run
from groundingme.store import RunFolder

DEFAULT_OUT = "runs"


def evaluate(
    model: str | Model,
    data: str | Dataset,
    *,
    protocol: str = "strict",
    coords: str = AUTO,
    prompt: str = AUTO,
    thinking: str | int | bool | None = None,
    split: str | None = None,
    subset: str = "",
    limit: int | None = None,
    concurrency: int | None = None,
    rpm: float | None = None,
    tpm: float | None = None,
    retry: RetryPolicy | None = None,
    retry_failed: bool = False,
    max_failed: float = MAX_FAILED,
    temperature: float = 0.0,
    max_tokens: int = 20480,
    jpeg_quality: int | None = None,
    control: str | None = None,
    price: str | Price | None = None,
    budget: float | None = None,
    cache: Cache | None = None,
    workers: Workers | None = None,
    out: str | Path = DEFAULT_OUT,
    progress: Progress | None = None,
    **options: Any,
) -> Result:
    """Asks a model every sample of a data set and scores what it says.

    The same call continues an interrupted run and asks nothing twice; samples that failed are
    asked again. A changed setting starts another run in the same `out`.

    Args:
        model: `PROVIDER/NAME`, or a model made by `load_model`.
        data: A data set's name, path or Hub id, or a data set made by `load_dataset`.
        protocol: `strict`, `official` or `official-lmms-eval`: whose scores lead the result.
        coords: Name of the coordinate format in which the model writes, or `auto`: as calibrated,
            else as its family does (see `asking`); read at scoring only.
        prompt: `auto` (the unified prompt, in the order of numbers that the family writes),
            `unified`, `unified-yxyx`, `native`, or a text with `{description}`.
        thinking: `on`, `off`, a budget in tokens, or None for the model's own way.
        split: Of the data set, where it has several.
        subset: `L1` or `L1/L2`; "" for all.
        limit: The first N samples only.
        concurrency: Requests in flight at once; None finds out how many the server can take.
        rpm: Most requests a minute.
        tpm: Most tokens a minute, prompt and completion.
        retry: When to ask again; the default is `RetryPolicy()`.
        retry_failed: Ask those samples only that failed in an earlier session, and none that was
            not asked yet.
        temperature: 0 is greedy.
        max_tokens: Most tokens of a completion, reasoning included.
        jpeg_quality: None sends the original bytes; 75 sends what the published script sends.
        control: `grey` or `shuffled` shows other images in place of the right ones: see
            `controls`. None shows the right ones.
        price: `PROMPT,COMPLETION` in US dollars per million tokens; None looks it up.
        budget: Most US dollars that the run folder may cost, earlier sessions included. Asking
            stops before a request that could exceed it.
        cache: Replies that were paid for once; what is there is not asked again.
        workers: Several processes, or a Ray cluster; None asks in this process. Not part of what
            makes a run.
        out: Folder of runs; made where it is missing.
        progress: Told of every reply; None is silent.
        **options: For the provider, such as `base_url`.

    Returns:
        The scores of the whole data set. After Ctrl-C, `Result.interrupted` is true and samples
        that were not asked count as failed.

    Raises:
        UsageError: An argument that cannot be; nothing was asked.
        FatalError: No request can succeed (wrong key, unknown model); what was done is kept.
    """
    check_protocol(protocol)
    if workers:
        workers.check(budget=budget, cache=cache)
    check_numbers(
        concurrency=concurrency, rpm=rpm, tpm=tpm, max_tokens=max_tokens, temperature=temperature,
        limit=limit, max_failed=max_failed,
    )  # fmt: skip
    job = prepare(
        model, data, coords=coords, prompt=prompt, thinking=thinking, split=split, subset=subset,
        limit=limit, temperature=temperature, max_tokens=max_tokens, jpeg_quality=jpeg_quality,
        control=control, price=price, budget=budget, cache=cache, options=options,
    )  # fmt: skip
    dataset, asked, how, run, spending = job.dataset, job.model, job.how, job.run, job.spending
    if retry_failed and not RunFolder.find(out, run):
        raise UsageError(f"expected a run to ask failed samples of again, got none in {out}")
    folder = RunFolder.find_or_create(out, run)
    with folder.lock():
        take_over(folder)
        save_samples(dataset, folder.path)
        generations = folder.generations()
        damage = damage_note(folder)
        done = {id: one for id, one in generations.items() if not one.failure}
        left = [one for one in dataset if one.id not in done]
        if retry_failed:
            left = [one for one in left if one.id in generations]
        watcher = progress or Silent()
        if folder.difference:
            watcher.note(folder.difference)
        if how.warning:
            watcher.note(how.warning)
        watcher.start(dataset.samples, done, how.coords)
        spending.add_all(generations.values())

        spread = readings.SpreadWatch(dataset.samples, done.values(), how.coords)

        def sink(generation: Generation) -> None:
            folder.append(generation)
            generations[generation.id] = generation
            spending.add(generation)
            watcher.update(generation)
            if hint := spread.add(generation):
                watcher.note(hint)

        asking: dict[str, Any] = {
            "prompt": how.template, "sink": sink, "concurrency": concurrency, "rpm": rpm,
            "tpm": tpm, "retry": retry or RetryPolicy(), "temperature": temperature,
            "max_tokens": max_tokens, "jpeg_quality": jpeg_quality, "system": how.system,
            "extra": how.extra, "thinking": how.thinking, "image_rule": how.image,
            "hopeless": None if done or max_failed == 1 else HOPELESS,
        }  # fmt: skip
        try:
            if workers:
                recipe = Recipe.of(model, options, cache)
                interrupted = ask_with_workers(recipe, left, workers, folder, **asking)
            else:
                affords = None if budget is None else spending.affords
                work = ask(asked, left, affords=affords, tell=watcher.note, **asking)
                interrupted = run_to_end(work)
        except FatalError as error:
            raise FatalError(
                error.kind,
                f"{error}; {len(generations)} of {len(dataset)} samples are kept in "
                f"{folder.path}, and the same command continues there",
                status=error.status,
            ) from error
        finally:
            watcher.stop()
        result = score_generations(dataset, generations, run, protocol=protocol, path=folder.path)
        result.interrupted = interrupted
        result.max_failed = max_failed
        result.spending = spending
        result.stopped = spending.stopped(sum(one.id not in generations for one in dataset))
        notes = [line for line in (how.warning, result.stopped) if line]
        result.notes = (*notes, *result.notes, *damage)
        save_scores(result, folder.path)
    return result


def check_numbers(
    *,
    concurrency: int | None,
    rpm: float | None,
    tpm: float | None,
    max_tokens: int,
    temperature: float,
    limit: int | None,
    max_failed: float,
) -> None:
    """Raises `UsageError` where a number cannot be; None stands for what was left out."""
    for name, value, least in (
        ("concurrency", concurrency, 1),
        ("rpm", rpm, 1),
        ("tpm", tpm, 1),
        ("max_tokens", max_tokens, 1),
        ("temperature", temperature, 0),
        ("limit", limit, 1),
    ):
        if value is not None and not value >= least:
            raise UsageError(f"expected {name} of {least} or more, got {value}")
    if not 0 <= max_failed <= 1:
        raise UsageError(f"expected max_failed as a share from 0 to 1, got {max_failed}")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asked what, and how, before anything is asked.

    Attributes:
        dataset: The samples.
        model: Through the cache, where there is one.
        how: It is asked and read.
        run: The manifest.
        spending: Nothing so far, with the budget.
    """

    dataset: Dataset
    model: Model
    how: Asking
    run: Run
    spending: Spending


def prepare(
    model: str | Model,
    data: str | Dataset,
    *,
    coords: str,
    prompt: str,
    thinking: str | int | bool | None,
    split: str | None,
    subset: str,
    limit: int | None,
    temperature: float,
    max_tokens: int,
    jpeg_quality: int | None,
    price: str | Price | None,
    budget: float | None,
    cache: Cache | None,
    options: Mapping[str, Any],
    control: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Job:
    """What `evaluate` and sampling do before they ask; arguments as `evaluate` takes them.

    Args:
        model: And those that follow: see `evaluate`.
        options: For the provider.
        settings: Further ones of the run, which make it another than one without them.

    Raises:
        UsageError: An argument that cannot be.
    """
    dataset = selected(_dataset(data, split), subset, limit)
    if control:
        dataset = controls.apply(dataset, control)
    asked = load_model(model, **options) if isinstance(model, str) else model
    asked = Cached(asked, cache) if cache else asked
    how = resolve(asked, coords=coords, prompt=prompt, thinking=thinking)
    run = Run(
        model=asked.name,
        data=data if isinstance(data, str) else dataset.source,
        data_name=dataset.name,
        data_fingerprint=dataset.fingerprint,
        samples=len(dataset),
        subset=subset,
        limit=limit,
        prompt=how.template,
        settings={
            "temperature": temperature,
            "max_tokens": max_tokens,
            "jpeg_quality": jpeg_quality,
            **(settings or {}),
            **({"split": split} if split else {}),
            **({"control": controls.canonical(control)} if control else {}),
            **how.settings(),
            **asked.settings(),
        },
        coords=how.coords,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
    )
    return Job(
        dataset=dataset,
        model=asked,
        how=how,
        run=run,
        spending=spending_for(asked.name, price, budget),
    )


def spending_for(model: str, price: str | Price | None, budget: float | None) -> Spending:
    """What is spent on a model, from nothing."""
    known = parse_price(price) if isinstance(price, str) else price or find_price(model)
    if budget is None:
        return Spending(price=known)
    if not 0 < budget < float("inf"):
        raise UsageError(f"expected a budget above 0 dollars, got {budget}")
    if known is None:
        raise UsageError(
            f"expected a price for {model} to keep a budget, got none; give it as "
            "--price PROMPT,COMPLETION in dollars per million tokens"
        )
    return Spending(price=known, budget=budget)


def score(
    source: str | Path,
    data: str | Dataset | None = None,
    *,
    protocol: str = "strict",
    coords: str | None = None,
    split: str | None = None,
    subset: str = "",
    limit: int | None = None,
) -> Result:
    """Scores a run again without a model, or predictions made elsewhere.

    Args:
        source: A run folder, or a file of replies in any layout that
            `predictions.read_predictions` knows.
        data: The data set that the replies answer; needed for a file, and for a run folder only
            to score it against something else than the samples that it keeps.
        protocol: `strict`, `official` or `official-lmms-eval`.
        coords: Coordinate format of the model; the default is the run's own, or `abs`. `auto`: as
            it was calibrated, else as its family writes.
        split: Of the data set, where it has several.
        subset: `L1` or `L1/L2`; "" for all.
        limit: The first N samples only.

    Returns:
        The scores of the whole data set. Samples without a reply count as failed.

    Raises:
        UsageError: The source or the data set cannot be read, or they share no id.
    """
    check_protocol(protocol)
    source = Path(source)
    is_run = (source / "run.json").is_file()
    folder = RunFolder.open(source) if is_run else None
    notes: tuple[str, ...] = ()
    if folder:
        generations = folder.generations()
        notes = damage_note(folder)
        dataset = load_samples(folder) if data is None else _dataset(data, split)
    elif data is None:
        raise UsageError(
            f"expected a run folder, got {source}; where it holds replies, "
            "name the data set that they answer with --data"
        )
    else:
        dataset = _dataset(data, split)
        generations, notes = _predictions(dataset, source)
    dataset = selected(dataset, subset, limit)
    if coords == AUTO:
        if folder is None:
            raise UsageError(
                f"expected a run folder for coords auto, got {source}, which does not say whose "
                "replies these are; name the format"
            )
        reading = reading_of_run(folder.run)
        coords = reading.coords
        said = reading.warning or f"{folder.run.model} is read as {coords}: {reading.why}"
        notes = (*notes, said)
    run = Run(
        model=folder.run.model if folder else f"file/{source.name}",
        data=folder.run.data if folder else dataset.source,
        data_name=dataset.name,
        data_fingerprint=dataset.fingerprint,
        samples=len(dataset),
        subset=subset or (folder.run.subset if folder else ""),
        limit=limit,
        settings=folder.run.settings if folder else {},
        coords=coords or (folder.run.coords if folder else "abs"),
    )
    result = score_generations(
        dataset, generations, run, protocol=protocol, path=folder.path if folder else None
    )
    result.notes = (*result.notes, *notes)
    return result


def score_generations(
    dataset: Dataset,
    generations: Mapping[str, Generation],
    run: Run,
    *,
    protocol: str,
    path: Path | None = None,
) -> Result:
    """Scores stored replies under one protocol, and says where the other one differs."""
    strict = protocols.score(dataset.samples, generations, protocol="strict", coords=run.coords)
    official = protocols.score(dataset.samples, generations, protocol="official")
    scores = {"strict": strict, "official": official}.get(protocol)
    if scores is None:
        scores = protocols.score(dataset.samples, generations, protocol=protocol)
    hint = protocols.reading_hint(dataset.samples, generations, run.coords) or readings.spread_hint(
        dataset.samples, generations, strict
    )
    spending = Spending(price=find_price(run.model))
    spending.add_all(generations.values())
    return Result(
        run,
        scores,
        spending=spending,
        protocol=protocol,
        path=path,
        difference=protocols.explain_difference(strict, official),
        samples=dataset.samples,
        generations=generations,
        notes=(*controls.notes(run), *([hint] if hint else []), *_failures(dataset, generations)),
    )


def _failures(dataset: Dataset, generations: Mapping[str, Generation]) -> Iterator[str]:
    """One line for each kind of failure: how many samples, and the first of them."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for sample in dataset:
        one = generations.get(sample.id)
        if sample.problem:
            kinds.setdefault("a row that cannot be used", []).append((sample.id, sample.problem))
        elif one is None:
            kinds.setdefault("no reply", []).append((sample.id, ""))
        elif one.failure:
            kinds.setdefault(one.failure, []).append((sample.id, one.detail))
    for kind, found in kinds.items():
        id, detail = found[0]
        samples = "sample" if len(found) == 1 else "samples"
        said = f": {detail[:300]}" if detail else ""
        yield f"failed, {kind}: {len(found)} {samples}, such as {id!r}{said}"


def check_protocol(name: str) -> None:
    """Raises `UnknownNameError` where no protocol has that name."""
    if name not in protocols.PROTOCOLS:
        raise unknown("protocol", name, protocols.PROTOCOLS)


def damage_note(folder: RunFolder) -> tuple[str, ...]:
    """A line on stored replies that could not be read; nothing where all could."""
    if not folder.damaged:
        return ()
    lines = ", ".join(map(str, folder.damaged[:5]))
    return (f"{len(folder.damaged)} damaged lines of generations.jsonl are left out: {lines}",)


def _dataset(data: str | Dataset, split: str | None) -> Dataset:
    return load_dataset(data, split=split) if isinstance(data, str) else data


def selected(dataset: Dataset, subset: str, limit: int | None) -> Dataset:
    """A part of a data set, which must not be empty; see `Dataset.select`."""
    selected = dataset.select(subset=subset, limit=limit)
    if not len(selected):
        there = f" of {subset}" if subset else ""
        raise DataError(
            f"expected at least one sample{there} in {dataset.source}, got none; "
            "choose another subset or data set"
        )
    return selected


def _predictions(dataset: Dataset, source: Path) -> tuple[dict[str, Generation], tuple[str, ...]]:
    """Replies from a file by sample id, and what the user should know of them."""
    found = predictions.read_predictions(source)
    generations, strangers = found.match(dataset.samples)
    if len(strangers) == len(found.generations):
        came = f"such as {strangers[0]!r}" if strangers else "none at all"
        raise DataError(
            f"expected replies to the samples of {dataset.source} (ids such as "
            f"{dataset[0].id!r}), got {came} in {source}; name the data set that they answer"
        )
    notes = list(found.notes)
    if strangers:
        notes.append(
            f"{len(strangers)} replies have ids that the data set lacks, such as "
            f"{strangers[0]!r}; they are not scored"
        )
    return generations, tuple(notes)


def versions() -> dict[str, str]:
    """Of this package, Python and the libraries that touch a request."""
    found = {name: metadata.version(name) for name in ("aiohttp", "numpy", "pillow", "pyarrow")}
    return {"groundingme": groundingme.__version__, "python": platform.python_version(), **found}
