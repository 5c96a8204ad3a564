"""The configuration that `groundingme build init` writes."""

TEMPLATE = """\
# A build of a grounding benchmark: groundingme build run build.toml
# What stands behind "# " is a default, or a further choice; take the sign away to change it.

seed = 0
# shard = 1000                      # pictures that one worker does at a time

[source]
path = "photos"                     # folder, glob, tar, parquet, TSV, or a data set on the Hub
# min_side = 0                      # px; smaller pictures are turned down
# min_sharpness = 0.0               # blurred ones too; groundingme build look shows the values
# limit = 1000

[dedupe]
# distance = 4                      # bits of 64 in which near-duplicates may differ

[tag]
by = "fixed"                        # fixed, ram, florence or mllm
vocabulary = "coco"                 # coco, a list, or a file with a tag a line
# For ram (RAM++; pip install "groundingme[build]"): checkpoint, tags, thresholds are files.
# For mllm: model = "openai/NAME", options = { base_url = "http://localhost:8000/v1" }.

[detect]
by = "grounding-dino"               # grounding-dino, owlv2, yolo or file
model = "IDEA-Research/grounding-dino-base"
# threshold = 0.25
# tile = 0                          # px; 1024 looks at 8K pictures in tiles

[suppress]
# policy = "instances"              # the paper's; per-class, agnostic, containment, none
# iou = 0.7

[filter]
# min_instances = 3                 # of the class in the picture
# max_share = 0.5                   # of the picture
# min_side = 8.0                    # px
# drop_border = false

[sort]
# min_instances = 5                 # for most subtasks
# crowded = 8                       # for Counting and Occlusion
# text = false                      # true: a describing model may find text on any of them

[select]
# per_subtask = 50                  # or a table: { "Spatial/Counting" = 150, "Limited/Small" = 50 }
# per_image = 3
# per_class = 40

[describe]
by = "rules"                        # rules: from boxes alone. model: any model that sees pictures
# by = "model"
# model = "openai/NAME"
# base_url = "http://localhost:8000/v1"
# drafts = 1

[negatives]
by = "rules"                        # rules, or model

# [verify]
# models = ["openai/NAME"]          # do they find exactly this box, and reject what is untrue?

[publish]
name = "my-grounding"
# license = "cc-by-4.0"
# layouts = ["coco", "tsv"]         # besides parquet
"""
