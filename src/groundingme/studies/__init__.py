"""The open questions of the field as experiments: one file a study, one command to run it.

    groundingme study list
    groundingme study prompts openai/MODEL --base-url URL --data groundingme

A study is a *plan* (which conditions to run), a *reduction* (figures from the runs) and words. What
two studies need is in `study` (the nouns), `conditions` (every model on the same data), `running`
(asks, resumes), `estimates` (shares with intervals), `changing` (data sets made from data sets) and
`page` (what is written).
"""

from __future__ import annotations

from groundingme.registry import Registry
from groundingme.studies.study import Study

STUDIES: Registry[Study] = Registry("study", "groundingme.studies")
"""Every study by name; its module is imported when a name is first asked for."""
