"""Where pictures come from, and what is found out about each before any model sees it."""

from groundingme.build.sources.listing import SourceOptions, list_pictures
from groundingme.build.sources.looking import make_look
from groundingme.build.sources.places import locate, place

__all__ = ["SourceOptions", "list_pictures", "locate", "make_look", "place"]
