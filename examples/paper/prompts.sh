#!/bin/sh
# The paper's paraphrased prompts, and more ways to ask: mean, spread, worst case.
#   MODEL=openai/Qwen/Qwen3-VL-8B-Instruct BASE_URL=http://localhost:8000/v1 sh prompts.sh
set -eu
DATA=${DATA:-groundingme}
OUT=${OUT:-paper-prompts}
groundingme study prompts "$MODEL" --data "$DATA" --out "$OUT" \
  ${BASE_URL:+--base-url "$BASE_URL"} "$@"
