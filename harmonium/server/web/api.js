// The server's HTTP API as this page needs it: which models there are, and one streamed response.

import { readEvents } from "./sse.js";

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
      throw isAbort(error) ? error : new RequestError("The connection broke before the answer was complete.");
    }
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
