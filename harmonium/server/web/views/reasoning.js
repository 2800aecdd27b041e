// Reasoning on the page: open while it streams, folded to its duration and tokens once the answer begins.
//
// Whoever opened or closed it by hand has the last word.

import { textOf } from "../conversation.js";
import { el, setText } from "../dom.js";
import { count, duration } from "./figures.js";

export class ReasoningView {
  #isByHand = false;
  #wasRunning = false;
  #shown = null;

  constructor() {
    this.label = el("span", { class: "reasoning-label" });
    this.text = el("div", { class: "reasoning-text", dir: "auto" });
    this.summary = el("summary", {}, this.label);
    this.element = el("details", { class: "reasoning" }, this.summary, this.text);
    this.summary.addEventListener("click", () => (this.#isByHand = true));
  }

  show({ round, item, index, isLast }) {
    const isGrowing = round.status === "running" && isLast;
    const text = textOf(item).trim();
    if (text !== this.#shown) {
      grow(this.text, this.#shown, text);
      this.#shown = text;
    }
    setText(this.label, isGrowing ? "Thinking…" : labelOf(round, item, index));
    this.element.classList.toggle("growing", isGrowing);
    if (!this.#isByHand && isGrowing !== this.#wasRunning) this.element.open = isGrowing;
    this.#wasRunning = isGrowing;
    this.element.hidden = text === "" && !isGrowing;
  }
}

// "Thought for 3.2 s · 51 tokens"; the tokens where they are this item's alone.
function labelOf(round, item, index) {
  const time = round.times[index];
  const thought = time?.ended ? `Thought for ${duration((time.ended - time.started) / 1000)}` : "Thought";
  const isOnly = round.items.filter(({ type }) => type === "reasoning").length === 1;
  const tokens = isOnly ? round.usage?.output_tokens_details?.reasoning_tokens : 0;
  return tokens ? `${thought} · ${count(tokens, "token")}` : thought;
}

function grow(element, before, text) {
  const node = element.firstChild;
  if (node && before !== null && text.startsWith(before)) node.appendData(text.slice(before.length));
  else element.textContent = text;
}
