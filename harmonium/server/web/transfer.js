// Conversations out of the browser and into it again, as a JSON file.

import { EFFORTS, newConversation, newId } from "./conversation.js";
import { DEFAULT_OPTIONS } from "./settings.js";
import { parseTools } from "./tools.js";

const FORMAT = "harmonium-conversations";
const STATUSES = ["completed", "incomplete", "stopped", "failed"];

/** Offers conversations as a download. */
export function download(conversations, name) {
  const text = JSON.stringify({ format: FORMAT, version: 1, conversations }, null, 1);
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `${
    name
      .replace(/[^\p{L}\p{N} _-]+/gu, "")
      .trim()
      .slice(0, 60) || "conversation"
  }.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** The conversations of an exported file, rebuilt field by field, with ids of their own; throws with what is wrong. */
export function readExport(text) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error("This file is not JSON, so it is no export of conversations.");
  }
  if (file?.format !== FORMAT || !Array.isArray(file.conversations))
    throw new Error("This file is no export of conversations.");
  if (file.version !== 1) throw new Error(`This export is of version ${file.version}; this page reads version 1.`);
  return file.conversations.map((value, index) => {
    try {
      return readConversation(value);
    } catch (error) {
      throw new Error(`Conversation ${index + 1} of the file: ${error.message}`);
    }
  });
}

function readConversation(value) {
  return {
    ...newConversation(readOptions(value.options)),
    title: string(value.title, "title"),
    isNamed: value.isNamed === true,
    created: number(value.created, "created"),
    updated: number(value.updated, "updated"),
    turns: list(value.turns, "turns").map(readTurn),
  };
}

function readOptions(value) {
  const { effort, temperature, longest, instructions, tools } = { ...DEFAULT_OPTIONS, ...value };
  return {
    effort: oneOf(effort, EFFORTS, "effort"),
    temperature: temperature === null ? null : number(temperature, "temperature"),
    longest: longest === null ? null : number(longest, "longest"),
    instructions: string(instructions, "instructions"),
    tools: parseTools(JSON.stringify(list(tools, "tools"))),
  };
}

function readTurn(value) {
  return {
    id: newId(),
    question: string(value.question, "question"),
    asked: number(value.asked, "asked"),
    rounds: list(value.rounds, "rounds").map(readRound),
  };
}

function readRound(value) {
  return {
    status: oneOf(value.status, STATUSES, "status"),
    items: list(value.items, "items").map(readItem),
    outputs: Object.fromEntries(Object.entries(value.outputs ?? {}).map(([id, text]) => [id, string(text, "output")])),
    times: Object.fromEntries(Object.entries(value.times ?? {}).map(([index, time]) => [index, readTime(time)])),
    started: number(value.started, "started"),
    first: number(value.first, "first"),
    ended: number(value.ended, "ended"),
    usage: typeof value.usage === "object" ? value.usage : null,
    metadata: Object.fromEntries(
      Object.entries(value.metadata ?? {}).map(([key, text]) => [key, string(text, "metadata")]),
    ),
    error: value.error ? { message: string(value.error.message, "error"), status: -1, code: "", wait: 0 } : null,
    reason: string(value.reason, "reason"),
  };
}

function readTime({ started, ended }) {
  return { started: number(started, "time"), ended: number(ended, "time") };
}

// Items go back to the server as they came, so they stay whole; what the page shows of them is checked.
function readItem(item) {
  string(item?.type, "type of an item");
  for (const part of item.content ?? []) if (part.text !== undefined) string(part.text, "text");
  if (item.type === "function_call") for (const field of ["call_id", "name", "arguments"]) string(item[field], field);
  return item;
}

function string(value, name) {
  if (typeof value !== "string") throw new Error(`its ${name} is no text.`);
  return value;
}

function number(value, name) {
  if (typeof value !== "number" || !Number.isFinite(value)) throw new Error(`its ${name} is no number.`);
  return value;
}

function list(value, name) {
  if (!Array.isArray(value)) throw new Error(`its ${name} is no list.`);
  return value;
}

function oneOf(value, allowed, name) {
  if (!allowed.includes(value)) throw new Error(`its ${name} is none of ${allowed.join(", ")}.`);
  return value;
}
