// What a search looks at in a conversation, and the line that it found.

import { answerOf } from "./conversation.js";

const BEFORE = 16; // characters that lead to what was found
const AFTER = 60;

/** A text as it is compared: case, accents and width do not matter. */
export function fold(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}

/** All of a conversation that search looks at, folded. */
export function searchable(conversation) {
  const texts = conversation.turns.flatMap((turn) => [turn.question, answerOf(turn)]);
  return fold([conversation.title, ...texts].join("\n"));
}

/**
 * The line with most of some folded words that the title does not have, as {turn: its number, parts: [before, match,
 * after]}, or null where the title has all of them.
 */
export function excerpt(conversation, words) {
  const title = fold(conversation.title);
  const wanted = words.filter((word) => !title.includes(word));
  if (!wanted.length) return null;
  let best = { found: [] };
  conversation.turns.forEach((turn, number) => {
    for (const line of [turn.question, answerOf(turn)].join("\n").split("\n")) {
      const folded = fold(line);
      const found = wanted.filter((word) => folded.includes(word));
      if (found.length > best.found.length) best = { found, line, turn: number };
    }
  });
  return best.found.length ? { turn: best.turn, parts: cut(best.line, best.found[0]) } : null;
}

/** Folding may change how many characters there are, so the match is found by folding one after the other. */
function cut(line, word) {
  const characters = [...line];
  let folded = "";
  const end = 1 + characters.findIndex((character) => (folded += fold(character)).endsWith(word));
  const start = Math.max(0, end - [...word].length);
  const from = start > BEFORE ? start - BEFORE : 0;
  const before = characters.slice(from, start).join("");
  return [
    from ? `…${before}` : before,
    characters.slice(start, end).join(""),
    characters.slice(end, end + AFTER).join(""),
  ];
}
