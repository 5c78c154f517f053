"use strict";
const sheet = document.getElementById("sheet");
const kept = `vapray ratings ${sheet.dataset.run}`;
const articles = [...sheet.querySelectorAll("article")];

function verdictsOf(article) {
  const chosen = [...article.querySelectorAll("fieldset")].map((field) => [
    field.dataset.attribute,
    field.querySelector("input:checked")?.value,
  ]);
  return Object.fromEntries(chosen.filter(([, verdict]) => verdict));
}

function ratings() {
  const all = articles.map((article) => ({
    image_id: article.dataset.image,
    caption_key: article.dataset.key,
    verdicts: verdictsOf(article),
  }));
  const rated = all.filter((one) => Object.keys(one.verdicts).length);
  return { vapray_ratings: 1, rater: sheet.elements.rater.value.trim(), ratings: rated };
}

function restore(saved) {
  sheet.elements.rater.value = saved.rater ?? "";
  for (const one of saved.ratings ?? []) {
    const article = articles.find((other) => other.dataset.key === one.caption_key);
    for (const [attribute, verdict] of Object.entries(article ? one.verdicts : {})) {
      const field = [...article.querySelectorAll("fieldset")].find((other) => other.dataset.attribute === attribute);
      const choice = [...(field?.querySelectorAll("input") ?? [])].find((input) => input.value === verdict);
      if (choice) choice.checked = true;
    }
  }
  tell();
}

function tell(extra = "") {
  sheet.elements.progress.value = `${ratings().ratings.length} of ${articles.length} rated${extra}`;
}

sheet.addEventListener("change", (event) => {
  if (event.target.name === "file") return;
  try {
    localStorage.setItem(kept, JSON.stringify(ratings()));
    tell();
  } catch {
    tell("; this browser cannot store ratings, save before you leave");
  }
});

sheet.elements.file.addEventListener("change", async (event) => {
  try {
    restore(JSON.parse(await event.target.files[0].text()));
  } catch {
    tell("; the file is not a saved rating file");
  }
});

sheet.addEventListener("submit", (event) => {
  event.preventDefault();
  const saved = ratings();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(saved, null, 1)], { type: "application/json" }));
  link.download = `ratings-${saved.rater.replace(/[^\p{L}\p{N}]+/gu, "_")}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
  tell("; saved");
});

try {
  restore(JSON.parse(localStorage.getItem(kept) ?? "{}"));
} catch {
  tell();
}
