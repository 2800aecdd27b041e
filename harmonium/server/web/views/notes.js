// What has to be said about a round besides its answer: why it ended early, and what the server did to make sense of
// it.

const ENDINGS = {
  closed: "The page was closed while this was written.",
  max_output_tokens: "Cut at the longest answer that the options or the context allow.",
  content_filter: "Cut by a content filter.",
};

const TOLD = {
  harmony_repairs: (text) => `The model's tokens were repaired: ${text}.`,
  harmony_refused_calls: (text) => `Calls of functions that nobody offers were refused: ${text}.`,
  harmony_reasoning_cut: (text) =>
    text === "loop" ? "Reasoning that went in circles was closed." : "The reasoning was closed at its budget.",
  harmony_not_offered: (text) => `Not offered to the model: ${text}.`,
  harmony_not_read: (text) => `Not read by the model: ${text}.`,
};

/** The sentences about a round, none where all went well. */
export function notesOf({ status, reason, metadata }) {
  const told = Object.entries(TOLD).flatMap(([key, say]) => (metadata[key] ? [say(metadata[key])] : []));
  if (status === "stopped") return [...told, ENDINGS[reason] ?? "Stopped."];
  return status === "incomplete" ? [...told, ENDINGS[reason] ?? `Incomplete: ${reason}.`] : told;
}
