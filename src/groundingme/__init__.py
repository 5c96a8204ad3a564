"""Measure how well a multimodal LLM grounds language in images, and whether it can reject.

The names below are imported on first use, so that `import groundingme` stays instant.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_WHERE = {
    "evaluate": "groundingme.evaluation",
    "score": "groundingme.evaluation",
    "compare": "groundingme.loading",
    "Result": "groundingme.result",
    "load_dataset": "groundingme.datasets",
    "Dataset": "groundingme.datasets",
    "load_model": "groundingme.models",
    "parse": "groundingme.parsing",
    "Sample": "groundingme.schema",
    "Generation": "groundingme.schema",
    "Answer": "groundingme.schema",
    "Score": "groundingme.schema",
    "Run": "groundingme.schema",
}

__all__ = [
    "__version__",
    *_WHERE,
]

if TYPE_CHECKING:
    from groundingme.datasets import Dataset as Dataset
    from groundingme.datasets import load_dataset as load_dataset
    from groundingme.evaluation import evaluate as evaluate
    from groundingme.evaluation import score as score
    from groundingme.loading import compare as compare
    from groundingme.models import load_model as load_model
    from groundingme.parsing import parse as parse
    from groundingme.result import Result as Result
    from groundingme.schema import Answer as Answer
    from groundingme.schema import Generation as Generation
    from groundingme.schema import Run as Run
    from groundingme.schema import Sample as Sample
    from groundingme.schema import Score as Score


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_WHERE[name]), name)
    return value
