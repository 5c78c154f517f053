// Form with the generation settings.

import { anySeed, captionFields, isDrawn, selectClass, startCaption, write } from "./caption.js";
import { by, options, setText } from "./page.js";

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
  setText(by("model-facts"), `${chosen.image_size} × ${chosen.image_size} pixels, weights ${chosen.sha256.slice(0, 12)}`);
  return selectClass(chosen.id, by("label").value);
}

function showCount() {
  by("count-value").value = by("count").value;
  by("own-captions-field").hidden = by("count").value === "1" || !isDrawn();
}

/** Returns one request per variant; variants are shown side by side. */
export async function requests() {
  const chosen = model();
  const ownCaptions = !by("own-captions-field").hidden && by("own-captions").checked;
  const request = {
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
  return compared ? [request, { ...request, prototypes: "bypassed" }] : [request];
}

/** Puts the settings of a finished image into the form. */
export function reuse({ request, result }) {
  write(result.revised_prompt, "From the image whose settings are shown.");
  by("model").value = request.model;
  chooseModel();
  by("label").value = result.class;
  selectClass(request.model, result.class);
  by("seed").value = result.seed;
  by("steps").value = request.num_inference_steps;
  by("guidance").value = request.guidance_scale;
  by("count").value = 1;
  showCount();
  by("caption").focus();
}

export function startForm(known, offers) {
  models = known;
  options(by("model"), models.map((one) => [one.id, one.id]));
  by("seed").value = anySeed();
  startCaption(offers);
  by("model").addEventListener("change", chooseModel);
  by("label").addEventListener("change", () => selectClass(model().id, by("label").value));
  by("count").addEventListener("input", showCount);
  for (const change of ["click", "drawn"]) by("generation-form").addEventListener(change, showCount);
  by("dice").addEventListener("click", () => (by("seed").value = anySeed()));
  showCount();
  return chooseModel();
}
