// Client of the HTTP API: routes, API key and errors.

const root = new URL("../v1/", import.meta.url);
const STORAGE_KEY = "vapray key";
const prompt = { forKey: null };

export class ApiError extends Error {
  constructor(message, { status = 0, code = "", requestId = "", retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { status, code, requestId, retryAfter });
  }
}

export const address = (path) => new URL(path, root).href;
export const hasKey = () => sessionStorage.getItem(STORAGE_KEY) !== null;
export const keepKey = (key) => sessionStorage.setItem(STORAGE_KEY, key);
export const forgetKey = () => sessionStorage.removeItem(STORAGE_KEY);

/** Registers the prompt for a key; `ask` resolves when the user entered one. */
export function onMissingKey(ask) {
  prompt.forKey = ask;
}

function headersOf(body, more) {
  const headers = { ...more };
  if (body !== undefined && !(body instanceof FormData)) headers["Content-Type"] = "application/json";
  if (hasKey()) headers.Authorization = `Bearer ${sessionStorage.getItem(STORAGE_KEY)}`;
  return headers;
}

/** Returns the id that the service logs. */
export const requestIdOf = (response) => response.headers.get("x-request-id") ?? "";

async function failure(response) {
  const body = await response.json().catch(() => null);
  const known = {
    status: response.status,
    requestId: requestIdOf(response),
    retryAfter: Number(response.headers.get("retry-after")) || null,
    code: body?.error?.code ?? "",
  };
  return new ApiError(body?.error?.message ?? `HTTP error ${response.status} without a message.`, known);
}

/** Sends a request; throws an ApiError unless it succeeds. */
export async function send(path, { body, signal, headers } = {}) {
  const method = body === undefined ? "GET" : "POST";
  const content = body === undefined || body instanceof FormData ? body : JSON.stringify(body);
  for (;;) {
    const tried = sessionStorage.getItem(STORAGE_KEY);
    let response;
    try {
      response = await fetch(address(path), { method, body: content, signal, headers: headersOf(body, headers) });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError("Service unreachable. Check that it runs and that this machine can connect to it.");
    }
    if (response.ok) return response;
    const problem = await failure(response);
    if (problem.status !== 401) throw problem;
    if (sessionStorage.getItem(STORAGE_KEY) === tried) await prompt.forKey(tried === null ? "" : problem.message);
  }
}

export const ask = async (path, options) => (await send(path, options)).json();

const query = (model, more = {}) => `?${new URLSearchParams({ model, ...more })}`;
const bank = (label) => `bank/${encodeURIComponent(label)}`;

/** Returns the models and the scopes enabled for this key. */
export const models = () => ask("models");
export const draw = (model, label, seed, signal) => ask(`${bank(label)}/draw${query(model, { seed })}`, { signal });
export const distance = (model, label, caption, signal) =>
  ask(`${bank(label)}/distance`, { body: { model, caption }, signal });
export const captionImage = (model, image) => ask("captions", { body: { model, image } });
export const neighbours = async (model, image, k) => (await ask("neighbours", { body: { model, image, k } })).data;
export const evaluations = async () => (await ask("evaluations")).data;
const start = (path, body, key) => ask(path, { body, headers: { "Idempotency-Key": key } });
export const evaluate = (request, idempotencyKey) => start("evaluations", request, idempotencyKey);
export const evaluateImages = (form, idempotencyKey) => start("evaluations/images", form, idempotencyKey);
