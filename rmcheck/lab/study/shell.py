"""One HTML page without scripts or other files: light and dark, wide and narrow."""

import html

from rmcheck.wording import printable

STYLE = (
    ":root{color-scheme:light dark;--ink:#1a1a1a;--paper:#fff;--line:#d8d8d8;--c0:#0072b2}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e8e8e8;--paper:#161616;--line:#3a3a3a;--c0:#56b4e9}}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;"
    "color:var(--ink);background:var(--paper)}"
    "h2{margin-top:3rem}p,li{max-width:46rem}a{color:var(--c0)}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}"
    "td,th{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right;"
    "vertical-align:top}th{font-weight:600;white-space:nowrap}td:first-child,th:first-child{text-align:left}"
    "td{font-variant-numeric:tabular-nums;white-space:nowrap}"
    "svg{max-width:100%;height:auto;display:block;margin:1rem 0}svg text{fill:var(--ink)}"
    ".grid{stroke:var(--line)}.mark{stroke:var(--c0);stroke-width:2}.dot{fill:var(--c0)}"
    "nav{columns:2;max-width:46rem}@media(max-width:40rem){nav{columns:1}body{margin:1rem auto}}"
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def html_page(title: str, body: str) -> str:
    """The page; `body` is markup, `title` is text."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE}</style></head>"
        f"<body><h1>{text(title)}</h1>{body}</body></html>\n"
    )


def table_of(titles: list[str], rows: list[list[str]]) -> str:
    """A table of texts, which scrolls by itself on a narrow page."""
    head = "".join(f"<th>{text(title)}</th>" for title in titles)
    body = "".join(
        "<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def text(words: str) -> str:
    """Any text as text of a page."""
    return html.escape(printable(words))


def markdown_cell(words: str) -> str:
    """Any text as one cell of a table in Markdown that is no markup."""
    return html.escape(printable(words), quote=False).replace("|", "\\|").replace("`", "'")


def markdown_table(titles: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table in Markdown."""
    lines = [f"| {' | '.join(map(markdown_cell, titles))} |"]
    lines.append(f"|---{'|---:' * (len(titles) - 1)}|")
    return lines + [f"| {' | '.join(map(markdown_cell, row))} |" for row in rows]
