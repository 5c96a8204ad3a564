#!/bin/sh
# The paper's main table: Acc@0.5 by subtask, beside the 25 published rows.
#   MODEL=openai/Qwen/Qwen3-VL-8B-Instruct BASE_URL=http://localhost:8000/v1 sh main-results.sh
# DATA=scenes:n=24 MODEL=builtin/grounder tries the way offline. Further arguments go to `eval`.
set -eu
DATA=${DATA:-groundingme}
OUT=${OUT:-paper}
groundingme eval "$MODEL" --data "$DATA" --out "$OUT/runs" ${BASE_URL:+--base-url "$BASE_URL"} "$@"
for run in "$OUT"/runs/*/; do
  groundingme score "$run" --protocol official
done
groundingme report "$OUT"/runs/*/ --paper -o "$OUT/report.html"
