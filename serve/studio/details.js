// Dialog with the details of an image.

import * as api from "./api.js";
import { base64, by, createElement, enlarge, moment, number, pngOf, setText, showError, terms } from "./page.js";
import { chunksOf } from "./provenance.js";

const SIDE = 384; // pixels on the page, at most
let shown = null;
let hasNeighbours = true;

const fileName = ({ result, request }) => {
  const bypassed = request.prototypes === "bypassed" ? "-bypassed" : "";
  const name = `${result.class}-${result.seed}-${result.model_sha256.slice(0, 12)}${bypassed}`;
  return `${name.replace(/[^\p{L}\p{N}_-]+/gu, "_")}.png`;
};

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** Returns a curl command that reproduces the image. */
function curlOf(slot) {
  const { n, partial_images, bank, prompt, ...settings } = slot.request;
  const { result } = slot;
  const words = result.bank_id ? { bank: result.bank_id } : { prompt: result.revised_prompt };
  const request = { ...settings, label: result.class, ...words, n: 1, seed: result.seed };
  const key = api.hasKey() ? ` \\\n  -H "Authorization: Bearer $VAPRAY_KEY"` : "";
  return [
    `curl -sS ${quoted(api.address("images/generations"))}${key}`,
    "-H 'Content-Type: application/json'",
    `-d ${quoted(JSON.stringify(request))}`,
    `| jq -r '.data[0].b64_json' | base64 --decode > ${quoted(fileName(slot))}`,
  ].join(" \\\n  ");
}

function facts({ request, result }) {
  return [
    ["Class", result.class],
    ["Caption", result.revised_prompt],
    ["Bank entry", result.bank_id ?? "none: edited caption"],
    ["Seed", result.seed],
    ["Steps", request.num_inference_steps],
    ["Guidance", request.guidance_scale],
    ["Solver", request.solver],
    ["Prototypes", request.prototypes === "bypassed" ? "bypassed at inference" : "on"],
    ["Model", request.model],
    ["Weights, sha256", result.model_sha256],
    ["Size", result.size],
    ["Network evaluations", result.usage?.output_tokens],
    ["Generated", moment(result.created_at)],
    ["Request", result.requestId],
  ];
}

function distanceWords(distance) {
  if (distance < 0.5) return "much closer than real images are to each other; it may be a copy";
  if (distance < 0.85) return "closer than typical for held-out real images";
  if (distance < 1.2) return "as far as typical for held-out real images";
  return "farther than typical for held-out real images";
}

function neighbourFigure(one, index) {
  const figure = document.createElement("figure");
  figure.className = "real";
  const image = document.createElement("img");
  image.src = URL.createObjectURL(pngOf(one.b64_json));
  image.alt = `Real training image ${index + 1} of class ${one.class}`;
  image.addEventListener("load", () => URL.revokeObjectURL(image.src));
  figure.append(image, createElement("figcaption", `${one.class}, ${number(one.distance, 2)} ×`));
  return figure;
}

async function findNeighbours() {
  const slot = shown;
  by("show-neighbours").disabled = true;
  setText(by("neighbours-words"), "Searching …");
  try {
    const found = await api.neighbours(slot.request.model, await base64(slot.png), 4);
    if (slot !== shown) return;
    by("show-neighbours").hidden = true;
    by("neighbour-strip").replaceChildren(...found.map(neighbourFigure));
    const [{ distance }] = found;
    const times = `${number(distance, 2)} times the typical distance`;
    setText(by("neighbours-words"), `The nearest one is ${distanceWords(distance)} (${times}).`);
  } catch (problem) {
    if (slot !== shown) return;
    showError(by("neighbours-words"), problem);
  } finally {
    by("show-neighbours").disabled = false;
  }
}

function resetNeighbours(possible) {
  by("neighbours").hidden = !possible || !hasNeighbours;
  by("neighbour-strip").replaceChildren();
  by("show-neighbours").hidden = false;
  setText(by("neighbours-words"), "Shows whether the model copies a training image.");
}

async function copyCurl() {
  const command = by("curl").textContent;
  try {
    await navigator.clipboard.writeText(command); // available only over HTTPS or on this machine
    setText(by("copied"), "Copied.");
  } catch {
    by("curl").parentElement.open = true;
    getSelection().selectAllChildren(by("curl"));
    setText(by("copied"), "Selected; copy it with Ctrl+C.");
  }
}

/** Opens the dialog for a finished image. */
export function showDetails(slot) {
  shown = slot;
  const { result } = slot;
  const url = slot.element.querySelector("img").src;
  by("details-title").textContent = `${result.class}, seed ${result.seed}`;
  by("details-image").src = url;
  by("details-image").alt = `Synthetic image of class ${result.class}, seed ${result.seed}`;
  by("details-image").parentElement.className = slot.request.prototypes === "bypassed" ? "other" : "generated";
  setText(by("details-kind"), slot.request.prototypes === "bypassed" ? "generated, prototypes bypassed" : "generated");
  enlarge(by("details"), Number(result.size.split("x")[0]), SIDE);
  terms(by("provenance"), facts(slot));
  by("download").href = url;
  by("download").download = fileName(slot);
  by("curl").textContent = curlOf(slot);
  setText(by("copied"), "");
  resetNeighbours(slot.model.has_reference);
  chunksOf(slot.png).then((chunks) => terms(by("chunks"), chunks));
  by("details").showModal();
}

/** Sets up the dialog; `reuse` puts the settings of an image into the form. */
export function startDetails(offers, reuse) {
  hasNeighbours = offers.includes("neighbours");
  by("reuse").addEventListener("click", () => {
    by("details").close();
    reuse(shown);
  });
  by("close-details").addEventListener("click", () => by("details").close());
  by("show-neighbours").addEventListener("click", findNeighbours);
  by("copy-curl").addEventListener("click", copyCurl);
  by("details").addEventListener("click", (event) => {
    if (event.target === by("details")) by("details").close();
  });
}
