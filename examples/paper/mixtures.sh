#!/bin/sh
# The paper's table of training mixtures: five ratios, three epochs, in and out of domain.
#   BASE=Qwen/Qwen3-VL-8B-Instruct sh mixtures.sh        on a machine with GPUs, for days
#   BASE=builtin/grounder sh mixtures.sh                 in miniature, on any CPU, within the hour
# POSITIVES is RefCOCOg with its split train, which the Hub's copy lacks: docs/training-data.md.
set -eu
OUT=${OUT:-paper-mixtures}
POSITIVES=${POSITIVES:-data/refcocog}
if [ "$BASE" = builtin/grounder ]; then
  groundingme sweep "$BASE" -o "$OUT" "$@"
else
  groundingme sweep "$BASE" --positives "$POSITIVES" --negatives refcocog_rej --total 30000 \
    --config paper -o "$OUT" "$@"
fi
