"""Tasks for Inspect: `inspect eval groundingme/groundingme --model openai/...`.

Inspect finds them by this package's entry point. A sample is asked as `groundingme eval` asks it
(the family's prompt and image rule, the original bytes), and scored by the same parser and
protocol, so that both tools give the same figures for the same replies.
"""

from __future__ import annotations

import base64
import json

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.dataset import Sample as InspectSample
from inspect_ai.model import (
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    ContentText,
    GenerateConfig,
)
from inspect_ai.scorer import Score, Scorer, Target, accuracy, grouped, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from groundingme import protocols
from groundingme.asking import AUTO, Asking, resolve
from groundingme.datasets import Dataset, load_dataset
from groundingme.evaluation import check_protocol
from groundingme.models import Model, Request
from groundingme.runner import request_for
from groundingme.schema import Generation, Sample

IMAGE = "groundingme:sent"
"""Where a sample's store keeps the size of the picture that was sent and of the whole one."""


@task
def groundingme(
    data: str | list[str] = "groundingme",
    split: str | None = None,
    subset: str = "",
    prompt: str = AUTO,
    coords: str = AUTO,
    protocol: str = "strict",
    max_tokens: int = 20480,
) -> Task:
    """GroundingME, or any data set that `groundingme data ls` knows.

    Args:
        data: Name, path or Hub id, such as `scenes:n=100`.
        split: Of the data set, where it has several.
        subset: `L1` or `L1/L2`; "" for all.
        prompt: `auto`, `unified`, `unified-yxyx`, `native`, or a text with `{description}`.
        coords: Name of a coordinate format; `auto` reads the model as its family writes.
        protocol: `strict`, `official` or `official-lmms-eval`.
        max_tokens: Most tokens of a reply.
    """
    check_protocol(protocol)
    # Inspect takes what has commas for a list.
    name = data if isinstance(data, str) else ",".join(map(str, data))
    dataset = load_dataset(name, split=split).select(subset=subset)
    return Task(
        dataset=MemoryDataset([_as_inspect(one) for one in dataset], name=dataset.name),
        solver=[shown(dataset, prompt, coords)],
        scorer=grounded(dataset, prompt, coords, protocol),
        config=GenerateConfig(temperature=0.0, max_tokens=max_tokens),
    )


@task
def scenes(n: int = 1005, seed: int = 0, prompt: str = AUTO, coords: str = AUTO) -> Task:
    """Scenes drawn on the spot: no download.

    Args:
        n: Samples.
        seed: The preset of the benchmark is 0.
        prompt: As `groundingme` takes it.
        coords: Likewise.
    """
    data = "scenes" if (n, seed) == (1005, 0) else f"scenes:n={n},seed={seed}"
    made: Task = groundingme(data=data, prompt=prompt, coords=coords)
    return made


def _as_inspect(one: Sample) -> InspectSample:
    return InspectSample(
        id=one.id,
        input=one.description,
        target=json.dumps(one.target),
        metadata={
            "category": one.subtask_l1 or "all",
            "subtask": f"{one.subtask_l1}/{one.subtask_l2}" if one.subtask_l2 else "all",
            "picture": one.image.name if one.image else one.id,
        },
    )


class _Asked(Model):
    """The model that Inspect asks, for the tables of families."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def generate(self, request: Request) -> Generation:
        """Inspect asks, not this."""
        raise NotImplementedError


def _how(state: TaskState, prompt: str, coords: str) -> tuple[Model, Asking]:
    model = _Asked(str(state.model))
    return model, resolve(model, prompt=prompt, coords=coords)


@solver
def shown(dataset: Dataset, prompt: str, coords: str) -> Solver:
    """Asks as `groundingme eval` asks: picture first, then the family's prompt, one user turn."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        model, how = _how(state, prompt, coords)
        request = request_for(
            model, dataset.find(str(state.sample_id)), prompt=how.template, system=how.system,
            image_rule=how.image,
        )  # fmt: skip
        image = request.image
        assert image is not None
        state.store.set(IMAGE, [image.width, image.height, *(image.full or (0, 0))])
        encoded = base64.b64encode(image.data).decode()
        asked = ChatMessageUser(
            content=[
                ContentImage(image=f"data:{image.mime};base64,{encoded}"),
                ContentText(text=request.prompt),
            ]
        )
        state.messages = [asked]
        if how.system:
            state.messages.insert(0, ChatMessageSystem(content=how.system))
        return await generate(state)

    return solve


@scorer(
    name="groundingme",
    metrics=[accuracy(), stderr(cluster="picture"), grouped(accuracy(), "category", all=False),
             grouped(accuracy(), "subtask", all=False)],
)  # fmt: skip
def grounded(dataset: Dataset, prompt: str, coords: str, protocol: str) -> Scorer:
    """Acc@0.5: 1 for a box with an IoU of 0.5 or more, or for a right rejection; else 0."""

    async def score(state: TaskState, target: Target) -> Score:
        sample = dataset.find(str(state.sample_id))
        _, how = _how(state, prompt, coords)
        sent = state.store.get(IMAGE, [0, 0, 0, 0])
        said = Generation(
            id=sample.id, text=state.output.completion, reasoning=_reasoning(state),
            finish_reason="length" if state.output.stop_reason == "max_tokens" else "stop",
            sent_width=sent[0], sent_height=sent[1], full_width=sent[2], full_height=sent[3],
        )  # fmt: skip
        scores = protocols.score([sample], {sample.id: said}, protocol=protocol, coords=how.coords)
        one = scores[0]
        return Score(
            value=float(one.iou >= 0.5),
            answer=json.dumps(one.box),
            explanation=f"{one.outcome}: {one.reason}",
            metadata={"outcome": one.outcome, "iou": one.iou, "coords": how.coords},
        )

    return score


def _reasoning(state: TaskState) -> str:
    content = state.output.message.content if state.output.choices else ""
    if isinstance(content, str):
        return ""
    return "\n".join(one.reasoning for one in content if one.type == "reasoning")
