// Pictures as they form, in their place on the page.

import { Problem } from "./api.js";
import { showDetails } from "./details.js";
import { by, copyOf, enlarge, plural, pngOf, say } from "./page.js";
import { generation } from "./stream.js";

const SIDE = 192; // pixels on the page, at most

function figure(order, index, model, compared) {
  const element = copyOf("figure-template");
  const bypassed = order.prototypes === "bypassed";
  element.classList.toggle("other", bypassed);
  element.classList.toggle("made", !bypassed);
  const kind = bypassed ? "prototypes bypassed" : `seed ${order.seed + index}${compared ? ", with prototypes" : ""}`;
  const slot = { element, order, model, kind, name: `seed ${order.seed + index}${bypassed ? `, ${kind}` : ""}` };
  element.querySelector("img").alt = `Picture, ${slot.name}, waiting`;
  element.querySelector("progress").setAttribute("aria-label", `Picture, ${slot.name}`);
  tellState(slot, "waiting");
  return slot;
}

function tellState(slot, state) {
  say(slot.element.querySelector("figcaption"), state ? `${slot.kind} · ${state}` : slot.kind);
}

/** Pictures to come; `all`: the orders whose pictures stand side by side. */
export function newBatch(all, caption, model) {
  const batch = copyOf("batch-template");
  const [order] = all;
  batch.querySelector("h2").textContent = order.label;
  say(batch.querySelector(".asked"), order.bank === "draw" ? "" : caption);
  const guidance = `guidance ${order.guidance_scale}`;
  say(batch.querySelector(".hint"), `${plural(order.num_inference_steps, "step")}, ${guidance}, ${order.model}`);
  const slotsOf = (one) => Array.from({ length: one.n }, (_, index) => figure(one, index, model, all.length > 1));
  const slots = all.map(slotsOf);
  const cards = slots[0].map((_, index) => {
    const card = document.createElement("article");
    card.className = all.length > 1 ? "card pair" : "card";
    card.append(...slots.map((ofOne) => ofOne[index].element));
    return card;
  });
  enlarge(batch, model.image_size, SIDE);
  batch.querySelector(".cards").append(...cards);
  by("results").prepend(batch);
  const { top } = batch.getBoundingClientRect();
  if (top < 100 || top > 0.6 * innerHeight) batch.scrollIntoView();
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
  open.addEventListener("click", () => showDetails(slot));
}

function addCaption(slot, caption) {
  const text = document.createElement("span");
  text.className = "asked";
  text.textContent = caption;
  slot.element.querySelector("figcaption").append(text);
}

/** Makes them; `counted` is called for each that is finished. */
export async function follow(order, slots, signal, counted) {
  for await (const event of generation(order, signal)) {
    const slot = slots[event.image_index];
    if (event.type === "image_generation.partial_image") onPartial(slot, event);
    if (event.type !== "image_generation.completed") continue;
    onCompleted(slot, event);
    counted();
  }
  if (slots.some((slot) => !slot.made)) throw new Problem("The answer ended before every picture was finished.");
}

/** Marks what will not come; returns how many are finished. */
export function endUnfinished(slots, cancelled) {
  const open = slots.flat().filter((slot) => !slot.made);
  for (const slot of open) {
    slot.element.classList.add("ended");
    tellState(slot, cancelled ? "cancelled" : "not finished");
  }
  return slots.flat().length - open.length;
}
