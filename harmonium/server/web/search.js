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
  return fold([conversation.title, ...said(conversation)].join("\n"));
}

/** Where one of some folded words stands that the title does not have: [before, match, after], or null. */
export function excerpt(conversation, words) {
  const title = fold(conversation.title);
  const wanted = words.filter((word) => !title.includes(word));
  for (const line of wanted.length ? said(conversation).flatMap((text) => text.split("\n")) : []) {
    const word = wanted.find((one) => fold(line).includes(one));
    if (word) return cut(line, word);
  }
  return null;
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

function said({ turns }) {
  return turns.flatMap((turn) => [turn.question, answerOf(turn)]);
}
