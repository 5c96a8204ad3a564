"""The table of stages, in their order, and the sections of a configuration that set them."""

from __future__ import annotations

from groundingme.build import boxes, describe, duplicates, negatives, publish, sources, verify
from groundingme.build.candidates import CandidateOptions
from groundingme.build.choosing import choose
from groundingme.build.config import Section
from groundingme.build.detectors import DetectOptions, make_detect
from groundingme.build.detectors import check as check_detector
from groundingme.build.filters import FilterOptions
from groundingme.build.select import SelectOptions
from groundingme.build.stage import Each, Stage, Whole, Words
from groundingme.build.tagging import TagOptions, check_tagger, make_tag

STAGES: dict[str, Stage] = {
    "source": Each(
        sources.SourceOptions, sources.make_look, "Look at each picture: size, sharpness, hash."
    ),
    "dedupe": Whole(
        duplicates.DedupeOptions, duplicates.dedupe, "Turn down pictures that are there already."
    ),
    "tag": Each(TagOptions, make_tag, "Say what may be in each picture.", version=2),
    "detect": Each(DetectOptions, make_detect, "Find boxes."),
    "suppress": Each(
        boxes.SuppressOptions, boxes.make_suppress, "Choose among boxes that overlap."
    ),
    "filter": Each(FilterOptions, boxes.make_filter, "Turn down boxes that are no targets."),
    "sort": Each(CandidateOptions, boxes.make_sort, "Say which subtasks each box suits."),
    "select": Whole(SelectOptions, choose, "Choose targets, balanced, under quotas."),
    "describe": Words(describe.DescribeOptions, describe.work, "Draft descriptions."),
    "negatives": Words(
        negatives.NegativesOptions, negatives.work, "Make descriptions that nothing matches."
    ),
    "verify": Words(verify.VerifyOptions, verify.work, "Ask models whether they are right."),
    "publish": Words(publish.PublishOptions, publish.publish, "Write the data set and its card."),
}

SECTIONS: dict[str, Section] = {
    "source": Section(sources.SourceOptions, needed=True),
    "dedupe": Section(duplicates.DedupeOptions, default=True),
    "tag": Section(TagOptions, check=check_tagger),
    "detect": Section(DetectOptions, check=check_detector, needed=True),
    "suppress": Section(boxes.SuppressOptions, default=True),
    "filter": Section(FilterOptions, default=True),
    "sort": Section(CandidateOptions, default=True),
    "select": Section(SelectOptions, default=True),
    "describe": Section(describe.DescribeOptions),
    "negatives": Section(negatives.NegativesOptions),
    "verify": Section(verify.VerifyOptions),
    "publish": Section(publish.PublishOptions),
}
