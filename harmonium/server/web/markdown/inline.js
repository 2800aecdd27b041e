// The inside of a Markdown block: text to a tree of {tag, attributes, children} and strings. Knows no DOM.
//
// CommonMark's emphasis algorithm, with flanking that Chinese, Japanese and Korean need; links, bare addresses, code,
// strikethrough and line breaks as GitHub reads them, a single line break being one. Formulas stay as they were
// written. HTML is text.

import { findFormula } from "./formula.js";
import { decodeEntity } from "./entities.js";

const MOST_NESTED = 24; // deeper emphasis stays text: nobody means it, and recursion has an end

const PUNCTUATION = /[\p{P}\p{S}]/u;
const EAST_ASIAN = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/u;
const ESCAPABLE = /[!-/:-@[-`{-~]/;
const BARE_URL = /(?:https?:\/\/|www\.)[^\s<]+/iy;
const AUTOLINK = /<((?:https?:\/\/|mailto:)[^\s<>]*|[\w.+-]+@[\w-]+(?:\.[\w-]+)+)>/iy;
const BREAK = /<br\s*\/?>/iy;
const TITLE = /"(?:[^"\\]|\\.){0,999}"|'(?:[^'\\]|\\.){0,999}'/.source;
const TARGET = /<([^<>\n]*)>|((?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.){0,999}\)){0,2000})/.source;
const DESTINATION = new RegExp(`\\(\\s*(?:${TARGET})(?:\\s+(?:${TITLE}))?\\s*\\)`, "y");

/** The tree of one block's text. */
export function parseInline(text) {
  return new InlineParser(text).parse();
}

/** An address that may stand in a link, or null: http, https and mailto alone, so that no link can run a script. */
export function safeAddress(address) {
  const trimmed = address.trim();
  const complete = /^www\./i.test(trimmed) ? `https://${trimmed}` : trimmed;
  if (!/^(?:https?:\/\/|mailto:)/i.test(complete)) return null;
  try {
    return new URL(complete).href;
  } catch {
    return null;
  }
}

class InlineParser {
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.pieces = []; // strings, nodes, and delimiters that wait for their other half
    this.plain = "";
    this.unclosedTicks = new Set();
  }

  parse() {
    const { text } = this;
    while (this.at < text.length) {
      const character = text[this.at];
      const read = READERS[character];
      if (!read || !this[read](character)) this.take(character);
    }
    this.flush();
    this.closeEmphasis(0);
    return joined(this.pieces);
  }

  take(piece, length = piece.length) {
    this.plain += piece;
    this.at += length;
    return true;
  }

  flush() {
    if (this.plain) this.pieces.push(this.plain);
    this.plain = "";
  }

  push(node, length) {
    this.flush();
    this.pieces.push(node);
    this.at += length;
    return true;
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    return pattern.exec(this.text);
  }

  readEscape() {
    if (this.readFormula()) return true;
    const next = this.text[this.at + 1];
    if (next === "\n") return this.push({ tag: "br" }, 2);
    return next !== undefined && ESCAPABLE.test(next) ? this.take(next, 2) : false;
  }

  readFormula() {
    const formula = findFormula(this.text, this.at);
    if (!formula) return false;
    return this.push(
      { tag: "span", attributes: { class: "formula", dir: "ltr" }, children: [formula] },
      formula.length,
    );
  }

  readCode() {
    let length = 1;
    while (this.text[this.at + length] === "`") length += 1;
    if (!this.unclosedTicks.has(length)) {
      for (const run of this.text.slice(this.at + length).matchAll(/`+/g)) {
        if (run[0].length !== length) continue;
        let code = this.text.slice(this.at + length, this.at + length + run.index).replace(/\n/g, " ");
        if (/^ .*[^ ].* $/.test(code) || /^ [^ ] $/.test(code)) code = code.slice(1, -1);
        return this.push({ tag: "code", attributes: { dir: "ltr" }, children: [code] }, 2 * length + run.index);
      }
      this.unclosedTicks.add(length);
    }
    return this.take("`".repeat(length));
  }

  readAngle() {
    const lineBreak = this.match(BREAK);
    if (lineBreak) return this.push({ tag: "br" }, lineBreak[0].length);
    const link = this.match(AUTOLINK);
    const address = link && safeAddress(/^(?:https?|mailto):/i.test(link[1]) ? link[1] : `mailto:${link[1]}`);
    return address ? this.push(linkTo(address, [link[1]]), link[0].length) : false;
  }

  readEntity() {
    const entity = decodeEntity(this.text, this.at);
    return entity ? this.take(entity.text, entity.length) : false;
  }

  readBareUrl() {
    const before = this.text[this.at - 1];
    if (before !== undefined && /[\p{L}\p{N}_/]/u.test(before) && !EAST_ASIAN.test(before)) return false;
    const found = this.match(BARE_URL);
    if (!found) return false;
    const written = withoutTrailing(found[0]);
    const address = safeAddress(written);
    return address ? this.push(linkTo(address, [written]), written.length) : false;
  }

  readLineBreak() {
    this.plain = this.plain.replace(/[ \t]+$/, "");
    this.push({ tag: "br" }, 1);
    while (this.text[this.at] === " " || this.text[this.at] === "\t") this.at += 1;
    return true;
  }

  readImage() {
    if (this.text[this.at + 1] !== "[") return false;
    return this.push({ bracket: "![" }, 2);
  }

  readBracket() {
    return this.push({ bracket: "[" }, 1);
  }

  // A picture is a link to it: the page loads nothing from elsewhere.
  readBracketEnd() {
    this.flush();
    const opener = this.pieces.findLastIndex((piece) => piece.bracket);
    if (opener < 0) return false;
    this.at += 1;
    const found = this.match(DESTINATION);
    const address = found && safeAddress((found[1] ?? found[2]).replace(/\\(?=[!-/:-@[-`{-~])/g, ""));
    if (!address) {
      this.pieces[opener] = this.pieces[opener].bracket;
      return this.take("]", 0);
    }
    this.closeEmphasis(opener + 1);
    const children = withoutLinks(joined(this.pieces.splice(opener).slice(1)));
    this.pieces.push(linkTo(address, children.length ? children : [address]));
    this.at += found[0].length;
    return true;
  }

  readDelimiter(sign) {
    let length = 1;
    while (this.text[this.at + length] === sign) length += 1;
    const run = sign.repeat(length);
    if (sign === "~" && length > 2) return this.take(run);
    const before = characterBefore(this.text, this.at);
    const after = characterAt(this.text, this.at + length);
    const opens = isFlanking(after, before);
    const closes = isFlanking(before, after);
    const isWordSign = sign === "_";
    return this.push(
      {
        sign,
        length,
        original: length,
        canOpen: opens && (!isWordSign || !closes || PUNCTUATION.test(before)),
        canClose: closes && (!isWordSign || !opens || PUNCTUATION.test(after)),
      },
      length,
    );
  }

  // CommonMark's "process emphasis": each closer looks back for its opener, never twice over what failed before.
  closeEmphasis(from) {
    const floors = new Map();
    for (let closer = from; closer < this.pieces.length; closer += 1) {
      const right = this.pieces[closer];
      if (!right.sign || !right.canClose) continue;
      const kind = `${right.sign}${right.original % 3}${right.canOpen}`;
      const floor = floors.get(kind) ?? from;
      let opener = closer - 1;
      while (opener >= floor && !canPair(this.pieces[opener], right)) opener -= 1;
      if (opener < floor) {
        floors.set(kind, closer);
        continue;
      }
      closer = this.wrap(opener, closer) - 1;
    }
  }

  // Puts what stands between two delimiters into one node; returns where to go on.
  wrap(opener, closer) {
    const left = this.pieces[opener];
    const right = this.pieces[closer];
    const used = right.sign === "~" ? right.length : Math.min(2, left.length, right.length);
    const tag = right.sign === "~" ? "del" : used === 2 ? "strong" : "em";
    const children = joined(this.pieces.slice(opener + 1, closer));
    const depth = 1 + Math.max(0, ...children.map((child) => child.depth ?? 0));
    const signs = right.sign.repeat(used);
    const inside = depth > MOST_NESTED ? [signs, ...children, signs] : [{ tag, children, depth }];
    left.length -= used;
    right.length -= used;
    const rest = [...(left.length ? [left] : []), ...inside, ...(right.length ? [right] : [])];
    this.pieces.splice(opener, closer - opener + 1, ...rest);
    return opener + rest.length - (right.length ? 1 : 0);
  }
}

const READERS = {
  "\\": "readEscape",
  $: "readFormula",
  "`": "readCode",
  "<": "readAngle",
  "&": "readEntity",
  h: "readBareUrl",
  H: "readBareUrl",
  w: "readBareUrl",
  W: "readBareUrl",
  "\n": "readLineBreak",
  "!": "readImage",
  "[": "readBracket",
  "]": "readBracketEnd",
  "*": "readDelimiter",
  _: "readDelimiter",
  "~": "readDelimiter",
};

function linkTo(href, children) {
  return { tag: "a", attributes: { href, target: "_blank", rel: "noopener noreferrer nofollow" }, children };
}

// Does a run that touches `inner` on one side and `outer` on the other belong to inner?
function isFlanking(inner, outer) {
  if (/\s/.test(inner)) return false;
  if (!PUNCTUATION.test(inner)) return true;
  return /\s/.test(outer) || PUNCTUATION.test(outer) || EAST_ASIAN.test(outer);
}

function canPair(left, right) {
  if (!left.sign || left.sign !== right.sign || !left.canOpen || left.length === 0) return false;
  if (right.sign === "~") return left.length === right.length;
  const isEitherBoth = left.canClose || right.canOpen;
  return (
    !isEitherBoth || (left.original + right.original) % 3 !== 0 || (left.original % 3 === 0 && right.original % 3 === 0)
  );
}

// Delimiters and brackets that found no other half become text, and neighbouring texts one.
function joined(pieces) {
  const nodes = [];
  for (const piece of pieces) {
    const node = piece.sign ? piece.sign.repeat(piece.length) : (piece.bracket ?? piece);
    if (typeof node === "string" && typeof nodes.at(-1) === "string") nodes[nodes.length - 1] += node;
    else if (node !== "") nodes.push(node);
  }
  return nodes;
}

function withoutLinks(nodes) {
  return nodes.flatMap((node) => {
    if (typeof node === "string" || !node.children) return [node];
    const children = withoutLinks(node.children);
    return node.tag === "a" ? children : [{ ...node, children }];
  });
}

// What ends a sentence does not end an address; a closing parenthesis does if it was opened there.
function withoutTrailing(url) {
  let unopened = url.split(")").length - url.split("(").length;
  let end = url.length;
  for (; end > 0; end -= 1) {
    const last = url[end - 1];
    if (last === ")" ? unopened <= 0 : !/[?!.,:;*_~'"\]。、，．！？」』）]/.test(last)) break;
    if (last === ")") unopened -= 1;
  }
  return url.slice(0, end);
}

function characterBefore(text, at) {
  return at === 0 ? " " : (/.$/su.exec(text.slice(Math.max(0, at - 2), at))?.[0] ?? " ");
}

function characterAt(text, at) {
  return at < text.length ? String.fromCodePoint(text.codePointAt(at)) : " ";
}
