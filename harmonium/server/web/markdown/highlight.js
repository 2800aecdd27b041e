// Colours for code: comments, strings, numbers and keywords, by families of languages. It reads, it does not parse.

const C_KEYWORDS =
  "abstract as async await bool break case catch char class const continue default defer delete do double else " +
  "enum export extends extern false final finally float fn for from func function go goto if impl implements " +
  "import in instanceof int interface internal let long loop match mod move mut namespace new nil null nullptr " +
  "of operator override package private protected pub public range ref return select self short signed sizeof " +
  "static string struct super switch template this throw throws trait true try type typedef typeof undefined " +
  "union unsafe unsigned use using val var virtual void volatile where while yield";
const PYTHON_KEYWORDS =
  "False None True and as assert async await break case class continue def del elif else except finally for " +
  "from global if import in is lambda match nonlocal not or pass raise return self try while with yield";
const SHELL_KEYWORDS =
  "case do done elif else esac export fi for function if in local return set then until while cd echo exit " +
  "source sudo";
const SQL_KEYWORDS =
  "add all alter and as asc begin between by case check column commit constraint create default delete desc " +
  "distinct drop else end exists false foreign from full group having if in index inner insert into is join key " +
  "left like limit not null on or order outer primary references right rollback select set table then true " +
  "union unique update values view when where with";

const DOUBLE = String.raw`"(?:[^"\\\n]|\\[^])*"?`;
const SINGLE = String.raw`'(?:[^'\\\n]|\\[^])*'?`;
const TEMPLATE = String.raw`${"`"}(?:[^${"`"}\\]|\\[^])*${"`"}?`;
const TRIPLE = String.raw`"""[^]*?(?:"""|$)|'''[^]*?(?:'''|$)`;
const SLASHES = String.raw`\/\/[^\n]*|\/\*[^]*?(?:\*\/|$)`;
const HASH = String.raw`#[^\n]*`;
const SPACED_HASH = String.raw`(?<![^\s])#[^\n]*`; // in a shell, # begins a comment after a space alone

const FAMILIES = {
  c: family(SLASHES, `${DOUBLE}|${SINGLE}|${TEMPLATE}`, C_KEYWORDS),
  python: family(HASH, `${TRIPLE}|${DOUBLE}|${SINGLE}`, PYTHON_KEYWORDS),
  shell: family(SPACED_HASH, `${DOUBLE}|${SINGLE}`, SHELL_KEYWORDS),
  config: family(SPACED_HASH, `${TRIPLE}|${DOUBLE}|${SINGLE}`, "true false null yes no on off"),
  json: family(SLASHES, DOUBLE, "true false null"),
  sql: family(String.raw`--[^\n]*|\/\*[^]*?(?:\*\/|$)`, `${SINGLE}|${DOUBLE}`, SQL_KEYWORDS, "i"),
  markup: family("<!--[^]*?(?:-->|$)", `${DOUBLE}|${SINGLE}`, ""),
};

const LANGUAGES = {
  c:
    "c cc cpp c++ h hpp cs csharp css scss cuda dart go golang java javascript js jsx kotlin kt php proto rs rust " +
    "scala swift ts tsx typescript zig",
  python: "py python python3 pyi ipython",
  shell: "bash console fish powershell ps1 sh shell zsh",
  config: "conf dockerfile ini make makefile properties r rb ruby toml yaml yml",
  json: "json json5 jsonc jsonl",
  sql: "mysql postgresql psql sql sqlite",
  markup: "html svg vue xhtml xml",
};
const FAMILY_OF = new Map(
  Object.entries(LANGUAGES).flatMap(([name, words]) => words.split(" ").map((word) => [word, FAMILIES[name]])),
);

function family(comment, string, keywords, flags = "") {
  const words = keywords ? `\\b(?:${keywords.split(" ").join("|")})\\b` : "(?!)";
  const number = String.raw`(?<![\w.])(?:0[xX][\da-fA-F_]+|0[bB][01_]+|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)\b`;
  return new RegExp(
    `(?<comment>${comment})|(?<string>${string})|(?<keyword>${words})|(?<number>${number})`,
    `g${flags}`,
  );
}

/** The code as pieces {text, kind}; kind: comment, string, keyword, number, or none. Joined they are the code. */
export function highlight(code, language) {
  const pattern = FAMILY_OF.get(language.toLowerCase());
  if (!pattern) return [{ text: code }];
  const pieces = [];
  let at = 0;
  for (const found of code.matchAll(pattern)) {
    if (found[0] === "") continue;
    if (found.index > at) pieces.push({ text: code.slice(at, found.index) });
    const [kind] = Object.entries(found.groups).find(([, text]) => text !== undefined);
    pieces.push({ text: found[0], kind });
    at = found.index + found[0].length;
  }
  if (at < code.length) pieces.push({ text: code.slice(at) });
  return pieces;
}
