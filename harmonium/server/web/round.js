// One request and its events: a streamed response becomes a round's items, text, times and outcome.

import { BROKEN, isAbort } from "./api.js";
import { recordOf } from "./advice.js";

/** Runs a round to its end, whatever that is; onChange() after every event. The round itself says what failed. */
export async function runRound(round, events, onChange) {
  try {
    for await (const event of events) {
      apply(round, event, Date.now());
      onChange();
    }
    if (round.status === "running")
      fail(round, { message: BROKEN, status: 0, code: "broken" });
  } catch (error) {
    if (isAbort(error)) round.status = "stopped";
    else fail(round, error);
  }
  round.ended = round.ended || Date.now();
  for (const item of round.items) if (item.status === "in_progress") item.status = "incomplete";
  onChange();
}

/** Takes one event of the Responses API into the round. Types it has no use for are passed over, as the API asks. */
export function apply(round, event, now) {
  const handle = HANDLERS[event.type];
  if (handle) handle(round, event, now);
}

const HANDLERS = {
  "response.output_item.added": (round, event, now) => {
    round.first ||= now;
    round.items[event.output_index] = event.item;
    round.times[event.output_index] = { started: now, ended: 0 };
  },
  "response.content_part.added": (round, event) => {
    const item = round.items[event.output_index];
    item.content ??= [];
    item.content[event.content_index] = event.part;
  },
  "response.reasoning_text.delta": addText,
  "response.output_text.delta": addText,
  "response.function_call_arguments.delta": (round, event) => {
    round.items[event.output_index].arguments += event.delta;
  },
  "response.output_item.done": (round, event, now) => {
    round.items[event.output_index] = event.item;
    if (round.times[event.output_index]) round.times[event.output_index].ended = now;
  },
  "response.completed": finish,
  "response.incomplete": finish,
  "response.failed": (round, event, now) => {
    finish(round, event, now);
    fail(round, {
      message: event.response.error?.message ?? "The server gave no reason.",
      code: event.response.error?.code,
    });
  },
  error: (round, event) => fail(round, event.error ?? event),
};

function addText(round, event) {
  const item = round.items[event.output_index];
  item.content ??= [];
  item.content[event.content_index] ??= { type: event.type.replace("response.", "").replace(".delta", ""), text: "" };
  item.content[event.content_index].text += event.delta;
}

function finish(round, { response }, now) {
  round.status = response.status;
  // What is readable need not be kept a second time, sealed with one server's key.
  round.items = response.output.map(({ encrypted_content: _, ...item }) => item);
  round.usage = response.usage;
  round.metadata = response.metadata ?? {};
  round.reason = response.incomplete_details?.reason ?? "";
  round.ended = now;
}

function fail(round, error) {
  round.status = "failed";
  round.error = recordOf(error);
}
