// Questions and short messages over the page: a yes or no, and a notice that passes.

import { byId, el, iconButton } from "../dom.js";

const NOTICE_MS = 8000;

/** Asks before something that cannot be undone; true if the user agrees. */
export function confirm({ title, text, yes }) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = title;
  byId("confirm-text").textContent = text;
  byId("confirm-yes").textContent = yes;
  dialog.showModal();
  return new Promise((resolve) => {
    // Not the dialog's close event: it comes late, when the next question may be open already.
    dialog.firstElementChild.onsubmit = ({ submitter }) => resolve(submitter.value === "yes");
    dialog.oncancel = () => resolve(false);
  });
}

/** Shows a message that goes away by itself or when it is closed; one that is there already is not said twice. */
export function notify(text) {
  if ([...byId("notices").children].some((present) => present.firstChild.textContent === text)) return;
  const notice = el("div", { class: "notice" }, el("span", {}, text));
  const close = () => notice.remove();
  notice.append(iconButton("close", "Close this message", close));
  byId("notices").append(notice);
  let timer = setTimeout(close, NOTICE_MS);
  notice.addEventListener("pointerenter", () => clearTimeout(timer));
  notice.addEventListener("pointerleave", () => (timer = setTimeout(close, NOTICE_MS)));
}

/** Copies a text and says so on the button for a moment. */
export async function copy(text, button) {
  try {
    await writeClipboard(text);
  } catch {
    notify("The browser does not let this page copy. Select the text and copy it by hand.");
    return;
  }
  clearTimeout(button.timer);
  button.classList.add("copied");
  byId("status").textContent = "Copied.";
  button.timer = setTimeout(() => button.classList.remove("copied"), 1500);
}

// navigator.clipboard exists on https and loopback alone; the older way works on a plain address of a local network.
async function writeClipboard(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = el("textarea", { class: "hidden", readonly: true });
  field.value = text;
  const focused = document.activeElement;
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  focused?.focus();
  if (!isCopied) throw new Error("not copied");
  return undefined;
}
