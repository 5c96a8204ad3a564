"""The user's servers: where they are, and what an hour costs.

A file of them, in TOML:

    [[server]]
    name = "one H100"
    model = "openai/Qwen/Qwen3-VL-8B-Instruct"
    base_url = "http://localhost:8000/v1"
    dollars_per_hour = 2.5
    gpus = 1
"""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import msgspec

from groundingme.errors import UsageError
from groundingme.studies.study import Setting


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One server with its hardware.

    Attributes:
        name: For people.
        model: `PROVIDER/NAME`; "" for the study's first model.
        base_url: Of the server; "" for the provider's own, or for what runs in this process.
        dollars_per_hour: Of all of it; None where that is not known.
        gpus: How many it has.
    """

    name: str
    model: str = ""
    base_url: str = ""
    dollars_per_hour: float | None = None
    gpus: int = 1

    @property
    def where(self) -> dict[str, str]:
        """Arguments of `evaluate` that say where it is."""
        return {"base_url": self.base_url} if self.base_url else {}

    @property
    def an_hour(self) -> float:
        """Dollars; NaN where that is not known."""
        return math.nan if self.dollars_per_hour is None else self.dollars_per_hour


class _File(msgspec.Struct, forbid_unknown_fields=True):
    server: list[Profile]


def read_servers(path: Path) -> list[Profile]:
    """The profiles in a file.

    Raises:
        UsageError: It cannot be read, or two have one name.
    """
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).server
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise UsageError(
            f"expected [[server]] rows with name, base_url, dollars_per_hour and gpus in {path}, "
            f"got: {error}"
        ) from None
    names = [one.name for one in found]
    if not names or len(set(names)) < len(names):
        raise UsageError(f"expected servers of different names in {path}, got {names}")
    return found


def profiles_of(setting: Setting) -> list[Profile]:
    """Those of the file that the option `servers` names, or the models where they are."""
    if not (path := setting.knobs["servers"]):
        return [Profile(name=name, model=name) for name in setting.labels]
    return [
        msgspec.structs.replace(one, model=one.model or setting.labels[0])
        for one in read_servers(Path(path))
    ]
