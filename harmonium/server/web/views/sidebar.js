// The list of conversations: by day, searched, opened, renamed and deleted; on a phone it slides over the page.

import { byId, el, iconButton } from "../dom.js";
import { excerpt, fold, searchable } from "../search.js";

const DAY_MS = 24 * 60 * 60 * 1000;

export class Sidebar {
  #session;
  #confirm;
  #show;
  #folded = new WeakMap(); // conversation -> {updated, text} for search
  #renaming = null;

  /** show(number): brings a turn of the open conversation into view. */
  constructor({ session, confirm, show }) {
    this.#session = session;
    this.#confirm = confirm;
    this.#show = show;
    this.element = byId("sidebar");
    this.list = byId("conversations");
    this.search = byId("search");
    this.toggle = byId("open-sidebar");
    this.toggle.addEventListener("click", () => this.#slide(true));
    byId("shade").addEventListener("click", () => this.#slide(false));
    this.element.addEventListener("keydown", (event) => this.#onKey(event));
    this.search.addEventListener("input", () => this.#draw());
    byId("new").addEventListener("click", () => this.#startNew());
    for (const name of ["list", "open"]) session.addEventListener(name, () => this.#draw());
    this.#draw();
  }

  focusSearch() {
    this.#slide(true);
    this.search.focus();
    this.search.select();
  }

  #startNew() {
    this.#session.startNew();
    this.#leave();
  }

  #slide(isOpen) {
    document.body.classList.toggle("sidebar-open", isOpen);
    this.toggle.setAttribute("aria-expanded", String(isOpen));
    const covers = getComputedStyle(byId("shade")).display !== "none";
    byId("main").inert = isOpen && covers;
    if (isOpen) byId("new").focus();
    else if (covers) this.toggle.focus();
  }

  // On a touch screen focus would raise the keyboard over what was opened.
  #leave() {
    this.#slide(false);
    if (matchMedia("(pointer: fine)").matches) byId("prompt").focus();
  }

  #onKey(event) {
    if (event.key === "Escape" && document.body.classList.contains("sidebar-open")) {
      event.stopPropagation();
      this.#slide(false);
    } else if (event.key === "Escape" && event.target === this.search && this.search.value) {
      event.stopPropagation();
      this.search.value = "";
      this.#draw();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") this.#move(event);
    else if (event.key === "Enter" && event.target === this.search && this.search.value && !event.isComposing)
      this.list.querySelector(".conversation")?.click();
  }

  // From the search to what it found, from one to the next, and back.
  #move(event) {
    const stops = [this.search, ...this.list.querySelectorAll(".conversation")];
    const at = stops.indexOf(event.target);
    if (at < 0 || event.isComposing) return;
    event.preventDefault();
    stops[at + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
  }

  #draw() {
    if (this.#renaming) return;
    const words = fold(this.search.value).split(/\s+/).filter(Boolean);
    const found = this.#session.list.filter((conversation) =>
      words.every((word) => this.#textOf(conversation).includes(word)),
    );
    const state = found.map(({ id, title, updated }) => [
      id,
      title,
      updated,
      this.#session.isRunning(id),
      id === this.#session.current.id,
    ]);
    const shape = JSON.stringify([state, words, new Date().toDateString()]);
    if (shape === this.shape) return;
    this.shape = shape;
    const groups = groupBy(found, dayOf);
    const focused = document.activeElement?.closest?.("#conversations li")?.dataset.id;
    this.list.replaceChildren(
      ...[...groups].map(([day, conversations]) =>
        el(
          "section",
          {},
          el("h2", {}, day),
          el("ul", {}, ...conversations.map((conversation) => this.#row(conversation, words))),
        ),
      ),
    );
    if (!found.length)
      this.list.append(el("p", { class: "empty" }, words.length ? "Nothing found." : "Conversations appear here."));
    if (focused) this.list.querySelector(`li[data-id="${focused}"] button`)?.focus();
  }

  #textOf(conversation) {
    const kept = this.#folded.get(conversation);
    if (kept?.updated === conversation.updated && kept.title === conversation.title) return kept.text;
    const text = searchable(conversation);
    this.#folded.set(conversation, { updated: conversation.updated, title: conversation.title, text });
    return text;
  }

  #row(conversation, words) {
    const { id, title } = conversation;
    const found = excerpt(conversation, words);
    const isCurrent = id === this.#session.current.id;
    const open = el(
      "button",
      { type: "button", class: "conversation", dir: "auto", title, "aria-current": isCurrent ? "page" : null },
      el("span", { class: "title" }, title || "Untitled"),
      found && excerptOf(found),
    );
    open.addEventListener("click", () => {
      this.#session.open(id);
      this.#leave();
      if (found) this.#show(found.turn);
    });
    const row = el("li", {
      "data-id": id,
      class: `${isCurrent ? "current" : ""} ${this.#session.isRunning(id) ? "running" : ""}`,
    });
    row.append(
      open,
      el(
        "div",
        { class: "row-actions" },
        iconButton("edit", `Rename ${title}`, () => this.#rename(row, conversation)),
        iconButton("delete", `Delete ${title}`, () => this.#delete(conversation)),
      ),
    );
    return row;
  }

  #rename(row, { id, title }) {
    const field = el("input", {
      type: "text",
      class: "rename",
      "aria-label": "Name of the conversation",
      maxlength: "200",
      dir: "auto",
    });
    field.value = title;
    this.#renaming = id;
    const close = (isKept) => {
      if (this.#renaming !== id) return;
      this.#renaming = null;
      this.shape = "";
      if (isKept && field.value.trim() !== title) this.#session.rename(id, field.value);
      this.#draw();
      this.list.querySelector(`li[data-id="${id}"] button`)?.focus();
    };
    field.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Enter" || event.key === "Escape") {
        event.stopPropagation();
        close(event.key === "Enter");
      }
    });
    field.addEventListener("blur", () => close(true));
    row.replaceChildren(field);
    field.focus();
    field.select();
  }

  async #delete({ id, title }) {
    const isSure = await this.#confirm({
      title: "Delete this conversation?",
      text: `“${title}” is deleted from this browser for good.`,
      yes: "Delete",
    });
    if (isSure) await this.#session.remove(id);
  }
}

function excerptOf({ parts: [before, match, after] }) {
  return el("span", { class: "found", dir: "auto" }, before, el("mark", {}, match), after);
}

function dayOf({ updated }) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (updated >= today) return "Today";
  if (updated >= today - DAY_MS) return "Yesterday";
  return updated >= today - 7 * DAY_MS ? "Last seven days" : "Older";
}

function groupBy(values, keyOf) {
  const groups = new Map();
  for (const value of values) groups.set(keyOf(value), [...(groups.get(keyOf(value)) ?? []), value]);
  return groups;
}
