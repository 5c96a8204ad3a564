// The subtasks and criteria that one chooses by a key. The same rows as taxonomy.py (a test
// compares them).

export const SUBTASKS = [
  ["Discriminative", "Appearance", "colour, texture, shape"],
  ["Discriminative", "Component", "a part that is there or not"],
  ["Discriminative", "Text", "text in the image"],
  ["Discriminative", "State", "condition or activity"],
  ["Spatial", "Relationship", "position beside others"],
  ["Spatial", "Counting", "a number or an ordinal"],
  ["Limited", "Occlusion", "partly hidden or cut off"],
  ["Limited", "Small", "tiny in a large image"],
].map(([l1, l2, tests], at) => ({ l1, l2, tests, key: String(at + 1) }));

export const KINDS = ["Appearance", "Component", "Text", "State"];

/** The document with another kind of change in its rejection variant. */
export function withKind(document, kind) {
  const rejection = { ...document.rejection, kind };
  // A sample that is nothing but a rejection is filed under what was changed.
  return document.subtask_l1 === "Rejection" ? { rejection, subtask_l2: kind } : { rejection };
}

export const kindAfter = (kind) => KINDS[(KINDS.indexOf(kind) + 1) % KINDS.length];

/** The kind that a variant of a description most likely has. */
export const likelyKind = ({ subtask_l1: l1, subtask_l2: l2 }) =>
  (l1 === "Discriminative" && KINDS.includes(l2) ? l2 : "Appearance");

export const CRITERIA = [
  { name: "uniqueness", key: "q", title: "Uniqueness", asks: "It fits this object and no other." },
  { name: "clarity", key: "w", title: "Subject clarity", asks: "It is plain what is meant." },
  { name: "specificity", key: "e", title: "Task specificity", asks: "It tests the subtask." },
  { name: "accuracy", key: "r", title: "Factual accuracy", asks: "All that it says is true." },
];
