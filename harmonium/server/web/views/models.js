// Which model answers, and how much it holds: the name at the top, a choice where the server has several.

import { byId, el, setText } from "../dom.js";
import { notify } from "./dialogs.js";

const AGAIN_MS = 1500;
const COMPACT = new Intl.NumberFormat("en", { notation: "compact" });

export class Models {
  #api;
  #settings;
  #onKey;
  #onChange;
  #served = [];

  /** onKey(why): the server wants a key, and says why. onChange(): another model is chosen. */
  constructor({ api, settings, onKey, onChange }) {
    this.#api = api;
    this.#settings = settings;
    this.#onKey = onKey;
    this.#onChange = onChange;
    this.select = byId("model");
    this.select.addEventListener("change", () => this.#choose(this.select.value));
  }

  /** How many tokens the chosen model holds, or null where the server does not say. */
  get context() {
    return this.#served.find(({ id }) => id === this.#settings.model)?.context_length ?? null;
  }

  async load() {
    try {
      this.#served = await this.#api.models();
    } catch (error) {
      if (error.status === 401)
        return this.#onKey(this.#settings.key ? error.message : "This server asks for an API key.");
      notify(`${error.message} The page asks again until it does.`);
      setTimeout(() => this.load(), AGAIN_MS);
      return undefined;
    }
    this.select.replaceChildren(...this.#served.map(({ id }) => el("option", { value: id }, id)));
    this.select.disabled = this.#served.length < 2;
    const isServed = this.#served.some(({ id }) => id === this.#settings.model);
    return this.#choose(isServed ? this.#settings.model : (this.#served[0]?.id ?? ""));
  }

  #choose(id) {
    this.#settings.set({ model: id });
    this.select.value = id;
    setText(byId("context"), this.context ? `${COMPACT.format(this.context)} context` : "");
    byId("context").title = this.context ? `Prompt and answer together may have ${this.context} tokens` : "";
    this.#onChange();
  }
}
