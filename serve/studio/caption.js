// Caption: drawn from the bank of the class, edited, or generated from an image.

import * as api from "./api.js";
import { base64, by, number, setText, showError } from "./page.js";

const PAUSE_MS = 400; // after typing, before the distance is requested
const SAME = 1e-4; // cosine distance below which two texts are the same
const EDGE = 0.05; // share of the bank that counts as its edge
const selected = { model: "", label: "" };
let hasBank = true;
let entry = null; // bank entry of the caption; null: edited by the user
let drawing = Promise.resolve();
let measuring = new AbortController();

export const anySeed = () => crypto.getRandomValues(new Uint32Array(1))[0] % 1_000_000;

function showMode() {
  const own = by("caption").readOnly === false;
  by("draw").textContent = own ? "Back to the bank" : "Draw another";
  by("edit").hidden = own;
  if (!own) by("distance").hidden = true;
}

async function drawNew() {
  const answer = await api.draw(selected.model, selected.label, anySeed());
  entry = answer;
  by("caption").value = answer.caption;
  by("caption").readOnly = true;
  setText(by("caption-source"), `Drawn from the bank of this class, entry ${answer.id}.`);
  showMode();
  by("caption").dispatchEvent(new Event("drawn", { bubbles: true }));
}

/** Draws another caption; shows errors next to the form. */
export function draw() {
  if (!hasBank) return write(by("caption").value);
  measuring.abort();
  by("caption-problem").hidden = true;
  drawing = drawNew().catch((problem) => {
    entry = null;
    by("caption").value = "";
    showError(by("caption-problem"), problem);
  });
  return drawing;
}

/** Sets an edited caption. */
export function write(text, source = "Edited.") {
  entry = null;
  by("caption").value = text;
  by("caption").readOnly = false;
  setText(by("caption-source"), source);
  showMode();
  measure();
}

function wordsFor({ distance, typical, share_farther: share }) {
  if (distance < SAME) return "This is a caption of the bank.";
  if (share === 0) return "Farther from the bank than any of its captions from the others.";
  if (share < EDGE) return `Farther from the bank than ${Math.floor(100 * (1 - share))} % of its captions from the others.`;
  const closer = distance <= typical ? "closer than typical" : "farther than typical";
  return `Within the range of the bank, ${closer}.`;
}

function showDistance(found) {
  by("distance").hidden = false;
  by("distance").classList.remove("stale");
  const along = found.distance < SAME ? 0 : 1 - found.share_farther;
  by("distance").classList.toggle("outside", along > 1 - EDGE);
  by("distance").querySelector(".dot").setAttribute("cx", String(4 + 232 * along));
  setText(by("distance-words"), wordsFor(found));
  const measured = `cosine distance ${number(found.distance)}, typical ${number(found.typical)}`;
  setText(by("distance-nearest"), `Nearest caption (${measured}): “${found.nearest.caption}”`);
}

async function measure() {
  measuring.abort();
  measuring = new AbortController();
  const { signal } = measuring;
  const text = by("caption").value.trim();
  if (!text || !hasBank) return void (by("distance").hidden = true);
  by("caption-problem").hidden = true;
  try {
    const found = await api.distance(selected.model, selected.label, text, signal);
    if (!signal.aborted) showDistance(found);
  } catch (problem) {
    if (problem.name !== "AbortError") showError(by("caption-problem"), problem);
  }
}

async function captionImage(file) {
  setText(by("caption-image-hint"), `Captioning ${file.name} …`);
  try {
    const { caption, captioner } = await api.captionImage(selected.model, await base64(file));
    write(caption, `From ${file.name}, by ${captioner}. You can edit it.`);
    setText(by("caption-image-hint"), "");
    by("caption").focus();
  } catch (problem) {
    showError(by("caption-image-hint"), problem);
  }
}

/** Selects a class of a model: keeps and measures an edited caption, replaces a drawn one. */
export function selectClass(model, label) {
  const changed = model !== selected.model || label !== selected.label;
  Object.assign(selected, { model, label });
  if (!by("caption").readOnly) return measure();
  return changed ? draw() : drawing;
}

/** Returns the caption fields of a request; with `ownCaptions` each image draws its caption. */
export async function captionFields(ownCaptions) {
  await drawing;
  if (!by("caption").readOnly) return { prompt: by("caption").value.trim() };
  if (ownCaptions) return { bank: "draw" };
  if (!entry) throw new api.ApiError("No caption yet. Draw one, or write one.");
  return { bank: entry.id };
}

export const isDrawn = () => by("caption").readOnly;

export function startCaption(offers) {
  let pause;
  hasBank = offers.includes("bank");
  by("draw").hidden = !hasBank;
  by("caption-image").hidden = !offers.includes("captions");
  by("draw").addEventListener("click", draw);
  by("edit").addEventListener("click", () => {
    write(by("caption").value);
    by("caption").focus();
  });
  by("caption").addEventListener("input", () => {
    clearTimeout(pause);
    measuring.abort();
    by("distance").classList.add("stale");
    pause = setTimeout(measure, PAUSE_MS);
  });
  const file = by("caption-image").querySelector("input");
  file.addEventListener("change", async () => {
    if (file.files.length) await captionImage(file.files[0]);
    file.value = "";
  });
}
