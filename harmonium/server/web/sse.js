// Server-sent events: a response's bytes to the JSON of each event, as they come.

/** Yields the parsed data of every event; ends at "[DONE]" or with the stream. */
export async function* readEvents(body) {
  let rest = "";
  for await (const text of decoded(body)) {
    const lines = (rest + text).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:")) continue;
      const data = line.slice(5).trim();
      if (data === "[DONE]") return;
      if (data) yield JSON.parse(data);
    }
  }
}

// A reader instead of `for await` over the body, which Safari does not know; leaving early cancels the request.
async function* decoded(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {}); // a stream that broke is closed already
  }
}
