// Everything about one picture, in a dialog.

import * as api from "./api.js";
import { base64, by, enlarge, made, moment, number, pngOf, say, tell, terms } from "./page.js";
import { chunksOf } from "./provenance.js";

const SIDE = 384; // pixels on the page, at most
let shown = null;
let hasNeighbours = true;

const fileName = ({ made: picture, order }) => {
  const bypassed = order.prototypes === "bypassed" ? "-bypassed" : "";
  const name = `${picture.class}-${picture.seed}-${picture.model_sha256.slice(0, 12)}${bypassed}`;
  return `${name.replace(/[^\p{L}\p{N}_-]+/gu, "_")}.png`;
};

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A command that makes the same picture again. */
function curlOf(slot) {
  const { n, partial_images, bank, prompt, ...settings } = slot.order;
  const picture = slot.made;
  const words = picture.bank_id ? { bank: picture.bank_id } : { prompt: picture.revised_prompt };
  const order = { ...settings, label: picture.class, ...words, n: 1, seed: picture.seed };
  const key = api.hasKey() ? ` \\\n  -H "Authorization: Bearer $VAPRAY_KEY"` : "";
  return [
    `curl -sS ${quoted(api.address("images/generations"))}${key}`,
    "-H 'Content-Type: application/json'",
    `-d ${quoted(JSON.stringify(order))}`,
    `| jq -r '.data[0].b64_json' | base64 --decode > ${quoted(fileName(slot))}`,
  ].join(" \\\n  ");
}

function facts({ order, made: picture }) {
  return [
    ["Class", picture.class],
    ["Caption", picture.revised_prompt],
    ["Bank entry", picture.bank_id ?? "none: words of your own"],
    ["Seed", picture.seed],
    ["Steps", order.num_inference_steps],
    ["Guidance", order.guidance_scale],
    ["Solver", order.solver],
    ["Prototypes", order.prototypes === "bypassed" ? "bypassed at inference" : "on"],
    ["Model", order.model],
    ["Weights, sha256", picture.model_sha256],
    ["Size", picture.size],
    ["Network evaluations", picture.usage?.output_tokens],
    ["Made", moment(picture.created_at)],
    ["Request", picture.requestId],
  ];
}

function distanceWords(distance) {
  if (distance < 0.5) return "much closer than real pictures lie to one another: it may be a copy";
  if (distance < 0.85) return "closer than held-out real pictures lie to theirs";
  if (distance < 1.2) return "about as far as held-out real pictures lie from theirs";
  return "farther than held-out real pictures lie from theirs";
}

function neighbourFigure(one, index) {
  const figure = document.createElement("figure");
  figure.className = "real";
  const picture = document.createElement("img");
  picture.src = URL.createObjectURL(pngOf(one.b64_json));
  picture.alt = `Real training picture ${index + 1} of class ${one.class}`;
  picture.addEventListener("load", () => URL.revokeObjectURL(picture.src));
  figure.append(picture, made("figcaption", `${one.class}, ${number(one.distance, 2)} ×`));
  return figure;
}

async function lookForNeighbours() {
  const asked = shown;
  by("show-neighbours").disabled = true;
  say(by("neighbours-words"), "Looking …");
  try {
    const found = await api.neighbours(asked.order.model, await base64(asked.png), 4);
    if (asked !== shown) return;
    by("show-neighbours").hidden = true;
    by("neighbour-strip").replaceChildren(...found.map(neighbourFigure));
    const [{ distance }] = found;
    const times = `${number(distance, 2)} times their usual distance`;
    say(by("neighbours-words"), `The nearest one lies ${distanceWords(distance)} (${times}).`);
  } catch (problem) {
    if (asked !== shown) return;
    tell(by("neighbours-words"), problem);
  } finally {
    by("show-neighbours").disabled = false;
  }
}

function resetNeighbours(possible) {
  by("neighbours").hidden = !possible || !hasNeighbours;
  by("neighbour-strip").replaceChildren();
  by("show-neighbours").hidden = false;
  say(by("neighbours-words"), "Shows whether the model repeats a picture that it was trained on.");
}

async function copyCurl() {
  const command = by("curl").textContent;
  try {
    await navigator.clipboard.writeText(command); // there only over HTTPS or on this machine
    say(by("copied"), "Copied.");
  } catch {
    by("curl").parentElement.open = true;
    getSelection().selectAllChildren(by("curl"));
    say(by("copied"), "Selected; copy it with Ctrl+C.");
  }
}

/** Opens the dialog on a finished picture. */
export function showDetails(slot) {
  shown = slot;
  const picture = slot.made;
  const url = slot.element.querySelector("img").src;
  by("details-title").textContent = `${picture.class}, seed ${picture.seed}`;
  by("details-picture").src = url;
  by("details-picture").alt = `Synthetic picture of class ${picture.class}, seed ${picture.seed}`;
  by("details-picture").parentElement.className = slot.order.prototypes === "bypassed" ? "other" : "made";
  say(by("details-kind"), slot.order.prototypes === "bypassed" ? "generated, prototypes bypassed" : "generated");
  enlarge(by("details"), Number(picture.size.split("x")[0]), SIDE);
  terms(by("provenance"), facts(slot));
  by("download").href = url;
  by("download").download = fileName(slot);
  by("curl").textContent = curlOf(slot);
  say(by("copied"), "");
  resetNeighbours(slot.model.has_reference);
  chunksOf(slot.png).then((chunks) => terms(by("chunks"), chunks));
  by("details").showModal();
}

/** `reuse` takes a picture's settings back to the form. */
export function startDetails(offers, reuse) {
  hasNeighbours = offers.includes("neighbours");
  by("reuse").addEventListener("click", () => {
    by("details").close();
    reuse(shown);
  });
  by("close-details").addEventListener("click", () => by("details").close());
  by("show-neighbours").addEventListener("click", lookForNeighbours);
  by("copy-curl").addEventListener("click", copyCurl);
  by("details").addEventListener("click", (event) => {
    if (event.target === by("details")) by("details").close();
  });
}
