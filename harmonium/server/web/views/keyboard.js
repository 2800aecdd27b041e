// The keyboard: Escape stops, and the shortcuts that the dialog lists.

import { byId } from "../dom.js";

export function connectKeyboard({ session, sidebar, composer }) {
  byId("open-shortcuts").addEventListener("click", () => byId("shortcuts").showModal());
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const isCommand = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (key === "escape" && event.shiftKey) composer.focus();
    else if (key === "escape" && session.isRunning()) session.stop();
    else if (isCommand && key === "k") sidebar.focusSearch();
    else if (isCommand && event.shiftKey && key === "o") byId("new").click();
    else if (isCommand && key === ",") byId("open-settings").click();
    else if (isCommand && key === "/") byId("shortcuts").showModal();
    else return;
    event.preventDefault();
  });
}
