"""Markdown as HTML: the documents of docs/ and the tables of figures. HTML inside it is shown as text."""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

HEADINGS_BELOW = 1  # a document's parts (##) become parts of a section of the page, whose own heading is h2
SCROLL = '<div class="scroll" tabindex="0" role="region" aria-label="{}">'


def render_document(text: str, pages: Collection[str] = ()) -> Markup:
    """A document as HTML without its title. Links to `pages`, names of other documents, lead to them."""
    parser = _parser((), pages)
    tokens = parser.parse(text)
    if tokens and tokens[0].type == "heading_open":
        tokens = tokens[[token.type for token in tokens].index("heading_close") + 1 :]
    return _render(parser, tokens, "table")


def title_of(text: str) -> str:
    """A document's title."""
    return text.split("\n", 1)[0].removeprefix("# ")


def render_table(text: str, runs: Collection[str], label: str, most: int) -> tuple[Markup, Markup]:
    """Tables and notes of a figure's table.md, as HTML; a cell that is one of `runs` links to its row.

    Tables of more than `most` rows are left out.
    """
    parser = _parser(runs)
    tokens = parser.parse(text)
    tables = "".join(_render(parser, table, label) for table in _tables(tokens) if _rows(table) <= most)
    return (
        Markup(tables),
        _render(parser, _between(tokens, "bullet_list_open", "bullet_list_close"), label),
    )


def _tables(tokens: list[Token]) -> Iterator[list[Token]]:
    starts = [i for i, token in enumerate(tokens) if token.type == "table_open"]
    ends = [i for i, token in enumerate(tokens) if token.type == "table_close"]
    yield from (tokens[start : end + 1] for start, end in zip(starts, ends, strict=True))


def _rows(table: list[Token]) -> int:
    return sum(token.type == "tr_open" for token in table) - 1


def _parser(runs: Collection[str], pages: Collection[str] = ()) -> MarkdownIt:
    parser = MarkdownIt("js-default").disable("image")  # tables, and no HTML or picture from the document

    def text(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        content = escapeHtml(tokens[index].content)
        return f'<a href="#run-{content}">{content}</a>' if tokens[index].content in runs else content

    led: list[bool] = []

    def link_open(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        # Documents and tables lie beside each other. Other links lead to files that the report does not carry.
        href = str(tokens[index].attrGet("href"))
        document, table = re.fullmatch(r"([\w-]+)\.md(#[\w-]*)?", href), re.match(r"\.\./paper_tables/?(.*)", href)
        is_carried = document is not None and document[1] in pages
        led.append(is_carried or table is not None)
        if document and is_carried:
            return f'<a href="{document[1]}.html">'
        return f'<a href="../{escapeHtml(table[1])}">' if table else ""

    parser.add_render_rule("text", text)
    parser.add_render_rule("link_open", link_open)
    parser.add_render_rule("link_close", lambda *_: "</a>" if led.pop() else "")
    return parser


def _between(tokens: list[Token], first: str, last: str) -> list[Token]:
    """The tokens from the first such element to the end of the last one; none if there is no such element."""
    types = [token.type for token in tokens]
    return tokens[types.index(first) : len(types) - types[::-1].index(last)] if first in types else []


def _render(parser: MarkdownIt, tokens: list[Token], label: str) -> Markup:
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{int(token.tag[1]) + HEADINGS_BELOW}"
    html = parser.renderer.render(tokens, parser.options, {})
    region = SCROLL.format(escapeHtml(label))
    return Markup(html.replace("<table>", f"{region}<table>").replace("</table>", "</table></div>"))
