"""Training for real: tiny models of transformers' own classes, on the CPU, through the command."""

from __future__ import annotations

import json
import os
import pickle
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny_vl
from groundingme.errors import UsageError
from groundingme.train.tuning.options import TuneOptions

torch = pytest.importorskip("torch", reason="needs torch: groundingme[train]")
trl = pytest.importorskip("trl", reason="needs groundingme[train]")
pytestmark = [
    pytest.mark.slow,
    # Warnings of libraries about their own insides, which differ with every version of them.
    pytest.mark.filterwarnings("default"),
]

SMALL = (
    "--batch", "8", "--accumulate", "1", "--held-out", "0", "--no-checkpointing", "--workers", "0",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures, four questions with a box and four without."""
    return tiny_vl.write_squares(tmp_path_factory.mktemp("squares"))


@pytest.fixture(scope="module")
def mixture(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vl.mixture_of(squares, tmp_path_factory.mktemp("mixtures") / "m")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vl.build_qwen3_vl(tmp_path_factory.mktemp("models") / "tiny-qwen3-vl")


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "groundingme", *map(str, words)]


def call(*words: object, code: int = 0, cwd: Path | None = None) -> str:
    """Runs the command; what it says, on both streams."""
    done = subprocess.run(
        command(*words), capture_output=True, text=True, env=environment(), cwd=cwd, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def steps(out: Path) -> list[int]:
    return [line["step"] for line in lines(out / "log.jsonl")]


def weights(out: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(out / "adapter" / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("tune", "settings"),
    [
        ("lora", ("--steps", 110, "--rate", "1e-2")),
        ("full", ("--steps", 100, "--rate", "3e-3")),
    ],
)
def test_eight_rows_are_learnt_to_the_letter(
    tune: str,
    settings: tuple[object, ...],
    base: Path,
    mixture: Path,
    squares: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "tiny-qwen3-vl"
    config = tmp_path / "run.yaml"
    config.write_text("dropout: 0.0\nwarmup: 0.1\n", encoding="utf-8")
    said = call(
        "train", base, mixture, "-o", out, "--config", config, "--tune", tune, *settings, *SMALL
    )
    assert f"Model: {out}" in said
    card = json.loads((out / "training.json").read_text(encoding="utf-8"))
    assert card["plan"]["rows"] == 8
    assert card["plan"]["trained"] < card["plan"]["parameters"]
    last = lines(out / "log.jsonl")[-1]
    assert last["step"] == settings[1]
    assert last["loss"] < 0.2
    # The folder's name tells the family, so nothing needs to be said about coordinates.
    runs = tmp_path / "runs"
    asked = shlex.split(next(line for line in said.splitlines() if "Next:" in line))[2:]
    assert "--coords" not in asked
    assert asked[asked.index("--prompt") + 1] == tiny_vl.PROMPT
    asked[asked.index("--data") + 1] = str(squares)
    shown = call(*asked, "--out", runs)
    assert re.search(r"^ all +8 +100\.0 ", shown, re.MULTILINE), shown
    (written,) = runs.glob("*/generations.jsonl")
    replies = {line["id"]: line["text"] for line in lines(written)}
    from groundingme.train.mixture import load_mixture

    rows = list(load_mixture(mixture).rows())
    assert replies == {row["source_id"]: row["completion"][0]["content"] for row in rows}
    assert list(replies.values()).count('{"bbox_2d": null}') == 4


def test_killed_and_interrupted_runs_end_where_an_undisturbed_one_does(
    base: Path, mixture: Path, tmp_path: Path
) -> None:
    words = ("train", base, mixture, "--steps", 16, "--rate", "1e-2", "--save-every", 3, *SMALL)
    words = (*words, "--batch", 2, "--held-out", "0.25", "--eval-every", 4)
    same = {"steps": 16, "rate": 1e-2, "save_every": 3, "batch": 2, "held_out": 0.25}
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    run_here(base, mixture, straight, **same, eval_every=4)

    def until(ready: Callable[[], bool], how: int) -> int:
        process = subprocess.Popen(
            command(*words, "-o", stopped), env=environment(), stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 300
        while not ready() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.poll() is None, "it ended before it could be disturbed"
        process.send_signal(how)
        return process.wait(timeout=300)

    assert until((stopped / "checkpoints/checkpoint-3/whole").exists, signal.SIGKILL) != 0
    # It may have come further before it was killed: then there would be nothing to wait for.
    for later in (stopped / "checkpoints").glob("checkpoint-*"):
        if later.name != "checkpoint-3":
            shutil.rmtree(later)
    half = stopped / "checkpoints" / "checkpoint-99"
    half.mkdir()
    (half / "optimizer.pt").write_bytes(b"half")
    seen = steps(stopped)[-1] if (stopped / "log.jsonl").exists() else 0
    assert seen < 16
    kept = (stopped / "checkpoints/checkpoint-6/whole").exists
    assert until(kept, signal.SIGINT) == 130
    assert not half.exists()
    said = call(*words, "-o", stopped)
    assert "Going on from" in said
    ours, theirs = weights(stopped), weights(straight)
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)
    assert lines(stopped / "curve.jsonl") == lines(straight / "curve.jsonl")
    assert [line["step"] for line in lines(straight / "curve.jsonl")] == [0, 4, 8, 12, 16]
    run_here(base, mixture, stopped, **same, eval_every=4, state="before")
    with pytest.raises(UsageError, match=r"rate 0\.001, not 0\.01.*another folder with -o"):
        run_here(base, mixture, stopped, **{**same, "rate": 1e-3}, eval_every=4)


def test_two_processes_train_one_model(base: Path, mixture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("train", base, mixture, "-o", out, "--steps", 2, *SMALL, "--held-out", "0.5")
    call(*words, "--batch", 2, "--launch", "cpu", "--processes", 2)
    card = json.loads((out / "training.json").read_text(encoding="utf-8"))
    assert card["processes"] == 2
    assert card["plan"]["rows_a_step"] == 4
    assert [line["step"] for line in lines(out / "curve.jsonl")] == [0, 1, 2]
    assert lines(out / "curve.jsonl")[0]["positives"] == 2
    refused = call(*words, "--batch", 2, code=2)
    assert "processes 1, not 2" in refused


@pytest.mark.parametrize("family", ["qwen2.5-vl", "internvl"])
@pytest.mark.parametrize("tune", ["lora", "full"])
def test_other_families_take_a_step(family: str, tune: str, squares: Path, tmp_path: Path) -> None:
    build = {"qwen2.5-vl": tiny_vl.build_qwen25_vl, "internvl": tiny_vl.build_internvl}[family]
    model = build(tmp_path / "model")
    mixed = tiny_vl.mixture_of(squares, tmp_path / "mixtures", family)
    out = tmp_path / "out"
    told = run_here(model, mixed, out, tune=tune, vision=True, steps=1)
    assert told["family"] == family
    assert {"config.json", "training.json"} <= {path.name for path in out.iterdir()}
    assert answer(out, squares)


def run_here(
    model: Path, mixed: Path, out: Path, state: str = "finished", **options: Any
) -> dict[str, Any]:
    """The same in this process, which is sooner there."""
    from groundingme.train.tuning.plans import plan
    from groundingme.train.tuning.running import run

    usual = {"batch": 4, "accumulate": 1, "held_out": 0.0, "workers": 0, "checkpointing": False}
    planned = plan(str(model), mixed, TuneOptions(**{**usual, **options}))
    assert run(planned, out, say=lambda line: None).state == state
    return planned.told()


def answer(model: Path, data: Path) -> bool:
    """Whether a folder can be asked."""
    from groundingme import evaluate

    result = evaluate(
        f"transformers/{model}", str(data), limit=1, max_tokens=4, out=model.parent / "runs",
        coords="n1000",
    )  # fmt: skip
    return result.failed == 0


def test_an_adapter_alone_can_be_asked(
    base: Path, mixture: Path, squares: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run_here(base, mixture, out, steps=1, merge=False, checkpointing=True)
    assert not (out / "model.safetensors").exists()
    assert (out / "adapter_model.safetensors").exists()
    assert answer(out, squares)


def test_the_loss_is_that_of_the_answer(base: Path, mixture: Path, tmp_path: Path) -> None:
    from groundingme.train.tuning import sft
    from groundingme.train.tuning.job import Job
    from groundingme.train.tuning.plans import plan
    from groundingme.train.tuning.stopping import Stopping
    from groundingme.train.tuning.watching import Watcher

    planned = plan(str(base), mixture, TuneOptions(batch=8, held_out=0.0, workers=0))
    watcher = Watcher(
        tmp_path, planned.base, [], "n1000", batch=1, every=1, stopping=Stopping(), say=print
    )
    trainer = sft.make_trainer(
        Job(
            base=planned.base, options=planned.options, rows=planned.rows, coords="n1000",
            bf16=False, steps=1, folder=tmp_path, watcher=watcher,
        )
    )  # fmt: skip
    batch = next(iter(trainer.get_train_dataloader()))
    decode = planned.base.processor.tokenizer.decode
    learnt = {decode(row[row != -100]) for row in batch["labels"]}
    assert learnt == {f"{row.answer}<|im_end|>\n" for row in planned.rows}
    assert int(batch["attention_mask"].sum(1).max()) <= planned.tokens


def test_estimated_weights_are_those_that_are_trained(base: Path, mixture: Path) -> None:
    from groundingme.train.tuning import base as bases
    from groundingme.train.tuning.plans import plan

    for tune in ("lora", "full"):
        for vision in (False, True):
            options = TuneOptions(tune=tune, vision=vision, held_out=0.0)  # type: ignore[arg-type]
            planned = plan(str(base), mixture, options)
            model: Any = bases.load_model(planned.base, options, bf16=False)
            if tune == "lora":
                from peft import LoraConfig, get_peft_model

                targets = bases.targets_of(planned.base, options)
                model = get_peft_model(model, LoraConfig(r=16, target_modules=targets))
            trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
            total = sum(one.numel() for one in model.parameters())
            assert (planned.shape.trained, planned.shape.weights + planned.shape.added) == (
                trained,
                total,
            )


def broken(mixture: Path, folder: Path, change: Callable[[Path], None]) -> Path:
    shutil.copytree(mixture.parent, folder)
    change(folder / mixture.name)
    return folder / mixture.name


def test_what_cannot_be_trained_is_said_before_it_is_tried(
    base: Path, mixture: Path, squares: Path, tmp_path: Path
) -> None:
    from groundingme.train.tuning.plans import plan

    def said(model: Path, mixed: Path, **options: Any) -> str:
        with pytest.raises(UsageError) as caught:
            plan(str(model), mixed, TuneOptions(**options))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def drop(folder: Path) -> None:
        next((folder.parent / "images").iterdir()).unlink()

    def shift(folder: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.read_table(folder / "train.parquet")
        rows = table.to_pylist()
        first = next(row for row in rows if row["positive"])
        first["box"] = [value + 20 for value in first["box"]]
        pq.write_table(pa.Table.from_pylist(rows, table.schema), folder / "train.parquet")

    assert "got no file" in said(base, broken(mixture, tmp_path / "a", drop))
    assert "say the same" in said(base, broken(mixture, tmp_path / "b", shift))
    llava = tmp_path / "llava"
    llava.mkdir()
    (llava / "config.json").write_text('{"model_type": "llava"}', encoding="utf-8")
    assert "of type qwen3_vl" in said(llava, mixture)
    assert "a Hub id OWNER/NAME or a folder" in said(tmp_path / "nowhere", mixture)
    assert "that transformers can load" in said(mixture, mixture)
    other = tiny_vl.mixture_of(squares, tmp_path / "other", "internvl")
    assert "a mixture for qwen3-vl" in said(base, other)
    assert "matches none" in said(base, mixture, targets="nothing")
    assert "regular expression" in said(base, mixture, targets="(")
    assert "4 or more" in said(base, mixture, image_tokens=1)
    assert "no tracker is named 'wandbb'" in said(base, mixture, track=("wandbb",))
    assert "holds out all" in said(base, mixture, held_out=0.9)
    assert "bitsandbytes" in said(base, mixture, tune="qlora")
    assert "flash-attn" in said(base, mixture, attention="flash")


def test_a_processor_can_be_sent_to_the_processes_that_decode(base: Path) -> None:
    from groundingme.models.processors import load_processor

    processor = load_processor(str(base))
    other = pickle.loads(pickle.dumps(processor))
    assert type(other) is type(processor)
    assert other.tokenizer("the red square") == processor.tokenizer("the red square")


def test_pixels_of_a_resized_image_must_be_those_that_are_seen(
    squares: Path, tmp_path: Path
) -> None:
    from groundingme.train.tuning.plans import plan

    model = tiny_vl.build_qwen25_vl(tmp_path / "model")
    mixed = tiny_vl.mixture_of(squares, tmp_path / "mixtures", "qwen2.5-vl")
    plan(str(model), mixed, TuneOptions(max_pixels=11760))
    with pytest.raises(UsageError, match="--max-pixels 11760 or more"):
        plan(str(model), mixed, TuneOptions(max_pixels=5_000))


def test_a_run_that_does_not_fit_does_not_start(
    base: Path, mixture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from groundingme.train.tuning import memory
    from groundingme.train.tuning.plans import plan
    from groundingme.train.tuning.running import run

    monkeypatch.setattr(memory, "free_ram", lambda: 1_000_000.0)
    planned = plan(str(base), mixture, TuneOptions(held_out=0.0))
    with pytest.raises(UsageError, match=r"fits into 0\.0 GiB on the CPU"):
        run(planned, tmp_path / "out")


def test_folders_that_are_no_run(base: Path, mixture: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    said = call("train", base, mixture, "-o", tmp_path, "--held-out", "0", code=2)
    assert "with other files" in said
