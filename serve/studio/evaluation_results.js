// Results of evaluations: one by one, and compared.

import { by, copyOf, createElement, moment, number, plural, setText } from "./page.js";
import { plot } from "./plot.js";

const MAX_COMPARED = 12; // evaluations
const METRICS = [
  ["fid", "FID", "lower is better"],
  ["kid", "KID", "lower is better"],
  ["inception_score", "Inception score", "higher is better"],
  ["precision", "Precision", "higher is better"],
  ["recall", "Recall", "higher is better"],
];
const STATES = { queued: "waiting", running: "running", succeeded: "finished", failed: "failed" };

export const isOpen = ({ status }) => status === "queued" || status === "running";

function shownValue(measured) {
  if (!measured || measured.value === null) return "not measured";
  return number(measured.value);
}

function figure(results, [key, title]) {
  const row = document.createElement("div");
  const value = createElement("dd", shownValue(results[key]));
  const { low, high } = results[key] ?? {};
  if (Number.isFinite(low)) value.append(createElement("small", `${number(low)} to ${number(high)}`));
  row.append(createElement("dt", title), value);
  return row;
}

function generatedWith({ model, generated }, models) {
  const { label, seed, num_inference_steps: steps, guidance_scale: guidance, prototypes } = generated;
  if (seed === undefined) return "";
  const names = models.find(({ id }) => id === model)?.classes ?? [];
  const settings = guidance === undefined ? [] : [plural(steps, "step"), `guidance ${guidance}`];
  const bypassed = prototypes === "bypassed" ? ["prototypes bypassed"] : [];
  const ofWhat = label === null ? "all classes" : (names[label] ?? `class ${label}`);
  return [ofWhat, `seeds from ${seed}`, ...settings, ...bypassed].join(", ");
}

function described(one) {
  const { n_reference: real, features, features_sha256: sha } = one.results;
  const against = real ? ` against ${plural(real, "real image")}` : "";
  const seenBy = features ? `, features ${features}${sha ? ` (${sha.slice(0, 8)})` : ""}` : "";
  return `${one.model}, ${moment(one.created)}${against}${seenBy}`;
}

function article(one, models) {
  const { name } = one;
  const element = copyOf("evaluation-template");
  element.dataset.status = one.status;
  element.querySelector("h3").textContent = `${name} · ${plural(one.n, "image")}, ${one.source}`;
  const count = one.status === "running" ? `, ${one.done} of ${one.n}` : "";
  element.querySelector(".state").textContent = `${STATES[one.status]}${count}`;
  element.querySelector(".subtitle").textContent = generatedWith(one, models);
  element.querySelector(".hint").textContent = described(one);
  const progress = element.querySelector("progress");
  progress.hidden = !isOpen(one);
  progress.setAttribute("aria-label", `Progress of ${name}`);
  progress.value = one.done / one.n;
  const figures = one.status === "succeeded" ? METRICS.map((metric) => figure(one.results, metric)) : [];
  element.querySelector("dl").append(...figures);
  const cautions = one.error ? [one.error] : (one.results.warnings ?? []);
  element.querySelector(".cautions").replaceChildren(...cautions.map((caution) => createElement("li", caution)));
  return element;
}

/** Numbers the evaluations; 1 is the oldest. */
const named = (all) => all.map((one, index) => ({ ...one, name: String(all.length - index) }));

function compare(all) {
  const finished = all.filter((one) => one.status === "succeeded");
  by("comparison").hidden = finished.length === 0;
  if (!finished.length) return;
  const alike = comparable(finished);
  const left = finished.length - alike.length;
  const others = left ? ` ${plural(left, "older one")} omitted: not comparable, or too many to show.` : "";
  const legend = "Dots are values, bars their 95 % intervals; numbers name the evaluations below.";
  setText(by("comparison-note"), legend + others);
  by("plots").replaceChildren(...METRICS.map((metric) => panel(alike, metric)).filter(Boolean));
}

/** Returns evaluations comparable with the newest one: same model, and same features. */
function comparable(finished) {
  const [newest] = finished;
  const alike = ({ model, results }) =>
    model === newest.model && results.features_sha256 === newest.results.features_sha256;
  return finished.filter(alike).slice(0, MAX_COMPARED);
}

function panel(finished, [key, title, better]) {
  const points = finished
    .map(({ name, results }) => ({ name, ...results[key] }))
    .filter(({ value }) => Number.isFinite(value));
  if (!points.length) return null;
  const figure = document.createElement("figure");
  const heading = createElement("figcaption", title);
  heading.append(createElement("small", better));
  figure.append(heading, plot(`${title}, ${better}`, points));
  return figure;
}

/** Shows evaluations, newest first; `models` provide class names. */
export function showResults(all, models) {
  by("evaluation-list").replaceChildren(...named(all).map((one) => article(one, models)));
  compare(named(all));
}
