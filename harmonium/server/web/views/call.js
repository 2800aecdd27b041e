// A function call on the page: its name, its arguments, and its result, which the user gives.

import { el, icon, setText } from "../dom.js";
import { buildCode, updateCode } from "../markdown/code_block.js";

export class CallView {
  #giveResult;

  /** giveResult(callId, text) takes the result. */
  constructor(giveResult) {
    this.#giveResult = giveResult;
    this.name = el("code", { class: "call-name" });
    this.state = el("span", { class: "call-state" });
    this.arguments = buildCode({ language: "json", code: "", label: "arguments" });
    this.result = el("div", { class: "call-result" });
    const head = el("div", { class: "call-head" }, icon("tool"), this.name, this.state);
    this.element = el("section", { class: "call" }, head, this.arguments, this.result);
  }

  show({ round, item }) {
    const output = round.outputs[item.call_id];
    const isOpen = round.status === "completed" && output === undefined;
    setText(this.name, item.name);
    this.element.setAttribute("aria-label", `Call of the function ${item.name}`);
    setText(this.state, stateOf(round, output));
    updateCode(this.arguments, { language: "json", code: readable(item.arguments), label: "arguments" });
    this.element.classList.toggle("open", isOpen);
    if (isOpen && !this.form) this.#ask(item);
    if (!isOpen && output !== undefined && this.shown !== output) this.#showResult(output);
  }

  #ask(item) {
    const field = el("textarea", {
      rows: "2",
      dir: "auto",
      placeholder: "What the function returns, as text or JSON",
      "aria-label": `Result of ${item.name}`,
    });
    const submit = () => this.#giveResult(item.call_id, field.value);
    this.form = el(
      "form",
      { on: { submit: (event) => (event.preventDefault(), submit()) } },
      field,
      el("button", { type: "submit", class: "button primary" }, "Give result"),
    );
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      submit();
    });
    this.result.replaceChildren(this.form);
  }

  #showResult(output) {
    this.shown = output;
    this.form = undefined;
    this.result.replaceChildren(buildCode({ language: "json", code: readable(output), label: "result" }));
  }
}

function stateOf(round, output) {
  if (output !== undefined) return "answered";
  if (round.status === "running") return "is being written …";
  return round.status === "completed" ? "waits for its result" : "was not finished";
}

/** JSON as people read it, on one line where it fits; other text, and numbers that would be rounded, as they are. */
function readable(text) {
  if (text.length < 64 || /\d{16}/.test(text)) return text;
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null ? JSON.stringify(value, null, 2) : text;
  } catch {
    return text;
  }
}
