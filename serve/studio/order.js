// The form that says what to make.

import { anySeed, captionFields, choosePlace, isDrawn, startCaption, write } from "./caption.js";
import { by, options, say } from "./page.js";

let models = [];

export const model = () => models.find((one) => one.id === by("model").value);

function chooseModel() {
  const chosen = model();
  const kept = by("label").value;
  options(by("label"), chosen.classes.map((name) => [name, name]));
  if (chosen.classes.includes(kept)) by("label").value = kept;
  by("steps").max = chosen.max_inference_steps;
  by("steps").value = chosen.defaults.num_inference_steps;
  by("guidance").value = chosen.defaults.guidance_scale;
  by("compare-field").hidden = !chosen.has_prototypes;
  say(by("model-facts"), `${chosen.image_size} × ${chosen.image_size} pixels, weights ${chosen.sha256.slice(0, 12)}`);
  return choosePlace(chosen.id, by("label").value);
}

function showCount() {
  by("count-value").value = by("count").value;
  by("own-captions-field").hidden = by("count").value === "1" || !isDrawn();
}

/** One for each variant to be shown side by side. */
export async function orders() {
  const chosen = model();
  const ownCaptions = !by("own-captions-field").hidden && by("own-captions").checked;
  const order = {
    model: chosen.id,
    label: by("label").value,
    ...(await captionFields(ownCaptions)),
    n: Number(by("count").value),
    seed: Number(by("seed").value),
    num_inference_steps: Number(by("steps").value),
    guidance_scale: Number(by("guidance").value),
    solver: chosen.defaults.solver,
    prototypes: "on",
    partial_images: 3,
  };
  const compared = chosen.has_prototypes && by("compare").checked;
  return compared ? [order, { ...order, prototypes: "bypassed" }] : [order];
}

/** Puts the settings of a finished picture back into the form. */
export function reuse({ order, made }) {
  write(made.revised_prompt, "Of the picture whose settings these are.");
  by("model").value = order.model;
  chooseModel();
  by("label").value = made.class;
  choosePlace(order.model, made.class);
  by("seed").value = made.seed;
  by("steps").value = order.num_inference_steps;
  by("guidance").value = order.guidance_scale;
  by("count").value = 1;
  showCount();
  by("caption").focus();
}

export function startOrder(known, offers) {
  models = known;
  options(by("model"), models.map((one) => [one.id, one.id]));
  by("seed").value = anySeed();
  startCaption(offers);
  by("model").addEventListener("change", chooseModel);
  by("label").addEventListener("change", () => choosePlace(model().id, by("label").value));
  by("count").addEventListener("input", showCount);
  for (const change of ["click", "drawn"]) by("order").addEventListener(change, showCount);
  by("dice").addEventListener("click", () => (by("seed").value = anySeed()));
  showCount();
  return chooseModel();
}
