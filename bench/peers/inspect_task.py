"""The same questions through inspect_ai, as its documentation says to ask about images.

    python bench/peers/inspect_task.py BASE_URL FOLDER CONCURRENCY SAMPLES LOGS

FOLDER is a data set of `bench/data.py`. Runs in the environment that `run.py` makes.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, ContentImage, ContentText, GenerateConfig, get_model
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer
from inspect_ai.solver import TaskState, generate

PROMPT = "Please provide the bounding box of the object the following statement describes:\n"


@scorer(metrics=[accuracy()])
def iou() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        a = [float(number) for number in re.findall(r"\d+", state.output.completion)[1:5]]
        b = json.loads(target.text)
        if b is None or len(a) < 4:
            return Score(value=float(b is None and len(a) < 4))
        width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
        height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
        union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
        return Score(value=float(union > 0 and width * height / union >= 0.5))

    return score


def main(base_url: str, folder: Path, concurrency: int, samples: int, logs: str) -> None:
    lines = (folder / "samples.jsonl").read_text().splitlines()[:samples]
    dataset = MemoryDataset(
        [
            Sample(
                id=row["id"],
                input=[
                    ChatMessageUser(
                        content=[
                            ContentImage(image=str(folder / row["image"])),
                            ContentText(text=PROMPT + row["description"]),
                        ]
                    )
                ],
                target=json.dumps(row["bbox"]),
            )
            for row in map(json.loads, lines)
        ]
    )
    model = get_model(
        "openai-api/bench/bench",
        base_url=base_url,
        api_key="none",
        config=GenerateConfig(temperature=0, max_tokens=20480, max_connections=concurrency),
    )
    task = Task(dataset=dataset, solver=generate(), scorer=iou())
    (log,) = eval(task, model=model, display="none", log_dir=logs, max_samples=concurrency)
    assert log.status == "success", log.error
    assert log.results is not None
    assert log.results.completed_samples == samples


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
