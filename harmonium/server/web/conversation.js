// A conversation as a record, and as the request that continues it. No DOM, no storage, no network.
//
// conversation: {id, title, isNamed, created, updated, options, turns}
// turn:         {id, question, asked, rounds}; a round is one request, and a call whose result is given begins another
// round:        {status, items, outputs, times, started, first, ended, usage, metadata, error, reason}
//   items are the response's own output items, outputs the results given to calls by call_id, metadata what it tells
//   status: running, completed, incomplete, stopped, failed

export const EFFORTS = ["low", "medium", "high"];

// Not crypto.randomUUID, which exists on https and loopback alone; servers stand in local networks, too.
export function newId() {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function newConversation(options) {
  const now = Date.now();
  return {
    id: newId(),
    title: "",
    isNamed: false,
    created: now,
    updated: now,
    options: structuredClone(options),
    turns: [],
  };
}

export function newTurn(question) {
  return { id: newId(), question, asked: Date.now(), rounds: [] };
}

export function newRound() {
  const clock = { times: {}, started: Date.now(), first: 0, ended: 0 };
  return { status: "running", items: [], outputs: {}, ...clock, usage: null, metadata: {}, error: null, reason: "" };
}

/** The request that asks for what comes next. Reasoning goes back within the last turn alone, as gpt-oss expects it. */
export function requestFor(conversation, model) {
  const { effort, temperature, instructions, tools, longest } = conversation.options;
  const request = { input: inputOf(conversation), reasoning: { effort }, stream: true, store: false };
  if (model) request.model = model;
  if (instructions) request.instructions = instructions;
  if (tools.length) request.tools = tools;
  if (temperature !== null) request.temperature = temperature;
  if (longest !== null) request.max_output_tokens = longest;
  return request;
}

function inputOf({ turns }) {
  return turns.flatMap((turn, index) => {
    const isLast = index === turns.length - 1;
    const question = { type: "message", role: "user", content: [{ type: "input_text", text: turn.question }] };
    return [question, ...turn.rounds.filter(isUsable).flatMap((round) => itemsOf(round, isLast))];
  });
}

function isUsable({ status }) {
  return status === "completed" || status === "incomplete" || status === "stopped";
}

function itemsOf(round, isLast) {
  return round.items.flatMap((item) => {
    if (item.type === "reasoning") return isLast && round.status === "completed" ? [item] : [];
    if (item.type === "message") return textOf(item) ? [item] : [];
    if (item.type !== "function_call" || !Object.hasOwn(round.outputs, item.call_id)) return [];
    return [item, { type: "function_call_output", call_id: item.call_id, output: round.outputs[item.call_id] }];
  });
}

/** The text of a message or reasoning item. */
export function textOf(item) {
  return (item.content ?? []).map((part) => part.text ?? part.refusal ?? "").join("");
}

/** The calls that wait for their result. */
export function openCalls(turn) {
  const round = turn?.rounds.at(-1);
  if (round?.status !== "completed") return [];
  return round.items.filter((item) => item.type === "function_call" && !Object.hasOwn(round.outputs, item.call_id));
}

export function isRunning(turn) {
  return turn?.rounds.at(-1)?.status === "running";
}

/** What the model said to the user in a turn, preambles included. */
export function answerOf(turn) {
  const messages = turn.rounds.flatMap((round) => round.items).filter((item) => item.type === "message");
  return messages.map(textOf).filter(Boolean).join("\n\n");
}

/**
 * A turn's figures, {prompt, cached, completion, reasoning, isCounted, seconds, speed}, or null before any: the prompt
 * is that of its last round, which holds the earlier ones, all else is summed. isCounted: some of it by this page.
 */
export function figuresOf(turn) {
  const rounds = turn.rounds.filter((round) => round.usage);
  if (!rounds.length) return null;
  const sum = (read) => rounds.reduce((total, round) => total + (read(round) || 0), 0);
  const completion = sum((round) => round.usage.output_tokens);
  const seconds = sum((round) => round.ended - round.started) / 1000;
  const decoding = sum((round) => round.ended - (round.first || round.ended)) / 1000;
  return {
    prompt: rounds.at(-1).usage.input_tokens,
    cached: rounds.at(-1).usage.input_tokens_details?.cached_tokens ?? 0,
    completion,
    reasoning: sum((round) => round.usage.output_tokens_details?.reasoning_tokens),
    isCounted: rounds.some((round) => round.usage.isCounted),
    seconds,
    // Of decoding alone, which a browser cannot tell from the whole when all of it comes at once.
    speed: completion / Math.max(decoding > 0.3 ? decoding : seconds, 0.001),
  };
}

/** Tokens of the context that the conversation fills so far, or null before the first answer. */
export function tokensUsed({ turns }) {
  const usage = turns.flatMap((turn) => turn.rounds).findLast((round) => round.usage)?.usage;
  return usage ? usage.input_tokens + usage.output_tokens : null;
}

/** Names the conversation after its first question, unless the user named it. */
export function nameByQuestion(conversation) {
  if (conversation.isNamed || !conversation.turns.length) return;
  const line = conversation.turns[0].question.trim().replace(/\s+/g, " ");
  const characters = [...line];
  conversation.title = characters.length > 60 ? `${characters.slice(0, 59).join("").trimEnd()}…` : line;
}

/** Ends what ran when the page was closed. */
export function settle(conversation) {
  for (const round of conversation.turns.flatMap((turn) => turn.rounds)) {
    if (round.status !== "running") continue;
    round.status = "stopped";
    round.reason = "closed";
    round.ended = round.ended || Date.now();
  }
  return conversation;
}
