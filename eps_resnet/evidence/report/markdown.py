"""Markdown as HTML: docs/fidelity.md and the tables of figures. HTML inside it is shown as text."""

from collections.abc import Collection, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

HEADINGS_BELOW = 1  # a document's parts (##) become parts of a section of the page, whose own heading is h2
SCROLL = '<div class="scroll" tabindex="0" role="region" aria-label="{}">'


def render_document(text: str) -> Markup:
    """A document as HTML without its title; its headings are those of a section's parts."""
    parser = _parser(())
    tokens = parser.parse(text)
    if tokens and tokens[0].type == "heading_open":
        tokens = tokens[[token.type for token in tokens].index("heading_close") + 1 :]
    return _render(parser, tokens, "table")


def render_table(text: str, runs: Collection[str], label: str) -> tuple[Markup, Markup]:
    """Tables and notes of a figure's table.md, as HTML; a cell that is one of `runs` links to its section."""
    parser = _parser(runs)
    tokens = parser.parse(text)
    return (
        _render(parser, _between(tokens, "table_open", "table_close"), label),
        _render(parser, _between(tokens, "bullet_list_open", "bullet_list_close"), label),
    )


def _parser(runs: Collection[str]) -> MarkdownIt:
    parser = MarkdownIt("js-default").disable("image")  # tables, and no HTML or picture from the document

    def text(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        content = escapeHtml(tokens[index].content)
        return f'<a href="#run-{content}">{content}</a>' if tokens[index].content in runs else content

    parser.add_render_rule("text", text)
    # Links of a document lead to files that the page does not carry: their text stays.
    parser.add_render_rule("link_open", lambda *_: "")
    parser.add_render_rule("link_close", lambda *_: "")
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
