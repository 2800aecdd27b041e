// A block of code on the page: its language, a button that copies it, and its text in colours.

import { highlight } from "./highlight.js";

const MOST_COLOURED = 60_000; // characters; longer code stays plain, so that typing it stays fast

/** A new block for {language, code, label}; label: what its head says, by default the language. */
export function buildCode(node) {
  const block = document.createElement("div");
  block.className = "code-block";
  const head = document.createElement("div");
  head.className = "code-head";
  const name = document.createElement("span");
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "copy-code";
  copy.textContent = "Copy";
  head.append(name, copy);
  const frame = document.createElement("pre");
  frame.tabIndex = 0;
  frame.dir = "ltr";
  frame.append(document.createElement("code"));
  block.append(head, frame);
  updateCode(block, node);
  return block;
}

export function isCode(node) {
  return node.nodeType === Node.ELEMENT_NODE && node.classList.contains("code-block");
}

export function codeOf(block) {
  return block.querySelector("code").textContent;
}

/** Makes the block show {language, code, label}; always true, for one block can become any other. */
export function updateCode(block, { language, code, label = language || "text" }) {
  const [head, frame] = block.children;
  if (head.firstChild.textContent !== label) {
    head.firstChild.textContent = label;
    head.lastChild.setAttribute("aria-label", `Copy ${label}`);
    frame.setAttribute("aria-label", label);
  }
  if (block.shown === code && block.language === language) return true;
  block.shown = code;
  block.language = language;
  colour(frame.firstChild, code.length > MOST_COLOURED ? [{ text: code }] : highlight(code, language));
  return true;
}

// Pieces that stand already are kept: code grows at its end.
function colour(element, pieces) {
  pieces.forEach(({ text, kind }, index) => {
    const present = element.childNodes[index];
    if (present && present.textContent === text && (present.className ?? "") === (kind ?? "")) return;
    const piece = kind ? document.createElement("span") : document.createTextNode(text);
    if (kind) {
      piece.className = kind;
      piece.textContent = text;
    }
    if (present) present.replaceWith(piece);
    else element.append(piece);
  });
  while (element.childNodes.length > pieces.length) element.lastChild.remove();
}
