// Markdown that grows: what is finished stays as it is, only the last block is parsed and drawn again.
//
// A block is finished when the two first lines of the next one are whole: no block needs more to be known as one.
// So the work of a step depends on the last block, not on the answer.

import { parseBlocks } from "./blocks.js";
import { patch } from "./patch.js";

export class MarkdownStream {
  #element;
  #text = "";
  #finishedLength = 0;
  #finishedBlocks = 0;

  constructor(element) {
    this.#element = element;
  }

  /** Shows the text, which usually is the one before and more. */
  show(text) {
    if (text === this.#text && text !== "") return;
    if (!text.startsWith(this.#text)) this.#finishedLength = this.#finishedBlocks = 0;
    this.#text = text;
    const tail = text.slice(this.#finishedLength);
    const blocks = parseBlocks(tail);
    patch(this.#element, blocks, this.#finishedBlocks);
    this.#finish(tail, blocks);
  }

  #finish(tail, blocks) {
    const starts = lineStarts(tail);
    const isSure = (block) => block.line + 2 < starts.length;
    const first = Math.max(0, blocks.findLastIndex(isSure)); // the first block that may still change
    if (first === 0) return;
    this.#finishedBlocks += first;
    this.#finishedLength += starts[blocks[first].line];
  }
}

function lineStarts(text) {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}
