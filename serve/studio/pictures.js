// Orders pictures and shows them forming.

import { Problem } from "./api.js";
import { captionFields, choosePlace, isDrawn, startCaption, write } from "./caption.js";
import { showDetails } from "./details.js";
import { by, copyOf, enlarge, options, plural, pngOf, say, tell } from "./page.js";
import { generation } from "./stream.js";

const SIDE = 192; // pixels on the page, at most
let models = [];
let running = null;

const model = () => models.find((one) => one.id === by("model").value);
const anySeed = () => crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000;

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

async function orders() {
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

function figure(order, index, compared) {
  const element = copyOf("figure-template");
  const bypassed = order.prototypes === "bypassed";
  element.classList.toggle("other", bypassed);
  element.classList.toggle("made", !bypassed);
  const kind = bypassed ? "prototypes bypassed" : `seed ${order.seed + index}${compared ? ", with prototypes" : ""}`;
  const slot = { element, order, index, kind, name: `seed ${order.seed + index}${bypassed ? `, ${kind}` : ""}` };
  element.querySelector("img").alt = `Picture, ${slot.name}, waiting`;
  element.querySelector("progress").setAttribute("aria-label", `Picture, ${slot.name}`);
  tellState(slot, "waiting");
  return slot;
}

function tellState(slot, state) {
  say(slot.element.querySelector("figcaption"), state ? `${slot.kind} · ${state}` : slot.kind);
}

function newBatch(all) {
  const batch = copyOf("batch-template");
  const [order] = all;
  batch.querySelector("h2").textContent = order.label;
  say(batch.querySelector(".asked"), order.bank === "draw" ? "" : by("caption").value);
  const guidance = `guidance ${order.guidance_scale}`;
  say(batch.querySelector(".hint"), `${plural(order.num_inference_steps, "step")}, ${guidance}, ${order.model}`);
  const slots = all.map((one) => Array.from({ length: one.n }, (_, index) => figure(one, index, all.length > 1)));
  const cards = slots[0].map((_, index) => {
    const card = document.createElement("article");
    card.className = all.length > 1 ? "card pair" : "card";
    card.append(...slots.map((ofOne) => ofOne[index].element));
    return card;
  });
  enlarge(batch, model().image_size, SIDE);
  batch.querySelector(".cards").append(...cards);
  by("results").prepend(batch);
  if (by("results").offsetTop > by("order").offsetTop + by("order").offsetHeight) by("progress").scrollIntoView();
  return { batch, slots };
}

function shown(slot, text) {
  const picture = slot.element.querySelector("img");
  URL.revokeObjectURL(picture.src);
  slot.png = pngOf(text);
  picture.src = URL.createObjectURL(slot.png);
}

function onPartial(slot, event) {
  shown(slot, event.b64_json);
  slot.element.querySelector("progress").value = event.step / event.steps;
  slot.element.querySelector("img").alt = `Picture, ${slot.name}, forming`;
  tellState(slot, `step ${event.step} of ${event.steps}`);
}

function onCompleted(slot, event) {
  shown(slot, event.b64_json);
  slot.made = event;
  slot.element.classList.remove("forming");
  slot.element.querySelector("img").alt = `Synthetic picture of class ${event.class}, ${slot.name}`;
  tellState(slot, "");
  if (slot.order.bank === "draw") addCaption(slot, event.revised_prompt);
  const open = slot.element.querySelector("button");
  open.disabled = false;
  open.title = "Details";
  open.addEventListener("click", () => showDetails(slot, model, reuse));
}

function addCaption(slot, caption) {
  const text = document.createElement("span");
  text.className = "asked";
  text.textContent = caption;
  slot.element.querySelector("figcaption").append(text);
}

async function follow(order, slots, signal, counted) {
  for await (const event of generation(order, signal)) {
    const slot = slots[event.image_index];
    if (event.type === "image_generation.partial_image") onPartial(slot, event);
    if (event.type === "image_generation.completed") counted(onCompleted(slot, event));
  }
  if (slots.some((slot) => !slot.made)) throw new Problem("The answer ended before every picture was finished.");
}

function counter(total) {
  let finished = 0;
  say(by("progress"), `Making ${plural(total, "picture")} …`);
  return () => {
    finished += 1;
    say(by("progress"), finished < total ? `${finished} of ${total} finished.` : `${plural(total, "picture")} finished.`);
  };
}

function endUnfinished(slots, cancelled) {
  const open = slots.flat().filter((slot) => !slot.made);
  for (const slot of open) {
    slot.element.classList.add("ended");
    tellState(slot, cancelled ? "cancelled" : "not finished");
  }
  if (cancelled) say(by("progress"), `Cancelled. ${plural(slots.flat().length - open.length, "picture")} finished before.`);
}

function busy(controller) {
  running = controller;
  const [going, other] = controller ? ["cancel", "generate"] : ["generate", "cancel"];
  const moves = [by(other), document.body].includes(document.activeElement); // a keyboard's place is kept
  by("generate").disabled = Boolean(controller);
  by("cancel").hidden = !controller;
  if (moves) by(going).focus({ preventScroll: true });
  by("empty").hidden = true;
  if (controller) by("order-problem").hidden = true;
}

async function generate() {
  const controller = new AbortController();
  busy(controller);
  let all;
  try {
    all = await orders();
  } catch (problem) {
    busy(null);
    return tell(by("order-problem"), problem);
  }
  const { batch, slots } = newBatch(all);
  const counted = counter(slots.flat().length);
  const ends = await Promise.allSettled(all.map((order, i) => follow(order, slots[i], controller.signal, counted)));
  const wrong = ends.map((end) => end.reason).find((reason) => reason && reason.name !== "AbortError");
  endUnfinished(slots, controller.signal.aborted);
  busy(null);
  if (wrong) {
    if (!slots.flat().some((slot) => slot.png)) batch.remove();
    say(by("progress"), "");
    tell(by("order-problem"), wrong);
  }
}

/** Puts the settings of a finished picture back into the form. */
function reuse({ order, made }) {
  by("model").value = order.model;
  by("label").value = made.class;
  by("seed").value = made.seed;
  by("steps").value = order.num_inference_steps;
  by("guidance").value = order.guidance_scale;
  by("count").value = 1;
  write(made.revised_prompt, "Of the picture whose settings these are.");
  choosePlace(order.model, made.class);
  showCount();
  by("caption").focus();
}

export function startPictures(known, offers) {
  models = known;
  options(by("model"), models.map((one) => [one.id, one.id]));
  by("seed").value = anySeed();
  startCaption(offers);
  by("model").addEventListener("change", chooseModel);
  by("label").addEventListener("change", () => choosePlace(model().id, by("label").value));
  by("count").addEventListener("input", showCount);
  for (const change of ["click", "drawn"]) by("order").addEventListener(change, showCount);
  by("dice").addEventListener("click", () => (by("seed").value = anySeed()));
  by("cancel").addEventListener("click", () => running?.abort());
  by("order").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!running) generate();
  });
  showCount();
  return chooseModel();
}
