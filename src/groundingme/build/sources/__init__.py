"""Where pictures come from, and what is found out about each before any model sees it."""

from groundingme.build.sources.places import locate, place

__all__ = ["locate", "place"]
