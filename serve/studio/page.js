// Page elements; text is always set as text, never as HTML.

export const by = (id) => document.getElementById(id);
export const copyOf = (template) => by(template).content.firstElementChild.cloneNode(true);
export const number = (value, digits = 3) => value.toLocaleString("en", { maximumSignificantDigits: digits });
export const moment = (unix) =>
  new Date(1000 * unix).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function createElement(tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

export function options(select, entries) {
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
}

/** Fills a list with terms and values; empty values are omitted. */
export function terms(list, entries) {
  const rows = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  list.replaceChildren(
    ...rows.map(([term, value]) => {
      const row = document.createElement("div");
      row.append(createElement("dt", term), createElement("dd", String(value)));
      return row;
    }),
  );
}

/** Shows an error with its request id. */
export function showError(element, problem) {
  const when = problem.retryAfter ? ` Retry in ${plural(problem.retryAfter, "second")}.` : "";
  element.replaceChildren(createElement("span", `${problem.message}${when}`));
  if (problem.requestId) element.append(createElement("small", `request ${problem.requestId}`));
  element.hidden = false;
}

export async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const pieces = [];
  for (let from = 0; from < bytes.length; from += 0x8000) {
    pieces.push(String.fromCharCode(...bytes.subarray(from, from + 0x8000)));
  }
  return btoa(pieces.join(""));
}

export function pngOf(text) {
  return new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))], { type: "image/png" });
}

/** Enlarges small images by a whole number, so that their pixels stay square. */
export function enlarge(element, imageSize, maxSide) {
  const side = imageSize * Math.max(1, Math.floor(maxSide / imageSize));
  element.style.setProperty("--side", `${Math.min(side, maxSide)}px`);
  element.classList.toggle("pixels", imageSize <= 128);
}
