/** Answers that come piece by piece, as asynchronous iterators. */

async function* textLines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      yield* lines;
    }
    if (rest) yield rest;
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** A JSON object a line. */
export async function* jsonLines(response) {
  for await (const line of textLines(response)) if (line.trim()) yield JSON.parse(line);
}

/** The data of server-sent events, up to OpenAI's `[DONE]`. */
export async function* serverEvents(response) {
  for await (const line of textLines(response)) {
    if (!line.startsWith("data:")) continue;
    const data = line.slice(5).trim();
    if (data === "[DONE]") return;
    yield JSON.parse(data);
  }
}
