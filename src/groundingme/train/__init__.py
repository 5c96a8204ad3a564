"""Recipes that train models; each needs the extra `train`."""
