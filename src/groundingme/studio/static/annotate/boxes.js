// Boxes: [x1, y1, x2, y2] in pixels of the upright picture. Pure functions.

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** The box between two points, in whole pixels, inside the picture; null where it has no area. */
export function between(from, to, size) {
  const xs = [from.x, to.x].map((x) => clamp(Math.round(x), 0, size.width)).sort((a, b) => a - b);
  const ys = [from.y, to.y].map((y) => clamp(Math.round(y), 0, size.height)).sort((a, b) => a - b);
  return xs[1] > xs[0] && ys[1] > ys[0] ? [xs[0], ys[0], xs[1], ys[1]] : null;
}

/** The box moved by whole pixels, kept inside the picture at its size. */
export function moved(box, dx, dy, size) {
  const [x1, y1, x2, y2] = box;
  const x = clamp(Math.round(dx), Math.min(-x1, 0), Math.max(size.width - x2, 0));
  const y = clamp(Math.round(dy), Math.min(-y1, 0), Math.max(size.height - y2, 0));
  return [x1 + x, y1 + y, x2 + x, y2 + y];
}

/**
 * The box with one side or corner moved to a point. `handle` holds letters of n, s, w, e; sides
 * that it does not name stay as they are, to the fraction of a pixel.
 */
export function resized(box, handle, point, size) {
  let [x1, y1, x2, y2] = box;
  const x = clamp(Math.round(point.x), 0, size.width);
  const y = clamp(Math.round(point.y), 0, size.height);
  if (handle.includes("w")) x1 = x;
  if (handle.includes("e")) x2 = x;
  if (handle.includes("n")) y1 = y;
  if (handle.includes("s")) y2 = y;
  // Dragged over the opposite side: the box turns over, and never loses its last pixel.
  const out = [Math.min(x1, x2), Math.min(y1, y2), Math.max(x1, x2), Math.max(y1, y2)];
  return out[2] - out[0] >= 1 && out[3] - out[1] >= 1 ? out : box;
}

/** The box with its lower right corner moved by whole pixels. */
export function grown(box, dx, dy, size) {
  return resized(box, `${dx ? "e" : ""}${dy ? "s" : ""}`, {
    x: Math.max(box[2] + dx, box[0] + 1),
    y: Math.max(box[3] + dy, box[1] + 1),
  }, size);
}

/** Overlap of two boxes, in [0, 1]; 0 where one is missing. */
export function iou(a, b) {
  if (!a || !b) return 0;
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  if (width <= 0 || height <= 0) return 0;
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  return (width * height) / (area(a) + area(b) - width * height);
}

const number = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(1));

/** For people: "120, 40 to 380, 220 (260 × 180)". */
export function told(box) {
  if (!box) return "no box";
  const [x1, y1, x2, y2] = box;
  return `${number(x1)}, ${number(y1)} to ${number(x2)}, ${number(y2)} (${number(x2 - x1)} × ${number(y2 - y1)})`;
}
