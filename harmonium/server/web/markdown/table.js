// A table of GitHub's Markdown: lines to a tree, or null where no table begins.

import { parseInline } from "./inline.js";

const DELIMITERS = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

/** The table that begins at line `at`, as {node, next}, or null. startsBlock(line) says where another block ends it. */
export function parseTable(lines, at, startsBlock) {
  const delimiters = lines[at + 1];
  if (delimiters === undefined || !lines[at].includes("|") || !delimiters.includes("-") || !DELIMITERS.test(delimiters))
    return null;
  const head = cellsOf(lines[at]);
  const columns = cellsOf(delimiters).map(alignmentOf);
  if (head.length !== columns.length) return null;
  let next = at + 2;
  while (next < lines.length && lines[next].trim() !== "" && !startsBlock(next)) next += 1;
  const row = (tag, cells) => ({
    tag: "tr",
    children: columns.map((align, column) => cell(tag, cells[column] ?? "", align)),
  });
  const body = lines.slice(at + 2, next).map((line) => row("td", cellsOf(line)));
  const children = [
    { tag: "thead", children: [row("th", head)] },
    ...(body.length ? [{ tag: "tbody", children: body }] : []),
  ];
  const scroller = { class: "table", role: "region", "aria-label": "Table", tabindex: "0" };
  return { node: { tag: "div", attributes: scroller, children: [{ tag: "table", children }] }, next };
}

function cell(tag, text, align) {
  const attributes = {
    dir: "auto",
    ...(tag === "th" ? { scope: "col" } : {}),
    ...(align ? { class: `align-${align}` } : {}),
  };
  return { tag, attributes, children: parseInline(text) };
}

function cellsOf(line) {
  const inside = line
    .trim()
    .replace(/^\|/, "")
    .replace(/(?<!\\)\|$/, "");
  return inside.split(/(?<!\\)\|/).map((text) => text.trim().replace(/\\\|/g, "|"));
}

function alignmentOf(delimiter) {
  const [left, right] = [delimiter.startsWith(":"), delimiter.endsWith(":")];
  if (left && right) return "center";
  return right ? "right" : left ? "left" : "";
}
