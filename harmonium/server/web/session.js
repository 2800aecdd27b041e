// What the user can do with conversations: ask, stop, try again, edit, answer a call, open, rename, delete, import.
//
// It owns the records and the running requests; views read `current` and `list` and hear of changes by events:
//   "change" {conversation, turn}: a turn grew   "open": another conversation, or another shape of this one
//   "list": the list of conversations changed    "notice" {text}: something the user has to be told

import {
  isRunning,
  nameByQuestion,
  newConversation,
  newRound,
  newTurn,
  openCalls,
  requestFor,
  settle,
} from "./conversation.js";
import { runRound } from "./round.js";

const SAVE_EVERY_MS = 1000;

export class Session extends EventTarget {
  #api;
  #store;
  #settings;
  #running = new Map(); // conversation id -> AbortController
  #saved = new Map(); // conversation id -> when it was last written
  #channel = new BroadcastChannel("harmonium");

  constructor({ api, store, settings }) {
    super();
    this.#api = api;
    this.#store = store;
    this.#settings = settings;
    this.list = [];
    this.current = newConversation(settings.options);
    this.#channel.onmessage = () => this.reload();
  }

  /** Reads the list again; running conversations stay the records that are growing. */
  async reload() {
    const stored = await this.#store.all();
    const growing = this.list.filter(({ id }) => this.#running.has(id));
    const others = stored.filter(({ id }) => !this.#running.has(id));
    this.list = [...growing, ...others].sort((one, other) => other.updated - one.updated);
    const fresh = this.list.find(({ id }) => id === this.current.id);
    if (fresh && fresh !== this.current && fresh.updated > this.current.updated) this.#show(fresh);
    this.#tell("list");
  }

  get turn() {
    return this.current.turns.at(-1);
  }

  isRunning(id = this.current.id) {
    return this.#running.has(id);
  }

  startNew() {
    this.#show(newConversation(this.#settings.options));
  }

  open(id) {
    const found = this.list.find((conversation) => conversation.id === id);
    if (found) this.#show(this.#running.has(id) ? found : settle(found));
  }

  /** Changes this conversation's options and, unless told otherwise, what the next ones begin with. */
  setOptions(changes, { isForNext = true } = {}) {
    Object.assign(this.current.options, changes);
    if (isForNext) this.#settings.set({ options: structuredClone(this.current.options) });
    if (this.current.turns.length) this.#save(this.current, { isTouched: false });
    this.#tell("options");
  }

  async ask(question) {
    const conversation = this.current;
    conversation.turns.push(newTurn(question));
    nameByQuestion(conversation);
    this.#tell("open");
    await this.#answer(conversation);
  }

  stop() {
    this.#running.get(this.current.id)?.abort();
  }

  /** Answers the turn anew, or goes on after a failed round. What stood there comes back if nothing new arrives. */
  async retry(turn) {
    const conversation = this.current;
    const before = { turns: [...conversation.turns], rounds: turn.rounds };
    const isFailed = turn.rounds.at(-1)?.status === "failed";
    conversation.turns.length = conversation.turns.indexOf(turn) + 1;
    turn.rounds = isFailed ? turn.rounds.slice(0, -1) : [];
    this.#tell("open");
    await this.#answer(conversation);
    const [round] = turn.rounds;
    if (isFailed || round.status !== "failed" || round.items.length) return;
    conversation.turns = before.turns;
    turn.rounds = before.rounds;
    this.#tell("open");
    this.notify(`The earlier answer stays: ${round.error.message}`);
    await this.#save(conversation);
  }

  /** Asks a turn's question in other words; what followed it is cut. */
  async edit(turn, question) {
    this.current.turns.length = this.current.turns.indexOf(turn);
    await this.ask(question);
  }

  async giveResult(turn, callId, text) {
    const conversation = this.current;
    turn.rounds.at(-1).outputs[callId] = text;
    this.#tell("change", { conversation, turn });
    if (openCalls(turn).length) await this.#save(conversation);
    else await this.#answer(conversation);
  }

  async rename(id, title) {
    const conversation = this.list.find((found) => found.id === id);
    conversation.title = title.trim();
    conversation.isNamed = conversation.title !== "";
    nameByQuestion(conversation);
    await this.#save(conversation);
  }

  async remove(id) {
    this.#running.get(id)?.abort();
    await this.#store.remove(id);
    this.list = this.list.filter((conversation) => conversation.id !== id);
    if (this.current.id === id) this.startNew();
    this.#tell("list");
    this.#channel.postMessage("changed");
  }

  async removeAll() {
    for (const controller of this.#running.values()) controller.abort();
    await this.#store.clear();
    this.list = [];
    this.startNew();
    this.#tell("list");
    this.#channel.postMessage("changed");
  }

  async add(conversations) {
    for (const conversation of conversations) await this.#save(conversation, { isTouched: false });
    this.list.sort((one, other) => other.updated - one.updated);
    this.#tell("list");
  }

  notify(text) {
    this.#tell("notice", { text });
  }

  async #answer(conversation) {
    const turn = conversation.turns.at(-1);
    const round = newRound();
    const request = requestFor(conversation, this.#settings.model);
    const controller = new AbortController();
    turn.rounds.push(round);
    this.#running.set(conversation.id, controller);
    await this.#save(conversation);
    const onChange = () => {
      this.#tell("change", { conversation, turn });
      const isDue = Date.now() - this.#saved.get(conversation.id) > SAVE_EVERY_MS;
      if (isDue && this.#isThere(conversation)) this.#save(conversation, { isTouched: false });
    };
    await runRound(round, this.#api.respond(request, controller.signal), onChange);
    this.#running.delete(conversation.id);
    this.#tell("change", { conversation, turn });
    if (this.#isThere(conversation)) await this.#save(conversation);
    if (round.status !== "stopped" || !round.items.length) return;
    round.usage = await this.#api.usageOf(request, round).catch(() => null); // of another server's model, perhaps
    this.#tell("change", { conversation, turn });
    if (this.#isThere(conversation)) await this.#save(conversation, { isTouched: false });
  }

  #isThere(conversation) {
    return this.list.includes(conversation);
  }

  async #save(conversation, { isTouched = true } = {}) {
    if (isTouched) {
      conversation.updated = Date.now();
      this.list = [conversation, ...this.list.filter((other) => other.id !== conversation.id)];
      this.#tell("list");
    } else if (!this.list.some((other) => other.id === conversation.id)) this.list.push(conversation);
    this.#saved.set(conversation.id, Date.now());
    try {
      await this.#store.put(conversation);
      if (isTouched && !isRunning(conversation.turns.at(-1))) this.#channel.postMessage("changed");
    } catch (error) {
      this.notify(error.message);
    }
  }

  #show(conversation) {
    this.current = conversation;
    this.#tell("open");
  }

  #tell(name, detail = {}) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
