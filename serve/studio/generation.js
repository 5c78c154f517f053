// Generation of images, with cancellation.

import { endUnfinished, follow, newBatch } from "./batch.js";
import { startDetails } from "./details.js";
import { model, requests, reuse, startForm } from "./generation_form.js";
import { by, plural, setText, showError } from "./page.js";

let running = null;

function counter(total) {
  let finished = 0;
  setText(by("progress"), `Generating ${plural(total, "image")} …`);
  return () => {
    finished += 1;
    const soFar = finished < total ? `${finished} of ${total}` : plural(total, "image");
    setText(by("progress"), `${soFar} finished.`);
  };
}

function busy(controller) {
  running = controller;
  const [going, other] = controller ? ["cancel", "generate"] : ["generate", "cancel"];
  const moves = [by(other), document.body].includes(document.activeElement); // keep the keyboard focus
  by("generate").disabled = Boolean(controller);
  by("cancel").hidden = !controller;
  if (moves) by(going).focus({ preventScroll: true });
  by("empty").hidden = true;
  if (controller) by("generation-problem").hidden = true;
}

async function generate() {
  const controller = new AbortController();
  busy(controller);
  let all;
  try {
    all = await requests();
  } catch (problem) {
    busy(null);
    return showError(by("generation-problem"), problem);
  }
  const { batch, slots } = newBatch(all, by("caption").value, model());
  const counted = counter(slots.flat().length);
  const ends = await Promise.allSettled(all.map((request, i) => follow(request, slots[i], controller.signal, counted)));
  const wrong = ends.map((end) => end.reason).find((reason) => reason && reason.name !== "AbortError");
  const finished = endUnfinished(slots, controller.signal.aborted);
  if (controller.signal.aborted) setText(by("progress"), `Cancelled. ${plural(finished, "image")} finished.`);
  busy(null);
  if (wrong) {
    if (!slots.flat().some((slot) => slot.png)) batch.remove();
    setText(by("progress"), "");
    showError(by("generation-problem"), wrong);
  }
}

export function startGeneration(known, offers) {
  startDetails(offers, reuse);
  by("cancel").addEventListener("click", () => running?.abort());
  by("generation-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!running) generate();
  });
  return startForm(known, offers);
}
