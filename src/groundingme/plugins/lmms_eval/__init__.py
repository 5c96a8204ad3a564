"""A task for lmms-eval: `python -m lmms_eval --include_path FOLDER --tasks groundingme_strict`.

FOLDER is the one of this file. lmms-eval reads `groundingme_strict.yaml`,
whose functions are in `functions.py`.
"""
