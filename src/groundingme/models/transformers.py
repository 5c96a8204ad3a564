"""A multimodal model in this process, through transformers (`groundingme[transformers]`).

From a hub id or a local folder: whatever `AutoModelForImageTextToText` and `AutoProcessor` load.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib.util
import json
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from groundingme import images
from groundingme.errors import (
    FatalError,
    ImageError,
    MissingDependencyError,
    RequestError,
    UsageError,
)
from groundingme.models import PROVIDERS, Model, Request
from groundingme.models.batching import Batches, Outcome
from groundingme.models.confidence import Recorder, with_confidence
from groundingme.models.openai import merged
from groundingme.models.options import flag, mapping, spelled_for_template, whole
from groundingme.models.processors import load_processor
from groundingme.schema import Generation

if TYPE_CHECKING:
    from PIL import Image

DTYPES = ("auto", "bfloat16", "float16", "float32")
SPREAD = ("auto", "balanced", "balanced_low_0", "sequential")
"""Devices that stand for all devices, in the order of the package accelerate."""
SAMPLING = ("top_p", "top_k", "min_p", "repetition_penalty")
"""Fields of a request's `extra` that `generate` takes."""

_DECODERS = 4
"""Threads that decode the images of the next batch."""

_SAMPLED = 1 << 20
"""Bytes of each sample that the fingerprint of a large file reads."""


_Question = tuple[Request, "Image.Image | None"]


class _Prepared(NamedTuple):
    """A batch that is ready for the device.

    Attributes:
        usable: What is asked, each with its place in the batch.
        inputs: Tensors of all of them.
        failed: What came of the others, by place.
    """

    usable: list[tuple[int, _Question]]
    inputs: Any
    failed: dict[int, Outcome]


class Transformers(Model):
    """A model that transformers loads on first use.

    Questions that come at the same time are answered in one batch, image first, with the chat
    template of the model's processor; processors without one get the bare prompt. The reply keeps
    its special tokens, other than those of its end, as some families write boxes with them.

    Args:
        name: Hub id, or path of a folder.
        dtype: `auto` (as stored), `bfloat16`, `float16` or `float32`.
        device: Such as `cuda:1` or `cpu`, or `auto` to spread over all with accelerate; None for
            the first GPU where there is one.
        batch_size: Most questions answered at once; halved for as long as memory does not suffice.
        revision: Branch, tag or commit on the hub.
        attention: Such as `sdpa` or `flash_attention_2`; None for the model's default.
        trust_remote_code: Whether code that comes with the model may run.
        processor: Options of the processor, such as `{"max_pixels": 1003520}`.
        extra_body: Fields as an OpenAI-compatible request has them: `chat_template_kwargs`,
            `reasoning_effort`, `top_p`, `top_k`, `min_p`, `repetition_penalty`.
        logprobs: Keep log-probabilities, from which the confidence comes: see `confidence`.
    """

    def __init__(
        self,
        name: str,
        *,
        dtype: str = "auto",
        device: str | None = None,
        batch_size: int | str = 8,
        revision: str | None = None,
        attention: str | None = None,
        trust_remote_code: bool | str = False,
        processor: Mapping[str, Any] | str | None = None,
        extra_body: Mapping[str, Any] | str | None = None,
        logprobs: bool | str = True,
    ) -> None:
        needs_torch("transformers")
        if dtype not in DTYPES:
            raise UsageError(f"expected dtype as one of {', '.join(DTYPES)}, got {dtype!r}")
        self.name = f"transformers/{name}"
        self._path = name
        self._dtype = dtype
        self._device = device
        self._size = whole("batch_size", batch_size, 1) or 1
        self._revision = revision
        self._attention = attention
        self._trust = flag("trust_remote_code", trust_remote_code)
        self._processing = mapping("processor", processor)
        self._extra = mapping("extra_body", extra_body)
        self._logprobs = flag("logprobs", logprobs)
        spelled_for_template(self._extra, SAMPLING, self.name)
        self.in_hand = 2 * self._size
        self._processors: tuple[Any, Any] | None = None
        self._model: Any = None
        self._stop = threading.Event()
        self._batches = Batches(self._work, self._size, alike=self._alike, prepare=self._prepare)

    def settings(self) -> dict[str, Any]:
        """What changes the replies: how the weights are loaded, and which they are."""
        chosen = {
            "dtype": self._dtype,
            "revision": self._revision,
            "attention": self._attention,
            "processor": self._processing,
            "extra_body": self._extra,
            "weights": fingerprint(Path(self._path)),
        }
        return {name: value for name, value in chosen.items() if value}

    async def generate(self, request: Request) -> Generation:
        """One reply.

        Raises:
            FatalError: The model cannot be loaded, or a field cannot be used.
            RequestError: The image cannot be used, or there is too little memory for it alone.
        """
        return await self._batches.ask(request)

    async def aclose(self) -> None:
        """Stops a batch at its next token. The weights stay loaded for the next run."""
        self._stop.set()
        await self._batches.aclose()
        self._stop.clear()

    def _alike(self, request: Request) -> str:
        return json.dumps([request.temperature, request.max_tokens, request.extra], default=str)

    def _prepare(self, requests: Sequence[Request]) -> _Prepared:
        """Decodes images and makes tensors of them, while the batch before is on the device."""
        if self._processors is None:
            self._processors = self._load_processors()
        with ThreadPoolExecutor(_DECODERS) as pool:
            pictures = list(pool.map(_decoded, requests))
        failed: dict[int, Outcome] = {}
        usable: list[tuple[int, _Question]] = []
        for number, (request, picture) in enumerate(zip(requests, pictures, strict=True)):
            if isinstance(picture, RequestError):
                failed[number] = picture
            else:
                usable.append((number, (request, picture)))
        questions = [question for _, question in usable]
        inputs = self._inputs(self._processors[0], questions) if questions else None
        return _Prepared(usable, inputs, failed)

    def _work(self, prepared: _Prepared) -> list[Outcome]:
        if self._model is None:
            self._model = self._load_model()
        usable, outcomes = prepared.usable, dict(prepared.failed)
        at, size = 0, len(usable)
        import torch

        while at < len(usable):
            part = usable[at : at + size]
            try:
                whole = prepared.inputs if len(part) == len(usable) else None
                replies: Sequence[Outcome] = self._answers([one for _, one in part], whole)
            except torch.OutOfMemoryError as error:
                torch.cuda.empty_cache()
                if len(part) > 1:
                    size = len(part) // 2
                    continue
                replies = [RequestError("memory", f"{self.name}: {first_line(error)}")]
            outcomes.update(zip((number for number, _ in part), replies, strict=True))
            at += len(part)
        return [outcomes[number] for number in range(len(outcomes))]

    def _given(self) -> dict[str, Any]:
        shared = {"revision": self._revision, "trust_remote_code": self._trust}
        return {name: value for name, value in shared.items() if value}

    def _unloadable(self, error: Exception) -> FatalError:
        return FatalError(
            "load",
            f"expected a model that transformers can load, got {self._path}: {first_line(error)}",
        )

    def _load_processors(self) -> tuple[Any, Any]:
        """Two that are alike, one for each thread: a tokenizer cannot be used by two at once."""
        # The boundary: see `_load_model`.
        try:
            processor = load_processor(self._path, **self._given(), **self._processing)
        except Exception as error:  # noqa: BLE001
            raise self._unloadable(error) from None
        tokenizer = getattr(processor, "tokenizer", processor)
        # Replies of one batch go on at the same place, so shorter prompts are filled up in front.
        tokenizer.padding_side = "left"
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return processor, copy.deepcopy(processor)

    def _load_model(self) -> Any:
        import torch
        from transformers import AutoModelForImageTextToText

        device = self._device or ("cuda" if torch.cuda.is_available() else "cpu")
        how = {"attn_implementation": self._attention} if self._attention else {}
        if device in SPREAD:
            how["device_map"] = device
        try:
            model = AutoModelForImageTextToText.from_pretrained(
                self._path, dtype=self._dtype, **self._given(), **how
            )
            if device not in SPREAD:
                model.to(device)
        # The boundary: transformers raises whatever a missing file, a wrong type, an absent package
        # or a full device comes to.
        except Exception as error:  # noqa: BLE001
            raise self._unloadable(error) from None
        model.eval()
        return model

    def _spelled(self, request: Request) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """What goes to the template, and to `generate`: the same for all of a batch."""
        try:
            return spelled_for_template(merged(request.extra, self._extra), SAMPLING, self.name)
        except UsageError as error:
            raise FatalError("bad-request", str(error)) from None

    def _answers(self, questions: Sequence[_Question], inputs: Any) -> list[Generation]:
        """Replies to a part of a batch; `inputs` are its tensors where they are there already."""
        import torch

        assert self._processors is not None
        model, processor = self._model, self._processors[1]
        tokenizer = getattr(processor, "tokenizer", processor)
        first = questions[0][0]
        _, sampling = self._spelled(first)
        began = time.perf_counter()
        if inputs is None:
            inputs = self._inputs(processor, questions)
        inputs = inputs.to(model.device, dtype=model.dtype)
        if first.temperature > 0:
            how = {"do_sample": True, "temperature": first.temperature, **sampling}
        else:
            how = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}

        def stopped(tokens: Any, scores: Any, **more: Any) -> Any:
            return torch.full((len(tokens),), self._stop.is_set(), device=tokens.device)

        recorder = Recorder() if self._logprobs else None
        with torch.inference_mode():
            written = model.generate(
                **inputs,
                max_new_tokens=first.max_tokens,
                pad_token_id=tokenizer.pad_token_id,
                stopping_criteria=[stopped],
                logits_processor=[recorder] if recorder else None,
                **how,
            )
        start = 0 if model.config.is_encoder_decoder else inputs["input_ids"].shape[1]
        ends = _ids(model.generation_config.eos_token_id)
        unsaid = ends | _ids(tokenizer.pad_token_id) | _ids(tokenizer.bos_token_id)
        latency = round(time.perf_counter() - began, 4)
        decode = functools.partial(tokenizer.decode, skip_special_tokens=False)
        replies = []
        for row, (request, _) in enumerate(questions):
            tokens = written[row, start:].tolist()
            length = next((n + 1 for n, token in enumerate(tokens) if token in ends), None)
            said = [token for token in tokens[:length] if token not in unsaid]
            reply = Generation(
                id=request.id,
                trajectory=request.trajectory,
                text=decode(said),
                finish_reason="length" if length is None else "stop",
                prompt_tokens=int(inputs["attention_mask"][row].sum()),
                completion_tokens=length or len(tokens),
                latency=latency,
                served_model=self._path,
            )
            if recorder:
                reply = with_confidence(
                    reply, recorder.tokens(written, row, len(tokens[:length]), decode)
                )
            replies.append(reply)
        return replies

    def _inputs(self, processor: Any, questions: Sequence[_Question]) -> Any:
        """What the model is fed: tensors of a whole batch, padded in front."""
        template, _ = self._spelled(questions[0][0])
        texts = []
        if getattr(processor, "chat_template", None):
            for request, picture in questions:
                content: list[dict[str, Any]] = [{"type": "text", "text": request.prompt}]
                if picture is not None:
                    content.insert(int(request.text_first), {"type": "image"})
                turns = [{"role": "user", "content": content}]
                if request.system:
                    system = [{"type": "text", "text": request.system}]
                    turns.insert(0, {"role": "system", "content": system})
                texts.append(
                    processor.apply_chat_template(
                        turns, tokenize=False, add_generation_prompt=True, **template
                    )
                )
        else:
            texts = [request.prompt for request, _ in questions]
        bos = getattr(getattr(processor, "tokenizer", None), "bos_token", None)
        # A template that writes the mark of the beginning must not get a second one.
        once = {"add_special_tokens": False} if bos and texts[0].startswith(bos) else {}
        pictures = [[picture] for _, picture in questions if picture is not None]
        return processor(
            images=pictures or None, text=texts, padding=True, return_tensors="pt", **once
        )


def _decoded(request: Request) -> Image.Image | RequestError | None:
    try:
        return images.open_upright(request.image.data) if request.image else None
    except ImageError as error:
        return RequestError("image", str(error))


def _ids(value: int | Sequence[int] | None) -> set[int]:
    if value is None:
        return set()
    return {value} if isinstance(value, int) else set(value)


def first_line(error: BaseException) -> str:
    """What an error says, in one line of at most 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def fingerprint(folder: Path) -> str:
    """`sha256:` and hex digits over a local model's configuration and weights; "" for a hub id.

    Of files beyond 64 MiB only 32 samples of 1 MiB, evenly spaced, are read.
    """
    if not folder.is_dir():
        return ""
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".json", ".jinja", ".safetensors", ".bin", ".model", ".txt"):
            continue
        size = path.stat().st_size
        whole.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            if size <= 64 * _SAMPLED:
                whole.update(file.read())
                continue
            for sample in range(32):
                file.seek((size - _SAMPLED) * sample // 31)
                whole.update(file.read(_SAMPLED))
    return f"sha256:{whole.hexdigest()}"


def needs_torch(provider: str) -> None:
    """Raises `MissingDependencyError` where transformers or torch is not installed."""
    for name in ("torch", "transformers"):
        if importlib.util.find_spec(name) is None:
            raise MissingDependencyError(
                f"expected the packages torch and transformers for {provider}/ models, got no "
                f"{name}; pip install 'groundingme[transformers]'"
            )


PROVIDERS.register("transformers", Transformers)
