// Plot of one metric: a dot and an interval per evaluation.

import { number } from "./page.js";

const [WIDTH, ROW, LEFT, RIGHT] = [300, 24, 26, 62];
const namespace = "http://www.w3.org/2000/svg";

function drawn(tag, attributes, text = "") {
  const element = document.createElementNS(namespace, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

function scaleOf(points) {
  const ends = points.flatMap(({ value, low, high }) => [value, low ?? value, high ?? value]);
  const [from, to] = [Math.min(...ends), Math.max(...ends)];
  const width = WIDTH - LEFT - RIGHT;
  if (from === to) return () => LEFT + width / 2;
  return (value) => LEFT + width * (0.07 + (0.86 * (value - from)) / (to - from));
}

function row({ name, value, low, high }, index, x) {
  const y = ROW * (index + 0.5);
  const group = drawn("g", {});
  group.append(
    drawn("text", { x: 0, y: y + 4, class: "last" }, name),
    drawn("path", { d: `M${LEFT} ${y}H${WIDTH - RIGHT}`, class: "grid" }),
  );
  if (Number.isFinite(low) && Number.isFinite(high)) {
    const width = Math.max(1, x(high) - x(low));
    group.append(drawn("rect", { x: x(low), y: y - 4, width, height: 8, rx: 4, class: "whisker" }));
  }
  group.append(
    drawn("circle", { cx: x(value), cy: y, r: 4.5, class: "end" }),
    drawn("text", { x: WIDTH, y: y + 4, "text-anchor": "end" }, number(value)),
  );
  return group;
}

/** Returns an SVG; `points`: [{name, value, low, high}], at least one. */
export function plot(title, points) {
  const words = points.map((one) => `${one.name}: ${number(one.value)}`).join(", ");
  const height = ROW * points.length;
  const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `${title}. ${words}` });
  const x = scaleOf(points);
  svg.append(...points.map((point, index) => row(point, index, x)));
  return svg;
}
