// The settings: this conversation's system prompt, temperature, length and tools; this browser's theme, key and data.

import { byId, setText } from "../dom.js";
import { EXAMPLE, parseTools } from "../tools.js";
import { download, readExport } from "../transfer.js";
import { count } from "./figures.js";

export class SettingsDialog {
  #session;
  #settings;
  #confirm;

  /** onKey(): a key was given. */
  constructor({ session, settings, confirm, onKey }) {
    this.#session = session;
    this.#settings = settings;
    this.#confirm = confirm;
    this.dialog = byId("settings");
    byId("open-settings").addEventListener("click", () => this.open());
    byId("options").addEventListener("click", () => this.open());
    byId("temperature").addEventListener("input", () => this.#setTemperature(Number(byId("temperature").value)));
    byId("temperature-reset").addEventListener("click", () => this.#setTemperature(null));
    byId("tools-example").addEventListener("click", () => this.#useExample());
    byId("tools").addEventListener("input", () => this.#readTools());
    byId("settings-form").addEventListener("submit", (event) => this.#save(event, onKey));
    for (const radio of document.querySelectorAll("[name=theme]")) {
      radio.addEventListener("change", () => this.#setTheme(radio.value));
    }
    this.#connectData();
  }

  /** Opens the dialog, at the field of this id where one is given. why: what the server says of the key. */
  open(field, why = "") {
    const { instructions, temperature, longest, tools } = this.#session.current.options;
    byId("instructions").value = instructions;
    byId("longest").value = longest ?? "";
    byId("tools").value = tools.length ? JSON.stringify(tools, null, 2) : "";
    byId("key").value = this.#settings.key;
    setText(byId("key-state"), why);
    byId("key").setAttribute("aria-invalid", String(Boolean(why)));
    byId("key-kept").checked = this.#settings.isKeyKept;
    byId(`theme-${this.#settings.theme}`).checked = true;
    this.#setTemperature(temperature);
    this.#readTools();
    this.#showStorage();
    this.dialog.showModal();
    byId(field ?? "instructions").focus();
  }

  #setTemperature(value) {
    this.temperature = value;
    byId("temperature").value = String(value ?? 1);
    byId("temperature").classList.toggle("unset", value === null);
    byId("temperature").setAttribute("aria-valuetext", value === null ? "the model's own" : String(value));
    setText(byId("temperature-value"), value === null ? "the model’s own" : value.toFixed(1));
    byId("temperature-reset").hidden = value === null;
  }

  #useExample() {
    byId("tools").value = JSON.stringify(EXAMPLE, null, 2);
    this.#readTools();
  }

  /** The tools as typed, or null where they are none; says beneath the field what is wrong. */
  #readTools() {
    const field = byId("tools");
    try {
      const tools = parseTools(field.value);
      setText(byId("tools-state"), tools.length ? `Offers ${tools.map(({ name }) => name).join(", ")}.` : "");
      field.removeAttribute("aria-invalid");
      return tools;
    } catch (error) {
      setText(byId("tools-state"), error.message);
      field.setAttribute("aria-invalid", "true");
      return null;
    }
  }

  #save(event, onKey) {
    const tools = this.#readTools();
    if (event.submitter?.value === "cancel") return;
    if (tools === null) {
      event.preventDefault();
      byId("tools").focus();
      return;
    }
    const longest = byId("longest").value;
    this.#session.setOptions({
      instructions: byId("instructions").value.trim(),
      temperature: this.temperature,
      longest: longest === "" ? null : Number(longest),
      tools,
    });
    const key = byId("key").value.trim();
    const isChanged = key !== this.#settings.key;
    this.#settings.setKey(key, byId("key-kept").checked);
    if (isChanged) onKey();
  }

  #setTheme(theme) {
    this.#settings.set({ theme });
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }

  #connectData() {
    byId("export").addEventListener("click", () => download([this.#session.current], this.#session.current.title));
    byId("export-all").addEventListener("click", () => download(this.#session.list, "Harmonium conversations"));
    byId("import").addEventListener("click", () => byId("import-file").click());
    byId("import-file").addEventListener("change", () => this.#import());
    byId("delete-all").addEventListener("click", () => this.#deleteAll());
  }

  async #import() {
    const input = byId("import-file");
    const [file] = input.files;
    input.value = "";
    if (!file) return;
    try {
      const conversations = readExport(await file.text());
      await this.#session.add(conversations);
      this.#session.notify(`${count(conversations.length, "conversation")} imported.`);
      this.dialog.close();
    } catch (error) {
      setText(byId("storage"), error.message);
    }
  }

  async #deleteAll() {
    const { length } = this.#session.list;
    const isSure = await this.#confirm({
      title: "Delete all conversations?",
      text: `${count(length, "conversation")} will be gone for good. Export first what you want to keep.`,
      yes: "Delete all",
    });
    if (!isSure) return;
    await this.#session.removeAll();
    this.dialog.close();
  }

  async #showStorage() {
    const hasAny = this.#session.list.length > 0;
    byId("export").disabled = this.#session.current.turns.length === 0;
    byId("export-all").disabled = byId("delete-all").disabled = !hasAny;
    const { usage } = (await navigator.storage?.estimate?.().catch(() => null)) ?? {};
    const size = usage ? `, about ${(usage / 1e6).toFixed(1)} MB` : "";
    setText(byId("storage"), `${this.#session.list.length} kept in this browser${size}; the server keeps none.`);
  }
}
