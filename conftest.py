"""Doctests of recipes are collected only where torch is installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["src/groundingme/train/*"]
