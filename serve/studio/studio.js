// Start of the page: tabs, API key, models.

import { models } from "./api.js";
import { startEvaluations } from "./evaluations.js";
import { startKeys } from "./keys.js";
import { by, showError } from "./page.js";
import { startGeneration } from "./generation.js";

const tabs = [...document.querySelectorAll("[role=tab]")];
const opened = {};

function open(tab) {
  for (const one of tabs) {
    const chosen = one === tab;
    one.setAttribute("aria-selected", String(chosen));
    one.tabIndex = chosen ? 0 : -1;
    by(one.getAttribute("aria-controls")).hidden = !chosen;
  }
  history.replaceState(null, "", `#${tab.getAttribute("aria-controls")}`);
  opened[tab.id]?.();
}

function onKey(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const tab = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
  tab.focus();
  open(tab);
}

async function start() {
  startKeys();
  for (const tab of tabs) {
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("keydown", onKey);
  }
  open(tabs.find((tab) => location.hash === `#${tab.getAttribute("aria-controls")}`) ?? tabs[0]);
  try {
    const { data, offers } = await models();
    opened["tab-evaluations"] = startEvaluations(data, offers);
    if (location.hash === "#evaluations") opened["tab-evaluations"]();
    await startGeneration(data, offers);
  } catch (problem) {
    showError(by("start-problem"), problem);
  }
}

start();
