// The caption: drawn from the class's bank, written by hand, or taken from a picture.

import * as api from "./api.js";
import { base64, by, number, say, tell } from "./page.js";

const PAUSE_MS = 400; // after typing, before the distance is asked for
const SAME = 1e-4; // cosine distance up to which two texts are one
const EDGE = 0.05; // share of the bank that lies at its rim
const place = { model: "", label: "" };
let hasBank = true;
let entry = null; // of the bank, that the caption is; null: it is somebody's own
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
  const answer = await api.draw(place.model, place.label, anySeed());
  entry = answer;
  by("caption").value = answer.caption;
  by("caption").readOnly = true;
  say(by("caption-source"), `Drawn from the bank of this class, entry ${answer.id}.`);
  showMode();
  by("caption").dispatchEvent(new Event("drawn", { bubbles: true }));
}

/** Draws another caption; what goes wrong is told beside the form. */
export function draw() {
  if (!hasBank) return write(by("caption").value);
  measuring.abort();
  by("caption-problem").hidden = true;
  drawing = drawNew().catch((problem) => {
    entry = null;
    by("caption").value = "";
    tell(by("caption-problem"), problem);
  });
  return drawing;
}

/** A caption of somebody's own, to be edited further. */
export function write(text, source = "Your own words.") {
  entry = null;
  by("caption").value = text;
  by("caption").readOnly = false;
  say(by("caption-source"), source);
  showMode();
  measure();
}

function wordsFor({ distance, typical, share_farther: share }) {
  if (distance < SAME) return "This is a caption of the bank.";
  if (share === 0) return "Farther from the bank than any of its own captions lies from the others.";
  if (share < EDGE) return `Farther out than ${Math.floor(100 * (1 - share))} % of what the bank holds.`;
  const closer = distance <= typical ? "closer than is typical for it" : "farther than is typical for it";
  return `Within what the bank holds, ${closer}.`;
}

function showDistance(found) {
  by("distance").hidden = false;
  by("distance").classList.remove("stale");
  const along = found.distance < SAME ? 0 : 1 - found.share_farther;
  by("distance").classList.toggle("outside", along > 1 - EDGE);
  by("distance").querySelector(".dot").setAttribute("cx", String(4 + 232 * along));
  say(by("distance-words"), wordsFor(found));
  const measured = `cosine distance ${number(found.distance)}, typical ${number(found.typical)}`;
  say(by("distance-nearest"), `Nearest there (${measured}): “${found.nearest.caption}”`);
}

async function measure() {
  measuring.abort();
  measuring = new AbortController();
  const { signal } = measuring;
  const text = by("caption").value.trim();
  if (!text || !hasBank) return void (by("distance").hidden = true);
  by("caption-problem").hidden = true;
  try {
    const found = await api.distance(place.model, place.label, text, signal);
    if (!signal.aborted) showDistance(found);
  } catch (problem) {
    if (problem.name !== "AbortError") tell(by("caption-problem"), problem);
  }
}

async function describe(file) {
  say(by("describe-hint"), `Describing ${file.name} …`);
  try {
    const { caption, captioner } = await api.describe(place.model, await base64(file));
    write(caption, `From ${file.name}, by ${captioner}. Edit it as you like.`);
    say(by("describe-hint"), "");
    by("caption").focus();
  } catch (problem) {
    tell(by("describe-hint"), problem);
  }
}

/** A class of a model: a caption of one's own stays and is measured anew, a drawn one is replaced. */
export function choosePlace(model, label) {
  const moved = model !== place.model || label !== place.label;
  Object.assign(place, { model, label });
  if (!by("caption").readOnly) return measure();
  return moved ? draw() : drawing;
}

/** The fields of a generation that say what it is of; `ownCaptions`: each picture draws its own. */
export async function captionFields(ownCaptions) {
  await drawing;
  if (!by("caption").readOnly) return { prompt: by("caption").value.trim() };
  if (ownCaptions) return { bank: "draw" };
  if (!entry) throw new api.Problem("There is no caption yet. Draw one, or write your own.");
  return { bank: entry.id };
}

export const isDrawn = () => by("caption").readOnly;

export function startCaption(offers) {
  let pause;
  hasBank = offers.includes("bank");
  by("draw").hidden = !hasBank;
  by("describe").hidden = !offers.includes("captions");
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
  const file = by("describe").querySelector("input");
  file.addEventListener("change", async () => {
    if (file.files.length) await describe(file.files[0]);
    file.value = "";
  });
}
