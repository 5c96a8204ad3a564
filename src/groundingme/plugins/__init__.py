"""This package's tasks inside other evaluation tools, with the same prompts and the same scores."""
