// Batches of images with their previews.

import { ApiError } from "./api.js";
import { showDetails } from "./details.js";
import { by, copyOf, enlarge, plural, pngOf, setText } from "./page.js";
import { generation } from "./stream.js";

const SIDE = 192; // pixels on the page, at most

function figure(request, index, model, compared) {
  const element = copyOf("figure-template");
  const bypassed = request.prototypes === "bypassed";
  element.classList.toggle("other", bypassed);
  element.classList.toggle("generated", !bypassed);
  const kind = bypassed ? "prototypes bypassed" : `seed ${request.seed + index}${compared ? ", with prototypes" : ""}`;
  const slot = { element, request, model, kind, name: `seed ${request.seed + index}${bypassed ? `, ${kind}` : ""}` };
  element.querySelector("img").alt = `Image, ${slot.name}, waiting`;
  element.querySelector("progress").setAttribute("aria-label", `Image, ${slot.name}`);
  showState(slot, "waiting");
  return slot;
}

function showState(slot, state) {
  setText(slot.element.querySelector("figcaption"), state ? `${slot.kind} · ${state}` : slot.kind);
}

/** Creates a batch; the images of the requests in `all` are shown side by side. */
export function newBatch(all, caption, model) {
  const batch = copyOf("batch-template");
  const [request] = all;
  batch.querySelector("h2").textContent = request.label;
  setText(batch.querySelector(".subtitle"), request.bank === "draw" ? "" : caption);
  const guidance = `guidance ${request.guidance_scale}`;
  setText(batch.querySelector(".hint"), `${plural(request.num_inference_steps, "step")}, ${guidance}, ${request.model}`);
  const slotsOf = (one) => Array.from({ length: one.n }, (_, index) => figure(one, index, model, all.length > 1));
  const slots = all.map(slotsOf);
  const cards = slots[0].map((_, index) => {
    const card = document.createElement("article");
    card.className = all.length > 1 ? "card pair" : "card";
    card.append(...slots.map((ofRequest) => ofRequest[index].element));
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
  const image = slot.element.querySelector("img");
  URL.revokeObjectURL(image.src);
  slot.png = pngOf(text);
  image.src = URL.createObjectURL(slot.png);
}

function onPartial(slot, event) {
  shown(slot, event.b64_json);
  slot.element.querySelector("progress").value = event.step / event.steps;
  slot.element.querySelector("img").alt = `Image, ${slot.name}, in progress`;
  showState(slot, `step ${event.step} of ${event.steps}`);
}

function onCompleted(slot, event) {
  shown(slot, event.b64_json);
  slot.result = event;
  slot.element.classList.remove("unfinished");
  slot.element.querySelector("img").alt = `Synthetic image of class ${event.class}, ${slot.name}`;
  showState(slot, "");
  if (slot.request.bank === "draw") addCaption(slot, event.revised_prompt);
  const open = slot.element.querySelector("button");
  open.disabled = false;
  open.title = "Details";
  open.addEventListener("click", () => showDetails(slot));
}

function addCaption(slot, caption) {
  const text = document.createElement("span");
  text.className = "subtitle";
  text.textContent = caption;
  slot.element.querySelector("figcaption").append(text);
}

/** Generates a batch; calls `counted` for each finished image. */
export async function follow(request, slots, signal, counted) {
  for await (const event of generation(request, signal)) {
    const slot = slots[event.image_index];
    if (event.type === "image_generation.partial_image") onPartial(slot, event);
    if (event.type !== "image_generation.completed") continue;
    onCompleted(slot, event);
    counted();
  }
  if (slots.some((slot) => !slot.result)) throw new ApiError("The response ended before all images were finished.");
}

/** Marks unfinished images; returns the number of finished ones. */
export function endUnfinished(slots, cancelled) {
  const open = slots.flat().filter((slot) => !slot.result);
  for (const slot of open) {
    slot.element.classList.add("ended");
    showState(slot, cancelled ? "cancelled" : "not finished");
  }
  return slots.flat().length - open.length;
}
