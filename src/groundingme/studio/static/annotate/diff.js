// Which words of a description were changed in its rejection variant.

// Beyond this many words on one side the table of a longest common subsequence gets large; a
// description is a sentence or two.
const MOST_WORDS = 400;

// A word with the space before it, so that words that follow each other stay one change.
const words = (text) => text.match(/\s*\S+|\s+/g) ?? [];

/**
 * The pieces of two texts: [{ text, side }] with side "both", "before" (only in the first) or
 * "after" (only in the second). Joined without "after" they give the first text, without "before"
 * the second.
 */
export function diffWords(before, after) {
  const a = words(before);
  const b = words(after);
  if (a.length > MOST_WORDS || b.length > MOST_WORDS) {
    return before === after ? joined([[before, "both"]]) : joined([[before, "before"], [after, "after"]]);
  }
  const common = lengths(a, b);
  const pieces = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      pieces.push([a[i], "both"]);
      i += 1;
      j += 1;
    } else if (common[i + 1][j] >= common[i][j + 1]) {
      pieces.push([a[i++], "before"]);
    } else {
      pieces.push([b[j++], "after"]);
    }
  }
  while (i < a.length) pieces.push([a[i++], "before"]);
  while (j < b.length) pieces.push([b[j++], "after"]);
  return joined(pieces);
}

// common[i][j]: length of the longest common subsequence of a[i:] and b[j:].
function lengths(a, b) {
  const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      common[i][j] = a[i] === b[j]
        ? common[i + 1][j + 1] + 1
        : Math.max(common[i + 1][j], common[i][j + 1]);
    }
  }
  return common;
}

function joined(pieces) {
  const out = [];
  for (const [text, side] of pieces) {
    const last = out[out.length - 1];
    if (last && last.side === side) last.text += text;
    else if (text) out.push({ text, side });
  }
  return out;
}
