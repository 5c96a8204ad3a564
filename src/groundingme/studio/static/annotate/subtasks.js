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

export const KINDS = ["Appearance", "Component", "Text", "State"].map((kind, at) => ({
  kind,
  key: `Shift+${at + 1}`,
}));

export const CRITERIA = [
  { name: "uniqueness", key: "q", title: "Uniqueness", asks: "It fits this object and no other." },
  { name: "clarity", key: "w", title: "Subject clarity", asks: "It is plain what is meant." },
  { name: "specificity", key: "e", title: "Task specificity", asks: "It tests the subtask." },
  { name: "accuracy", key: "r", title: "Factual accuracy", asks: "All that it says is true." },
];
