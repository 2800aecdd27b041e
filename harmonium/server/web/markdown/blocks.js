// Markdown's blocks: lines to a tree of {tag, attributes, children}, with the line at which each begins. Knows no DOM.
//
// GitHub's flavour as models write it: lists nest from two spaces on, a line of dashes is always a rule and never turns
// the line above it into a heading, and indented code exists outside lists alone. HTML is text.

import { parseInline } from "./inline.js";
import { parseTable } from "./table.js";

const MOST_NESTED = 12; // deeper quotes and lists stay text

const FENCE = /^( {0,3})(`{3,}(?=[^`]*$)|~{3,})[ \t]*(.*?)[ \t]*$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+•]|\d{1,9}[.)])(?:( +)(?=\S)|[ \t]*$)/;
const FORMULA = /^ {0,3}(\\\[|\$\$)/;
const INDENTED = /^ {4}/;

/** The blocks of a text, each {tag, attributes, children, line}. */
export function parseBlocks(text) {
  const lines = text.split("\n").map((line) => expandTabs(line.replace(/\r$/, "")));
  return parseLines(lines, 0);
}

function parseLines(lines, depth) {
  const blocks = [];
  let line = 0;
  while (line < lines.length) {
    if (isBlank(lines[line])) {
      line += 1;
      continue;
    }
    const { node, next } = parseBlock(lines, line, depth);
    blocks.push({ ...node, line });
    line = next;
  }
  return blocks;
}

function parseBlock(lines, at, depth) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return parseFence(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) return { node: withText(`h${heading[1].length}`, heading[2] ?? ""), next: at + 1 };
  if (RULE.test(line)) return { node: { tag: "hr" }, next: at + 1 };
  if (depth === 0 && INDENTED.test(line) && !ITEM.test(line)) return parseIndented(lines, at);
  if (depth < MOST_NESTED && QUOTE.test(line)) return parseQuote(lines, at, depth);
  if (depth < MOST_NESTED && ITEM.test(line)) return parseList(lines, at, depth);
  const formula = FORMULA.exec(line);
  if (formula) return parseFormula(lines, at, formula[1]);
  return parseTable(lines, at, (other) => startsBlock(lines, other)) ?? parseParagraph(lines, at);
}

/** Would this line begin a block of its own in the middle of a paragraph? */
function startsBlock(lines, at) {
  const line = lines[at];
  const item = ITEM.exec(line);
  if (item && item[3] !== undefined && (!/\d/.test(item[2]) || /^1[.)]$/.test(item[2]))) return true;
  return [FENCE, HEADING, RULE, QUOTE, FORMULA].some((pattern) => pattern.test(line));
}

function parseParagraph(lines, at) {
  let next = at + 1;
  while (
    next < lines.length &&
    !isBlank(lines[next]) &&
    !startsBlock(lines, next) &&
    !parseTable(lines, next, () => true)
  )
    next += 1;
  return {
    node: withText(
      "p",
      lines
        .slice(at, next)
        .map((line) => line.trimStart())
        .join("\n"),
    ),
    next,
  };
}

function parseFence(lines, at, [, indent, marks, language]) {
  const closing = new RegExp(`^ {0,3}${marks[0]}{${marks.length},}[ \\t]*$`);
  let end = at + 1;
  while (end < lines.length && !closing.test(lines[end])) end += 1;
  const outdent = new RegExp(`^ {0,${indent.length}}`);
  const code = lines.slice(at + 1, end).map((line) => line.replace(outdent, ""));
  return { node: codeBlock(code.join("\n"), language.split(/\s/)[0]), next: end + 1 };
}

function parseIndented(lines, at) {
  let next = at;
  while (next < lines.length && (INDENTED.test(lines[next]) || isBlank(lines[next]))) next += 1;
  while (isBlank(lines[next - 1])) next -= 1;
  return {
    node: codeBlock(
      lines
        .slice(at, next)
        .map((line) => line.replace(/^ {1,4}/, ""))
        .join("\n"),
      "",
    ),
    next,
  };
}

function codeBlock(code, language) {
  return { tag: "code-block", language, code };
}

function parseQuote(lines, at, depth) {
  const inside = [];
  let next = at;
  for (; next < lines.length; next += 1) {
    const line = lines[next];
    // A paragraph's further lines may leave the sign out.
    const goesOn = QUOTE.test(line) || (!isBlank(line) && !isBlank(inside.at(-1)) && !startsBlock(lines, next));
    if (!goesOn) break;
    inside.push(line.replace(QUOTE, ""));
  }
  return { node: { tag: "blockquote", attributes: { dir: "auto" }, children: parseLines(inside, depth + 1) }, next };
}

// What belongs to a list is found first, item by item; each item's lines, outdented, are a document of their own.
function parseList(lines, at, depth) {
  const first = ITEM.exec(lines[at]);
  const isSibling = (line) => {
    const marker = ITEM.exec(line);
    return (
      marker && marker[2].at(-1) === first[2].at(-1) && marker[1].length <= first[1].length + 1 && !RULE.test(line)
    );
  };
  const items = [];
  let isLoose = false;
  let next = at;
  for (;;) {
    const item = readItem(lines, next, ITEM.exec(lines[next]));
    items.push(parseItem(item.lines, depth));
    next = item.next;
    let after = next;
    while (after < lines.length && isBlank(lines[after])) after += 1;
    const hasSibling = after < lines.length && isSibling(lines[after]);
    isLoose ||= items.at(-1).hasGap || (hasSibling && after > next);
    if (!hasSibling) break;
    next = after;
  }
  const isOrdered = /\d/.test(first[2]);
  const start = isOrdered ? Number.parseInt(first[2], 10) : 1;
  const children = items.map((item) => ({
    tag: "li",
    attributes: { dir: "auto" },
    children: itemChildren(item, isLoose),
  }));
  return {
    node: { tag: isOrdered ? "ol" : "ul", attributes: start === 1 ? {} : { start: String(start) }, children },
    next,
  };
}

function readItem(lines, at, marker) {
  const inner = marker[1].length;
  const content = marker[0].trimEnd().length + (marker[3] && marker[3].length <= 4 ? marker[3].length : 1);
  const inside = [lines[at].slice(marker[3] === undefined ? lines[at].length : content)];
  let next = at + 1;
  for (; next < lines.length; next += 1) {
    const line = lines[next];
    if (isBlank(line)) {
      inside.push("");
      continue;
    }
    const indent = line.length - line.trimStart().length;
    const isNested = indent >= content || (indent >= inner + 2 && ITEM.test(line));
    const isLazy = inside.at(-1) !== "" && !startsBlock(lines, next) && !ITEM.test(line);
    if (!isNested && !isLazy) break;
    inside.push(line.slice(Math.min(indent, content)));
  }
  while (inside.length > 1 && inside.at(-1) === "") {
    inside.pop();
    next -= 1;
  }
  return { lines: inside, next };
}

function parseItem(lines, depth) {
  const task = /^\[([ xX])\] +(?=\S)/.exec(lines[0]);
  const content = task ? [lines[0].slice(task[0].length), ...lines.slice(1)] : lines;
  const blocks = parseLines(content, depth + 1);
  const hasGap = blocks.some((block, index) => index > 0 && isBlank(content[block.line - 1]));
  return { blocks, hasGap, task: task?.[1] };
}

function itemChildren({ blocks, task }, isLoose) {
  const children = isLoose ? blocks : blocks.flatMap((block) => (block.tag === "p" ? block.children : [block]));
  if (task === undefined) return children;
  const [label, sign] = task === " " ? ["to do", "☐ "] : ["done", "☑ "];
  return [
    { tag: "span", attributes: { class: "task", role: "img", "aria-label": label }, children: [sign] },
    ...children,
  ];
}

// A formula on lines of its own, up to its closing sign or, while it is being written, the end. A blank line is in
// none; the last line is not blank before it is over.
function parseFormula(lines, at, opener) {
  const closer = opener === "$$" ? "$$" : "\\]";
  let next = at;
  let from = lines[at].indexOf(opener) + 2;
  while (next < lines.length && !lines[next].includes(closer, from)) {
    if (isBlank(lines[next]) && next + 1 < lines.length) return parseParagraph(lines, at);
    next += 1;
    from = 0;
  }
  if (next < lines.length && !lines[next].trimEnd().endsWith(closer)) return parseParagraph(lines, at);
  const end = Math.min(next + 1, lines.length);
  const children = [lines.slice(at, end).join("\n")];
  return { node: { tag: "div", attributes: { class: "formula", dir: "ltr" }, children }, next: end };
}

function withText(tag, text) {
  return { tag, attributes: { dir: "auto" }, children: parseInline(text.trim()) };
}

function isBlank(line) {
  return line.trim() === "";
}

function expandTabs(line) {
  let column = 0;
  return line.replace(/^[ \t]+/, (space) => {
    for (const character of space) column += character === "\t" ? 4 - (column % 4) : 1;
    return " ".repeat(column);
  });
}
