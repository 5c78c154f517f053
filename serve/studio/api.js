// The API's routes, its key, and its refusals as errors in words.

const root = new URL("../v1/", import.meta.url);
const kept = "vapray key";
const asking = { forKey: null };

export class Problem extends Error {
  constructor(message, { status = 0, code = "", requestId = "", retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { status, code, requestId, retryAfter });
  }
}

export const address = (path) => new URL(path, root).href;
export const hasKey = () => sessionStorage.getItem(kept) !== null;
export const keepKey = (key) => sessionStorage.setItem(kept, key);
export const forgetKey = () => sessionStorage.removeItem(kept);

/** `ask` resolves when there is a key worth trying. */
export function onMissingKey(ask) {
  asking.forKey = ask;
}

function headersOf(body, more) {
  const headers = { ...more };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (hasKey()) headers.Authorization = `Bearer ${sessionStorage.getItem(kept)}`;
  return headers;
}

/** Serve's proxy says it a second time. */
export const requestIdOf = (response) => response.headers.get("x-request-id") ?? "";

async function refusal(response) {
  const said = await response.json().catch(() => null);
  const known = {
    status: response.status,
    requestId: requestIdOf(response),
    retryAfter: Number(response.headers.get("retry-after")) || null,
    code: said?.error?.code ?? "",
  };
  return new Problem(said?.error?.message ?? `The service answered ${response.status} without saying why.`, known);
}

/** The response to a request that was accepted; anything else is thrown as a Problem. */
export async function send(path, { body, signal, headers } = {}) {
  const method = body === undefined ? "GET" : "POST";
  const content = body === undefined ? undefined : JSON.stringify(body);
  for (;;) {
    const tried = sessionStorage.getItem(kept);
    let response;
    try {
      response = await fetch(address(path), { method, body: content, signal, headers: headersOf(body, headers) });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("The service cannot be reached. Check that it runs and that this machine is on its network.");
    }
    if (response.ok) return response;
    const problem = await refusal(response);
    if (problem.status !== 401) throw problem;
    if (sessionStorage.getItem(kept) === tried) await asking.forKey(tried === null ? "" : problem.message);
  }
}

export const ask = async (path, options) => (await send(path, options)).json();

const of = (model, more = {}) => `?${new URLSearchParams({ model, ...more })}`;
const bank = (label) => `bank/${encodeURIComponent(label)}`;

/** The models, and what else the service offers to this key. */
export const models = () => ask("models");
export const draw = (model, label, seed, signal) => ask(`${bank(label)}/draw${of(model, { seed })}`, { signal });
export const distance = (model, label, caption, signal) =>
  ask(`${bank(label)}/distance`, { body: { model, caption }, signal });
export const describe = (model, image) => ask("captions", { body: { model, image } });
export const neighbours = async (model, image, k) => (await ask("neighbours", { body: { model, image, k } })).data;
export const evaluations = async () => (await ask("evaluations")).data;
export const evaluate = (order, idempotencyKey) =>
  ask("evaluations", { body: order, headers: { "Idempotency-Key": idempotencyKey } });
