#!/bin/sh
# The paper's table of models that think: the same questions without and with thinking.
#   MODEL=openai/Qwen/Qwen3-VL-235B-A22B-Thinking BASE_URL=http://localhost:8000/v1 sh thinking.sh
set -eu
DATA=${DATA:-groundingme}
OUT=${OUT:-paper-thinking}
for way in off on; do
  groundingme eval "$MODEL" --data "$DATA" --thinking "$way" --out "$OUT/$way" \
    ${BASE_URL:+--base-url "$BASE_URL"} "$@"
done
groundingme compare "$OUT"/off/*/ "$OUT"/on/*/
