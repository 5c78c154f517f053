// Server-sent events of a POST request, which EventSource does not support.

import { ApiError, requestIdOf, send } from "./api.js";

function parsed(block) {
  const data = block
    .split(/\r?\n/)
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).trimStart());
  return data.length ? JSON.parse(data.join("\n")) : null;
}

async function* blocks(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const found = (rest + value).split(/\r?\n\r?\n/);
    rest = found.pop();
    yield* found;
  }
}

/** Yields the events of a generation as JSON; throws an error event. */
export async function* generation(request, signal) {
  const response = await send("images/generations", { body: { ...request, stream: true }, signal });
  const requestId = requestIdOf(response);
  for await (const block of blocks(response.body)) {
    const event = parsed(block);
    if (event?.error) throw new ApiError(event.error.message, { code: event.error.code, requestId });
    if (event) yield { ...event, requestId };
  }
}
