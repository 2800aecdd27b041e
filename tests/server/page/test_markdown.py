"""The page's Markdown: what becomes of texts, that growing changes nothing, and that no text can do harm."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page

SHOW = """async ([text, cuts]) => {
    const { MarkdownStream } = await import(new URL("markdown/stream.js", document.querySelector("[type=module]").src));
    const element = document.createElement("div");
    const stream = new MarkdownStream(element);
    for (const cut of cuts) stream.show(text.slice(0, cut));
    stream.show(text);
    return element.innerHTML;
}"""

# Attributes that every such element has are left out of what is expected.
ALWAYS = (
    ' dir="auto"',
    ' dir="ltr"',
    ' target="_blank" rel="noopener noreferrer nofollow"',
    ' role="region" aria-label="Table" tabindex="0"',
    ' type="button"',
    ' tabindex="0"',
)


def shown(page: Page, text: str, cuts: tuple[int, ...] = ()) -> str:
    found: str = page.evaluate(SHOW, [text, cuts])
    return found


def brief(html: str) -> str:
    for attribute in ALWAYS:
        html = html.replace(attribute, "")
    return html


def code(language: str, inside: str) -> str:
    copy = f'<button class="copy-code" aria-label="Copy {language}">Copy</button>'
    head = f'<div class="code-head"><span>{language}</span>{copy}</div>'
    return f'<div class="code-block">{head}<pre aria-label="{language}"><code>{inside}</code></pre></div>'


TABLE = """x
| a | b |
|:--|--:|
| `c` | d \\| e |
| f |

g"""
TABLE_SHOWN = (
    '<p>x</p><div class="table"><table>'
    '<thead><tr><th scope="col" class="align-left">a</th><th scope="col" class="align-right">b</th></tr></thead>'
    '<tbody><tr><td class="align-left"><code>c</code></td><td class="align-right">d | e</td></tr>'
    '<tr><td class="align-left">f</td><td class="align-right"></td></tr></tbody>'
    "</table></div><p>g</p>"
)
FORMULAS = r"""\(a_1*b*c_1\) costs $5 or $6, $x_1*y*z$ [d\]

\[
\frac{a}{b}
\]
$$ e^{*f*} $$"""
FORMULAS_SHOWN = (
    r'<p><span class="formula">\(a_1*b*c_1\)</span> costs $5 or $6, <span class="formula">$x_1*y*z$</span> [d]</p>'
    '<div class="formula">\\[\n\\frac{a}{b}\n\\]</div><div class="formula">$$ e^{*f*} $$</div>'
)
LINKS = '[a *b*](https://c.de/f_(g) "t") <https://h.i> j@k.l www.m.no, (http://p.q/r).'
LINKS_SHOWN = (
    '<p><a href="https://c.de/f_(g)">a <em>b</em></a> <a href="https://h.i/">https://h.i</a> j@k.l '
    '<a href="https://www.m.no/">www.m.no</a>, (<a href="http://p.q/r">http://p.q/r</a>).</p>'
)
TASKS_SHOWN = (
    '<ul><li><span class="task" role="img" aria-label="done">☑ </span>a</li>'
    '<li><span class="task" role="img" aria-label="to do">☐ </span>b</li></ul>'
)
COLOURED = (
    '<span class="keyword">if</span> x: <span class="comment"># y</span>\n'
    '  <span class="string">\'z\'</span> + <span class="number">1</span>'
)
CASES = {
    "paragraphs and breaks": ("a\n\nb  \nc\\\nd<br>e\nf", "<p>a</p><p>b<br>c<br>d<br>e<br>f</p>"),
    "headings": ("# A *b*\n###### C ##\n#no", "<h1>A <em>b</em></h1><h6>C</h6><p>#no</p>"),
    "emphasis": ("**a *b* c** ~~d~~ _f_", "<p><strong>a <em>b</em> c</strong> <del>d</del> <em>f</em></p>"),
    "emphasis twice": ("***a*** **b**c*d*", "<p><em><strong>a</strong></em> <strong>b</strong>c<em>d</em></p>"),
    "no emphasis": ("snake_case_word 2 * 3 * 4 ** x **", "<p>snake_case_word 2 * 3 * 4 ** x **</p>"),
    "emphasis among East Asian signs": ("これは**「強調」**です", "<p>これは<strong>「強調」</strong>です</p>"),
    "inline code": ("`a` ``b`c`` `*d*` `e", "<p><code>a</code> <code>b`c</code> <code>*d*</code> `e</p>"),
    "escapes": (r"\*a\* \`b\` \\ &lt;i&gt; &copy; &no;", "<p>*a* `b` \\ &lt;i&gt; © &amp;no;</p>"),
    "rules": ("a\n---\nb\n* * *", "<p>a</p><hr><p>b</p><hr>"),
    "lists": (
        "- a\n- b\n  1. c\n     - d\n2. e",
        '<ul><li>a</li><li>b<ol><li>c<ul><li>d</li></ul></li></ol></li></ul><ol start="2"><li>e</li></ol>',
    ),
    "indented by two": ("1. a\n  - b\n  - c\n2. d", "<ol><li>a<ul><li>b</li><li>c</li></ul></li><li>d</li></ol>"),
    "indented by four": ("* a\n    * b\n        * c", "<ul><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li></ul>"),
    "loose lists": ("3. a\n\n4. b\n\n   c", '<ol start="3"><li><p>a</p></li><li><p>b</p><p>c</p></li></ol>'),
    "tasks": ("- [x] a\n- [ ] b", TASKS_SHOWN),
    "quotes": ("> a\nb\n> > c\n\nd", "<blockquote><p>a<br>b</p><blockquote><p>c</p></blockquote></blockquote><p>d</p>"),
    "code": ("```\n<b> *c*\n\n  d\n```\ne", code("text", "&lt;b&gt; *c*\n\n  d") + "<p>e</p>"),
    "code, unfinished": ("~~~zzz\na", code("zzz", "a")),
    "code, coloured": ("```python\nif x: # y\n  'z' + 1\n```", code("python", COLOURED)),
    "code in a list": ("1. a\n   ```\n   b\n   ```\n2. c", f"<ol><li>a{code('text', 'b')}</li><li>c</li></ol>"),
    "tables": (TABLE, TABLE_SHOWN),
    "links": (LINKS, LINKS_SHOWN),
    "pictures are links": ("![a](https://b.c/d.png)", '<p><a href="https://b.c/d.png">a</a></p>'),
    "formulas": (FORMULAS, FORMULAS_SHOWN),
    "HTML is text": ("<b>a</b> <!-- c -->\n\n<p>d", "<p>&lt;b&gt;a&lt;/b&gt; &lt;!-- c --&gt;</p><p>&lt;p&gt;d</p>"),
}


@pytest.mark.parametrize("name", CASES)
def test_cases(paper: Page, name: str) -> None:
    text, expected = CASES[name]
    assert brief(shown(paper, text)) == expected


SIGNS = r"* ** _ ` ``` ~~~ ~~ - --- *** | |---| [ ]( ) [x](https://y.z) ! < > <br> &lt; \ \( \) \[ \] $ $$ . :"
WORDS = "a b word python 強調 「 」 مرحبا https://a.b/c"
STARTS = ["- ", "* ", "1. ", "2. ", "10) ", "- [ ] ", "> ", "# ", "#### ", "  ", "    ", "\t", "\n", "\n\n", "\r\n"]
ROWS = ["| a | b |\n|---|---|\n", "| a | b |", "\n| c | d |"]
PIECES = st.sampled_from([*SIGNS.split(), *WORDS.split(), *STARTS, *ROWS, " "])
TEXTS = st.lists(PIECES, min_size=1, max_size=40).map("".join)


@example(f"\\[\n{ROWS[0]}*", [], True)  # a formula's line that has just begun is no blank line
@example(f"$$\n{ROWS[0]}  a", [], True)
@given(TEXTS, st.lists(st.floats(0, 1), max_size=12), st.booleans())
@settings(max_examples=120)
def test_a_text_that_grows_ends_as_the_whole(paper: Page, text: str, shares: list[float], by_letter: bool) -> None:
    cuts = range(len(text)) if by_letter else sorted(round(share * len(text)) for share in shares)
    assert shown(paper, text, tuple(cuts)) == shown(paper, text)


def test_what_is_finished_is_not_drawn_again(paper: Page) -> None:
    same = """async () => {
        const page = document.querySelector("[type=module]").src;
        const { MarkdownStream } = await import(new URL("markdown/stream.js", page));
        const element = document.createElement("div");
        const stream = new MarkdownStream(element);
        const text = "# A\\n\\nb **c**\\n\\n```js\\nlet d;\\n```\\n\\n- e\\n\\nf\\n\\ng\\n\\n- h\\n- i";
        let kept = [];
        for (let length = 1; length <= text.length; length += 1) {
            const before = [...element.children].slice(0, -2);
            stream.show(text.slice(0, length));
            kept.push(before.every((child, index) => child === element.children[index]));
        }
        return kept.every(Boolean) && element.children.length;
    }"""
    assert paper.evaluate(same) == 7


HARM = [
    "<script>window.harm = 1</script>",
    "<img src=x onerror='window.harm = 1'>",
    "<svg onload='window.harm = 1'>",
    "[a](javascript:window.harm=1)",
    "[a](JaVaScRiPt:window.harm=1)",
    "[a](java\tscript:window.harm=1)",
    "[a](&#106;avascript:window.harm=1)",
    "[a](\x01javascript:window.harm=1)",
    "[a](data:text/html,<script>window.harm=1</script>)",
    "[a](vbscript:x) [b](file:///etc/passwd) [c](blob:https://x/y)",
    "<javascript:window.harm=1>",
    "![a](javascript:window.harm=1)",
    '[a](https://b.c/"onmouseover="window.harm=1)',
    '[a](https://b.c "t\\" onclick=\\"window.harm=1")',
    '```"><script>window.harm=1</script>\nx\n```',
    "```html\n<script>window.harm = 1</script><img src=x onerror=window.harm=1>\n```",
    "`<img src=x onerror=window.harm=1>`",
    "| <script>window.harm=1</script> | b |\n|---|---|\n| <iframe srcdoc='<script>parent.harm=1</script>'> | d |",
    "<a href='javascript:window.harm=1'>a</a>",
    "<style>body { display: none }</style><base href='https://evil.example/'>",
    "<form action='https://evil.example'><input name=a></form><meta http-equiv=refresh content='0;url=https://evil.example'>",
    "$<script>window.harm=1</script>$ \\(<img src=x onerror=window.harm=1>\\)",
]

INSPECT = """async (text) => {
    const { MarkdownStream } = await import(new URL("markdown/stream.js", document.querySelector("[type=module]").src));
    const element = document.createElement("div");
    document.body.append(element);
    new MarkdownStream(element).show(text);
    const elements = [...element.querySelectorAll("*")];
    for (const link of element.querySelectorAll("a")) link.dispatchEvent(new MouseEvent("mouseover"));
    element.remove();
    return {
        tags: elements.map(({ localName }) => localName),
        attributes: elements.flatMap(({ attributes }) => [...attributes].map(({ name }) => name)),
        schemes: elements.filter(({ href }) => href).map(({ protocol }) => protocol),
        harm: window.harm ?? null,
    };
}"""
TAGS = {
    "p",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "ul",
    "ol",
    "li",
    "blockquote",
    "hr",
    "br",
    "em",
    "strong",
    "del",
    "code",
}
TAGS |= {"a", "span", "div", "table", "thead", "tbody", "tr", "th", "td", "pre", "button"}
ATTRIBUTES = {"class", "dir", "href", "target", "rel", "start", "scope", "role", "aria-label", "tabindex", "type"}


def is_harmless(found: dict[str, Any]) -> bool:
    schemes = {"https:", "http:", "mailto:"}
    return (
        set(found["tags"]) <= TAGS
        and set(found["attributes"]) <= ATTRIBUTES
        and set(found["schemes"]) <= schemes
        and found["harm"] is None
    )


@pytest.mark.parametrize("text", HARM)
def test_no_text_does_harm(paper: Page, text: str) -> None:
    for around in ("{}", "> - {}", "a {} b", "**{}**"):
        assert is_harmless(paper.evaluate(INSPECT, around.format(text)))


@given(st.lists(PIECES | st.sampled_from([*HARM, "javascript:", " onclick=x", '"', "'"]), max_size=20).map("".join))
@settings(max_examples=60)
def test_no_mixture_of_texts_does_harm(paper: Page, text: str) -> None:
    assert is_harmless(paper.evaluate(INSPECT, text))


@pytest.mark.parametrize(
    "piece", ["[", "![a](", "*a **b ", ">", "- ", "`", "``` ", "\\(", "$a", "| a ", "<", "https://a.b)", "&lt;", "_a"]
)
def test_hostile_texts_neither_hang_nor_overflow(paper: Page, piece: str) -> None:
    assert shown(paper, piece * 4000)
