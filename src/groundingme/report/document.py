"""The frame of a page: a head with a content policy that lets only the page's own parts work."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from groundingme.report.markup import Html, tag


def head(title: str, script: str = "") -> Html:
    """The head of a page that may load nothing and run nothing but that script."""
    style = static("report.css")
    runs = f"script-src '{_digest(script)}'; " if script else ""
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; {runs}"
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Html(style)),
    )


def static(name: str) -> str:
    """A file that the page holds."""
    return resources.files("groundingme.report").joinpath("static", name).read_text("utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
