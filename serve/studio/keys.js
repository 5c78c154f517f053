// Asks for an API key when the service wants one.

import { forgetKey, hasKey, keepKey, onMissingKey } from "./api.js";
import { by, say } from "./page.js";

let waiting = null;

function asked(refused) {
  waiting ??= new Promise((resolve) => {
    say(by("key-problem"), refused);
    by("key-form").onsubmit = (event) => {
      event.preventDefault();
      keepKey(by("key").value.trim());
      by("key").value = "";
      by("key-dialog").close();
      by("forget-key").hidden = false;
      waiting = null;
      resolve();
    };
    by("key-dialog").showModal();
  });
  return waiting;
}

export function startKeys() {
  onMissingKey(asked);
  by("key-dialog").addEventListener("cancel", (event) => event.preventDefault());
  by("forget-key").hidden = !hasKey();
  by("forget-key").addEventListener("click", () => {
    forgetKey();
    location.reload();
  });
}
