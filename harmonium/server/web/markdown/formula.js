// Where a formula stands in a text: \( \), \[ \], $ $ and $$ $$. They are shown as they were written, untouched by
// Markdown.

const LONGEST = 2000; // characters of an inline formula; what is never closed is not looked for without end
const CLOSERS = { "\\(": "\\)", "\\[": "\\]", $$: "$$" };

/** The whole formula that begins at `at`, its delimiters included, or null. */
export function findFormula(text, at) {
  const closer = CLOSERS[text.slice(at, at + 2)];
  if (closer) {
    const length = text.slice(at + 2, at + LONGEST).indexOf(closer);
    return length > 0 ? text.slice(at, at + length + 4) : null;
  }
  return text[at] === "$" ? singleDollar(text, at) : null;
}

// "$5 and $10" is money: a formula's dollars touch it on the inside, and no digit follows the second.
function singleDollar(text, at) {
  const found = /\$(?=[^\s$])(?:[^$\n\\]|\\.)*?[^\s\\$]\$(?!\d)|\$[^\s$\\]\$(?!\d)/y;
  found.lastIndex = at;
  return found.exec(text)?.[0] ?? null;
}
