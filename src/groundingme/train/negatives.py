"""Negatives for training: true descriptions of a data set with one fact made wrong.

They are written as RefCOCOg_rej has them (`original_exp`, `rejected_exp`, `original_bbox`), so
`load_dataset` reads them back, with every change on record beside them:

    out/train-00000-of-00004.parquet   the negatives, with their images' original bytes
    out/changes.jsonl                  a line a negative: what was changed, by whom, how checked
    out/negatives.json                 counts, reasons of what was dropped, settings

Rules are fast and cannot look; a model can be asked for variants, and a model can be asked whether
it finds what a variant describes. What is dropped is counted under a reason:

====================  ==========================================================================
``no-rule``           no rule finds anything to change
``duplicate``         the variant is, but for little, what is said of another object in the picture
``true``              it may be true of another object, as far as the data set knows the picture
``again``             the same variant was made of the same picture already
``insisted``          the checking model found an object and, asked again, held on to it
``not-specific``      not of the kind that `specific` asks for
``spare``             more than `per_positive` were possible
``image-...``         the picture cannot be read
``failed``            the model was asked and gave no reply
a word of `variants`  what a model wrote is no variant with one change; or of `reading`
====================  ==========================================================================
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import msgspec

from groundingme.build.changing import applied
from groundingme.build.contradictions import KINDS, contradict
from groundingme.build.other_things import ABSENT, SWAP, absent, beyond, pool, swaps
from groundingme.build.questions import Asked, check_model
from groundingme.build.records import Change
from groundingme.datasets import Dataset
from groundingme.datasets.layouts import SHARD, encoded
from groundingme.datasets.peer_layouts import write_rejected_rows
from groundingme.errors import DataError, UsageError
from groundingme.registry import unknown
from groundingme.schema import Sample
from groundingme.store import kept, write_atomically
from groundingme.taxonomy import REJECTION
from groundingme.train import sources
from groundingme.train.around import Around, Pictures
from groundingme.train.folders import claim, write_json
from groundingme.train.pictures import Look, Looks

MANIFEST = "negatives.json"
CHANGES = "changes.jsonl"
SETTINGS = "settings.json"
SPLIT = "train"

KIND_NAMES = {name.lower(): name for name in (*KINDS, ABSENT, SWAP)}
"""What `--kind` takes, and the kind's name."""

Tell = Callable[[str], None]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How negatives are made.

    Attributes:
        kinds: Names of `KIND_NAMES`.
        per_positive: Most negatives of one positive, each of another kind.
        limit: From the first N positives only; None for all.
        seed: Of every choice.
        check: `boxes` checks against what the data set knows of the picture; `model` asks
            `check_model` as well; `none` checks nothing.
        specific: `image` keeps those that were checked against the picture alone, `description`
            those that were made from the words alone, `both` all.
        boxes: File with all boxes of the pictures, in a layout that a build reads.
    """

    kinds: tuple[str, ...] = tuple(KIND_NAMES)
    per_positive: int = 1
    limit: int | None = None
    seed: int = 0
    check: Literal["boxes", "model", "none"] = "boxes"
    specific: Literal["image", "description", "both"] = "both"
    boxes: str = ""

    def __post_init__(self) -> None:
        for one in self.kinds:
            if one not in KIND_NAMES:
                raise unknown("kind of negative", one, KIND_NAMES)
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise UsageError(
                f"expected different kinds of {', '.join(KIND_NAMES)}, got {','.join(self.kinds)}"
            )


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """One negative.

    Attributes:
        id: The positive's, and the kind.
        sample: The positive.
        look: Of its picture.
        text: The rejected expression.
        change: What was made wrong.
        others: Other objects of the picture that it was checked against.
        complete: Whether those are all that the picture has.
        verdict: Of the checking model: `rejected`, `doubted` (it pointed, and took it back),
            `unparsed`, `failed`, or "" where none was asked.
    """

    id: str
    sample: Sample
    look: Look
    text: str
    change: Change
    others: int = 0
    complete: bool = False
    verdict: str = ""

    @property
    def specific(self) -> str:
        """`image` where something in the picture speaks for it, else `description`."""
        looked = self.verdict in ("rejected", "doubted")
        return "image" if self.others or self.complete or looked else "description"

    def recorded(self) -> dict[str, Any]:
        """Its line in `changes.jsonl`."""
        return {
            "id": self.id,
            "source_id": self.sample.id,
            "kind": self.change.kind.lower(),
            "before": self.change.before,
            "after": self.change.after,
            "by": self.change.by,
            "specific": self.specific,
            "checks": {"others": self.others, "complete": self.complete, "model": self.verdict},
        }


class Tally:
    """What became of every try, by kind and reason."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()
        self.dropped: dict[str, Counter[str]] = {}

    def drop(self, kind: str, reason: str) -> None:
        """One more that is of no use."""
        self.dropped.setdefault(kind.lower(), Counter())[reason] += 1

    def reasons(self) -> Counter[str]:
        """All kinds together."""
        return sum(self.dropped.values(), Counter())


class Result(msgspec.Struct, frozen=True):
    """What was made.

    Attributes:
        folder: A data set in the layout of RefCOCOg_rej.
        manifest: What `negatives.json` says.
    """

    folder: Path
    manifest: dict[str, Any]


def make_negatives(
    data: str | Dataset,
    *,
    out: str | Path,
    options: Options | None = None,
    asked: Asked | None = None,
    checker: Asked | None = None,
    split: str | None = None,
    budget: float | None = None,
    tell: Tell = lambda line: None,
) -> Result:
    """Makes negatives of a data set; the same call again goes on where one was interrupted.

    Args:
        data: A data set with positives; its rejections are passed over.
        out: Folder to write.
        options: How.
        asked: The model that writes variants; None for rules.
        checker: The model that checks them, for `check="model"`.
        split: Of the data set; None takes `train` where there is one.
        budget: Most US dollars that writing may cost, and checking as well.
        tell: Told a line for people.

    Raises:
        UsageError: A setting that cannot be; nothing was done.
        DataError: The data set cannot be read.
        JobError: The budget is spent, or a file could not be written; what was said is kept.
        Interrupted: Ctrl-C; likewise.
    """
    options = options or Options()
    if (options.check == "model") != (checker is not None):
        raise UsageError("expected a checking model with --check model, and with it alone")
    for model in (asked, checker):
        if model is not None:
            check_model(model.model)
    if options.boxes and not Path(options.boxes).exists():
        raise DataError(f"expected boxes at {options.boxes}, got no file or folder; check the path")
    dataset = sources.load(data, split)
    folder = Path(out)
    settings = {
        "data": dataset.fingerprint,
        "by": asked.model if asked else "rules",
        "checked_by": checker.model if checker else "",
        **{name: _plain(asked) for name in ("asked",) if asked},
        **{name: _plain(checker) for name in ("checker",) if checker},
        **msgspec.json.decode(msgspec.json.encode(options)),
    }
    claim(folder, SETTINGS, settings, what="negatives")
    tally = Tally()
    positives, pictures = read_positives(dataset, options, tally, tell)
    if asked is None:
        tried = by_rules(positives, pictures, options, dataset, tally)
    else:
        from groundingme.train.asking_for import by_model

        tried = by_model(positives, pictures, options, asked, folder, budget, tally, tell)
    made = list(chosen(tried, options, tally))
    if checker is not None:
        from groundingme.train.asking_for import checked

        made = checked(made, checker, folder, options.seed, budget, tally, tell)
    wanted = [one for one in made if options.specific in ("both", one.specific)]
    for one in made:
        if options.specific not in ("both", one.specific):
            tally.drop(one.change.kind, "not-specific")
    _write(folder, wanted, tell)
    manifest = _manifest(dataset, data, settings, positives, wanted, tally)
    with kept(folder):
        write_json(folder / MANIFEST, manifest)
    return Result(folder, manifest)


def _plain(asked: Asked) -> dict[str, Any]:
    """What changes the replies of a model."""
    told: dict[str, Any] = msgspec.to_builtins(asked)
    return {name: told[name] for name in ("temperature", "max_tokens", "thinking", "options")}


Positive = tuple[Sample, Look]


def read_positives(
    dataset: Dataset, options: Options, tally: Tally, tell: Tell = lambda line: None
) -> tuple[list[Positive], Pictures]:
    """The positives that negatives are made of, and what is known of all pictures."""
    looks = Looks()
    positives: list[Positive] = []
    seen: list[Positive] = []
    enough = options.limit if options.limit is not None else len(dataset)
    for done, sample in enumerate(dataset):
        if done and done % 2000 == 0:
            tell(f"{done:,} of {len(dataset):,} read")
        if sample.problem or sample.target is None:
            tally.passed["row" if sample.problem else "rejection"] += 1
            continue
        look = looks(sample.image)
        if not look.digest:
            tally.passed[f"image-{look.kind}"] += 1
            continue
        seen.append((sample, look))
        if len(positives) < enough:
            positives.append((sample, look))
        else:
            tally.passed["limit"] += 1
    return positives, Pictures(seen, options.boxes or None)


# ---- by rules


def by_rules(
    positives: Sequence[Positive],
    pictures: Pictures,
    options: Options,
    dataset: Dataset,
    tally: Tally,
) -> Iterator[list[Made]]:
    """For each positive what rules make of it."""
    nouns = pool(one.detection_type for one in dataset)
    for sample, look in positives:
        around = pictures[look.digest]
        found: list[Made] = []
        for name in options.kinds:
            kind = KIND_NAMES[name]
            rng = random.Random(f"{options.seed}:{sample.id}:{kind}")
            reason = "no-rule"
            for text, change, side in _variants(sample, kind, around, nouns, rng):
                reason = judged(sample, text, change, side, around, options)
                if not reason:
                    found.append(made_of(sample, look, text, change, around, options))
                    break
            if reason:
                tally.drop(kind, reason)
        yield found


def _variants(
    sample: Sample, kind: str, around: Around, nouns: Sequence[Any], rng: random.Random
) -> Iterator[tuple[str, Change, str]]:
    """Text, change and side of each variant that rules make, the likely ones first."""
    text = sample.description
    if kind in KINDS:
        # Another draw may change another word, where the first was of no use.
        for _ in range(3):
            if found := contradict(text, kind, rng):
                yield *found, ""
        return
    if kind == ABSENT:
        edit = absent(
            text, sample.detection_type, nouns, around.seen(), rng, complete=around.complete
        )
        if edit:
            yield applied(text, edit), _change(kind, edit.before, edit.after), ""
        return
    options = swaps(text)
    rng.shuffle(options)
    for one in options:
        change = _change(kind, one.edit.before, one.edit.after)
        yield applied(text, one.edit), change, one.side
    count = 1 + len(around.of_class(sample))
    if around.complete and (edit := beyond(text, sample.detection_type, count, rng)):
        yield applied(text, edit), _change(kind, edit.before, edit.after), ""


def _change(kind: str, before: str, after: str) -> Change:
    return Change(kind=kind, before=before, after=after, by="rules")


def judged(
    sample: Sample, text: str, change: Change, side: str, around: Around, options: Options
) -> str:
    """Why a variant is of no use, as far as the data set knows; "" where it is."""
    return "" if options.check == "none" else around.problem(sample, text, change, side)


def made_of(
    sample: Sample, look: Look, text: str, change: Change, around: Around, options: Options
) -> Made:
    """A negative that passed `judged`."""
    checked = options.check != "none"
    return Made(
        id=f"{sample.id}-{change.kind.lower()}",
        sample=sample,
        look=look,
        text=text,
        change=change,
        others=len(around.others(sample)) if checked else 0,
        complete=around.complete and checked,
    )


# ---- choosing, writing


def chosen(tried: Iterator[list[Made]], options: Options, tally: Tally) -> Iterator[Made]:
    """At most `per_positive` of each positive; the kinds that are rarest so far go first."""
    have: Counter[str] = Counter()
    texts: set[tuple[str, str]] = set()
    for found in tried:
        taken = 0
        draw = random.Random(f"{options.seed}:{found[0].sample.id}" if found else "")
        draw.shuffle(found)
        for one in sorted(found, key=lambda one: have[one.change.kind]):
            said = (one.look.digest, " ".join(one.text.lower().split()))
            if taken == options.per_positive or said in texts:
                tally.drop(one.change.kind, "again" if said in texts else "spare")
                continue
            texts.add(said)
            have[one.change.kind] += 1
            taken += 1
            yield one


def as_sample(made: Made) -> Sample:
    """A negative as a sample."""
    return Sample(
        id=made.id,
        description=made.text,
        target=None,
        width=made.look.width,
        height=made.look.height,
        image=made.sample.image,
        subtask_l1=REJECTION,
        subtask_l2=made.change.kind if made.change.kind in KINDS else "",
        detection_type=made.sample.detection_type,
        extra={
            "original_description": made.sample.description,
            "original_bbox": list(made.sample.target or ()),
        },
    )


def _write(folder: Path, made: Sequence[Made], tell: Tell) -> None:
    """The parquet files, those that are there already left as they are, and the changes."""
    if not made:
        raise UsageError(
            "expected negatives, got none that are of use; ask for more kinds, check less, or ask "
            "a model"
        )
    samples = [as_sample(one) for one in made]
    shards = -(-len(samples) // SHARD)
    digest = hashlib.sha256(repr([(one.id, one.text) for one in made]).encode()).hexdigest()
    with kept(folder):
        _forget_others(folder, digest)
        for shard in range(shards):
            path = folder / f"{SPLIT}-{shard:05}-of-{shards:05}.parquet"
            if path.exists():
                continue
            rows = samples[shard * SHARD : (shard + 1) * SHARD]
            with closing(encoded(rows, 1)) as images:
                write_rejected_rows(path, rows, [one.id for one in rows], images)
            tell(f"{min(len(samples), (shard + 1) * SHARD):,} of {len(samples):,} written")
        lines = b"\n".join(msgspec.json.encode(one.recorded()) for one in made)
        write_atomically(folder / CHANGES, lines + b"\n")


def _forget_others(folder: Path, digest: str) -> None:
    """Removes files of an earlier session whose negatives were others.

    A question that failed then and was answered since moves all rows behind it.
    """
    mark = folder / ".rows"
    if not mark.exists() or mark.read_text(encoding="utf-8") != digest:
        for path in folder.glob(f"{SPLIT}-*.parquet"):
            path.unlink()
        write_atomically(mark, digest.encode())


def _manifest(
    dataset: Dataset,
    data: str | Dataset,
    settings: dict[str, Any],
    positives: Sequence[Positive],
    made: Sequence[Made],
    tally: Tally,
) -> dict[str, Any]:
    kinds = Counter(one.change.kind.lower() for one in made)
    specific = Counter(one.specific for one in made)
    return {
        "version": 1,
        "source": {
            "data": data if isinstance(data, str) else data.source,
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "samples": len(dataset),
            "positives": len(positives),
            "passed_over": dict(sorted(tally.passed.items())),
        },
        "negatives": len(made),
        "of_positives": len({one.sample.id for one in made}),
        "kinds": dict(sorted(kinds.items())),
        "specific": dict(sorted(specific.items())),
        "dropped": {
            kind: dict(sorted(reasons.items())) for kind, reasons in sorted(tally.dropped.items())
        },
        "settings": settings,
    }


def sentences(manifest: dict[str, Any]) -> list[str]:
    """What was made and dropped, for people."""
    source = manifest["source"]
    kinds = ", ".join(f"{n:,} {name}" for name, n in manifest["kinds"].items())
    lines = [
        f"{manifest['negatives']:,} negatives of {source['positives']:,} positives ({kinds})",
        ", ".join(f"{n:,} specific to the {name}" for name, n in manifest["specific"].items()),
    ]
    reasons: Counter[str] = Counter()
    for one in manifest["dropped"].values():
        reasons.update(one)
    for what, told in (("tries that gave none", reasons), ("passed over", source["passed_over"])):
        if told:
            lines.append(f"{what}: " + ", ".join(f"{n:,} {name}" for name, n in told.items()))
    return lines


def parse_kinds(text: str) -> tuple[str, ...]:
    """Kinds with commas between them."""
    return tuple(re.split(r"\s*,\s*", text.strip().lower()))
