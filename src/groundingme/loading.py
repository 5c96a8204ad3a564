"""Opening run folders to look at them together."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from groundingme.alignment import Entry, align
from groundingme.comparison import Comparison
from groundingme.errors import UsageError
from groundingme.evaluation import check_protocol, damage_note, score_generations
from groundingme.result import Result
from groundingme.saving import load_samples
from groundingme.stats import RESAMPLES
from groundingme.store import RunFolder


def load_entry(path: str | Path, *, protocol: str = "strict") -> Entry:
    """One run folder, scored again from its replies.

    Raises:
        UsageError: It is no run folder, or its samples cannot be read.
    """
    return load_scored(path, protocol=protocol)[0]


def load_scored(path: str | Path, *, protocol: str = "strict") -> tuple[Entry, Result]:
    """`load_entry`, and what scoring has to say beside the scores: figures, notes, spending.

    Raises:
        UsageError: See `load_entry`.
    """
    check_protocol(protocol)
    folder = RunFolder.open(path)
    dataset = load_samples(folder)
    generations = folder.generations()
    result = score_generations(
        dataset, generations, folder.run, protocol=protocol, path=folder.path
    )
    result.notes = (*result.notes, *damage_note(folder))
    entry = Entry(
        label=folder.run.model,
        run=folder.run,
        samples=dataset.samples,
        scores=result.scores,
        generations=generations,
        path=folder.path,
        images=_image_names(folder.path / "samples.jsonl"),
    )
    return entry, result


def compare(
    runs: Sequence[str | Path],
    *,
    protocol: str = "strict",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compares runs on the samples that all of them were asked.

    Args:
        runs: Two run folders or more.
        protocol: `strict`, `official` or `official-lmms-eval`.
        resamples: Of the bootstrap.
        seed: The same one gives the same intervals.

    Raises:
        UsageError: A folder is no run, a run is named twice, or the runs answered different
            samples.
    """
    entries, notes = load_aligned(runs, protocol=protocol)
    return Comparison(entries, notes=notes, resamples=resamples, seed=seed)


def load_aligned(
    runs: Sequence[str | Path], *, protocol: str = "strict"
) -> tuple[list[Entry], list[str]]:
    """Runs cut to the samples that all of them were asked, and what to know of that.

    Raises:
        UsageError: See `compare`.
    """
    places = [Path(one).resolve() for one in runs]
    for place in places:
        if places.count(place) > 1:
            raise UsageError(f"expected each run once, got {place} twice; name it once")
    return align([load_entry(one, protocol=protocol) for one in runs])


class _Row(msgspec.Struct):
    id: str
    image: str | None = None


def _image_names(path: Path) -> dict[str, str]:
    """Names of the samples' images by sample id, as far as the run keeps them."""
    names = {}
    decoder = msgspec.json.Decoder(_Row)
    with suppress(OSError):
        for line in path.read_bytes().splitlines():
            row = decoder.decode(line)
            if row.image:
                names[row.id] = row.image
    return names
