"""Doctests of what needs an extra are collected where that is installed, of migrations never."""

from importlib.util import find_spec

collect_ignore_glob = ["src/groundingme/studio/migrations/*"]
if not find_spec("torch"):
    collect_ignore_glob.append("src/groundingme/train/*")
if not all(map(find_spec, ("transformers", "trl", "peft"))):
    collect_ignore_glob += ["src/groundingme/train/tuning/*", "src/groundingme/train/scratch/*"]
if not find_spec("inspect_ai"):
    collect_ignore_glob.append("src/groundingme/plugins/inspect_ai.py")
