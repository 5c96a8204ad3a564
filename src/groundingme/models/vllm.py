"""A model in this process through vLLM, in offline batches.

The project's tests have no vLLM, so they run against a stand-in with the same signatures. By hand
it was run with the real one, 0.32 on a CPU with a tiny LLaVA: boxes, null and log-probabilities
came back as they should. Nobody has run it on a GPU; there `vllm serve` and the provider `openai`
are the tested way to the same replies.
"""

from __future__ import annotations

import base64
import importlib.util
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from groundingme.errors import FatalError, MissingDependencyError, RequestError, UsageError
from groundingme.models import PROVIDERS, Model, Request
from groundingme.models.batching import Batches, Outcome
from groundingme.models.confidence import ALTERNATIVES, Token, spelled, with_confidence
from groundingme.models.openai import merged
from groundingme.models.options import flag, mapping, spelled_for_template, whole
from groundingme.models.transformers import fingerprint, first_line
from groundingme.schema import Generation

SAMPLING = (
    "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty",
    "skip_special_tokens", "stop",
)  # fmt: skip
"""Fields of a request's `extra` that `vllm.SamplingParams` takes."""


class VLLM(Model):
    """A model that vLLM loads on first use.

    A run has twice as many questions in hand as fit into a batch, but for images of more than
    256 MB together. Images are handed over as they are sent to a server. The reply keeps special
    tokens, other than those of its end. Above temperature 0 each question has a seed of its own,
    made from its id and trajectory.

    Args:
        name: Hub id, or path of a folder.
        batch_size: Most questions given to vLLM at once; it schedules them itself.
        engine: Further arguments of `vllm.LLM`, such as `{"tensor_parallel_size": 2,
            "max_model_len": 32768}`.
        extra_body: Fields as an OpenAI-compatible request has them: `chat_template_kwargs`,
            `reasoning_effort`, and what is in `SAMPLING`.
        logprobs: Ask for log-probabilities, from which the confidence comes: see `confidence`.
    """

    def __init__(
        self,
        name: str,
        *,
        batch_size: int | str = 256,
        engine: Mapping[str, Any] | str | None = None,
        extra_body: Mapping[str, Any] | str | None = None,
        logprobs: bool | str = False,
    ) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise MissingDependencyError(
                "expected the package vllm for vllm/ models, got none; pip install vllm, or run "
                "`vllm serve` elsewhere and use openai/"
            )
        self.name = f"vllm/{name}"
        self._path = name
        self._engine = mapping("engine", engine)
        self._extra = mapping("extra_body", extra_body)
        self._logprobs = flag("logprobs", logprobs)
        spelled_for_template(self._extra, SAMPLING, self.name)
        self._llm: Any = None
        size = whole("batch_size", batch_size, 1) or 1
        self.in_hand = 2 * size
        self._batches = Batches(
            self._work,
            size,
            alike=lambda request: repr(sorted(request.extra.items())),
        )

    def settings(self) -> dict[str, Any]:
        """What changes the replies: the engine's arguments, and which weights."""
        chosen = {
            "engine": self._engine,
            "extra_body": self._extra,
            "weights": fingerprint(Path(self._path)),
        }
        return {name: value for name, value in chosen.items() if value}

    async def generate(self, request: Request) -> Generation:
        """One reply.

        Raises:
            FatalError: The model cannot be loaded, or vLLM refuses the batch.
        """
        return await self._batches.ask(request)

    async def aclose(self) -> None:
        """Waits for the batch in hand. The engine stays loaded for the next run."""
        await self._batches.aclose()

    def _work(self, requests: Sequence[Request]) -> list[Outcome]:
        import vllm

        # The boundary: vLLM raises whatever a missing file, a wrong argument or a full device
        # comes to, and no later batch would fare better.
        try:
            if self._llm is None:
                arguments = {"limit_mm_per_prompt": {"image": 1}, **self._engine}
                self._llm = vllm.LLM(model=self._path, **arguments)
            template, sampling = spelled_for_template(
                merged(requests[0].extra, self._extra), SAMPLING, self.name
            )
            began = time.perf_counter()
            outputs = self._llm.chat(
                [turns(request) for request in requests],
                sampling_params=[
                    vllm.SamplingParams(**self._sampling(request, sampling)) for request in requests
                ],
                use_tqdm=False,
                chat_template_kwargs=template or None,
            )
        except UsageError as error:
            raise FatalError("bad-request", str(error)) from None
        except Exception as error:  # noqa: BLE001
            raise FatalError("load", f"vLLM says of {self._path}: {first_line(error)}") from None
        latency = round(time.perf_counter() - began, 4)
        return [
            self._read(request, output, latency)
            for request, output in zip(requests, outputs, strict=True)
        ]

    def _sampling(self, request: Request, sampling: Mapping[str, Any]) -> dict[str, Any]:
        drawn = request.temperature > 0
        seed = zlib.crc32(f"{request.id}:{request.trajectory}".encode())
        return {
            "temperature": request.temperature,
            "max_tokens": request.max_tokens,
            "skip_special_tokens": False,
            **({"seed": seed} if drawn else {}),
            **({"logprobs": ALTERNATIVES} if self._logprobs else {}),
            **sampling,
        }

    def _read(self, request: Request, output: Any, latency: float) -> Outcome:
        if not output.outputs:
            return RequestError("bad-reply", f"vLLM gave no reply to {request.id!r}")
        best = output.outputs[0]
        reply = Generation(
            id=request.id,
            trajectory=request.trajectory,
            text=best.text,
            finish_reason=best.finish_reason or "",
            prompt_tokens=len(output.prompt_token_ids or ()) or None,
            completion_tokens=len(best.token_ids),
            latency=latency,
            served_model=self._path,
        )
        return with_confidence(reply, self._tokens(best)) if best.logprobs else reply

    def _tokens(self, best: Any) -> list[Token]:
        ids = list(best.token_ids)
        pieces = spelled(self._llm.get_tokenizer().decode, ids)
        return [
            Token(
                piece,
                place[id].logprob,
                tuple((o.decoded_token or "", o.logprob) for o in place.values()),
            )
            for id, piece, place in zip(ids, pieces, best.logprobs, strict=True)
        ]


def turns(request: Request) -> list[dict[str, Any]]:
    """A question as a conversation, as an OpenAI-compatible server would get it."""
    content: list[dict[str, Any]] = [{"type": "text", "text": request.prompt}]
    if request.image is not None:
        data = base64.b64encode(request.image.data).decode("ascii")
        url = f"data:{request.image.mime};base64,{data}"
        content.insert(int(request.text_first), {"type": "image_url", "image_url": {"url": url}})
    conversation: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if request.system:
        conversation.insert(0, {"role": "system", "content": request.system})
    return conversation


PROVIDERS.register("vllm", VLLM)
