// Prompt for the API key.

import { forgetKey, hasKey, keepKey, onMissingKey } from "./api.js";
import { by, setText } from "./page.js";

let waiting = null;

function promptForKey(message) {
  waiting ??= new Promise((resolve) => {
    setText(by("key-problem"), message);
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
  onMissingKey(promptForKey);
  by("key-dialog").addEventListener("cancel", (event) => event.preventDefault());
  by("forget-key").hidden = !hasKey();
  by("forget-key").addEventListener("click", () => {
    forgetKey();
    location.reload();
  });
}
