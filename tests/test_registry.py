"""Names that are imported on first use, also when several threads ask at once."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from groundingme.registry import Registry


def test_every_thread_sees_all_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "slowly_named"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from groundingme.registry import Registry\nSHAPES = Registry('shape', 'slowly_named')\n"
    )
    for name in ("a", "b", "c"):
        (package / f"{name}.py").write_text(
            "import time\nfrom slowly_named import SHAPES\ntime.sleep(0.05)\n"
            f"SHAPES.register({name!r}, 1)\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    shapes: Registry[int] = __import__("slowly_named").SHAPES
    together = Barrier(4)

    def names(_: int) -> list[str]:
        together.wait()
        return shapes.names()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(names, range(4))) == [["a", "b", "c"]] * 4
    for name in [one for one in sys.modules if one.startswith("slowly_named")]:
        del sys.modules[name]
