"""One HTML page without scripts or other files: light and dark, wide and narrow."""

import base64
import hashlib
import html

from rmcheck.wording import printable

# Colours of series, for light and dark pages: Okabe and Ito's, told apart by most eyes.
_LIGHT = ("0072b2", "d55e00", "009e73", "cc79a7", "b8860b", "56b4e9", "7a4fbf", "444444")
_DARK = ("56b4e9", "ff9a4d", "2fd3a5", "e7a3cc", "e6c229", "9fd3f5", "b79bf0", "c8c8c8")


def _colours(names: tuple[str, ...]) -> str:
    return "".join(f"--c{i}:#{name};" for i, name in enumerate(names))


_SERIES = "".join(f".s{i}{{stroke:var(--c{i})}}.f{i}{{fill:var(--c{i})}}" for i in range(8))
STYLE = (
    f":root{{color-scheme:light dark;--ink:#1a1a1a;--paper:#fff;--line:#d8d8d8;{_colours(_LIGHT)}}}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e8e8e8;--paper:#161616;--line:#3a3a3a;"
    f"{_colours(_DARK)}}}}}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;"
    "color:var(--ink);background:var(--paper)}"
    "h2{margin-top:3rem}p,li{max-width:46rem}a{color:var(--c0)}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}"
    "td,th{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right;"
    "vertical-align:top}th{font-weight:600;white-space:nowrap}td:first-child,th:first-child{text-align:left}"
    "td{font-variant-numeric:tabular-nums;white-space:nowrap}"
    "svg{max-width:100%;height:auto;display:block;margin:1rem 0}svg text{fill:var(--ink)}"
    "polyline{fill:none;stroke-width:2}.band{fill-opacity:.15}.grid{stroke:var(--line)}"
    f".mark{{stroke:var(--c0);stroke-width:2}}.cell{{fill:var(--c0)}}{_SERIES}"
    "nav{columns:2;max-width:46rem}@media(max-width:40rem){nav{columns:1}body{margin:1rem auto}}"
)
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"


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
