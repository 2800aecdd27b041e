// Starts the page: makes its parts and tells them of each other.

import { connectAddress } from "./address.js";
import { Api } from "./api.js";
import { byId } from "./dom.js";
import { Session } from "./session.js";
import { Settings } from "./settings.js";
import { openStore } from "./store.js";
import { Composer } from "./views/composer.js";
import { confirm, copy, notify } from "./views/dialogs.js";
import { connectKeyboard } from "./views/keyboard.js";
import { Models } from "./views/models.js";
import { Scroll } from "./views/scroll.js";
import { SettingsDialog } from "./views/settings_dialog.js";
import { Sidebar } from "./views/sidebar.js";
import { ThreadView } from "./views/thread.js";
import { showWelcome } from "./views/welcome.js";

const CUT = { title: "Cut the conversation here?", yes: "Cut and go on" };

const settings = new Settings();
const api = new Api(() => settings.key);
const store = await openStore();
const session = new Session({ api, store, settings });
session.addEventListener("notice", ({ detail }) => notify(detail.text));
if (!store.isKept) notify("This browser keeps nothing for this page: conversations are lost when it is closed.");

const models = new Models({
  api,
  settings,
  onKey: (why) => dialog.open("key", why),
  onChange: () => composer.update(),
});
const dialog = new SettingsDialog({ session, settings, confirm, onKey: () => models.load() });
const scroll = new Scroll(byId("scroller"), byId("jump"));

/** Asks first where messages would be lost; false if the user would rather keep them. */
async function mayCut(turn) {
  const { turns } = session.current;
  const after = turns.length - 1 - turns.indexOf(turn);
  if (after === 0) return true;
  return confirm({ ...CUT, text: `${after} later message${after === 1 ? "" : "s"} and the answers are removed.` });
}

const actions = {
  copy,
  giveResult: (turn, callId, text) => session.giveResult(turn, callId, text),
  retry: async (turn) => {
    if (!session.isRunning() && (await mayCut(turn))) await session.retry(turn);
  },
  edit: async (turn, text) => {
    if (session.isRunning() || !(await mayCut(turn))) return false;
    await session.edit(turn, text);
    return true;
  },
  act: (turn, name) => {
    if (name === "retry") return actions.retry(turn);
    return name === "new" ? byId("new").click() : dialog.open(name === "key" ? "key" : "instructions");
  },
};

const thread = new ThreadView({ session, actions, scroll });
const composer = new Composer({
  session,
  contextOf: () => models.context,
  onEditLast: () => thread.view(session.turn).startEdit(),
});
const sidebar = new Sidebar({ session, confirm, show: (number) => thread.show(number) });
connectKeyboard({ session, sidebar, composer });
showWelcome({ session, composer });

await Promise.all([session.reload(), models.load()]);
connectAddress(session);
if (matchMedia("(pointer: fine)").matches) composer.focus();
document.documentElement.dataset.ready = "";
