// The box where messages are written, with the effort, and the button that sends and stops.

import { openCalls, tokensUsed } from "../conversation.js";
import { byId, setText } from "../dom.js";

const IS_TOUCH = matchMedia("(pointer: coarse)"); // where Enter begins a line, and the button sends
const NUMBER = new Intl.NumberFormat("en");

export class Composer {
  #session;
  #drafts = new Map(); // conversation id -> what was typed and not sent
  #shownId;

  /** contextOf(): how many tokens the chosen model holds, or null where the server does not say. */
  constructor({ session, contextOf, onEditLast }) {
    this.#session = session;
    this.contextOf = contextOf;
    this.field = byId("prompt");
    this.send = byId("send");
    this.hint = byId("hint");
    this.#shownId = session.current.id;
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.field.addEventListener("keydown", (event) => this.#onKey(event, onEditLast));
    this.field.addEventListener("input", () => this.update());
    for (const radio of document.querySelectorAll("[name=effort]")) {
      radio.addEventListener("change", () => session.setOptions({ effort: radio.value }));
    }
    session.addEventListener("open", () => this.#onOpen());
    session.addEventListener("list", () => this.update());
    session.addEventListener("options", () => this.update());
    this.update();
  }

  /** Puts a text into the box, as an example does, and sends it. */
  ask(text) {
    this.field.value = text;
    this.#submit();
  }

  focus() {
    this.field.focus();
  }

  #onOpen() {
    const { id } = this.#session.current;
    if (id !== this.#shownId) {
      this.#drafts.set(this.#shownId, this.field.value);
      this.#shownId = id;
      this.field.value = this.#drafts.get(id) ?? "";
    }
    this.update();
  }

  #submit() {
    if (this.#session.isRunning()) return this.#session.stop();
    const text = this.field.value.trim();
    if (!text || openCalls(this.#session.turn).length) return undefined;
    this.field.value = "";
    this.field.focus();
    return this.#session.ask(text);
  }

  #onKey(event, onEditLast) {
    if (event.isComposing) return; // Enter that picks a word of an input method sends nothing
    if (event.key === "Enter" && !event.shiftKey && !IS_TOUCH.matches) {
      event.preventDefault();
      if (!this.#session.isRunning()) this.#submit();
    } else if (event.key === "ArrowUp" && this.field.value === "" && this.#session.turn && !this.#session.isRunning()) {
      event.preventDefault();
      onEditLast();
    }
  }

  update() {
    // Browsers that size a field by its contents pay no heed to this.
    this.field.rows = Math.min(10, this.field.value.split("\n").length);
    const isRunning = this.#session.isRunning();
    const waits = openCalls(this.#session.turn).length > 0;
    const { effort, instructions, tools } = this.#session.current.options;
    this.send.disabled = !isRunning && (this.field.value.trim() === "" || waits);
    this.send.classList.toggle("running", isRunning);
    const label = isRunning ? "Stop" : "Send";
    if (this.send.title !== label) {
      this.send.title = label;
      this.send.setAttribute("aria-label", label);
      this.send.querySelector("use").setAttribute("href", isRunning ? "#icon-stop" : "#icon-send");
    }
    byId(`effort-${effort}`).checked = true;
    const parts = [
      instructions ? "system prompt" : "",
      tools.length ? `${tools.length} tool${tools.length === 1 ? "" : "s"}` : "",
    ];
    setText(byId("options-label"), parts.filter(Boolean).join(" · ") || "Options");
    byId("options").classList.toggle("active", parts.some(Boolean));
    setText(this.hint, waits ? "The model waits for the result of its call, above." : this.#usage());
  }

  #usage() {
    const used = tokensUsed(this.#session.current);
    const context = this.contextOf();
    if (used === null) return IS_TOUCH.matches ? "" : "Enter sends, Shift+Enter begins a line";
    return context
      ? `${NUMBER.format(used)} of ${NUMBER.format(context)} tokens of context`
      : `${NUMBER.format(used)} tokens`;
  }
}
