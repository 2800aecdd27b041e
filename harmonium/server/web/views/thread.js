// The turns of the open conversation, drawn at most once per frame, and what is said of them to screen readers.

import { answerOf, isRunning, openCalls } from "../conversation.js";
import { byId, setText } from "../dom.js";
import { codeOf } from "../markdown/code_block.js";
import { TurnView } from "./answer.js";

export class ThreadView {
  #session;
  #actions;
  #scroll;
  #views = [];
  #changed = new Set();
  #isDue = false;
  #begun; // the round whose beginning was said, and the one whose end was
  #ended;

  constructor({ session, actions, scroll }) {
    this.#session = session;
    this.#actions = actions;
    this.#scroll = scroll;
    this.element = byId("thread");
    this.status = byId("status");
    this.element.addEventListener("click", (event) => this.#copyCode(event));
    session.addEventListener("open", () => this.#open());
    session.addEventListener("change", ({ detail }) => this.#onChange(detail));
    session.addEventListener("list", () => this.#showTitle());
    this.#open();
  }

  /** Brings a turn into view, by its number. */
  show(number) {
    this.#scroll.to(this.#views[number].element);
  }

  view(turn) {
    return this.#views.find((view) => view.turn === turn);
  }

  // Keeps the views of turns that are still there.
  #open() {
    const kept = new Map(this.#views.map((view) => [view.turn, view]));
    const { turns } = this.#session.current;
    this.#views = turns.map((turn) => kept.get(turn) ?? new TurnView(turn, this.#actions));
    this.#views.forEach((view) => kept.has(view.turn) && view.update());
    this.element.replaceChildren(...this.#views.map((view) => view.element));
    this.#showTitle();
    byId("welcome").hidden = turns.length > 0;
    this.element.hidden = turns.length === 0;
    this.#begun = this.#ended = turns.at(-1)?.rounds.at(-1);
    if (turns.length) this.#scroll.toEnd();
    else this.#scroll.toStart();
  }

  #showTitle() {
    const { title } = this.#session.current;
    document.title = title ? `${title} · Harmonium` : "Harmonium";
    setText(byId("title"), title || "Harmonium");
  }

  #onChange({ conversation, turn }) {
    if (conversation !== this.#session.current) return;
    this.#changed.add(turn);
    if (this.#isDue) return;
    this.#isDue = true;
    // A hidden page draws no frames; it is brought up to date when it is seen again.
    requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    this.#isDue = false;
    for (const turn of this.#changed) this.view(turn)?.update();
    this.#changed.clear();
    this.#scroll.follow();
    this.#announce();
  }

  // One sentence when an answer begins and one when it ends; reading along is left to the reader.
  #announce() {
    const { turn } = this.#session;
    const round = turn?.rounds.at(-1);
    if (isRunning(turn) && this.#begun !== round) {
      this.#begun = round;
      setText(this.status, "The model is answering.");
    } else if (!isRunning(turn) && this.#ended !== round) {
      this.#begun = this.#ended = round;
      setText(this.status, this.#outcome(turn, round));
      this.element.querySelector(".call.open textarea")?.focus();
    }
  }

  #outcome(turn, round) {
    if (round.status === "failed") return ""; // the error is an alert of its own
    if (round.status === "stopped") return "Stopped.";
    if (openCalls(turn).length) return `The model calls ${openCalls(turn)[0].name} and waits for its result.`;
    const answer = answerOf(turn);
    return answer.length < 300 ? `Answer: ${answer}` : "The answer is complete.";
  }

  #copyCode({ target }) {
    const button = target.closest?.(".copy-code");
    if (button) this.#actions.copy(codeOf(button.closest(".code-block")), button);
  }
}
