#!/bin/sh
# The paper's tables of Test-Time Scaling: 16 trajectories at temperature 0.7, and every judge.
#   MODEL=openai/Qwen/Qwen3-VL-235B-A22B-Thinking BASE_URL=http://localhost:8000/v1 \
#   JUDGE=openai/Qwen/Qwen3-VL-30B-A3B-Instruct JUDGE_URL=http://localhost:8001/v1 \
#     sh test-time-scaling.sh
# Without JUDGE: what needs none (mean, majority, medoid, confidence, oracle).
set -eu
DATA=${DATA:-groundingme}
OUT=${OUT:-paper-scaling}
groundingme sample "$MODEL" --data "$DATA" -n "${N:-16}" --temperature "${TEMPERATURE:-0.7}" \
  --out "$OUT" ${BASE_URL:+--base-url "$BASE_URL"} "$@"
for run in "$OUT"/*/; do
  groundingme select "$run" --by all --curve "$OUT/curve.png"
  if [ -n "${JUDGE:-}" ]; then
    for judge in traces answers full; do
      groundingme select "$run" --judge "$judge" --judge-model "$JUDGE" --way knockout \
        ${JUDGE_URL:+--judge-base-url "$JUDGE_URL"}
    done
  fi
done
