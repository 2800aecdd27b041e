// What to say, and what to offer, when something failed.

const ADVICE = [
  [({ code }) => code === "broken", "The connection broke", "What came so far stays. Try again to go on.", "retry"],
  [
    ({ status }) => status === 0,
    "Cannot reach the server",
    "See that “harmonium serve” is running, then try again. Nothing is lost.",
    "retry",
  ],
  [
    ({ status }) => status === 401 || status === 403,
    "The server wants an API key",
    "Give a key that it knows, then try again.",
    "key",
  ],
  [
    ({ status }) => status === 429,
    "The server is busy",
    "It has as many requests as it takes on. Try again in a moment.",
    "retry",
  ],
  [
    ({ code }) => code === "context_length_exceeded",
    "The conversation is longer than the context",
    "Shorten an earlier message, or go on in a new conversation.",
    "new",
  ],
  [
    ({ status, code }) => status === 404 || code === "model_not_found",
    "The server has no such model",
    "Choose another one at the top, then try again.",
    "retry",
  ],
  [
    ({ status }) => status === 400 || status === 422,
    "The server did not take the request",
    "See this conversation's settings, then try again.",
    "settings",
  ],
  [() => true, "The answer failed", "Try again; the conversation is as it was.", "retry"],
];

/** {title, message, advice, action} for an error {message, status, code, wait}. action: retry, key, new or settings. */
export function adviceFor(error) {
  const [, title, advice, action] = ADVICE.find(([applies]) => applies(error));
  const { message, wait } = error;
  return { title, message, advice: wait ? `The server asks to wait ${wait} s before trying again.` : advice, action };
}

/** An error as a record that can be kept with a conversation. */
export function recordOf(error) {
  const { message, status, code, wait } = error;
  return { message: String(message), status: status ?? -1, code: String(code ?? ""), wait: wait ?? 0 };
}
