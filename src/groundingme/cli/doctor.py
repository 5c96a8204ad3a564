"""`groundingme doctor`."""

from __future__ import annotations

import sys

import click

from groundingme.cli.options import json_option, print_json
from groundingme.terminal import say

_SIGNS = {"ok": "ok", "missing": "--", "problem": "!!"}
_AREAS = {
    "package": "This package", "extras": "Extras, each for some work only",
    "gpu": "GPUs", "keys": "Keys (never shown)", "servers": "Servers", "disk": "Disk and system",
}  # fmt: skip


@click.command("doctor")
@click.option("--base-url", "base_urls", multiple=True, help="A further server to ask, up to and with /v1.")  # fmt: skip  # noqa: E501
@json_option
def doctor_command(base_urls: tuple[str, ...], as_json: bool) -> None:
    """Say what is installed, set and reachable, and the command that mends what is not.

    Exit code 1 where something is broken; what is merely not installed is no fault.
    """
    import msgspec

    from groundingme.doctor import examine

    checks = examine(base_urls)
    broken = [one for one in checks if one.state == "problem"]
    if as_json:
        print_json({"ok": not broken, "checks": [msgspec.structs.asdict(one) for one in checks]})
    else:
        for area, title in _AREAS.items():
            say(title)
            for one in checks:
                if one.area == area:
                    say(f"  {_SIGNS[one.state]}  {one.name}: {one.found}")
                    if one.fix:
                        say(f"        {one.fix}")
        say("")
        count = f"{len(broken)} problem" + ("s" if len(broken) > 1 else "")
        say(f"{count}; see the lines with !!" if broken else "Nothing is broken.")
    if broken:
        sys.exit(1)
