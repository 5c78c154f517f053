// Evaluations: start and progress.

import * as api from "./api.js";
import { isOpen, showResults } from "./evaluation_results.js";
import { by, createElement, number, options, plural, setText, showError } from "./page.js";

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 15_000;
let models = [];
let files = [];
let wait = FIRST_WAIT_MS;
let seen = "";
let next = null;

const model = () => models.find((one) => one.id === by("evaluation-model").value);
const source = () => by("evaluation-form").elements.source.value;

function chooseModel() {
  const { classes, defaults, has_prototypes, has_reference, max_inference_steps } = model();
  options(by("evaluation-label"), [["", "all, as in training"], ...classes.map((name) => [name, name])]);
  by("evaluation-steps").max = max_inference_steps;
  by("evaluation-steps").value = defaults.num_inference_steps;
  by("evaluation-guidance").value = defaults.guidance_scale;
  by("evaluation-bypass-field").hidden = !has_prototypes;
  by("start-evaluation").disabled = !has_reference;
  const without = "No real images are available for this model, so it cannot be evaluated.";
  setText(by("reference-hint"), has_reference ? "Compared with the real images of the model’s run." : without);
}

function chooseSource() {
  by("generated-fields").hidden = source() === "uploaded";
  by("uploaded-fields").hidden = source() !== "uploaded";
  for (const field of by("generated-fields").querySelectorAll("input")) field.disabled = source() === "uploaded";
}

function chooseFiles(event) {
  files = [...event.target.files].filter((file) => file.type.startsWith("image/"));
  const mib = files.reduce((sum, file) => sum + file.size, 0) / 2 ** 20;
  const what = `${plural(files.length, "image")}, ${number(mib)} MiB.`;
  setText(by("chosen"), files.length ? what : "No image files among these.");
}

function generated() {
  const label = by("evaluation-label").value;
  return {
    n: Number(by("evaluation-n").value),
    ...(label && { label }),
    seed: Number(by("evaluation-seed").value),
    num_inference_steps: Number(by("evaluation-steps").value),
    guidance_scale: Number(by("evaluation-guidance").value),
    prototypes: by("evaluation-bypass").checked && model().has_prototypes ? "bypassed" : "on",
  };
}

function send(key) {
  if (source() === "generated") return api.evaluate({ model: model().id, generate: generated() }, key);
  if (files.length < 2) throw new api.ApiError("Choose at least two images.");
  const form = new FormData();
  form.append("model", model().id);
  for (const file of files) form.append("images", file);
  return api.evaluateImages(form, key);
}

async function start() {
  by("evaluation-problem").hidden = true;
  by("start-evaluation").disabled = true;
  try {
    await send([...crypto.getRandomValues(new Uint32Array(4))].join("-"));
    setText(by("evaluation-progress"), "Started. It continues if you close this page.");
    followSoon();
  } catch (problem) {
    showError(by("evaluation-problem"), problem);
  } finally {
    by("start-evaluation").disabled = false;
  }
}

function show(all) {
  const open = all.filter(isOpen).length;
  if (all.length) setText(by("evaluation-progress"), open ? `${plural(open, "evaluation")} in progress.` : "");
  by("no-evaluations").hidden = all.length > 0;
  showResults(all, models);
}

async function follow() {
  try {
    const all = await api.evaluations();
    const now = JSON.stringify(all);
    wait = now === seen ? Math.min(1.5 * wait, LONGEST_WAIT_MS) : FIRST_WAIT_MS;
    if (now !== seen) show(all);
    seen = now;
    if (all.some(isOpen)) plan(wait);
  } catch (problem) {
    showError(by("evaluation-problem"), problem);
    if (problem.status === 0 || problem.status >= 429) plan(1000 * (problem.retryAfter ?? LONGEST_WAIT_MS / 1000));
  }
}

function plan(milliseconds) {
  clearTimeout(next);
  next = setTimeout(() => (document.hidden ? plan(milliseconds) : follow()), milliseconds);
}

function withoutEvaluations() {
  by("evaluation-form").hidden = true;
  by("no-evaluations").replaceChildren(createElement("p", "Evaluations are not enabled in this service or for this key."));
}

function followSoon() {
  wait = FIRST_WAIT_MS;
  plan(0);
}

/** Sets up the view; returns a function that updates it. */
export function startEvaluations(known, offers) {
  models = known;
  if (!offers.includes("evaluations")) return withoutEvaluations;
  options(by("evaluation-model"), models.map((one) => [one.id, one.id]));
  by("evaluation-model").addEventListener("change", chooseModel);
  for (const choice of by("evaluation-form").elements.source) choice.addEventListener("change", chooseSource);
  for (const input of ["evaluation-files", "evaluation-folder"]) by(input).addEventListener("change", chooseFiles);
  by("evaluation-form").addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  chooseModel();
  chooseSource();
  return followSoon;
}
