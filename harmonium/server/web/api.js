// The server's HTTP API as this page needs it: which models there are, and one streamed response.

import { textOf } from "./conversation.js";
import { readEvents } from "./sse.js";

export const BROKEN = "The connection broke before the answer was complete.";

/** A request that failed. status: HTTP's, 0 where no answer came; code: the server's; wait: seconds it asks to wait. */
export class RequestError extends Error {
  constructor(message, { status = 0, code = "", wait = 0 } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.wait = wait;
  }
}

export class Api {
  #keyOf;

  /** keyOf(): the API key to send, or "". */
  constructor(keyOf) {
    this.#keyOf = keyOf;
  }

  /** The models served, each {id, ...} as the server describes it. */
  async models() {
    const response = await this.#fetch("/v1/models", {});
    return (await response.json()).data;
  }

  /** Yields the events of one streamed response. */
  async *respond(request, signal) {
    const headers = { "Content-Type": "application/json", Accept: "text/event-stream" };
    const response = await this.#fetch("/v1/responses", {
      method: "POST",
      headers,
      body: JSON.stringify(request),
      signal,
    });
    try {
      yield* readEvents(response.body);
    } catch (error) {
      throw isAbort(error) ? error : new RequestError(BROKEN, { code: "broken" });
    }
  }

  /** What a round took whose server was stopped before it could say so: counted anew, of the text that came. */
  async usageOf(request, { items }) {
    const { stream: _stream, store: _store, ...asked } = request;
    const isReasoning = ({ type }) => type === "reasoning";
    const textsOf = (some) => some.map((item) => item.arguments ?? textOf(item)).join("");
    const [given, reasoning, answer] = await Promise.all([
      this.#post("/v1/responses/input_tokens", asked),
      this.#post("/tokenize", { model: request.model, prompt: textsOf(items.filter(isReasoning)) }),
      this.#post("/tokenize", { model: request.model, prompt: textsOf(items.filter((item) => !isReasoning(item))) }),
    ]);
    return {
      input_tokens: given.input_tokens,
      output_tokens: reasoning.count + answer.count,
      output_tokens_details: { reasoning_tokens: reasoning.count },
      isCounted: true,
    };
  }

  async #post(path, value) {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value) };
    return (await this.#fetch(path, options)).json();
  }

  async #fetch(path, options) {
    const key = this.#keyOf();
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    let response;
    try {
      response = await fetch(path, { ...options, headers, cache: "no-store" });
    } catch (error) {
      throw isAbort(error) ? error : new RequestError("The server does not answer.");
    }
    if (!response.ok) throw await failureOf(response);
    return response;
  }
}

export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

async function failureOf(response) {
  const text = await response.text();
  const wait = Number(response.headers.get("Retry-After")) || 0;
  let error = {};
  try {
    error = JSON.parse(text).error ?? {};
  } catch {
    // Not this server's words: something between it and the browser answered.
  }
  const message = error.message || `${response.status} ${response.statusText}`.trim();
  return new RequestError(message, { status: response.status, code: error.code ?? "", wait });
}
