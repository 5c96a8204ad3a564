"""Doctests of recipes are collected only where torch is installed, those of migrations never."""

from importlib.util import find_spec

collect_ignore_glob = ["src/groundingme/studio/migrations/*"]
if not find_spec("torch"):
    collect_ignore_glob.append("src/groundingme/train/*")
