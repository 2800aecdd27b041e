// Makes the page look like a Markdown tree, touching only what differs, so that a growing answer keeps its selection.
//
// The one place where elements come to be from a model's text: only the tags and attributes named here, text as text
// nodes.

import { buildCode, isCode, updateCode } from "./code_block.js";

const TAGS = new Set(
  "p h1 h2 h3 h4 h5 h6 ul ol li blockquote hr br em strong del code a span div table thead tbody tr th td".split(" "),
);
const ATTRIBUTES = new Set([
  "class",
  "dir",
  "href",
  "target",
  "rel",
  "start",
  "scope",
  "role",
  "aria-label",
  "tabindex",
]);

/** Makes the children of `parent` from index `from` on equal to the nodes. */
export function patch(parent, nodes, from = 0) {
  nodes.forEach((node, index) => {
    const present = parent.childNodes[from + index];
    if (!present) parent.append(build(node));
    else if (!update(present, node)) present.replaceWith(build(node));
  });
  while (parent.childNodes.length > from + nodes.length) parent.lastChild.remove();
}

function build(node) {
  if (typeof node === "string") return document.createTextNode(node);
  if (node.tag === "code-block") return buildCode(node);
  if (!TAGS.has(node.tag)) throw new Error(`Markdown makes no <${node.tag}>`);
  const element = document.createElement(node.tag);
  setAttributes(element, node.attributes ?? {});
  patch(element, node.children ?? []);
  return element;
}

/** Changes an element or text into the node if both are of one kind; says whether it could. */
function update(present, node) {
  if (typeof node === "string") {
    if (present.nodeType !== Node.TEXT_NODE) return false;
    if (present.data !== node) replaceText(present, node);
    return true;
  }
  if (node.tag === "code-block") return isCode(present) && updateCode(present, node);
  if (present.localName !== node.tag || isCode(present)) return false;
  const attributes = node.attributes ?? {};
  for (const { name } of [...present.attributes]) if (!Object.hasOwn(attributes, name)) present.removeAttribute(name);
  setAttributes(present, attributes);
  patch(present, node.children ?? []);
  return true;
}

function replaceText(present, text) {
  if (text.startsWith(present.data)) present.appendData(text.slice(present.data.length));
  else present.data = text;
}

function setAttributes(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (!ATTRIBUTES.has(name)) throw new Error(`Markdown sets no ${name}`);
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  }
}
