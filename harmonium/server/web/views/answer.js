// One turn on the page: the question, and the answer with its reasoning, text, calls, figures and what can be done
// with it.

import { adviceFor } from "../advice.js";
import { answerOf, figuresOf, isRunning, openCalls, textOf } from "../conversation.js";
import { el, icon, iconButton, setText } from "../dom.js";
import { MarkdownStream } from "../markdown/stream.js";
import { CallView } from "./call.js";
import { figuresText } from "./figures.js";
import { notesOf } from "./notes.js";
import { ReasoningView } from "./reasoning.js";

export class TurnView {
  #turn;
  #actions;
  #views = []; // of the items of all rounds, in order

  /** actions: {retry, edit, giveResult, act, copy}; each gets the turn. */
  constructor(turn, actions) {
    this.#turn = turn;
    this.#actions = actions;
    this.element = el("section", { class: "turn" });
    this.#buildQuestion();
    this.content = el("div", { class: "answer-content" });
    this.waiting = el("div", { class: "waiting", "aria-hidden": "true" }, el("i"), el("i"), el("i"));
    this.note = el("p", { class: "note", hidden: true });
    this.error = el("div", { class: "error", role: "alert", hidden: true });
    this.foot = el("div", { class: "answer-foot", hidden: true });
    this.answer = el(
      "article",
      { class: "answer", "aria-label": "Answer" },
      this.content,
      this.waiting,
      this.note,
      this.error,
      this.foot,
    );
    this.element.append(this.question, this.answer);
    this.update();
  }

  get turn() {
    return this.#turn;
  }

  /** Shows what the turn has become; cheap where nothing changed. */
  update() {
    const turn = this.#turn;
    const entries = turn.rounds.flatMap((round) => round.items.map((item, index) => ({ round, item, index })));
    entries.forEach((entry, at) => this.#showItem(entry, at, at === entries.length - 1));
    for (const view of this.#views.splice(entries.length)) view.element.remove();
    this.waiting.hidden = !isRunning(turn) || turn.rounds.at(-1).items.length > 0;
    this.answer.setAttribute("aria-busy", String(isRunning(turn)));
    this.#showNote();
    this.#showError();
    this.#showFoot();
  }

  #showItem(entry, at, isLast) {
    const type = entry.item.type;
    if (this.#views[at]?.type !== type) {
      const view = makeView(type, (callId, text) => this.#actions.giveResult(this.#turn, callId, text));
      view.type = type;
      if (this.#views[at]) this.#views[at].element.replaceWith(view.element);
      else this.content.append(view.element);
      this.#views[at] = view;
    }
    this.#views[at].show({ ...entry, isLast });
  }

  #buildQuestion() {
    const edit = iconButton("edit", "Edit this message", () => this.#edit());
    const copy = iconButton("copy", "Copy this message", () => this.#actions.copy(this.#turn.question, copy));
    this.bubble = el("div", { class: "bubble", dir: "auto" });
    this.bubble.textContent = this.#turn.question;
    this.question = el(
      "article",
      { class: "question", "aria-label": "Your message" },
      this.bubble,
      el("div", { class: "question-actions" }, copy, edit),
    );
  }

  /** Opens the question for editing in place. */
  #edit() {
    const field = el("textarea", { "aria-label": "Your message, edited", dir: "auto", rows: "1" });
    field.value = this.#turn.question;
    const close = () => {
      form.replaceWith(this.bubble);
      this.question.classList.remove("editing");
      this.question.querySelector("button").focus();
    };
    const submit = async () => {
      const text = field.value.trim();
      if (text && (await this.#actions.edit(this.#turn, text)) === false) return field.focus();
      if (!text) close();
    };
    const form = el(
      "form",
      { class: "edit", on: { submit: (event) => (event.preventDefault(), submit()) } },
      field,
      el(
        "div",
        { class: "edit-actions" },
        el("button", { type: "button", class: "button", on: { click: close } }, "Cancel"),
        el("button", { type: "submit", class: "button primary" }, "Send"),
      ),
    );
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        close();
      } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        submit();
      }
    });
    this.question.classList.add("editing");
    this.bubble.replaceWith(form);
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }

  startEdit() {
    if (!this.question.classList.contains("editing")) this.#edit();
  }

  #showNote() {
    const note = this.#turn.rounds.flatMap(notesOf).join(" ");
    this.note.hidden = note === "";
    setText(this.note, note);
  }

  #showError() {
    const round = this.#turn.rounds.at(-1);
    const error = round?.status === "failed" ? round.error : null;
    this.error.hidden = !error;
    if (this.shownError === error) return;
    this.shownError = error;
    this.error.replaceChildren();
    if (!error) return;
    const { title, message, advice, action } = adviceFor(error);
    const labels = { key: "Give an API key", settings: "Open settings", new: "New conversation" };
    const buttons = el("div", { class: "error-actions" });
    const add = (label, name, kind) =>
      buttons.append(
        el(
          "button",
          { type: "button", class: `button ${kind}`, on: { click: () => this.#actions.act(this.#turn, name) } },
          label,
        ),
      );
    if (labels[action]) add(labels[action], action, "primary");
    add("Try again", "retry", labels[action] ? "" : "primary");
    this.error.append(
      icon("warning"),
      el("div", {}, el("strong", {}, title), el("p", {}, message), el("p", {}, advice), buttons),
    );
  }

  #showFoot() {
    const turn = this.#turn;
    const status = turn.rounds.at(-1)?.status ?? "running";
    const isOver = status !== "running" && status !== "failed" && openCalls(turn).length === 0;
    this.foot.hidden = !isOver;
    if (!isOver) return;
    if (!this.foot.firstChild) {
      const copy = iconButton("copy", "Copy the answer", () => this.#actions.copy(answerOf(turn), copy));
      this.figures = el("span", { class: "figures" });
      this.foot.append(
        copy,
        iconButton("retry", "Answer again", () => this.#actions.retry(turn)),
        this.figures,
      );
    }
    this.foot.firstChild.hidden = answerOf(turn) === "";
    const figures = figuresOf(turn);
    setText(this.figures, figures ? figuresText(figures) : "");
  }
}

class TextView {
  constructor() {
    this.element = el("div", { class: "markdown" });
    this.stream = new MarkdownStream(this.element);
  }

  show({ item }) {
    this.stream.show(textOf(item));
  }
}

// Items of a kind that this page does not know are named, not dropped.
class UnknownView {
  constructor() {
    this.element = el("p", { class: "note" });
  }

  show({ item }) {
    setText(this.element, `An item of type ${item.type}, which this page does not show.`);
  }
}

function makeView(type, giveResult) {
  if (type === "reasoning") return new ReasoningView();
  if (type === "message") return new TextView();
  if (type === "function_call") return new CallView(giveResult);
  return new UnknownView();
}
