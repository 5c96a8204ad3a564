"""What the site's reader of docstrings does not know of ours; `mkdocs.yml` names this file."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

_TABLE = re.compile(r"^=+(?: +=+)+\n.*\n=+(?: +=+)+$", re.MULTILINE | re.DOTALL)


class Docstrings(Extension):
    """Reads `Example:` as a section of examples, and keeps plain tables as they are."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Of every function, class, module and attribute."""
        if obj.docstring is not None:
            text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = _TABLE.sub(r"```text\n\g<0>\n```", text)
