// Figures and words as people read them.

// 0.7312 -> "73.1"; accuracies are percentages everywhere.
export const percent = (value, digits = 1) => (value == null ? "–" : (100 * value).toFixed(digits));
export const number = (value) => (value == null ? "–" : value.toLocaleString("en-US"));
export const fixed = (value, digits = 2) => (value == null ? "–" : value.toFixed(digits));
export const pValue = (p) => (p == null ? "–" : p < 0.001 ? "<0.001" : p.toFixed(3));

export function short(value) {
  if (value == null) return "–";
  if (value < 10_000) return number(value);
  if (value < 1_000_000) return `${(value / 1000).toFixed(value < 100_000 ? 1 : 0)}k`;
  return `${(value / 1_000_000).toFixed(1)}M`;
}
export const dollars = (value) => (value == null ? "–" : `$${value.toFixed(value < 1 ? 3 : 2)}`);
export function seconds(value) {
  if (value == null) return "–";
  return value < 1 ? `${Math.round(value * 1000)} ms` : `${value.toFixed(1)} s`;
}
export const boxText = (box) => (box ? `[${box.map((edge) => Math.round(edge * 10) / 10).join(", ")}]` : "none");
export const sizeOf = (box) => box && `${Math.round(box[2] - box[0])} × ${Math.round(box[3] - box[1])} px`;

const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const TIME = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const shownBy = (format) => (text) => {
  const time = new Date(text ?? "");
  return Number.isNaN(time.valueOf()) ? "–" : format.format(time);
};
export const day = shownBy(DAY);
export const time = shownBy(TIME);

const OUTCOMES = { box: "box", rejected: "rejected", unparsed: "unparsed", failed: "failed" };
export const outcomeWord = (outcome) => OUTCOMES[outcome] ?? outcome ?? "–";
export const subtask = (l1, l2) => [l1, l2].filter(Boolean).join(" / ") || "no subtask";
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
