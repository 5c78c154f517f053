// Makes pictures, until they are finished or somebody cancels.

import { endUnfinished, follow, newBatch } from "./batch.js";
import { startDetails } from "./details.js";
import { model, orders, reuse, startOrder } from "./order.js";
import { by, plural, say, tell } from "./page.js";

let running = null;

function counter(total) {
  let finished = 0;
  say(by("progress"), `Making ${plural(total, "picture")} …`);
  return () => {
    finished += 1;
    const soFar = finished < total ? `${finished} of ${total}` : plural(total, "picture");
    say(by("progress"), `${soFar} finished.`);
  };
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
  const { batch, slots } = newBatch(all, by("caption").value, model());
  const counted = counter(slots.flat().length);
  const ends = await Promise.allSettled(all.map((order, i) => follow(order, slots[i], controller.signal, counted)));
  const wrong = ends.map((end) => end.reason).find((reason) => reason && reason.name !== "AbortError");
  const finished = endUnfinished(slots, controller.signal.aborted);
  if (controller.signal.aborted) say(by("progress"), `Cancelled. ${plural(finished, "picture")} finished before.`);
  busy(null);
  if (wrong) {
    if (!slots.flat().some((slot) => slot.png)) batch.remove();
    say(by("progress"), "");
    tell(by("order-problem"), wrong);
  }
}

export function startPictures(known, offers) {
  startDetails(offers, reuse);
  by("cancel").addEventListener("click", () => running?.abort());
  by("order").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!running) generate();
  });
  return startOrder(known, offers);
}
