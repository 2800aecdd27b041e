// What the user chose: options of new conversations, the model, the theme, and the API key, which is kept only if
// asked.

const STORAGE_KEY = "harmonium.settings";
const API_KEY = "harmonium.key";

export const DEFAULT_OPTIONS = { effort: "medium", temperature: null, longest: null, instructions: "", tools: [] };

export class Settings {
  #values;
  #key;

  constructor() {
    const kept = readJson(STORAGE_KEY);
    this.#values = { model: "", theme: "system", ...kept, options: { ...DEFAULT_OPTIONS, ...kept.options } };
    this.#key = readText(API_KEY);
    this.isKeyKept = this.#key !== "";
  }

  /** The options that the next new conversation begins with: those of the last. */
  get options() {
    return this.#values.options;
  }

  get model() {
    return this.#values.model;
  }

  get theme() {
    return this.#values.theme;
  }

  get key() {
    return this.#key;
  }

  set(changes) {
    Object.assign(this.#values, changes);
    write(STORAGE_KEY, JSON.stringify(this.#values));
  }

  /** Keeps the key until the page closes or, where `isKept`, in this browser. */
  setKey(key, isKept) {
    this.#key = key;
    this.isKeyKept = isKept && key !== "";
    write(API_KEY, this.isKeyKept ? key : "");
  }
}

// A browser may forbid the storage; then choices last as long as the page, and the conversations' notice says so.
function readText(name) {
  try {
    return localStorage.getItem(name) ?? "";
  } catch {
    return "";
  }
}

function readJson(name) {
  try {
    return JSON.parse(readText(name) || "{}") ?? {};
  } catch {
    return {};
  }
}

function write(name, text) {
  try {
    if (text) localStorage.setItem(name, text);
    else localStorage.removeItem(name);
  } catch {
    // See readText.
  }
}
