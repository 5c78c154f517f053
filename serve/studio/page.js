// Parts of the page, and what is said on it; text is only ever set as text.

export const by = (id) => document.getElementById(id);
export const copyOf = (template) => by(template).content.firstElementChild.cloneNode(true);
export const number = (value, digits = 3) => value.toLocaleString("en", { maximumSignificantDigits: digits });
export const moment = (unix) =>
  new Date(1000 * unix).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function made(tag, text, className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

export function options(select, entries) {
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
}

/** Pairs of a term and what holds for it; those without anything are left out. */
export function terms(list, entries) {
  const rows = entries.filter(([, value]) => value !== null && value !== undefined && value !== "");
  list.replaceChildren(
    ...rows.map(([term, value]) => {
      const row = document.createElement("div");
      row.append(made("dt", term), made("dd", String(value)));
      return row;
    }),
  );
}

/** A refusal in words, with what a person needs to ask about it. */
export function tell(element, problem) {
  const when = problem.retryAfter ? ` You can try again in ${plural(problem.retryAfter, "second")}.` : "";
  element.replaceChildren(made("span", `${problem.message}${when}`));
  if (problem.requestId) element.append(made("small", `request ${problem.requestId}`));
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

/** Shows small pictures several times as large, by a whole number, so that their pixels stay squares. */
export function enlarge(element, imageSize, wanted) {
  const side = imageSize * Math.max(1, Math.floor(wanted / imageSize));
  element.style.setProperty("--side", `${Math.min(side, wanted)}px`);
  element.classList.toggle("pixels", imageSize <= 128);
}
