"""Settings, estimates and mistakes of training, none of which needs torch."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from groundingme.cli import main
from groundingme.cli.training import CONFIGS, LAUNCHES, launcher
from groundingme.errors import UsageError
from groundingme.train.tuning.memory import GIB, Shape, check_fits, estimate, free_ram
from groundingme.train.tuning.options import DEFAULTS, TuneOptions, load_options

# Qwen3-VL-8B-Instruct, from its published configuration; LoRA of rank 16 on the language model.
EIGHT = Shape(
    weights=8_767_123_696, linear=7_517_270_016, trained=43_646_976, added=43_646_976, layers=36,
    hidden=4096, inner=12288, vocabulary=151936, vision_layers=27, vision_hidden=1152,
    patches_per_token=4,
)  # fmt: skip


def written(folder: Path, text: str, name: str = "run.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_overruled_by_options(tmp_path: Path) -> None:
    path = written(
        tmp_path, "tune: full\nrate: 2e-5\nepochs: 1\nmax_pixels: 100000\ntrack: [wandb]\n"
    )
    found = load_options(path, {"epochs": 2.0, "image_tokens": 200, "seed": None})
    assert (found.tune, found.rate, found.epochs) == ("full", 2e-5, 2.0)
    assert (found.max_pixels, found.image_tokens) == (None, 200)
    assert found.track == ("wandb",)
    toml = written(tmp_path, 'tune = "qlora"\nrate = 1e-5\n', "run.toml")
    assert load_options(toml) == TuneOptions(tune="qlora", rate=1e-5)
    assert load_options(written(tmp_path, "")) == load_options() == DEFAULTS


def test_the_rate_depends_on_what_is_trained() -> None:
    assert load_options(None, {"tune": "lora"}).learning_rate == 1e-4
    assert load_options(None, {"tune": "full"}).learning_rate == 1e-5
    assert load_options(None, {"tune": "full", "rate": 3e-5}).learning_rate == 3e-5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch: 2", "did you mean 'epochs'"),
        ("batch: 0", "batch: expected a whole number at least 1, got 0"),
        ("tune: lorra", "tune: expected one of lora, qlora, full, got 'lorra'"),
        ("held_out: 1.0", "held_out: expected a number at least 0 and below 1, got 1.0"),
        ("rate: fast", "rate: expected a number above 0, got 'fast'"),
        ("method: ppo", "no method of training is named 'ppo'"),
        ("max_pixels: 1\nimage_tokens: 1", "got both"),
        ("tune: full\ntargets: .*q_proj", "--targets with --tune lora"),
        ("- tune", "expected lines such as"),
        ("tune: [", "expected YAML"),
    ],
)
def test_a_file_that_cannot_be_used(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_options(written(tmp_path, text))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_paper_s_run_ships() -> None:
    found = load_options("paper")
    assert found == load_options(CONFIGS / "paper.yaml")
    assert (found.method, found.epochs) == ("sft", 3)
    assert found != DEFAULTS
    # All that the paper leaves open is there, and marked as ours.
    lines = (CONFIGS / "paper.yaml").read_text(encoding="utf-8").splitlines()
    told = {line.split(":")[0]: line for line in lines if line and not line.startswith("#")}
    marked = {name for name, line in told.items() if "# ours" in line}
    assert set(told) - marked == {"method", "epochs"}
    assert {"rate", "batch", "tune", "rank", "image_tokens"} <= marked


@pytest.mark.parametrize("name", [one for one in LAUNCHES if one != "cpu"])
def test_launcher_files_ship(name: str) -> None:
    found: Any = msgspec.yaml.decode((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))
    kinds = {"ddp": "MULTI_GPU", "fsdp": "FSDP", "deepspeed-zero3": "DEEPSPEED"}
    assert found["distributed_type"] == kinds[name]
    assert found["compute_environment"] == "LOCAL_MACHINE"


def test_a_launcher_starts_the_same_command_without_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ["groundingme", "train", "a", "b", "--launch", "fsdp", "--processes=4", "--rate", "1e-4"]
    monkeypatch.setattr(sys, "argv", own)
    words = launcher("fsdp", 4)
    assert words[-6:] == ["groundingme", "train", "a", "b", "--rate", "1e-4"]
    assert words[words.index("--num_processes") + 1] == "4"
    assert Path(words[words.index("--config_file") + 1]).is_file()
    assert launcher("cpu", 2)[-5:] == ["train", "a", "b", "--rate", "1e-4"]


def needed(tune: str, shape: Shape = EIGHT, **more: Any) -> Any:
    usual = {"bf16": True, "checkpointing": True, "batch": 4, "tokens": 700, "image_tokens": 300}
    return estimate(shape, tune=tune, **{**usual, **more})


def test_weights_gradients_and_moments_are_counted_exactly() -> None:
    lora = needed("lora")
    assert lora.weights == EIGHT.weights * 2 + EIGHT.added * 4
    assert lora.gradients + lora.optimizer == EIGHT.added * 12
    whole = msgspec.structs.replace(EIGHT, trained=8_190_735_360, added=0)
    full = needed("full", whole)
    assert full.weights == EIGHT.weights * 4
    assert full.gradients + full.optimizer == 8_190_735_360 * 12
    assert needed("full", whole, shards=8).weights == full.weights / 8
    quantized = needed("qlora")
    assert 0.3 < quantized.weights / lora.weights < 0.45


def test_activations_grow_with_what_is_seen_at_once() -> None:
    one = needed("lora", batch=1).activations
    assert needed("lora").activations == pytest.approx(4 * one)
    assert needed("lora", batch=1, checkpointing=False).activations > 4 * one
    assert needed("lora", batch=1, tokens=1400, image_tokens=1000).activations > 1.9 * one


def test_too_little_memory_says_what_to_change() -> None:
    lora = needed("lora", gpu=True)
    check_fits(lora, lora.total, "a GPU", tune="lora", batch=4)
    with pytest.raises(UsageError) as caught:
        check_fits(lora, 17.5 * GIB, "NVIDIA X", tune="lora", batch=4)
    said = str(caught.value)
    assert "fits into 17.5 GiB on NVIDIA X" in said
    for way in ("--tune qlora", "--launch fsdp", "--no-check-memory"):
        assert way in said
    assert "--batch 1" not in said, "it would not help"
    with pytest.raises(UsageError, match="--batch 1 with a larger --accumulate"):
        check_fits(lora, lora.total - GIB / 2, "a GPU", tune="lora", batch=4)
    with pytest.raises(UsageError, match="--tune lora"):
        check_fits(needed("full"), GIB, "a GPU", tune="full", batch=1)


def test_free_memory_is_that_of_this_machine() -> None:
    assert 0.01 * GIB < free_ram() < 2**50


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["train", *words])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "expected BASE and MIXTURE"),
        (["a"], "expected BASE and MIXTURE"),
        (["a", "b", "--processes", "2"], "expected --launch"),
        (["a", "b", "--batch", "-1"], "batch: expected a whole number at least 1, got -1"),
        (["a", "b", "--config", "nowhere.yaml"], "got no file"),
        (["a", "b", "--method", "sfft"], "did you mean 'sft'"),
        (["--print-config", "fsdpp"], "did you mean 'fsdp'"),
        (["a", "b", "--tune", "some"], "some"),
    ],
)
def test_mistakes_take_one_line_and_exit_with_2(words: list[str], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert said in result.output
    assert result.output.count("\n") == 1


def test_where_a_shipped_file_is() -> None:
    result = run("--print-config", "fsdp")
    assert result.exit_code == 0
    assert Path(result.output.strip()) == CONFIGS / "fsdp.yaml"


def test_missing_packages_name_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None)
    result = run("a", "b")
    assert result.exit_code == 2
    assert "pip install 'groundingme[train]'" in result.output
