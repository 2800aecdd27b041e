// Conversations in this browser: IndexedDB, or memory where the browser keeps nothing. Nothing leaves the browser.

const NAME = "harmonium";
const TABLE = "conversations";

/** Opens the store. isKept says whether the browser keeps it when the page is closed. */
export async function openStore() {
  try {
    return new Store(await openDatabase());
  } catch {
    return new MemoryStore(); // private windows and blocked site data: the page says so by isKept
  }
}

class Store {
  isKept = true;
  #database;

  constructor(database) {
    this.#database = database;
  }

  /** All conversations, the latest first. */
  async all() {
    const found = await this.#run("readonly", (table) => table.getAll());
    return found.sort((one, other) => other.updated - one.updated);
  }

  /** Writes a conversation; throws with words for the user where the browser refuses. */
  async put(conversation) {
    try {
      await this.#run("readwrite", (table) => table.put(conversation));
    } catch (error) {
      const isFull = error?.name === "QuotaExceededError";
      throw new Error(
        isFull
          ? "The browser's storage is full. Export conversations and delete old ones; this one is not saved."
          : `The browser did not save the conversation: ${error?.message ?? error}`,
      );
    }
  }

  async remove(id) {
    await this.#run("readwrite", (table) => table.delete(id));
  }

  async clear() {
    await this.#run("readwrite", (table) => table.clear());
  }

  #run(mode, act) {
    return new Promise((resolve, reject) => {
      const transaction = this.#database.transaction(TABLE, mode);
      const request = act(transaction.objectStore(TABLE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error ?? request.error);
    });
  }
}

class MemoryStore {
  isKept = false;
  #kept = new Map();

  async all() {
    return [...this.#kept.values()]
      .map((kept) => structuredClone(kept))
      .sort((one, other) => other.updated - one.updated);
  }

  async put(conversation) {
    this.#kept.set(conversation.id, structuredClone(conversation));
  }

  async remove(id) {
    this.#kept.delete(id);
  }

  async clear() {
    this.#kept.clear();
  }
}

function openDatabase() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(TABLE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new Error("another tab holds an older version"));
  });
}
