"""The verdicts of a run for a model card of the Hugging Face hub, and as a badge."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from rmcheck.wording import encodable, printable

SOURCE = {"name": "rmcheck", "url": "https://github.com/rmcheck/rmcheck"}
GREEN, RED, GREY = "#2e7d32", "#c62828", "#555"
# Width of a letter of 11 px, and what is free at the ends of a half.
LETTER, MARGIN = 6.6, 6


def model_index(data: Mapping[str, Any]) -> str:
    """The block `model-index` of a model card, in YAML: each check with its value and verdict."""
    import yaml

    data = encodable(dict(data))
    results = [_result(suite, data["checks"]) for suite in data["suites"]]
    index = {"model-index": [{"name": _name(data), "results": results}]}
    return yaml.safe_dump(index, sort_keys=False, allow_unicode=True)


def _name(data: Mapping[str, Any]) -> str:
    models = [model for suite in data["suites"] for model in suite["models"]]
    names = [model["name"] for model in models if model["role"] == "candidate"]
    return printable(names[0]) if names else "reward model"


def _result(suite: Mapping[str, Any], checks: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What one suite measured; a check without a value has none to show."""
    return {
        "task": {"type": "text-classification", "name": "reward modelling"},
        "dataset": {
            "type": printable(suite["name"]),
            "name": printable(Path(suite["pool"]["path"]).name),
            "revision": suite["pool"]["fingerprint"][:8],
        },
        "metrics": [
            _metric(check)
            for check in checks
            if check["path"] == suite["path"] and check["value"] is not None
        ],
        "source": SOURCE,
    }


def _metric(check: Mapping[str, Any]) -> dict[str, Any]:
    where = f" [{check['slice']}]" if check["slice"] else ""
    return {
        "type": check["metric"],
        "value": round(check["value"], 4),
        "name": printable(f"{check['name']}{where} {check['required']}: {check['verdict']}"),
        "args": {name: check[name] for name in ("lower", "upper", "confidence", "n")},
    }


def badge(data: Mapping[str, Any]) -> str:
    """An SVG of 20 px height: `rmcheck`, and how many checks passed."""
    checks, errors = data["checks"], data["errors"]
    passed = sum(check["gate"] == "passed" for check in checks)
    count = len(checks) + len(errors)
    text = f"{passed} of {count} pass" if count else "nothing gated"
    color = GREEN if data["passed"] else RED
    left, right = (2 * MARGIN + LETTER * len(word) for word in ("rmcheck", text))
    size = f'width="{left + right:.0f}" height="20"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" '
        f'aria-label="rmcheck: {escape(text)}">'
        f'<rect width="{left:.1f}" height="20" fill="{GREY}"/>'
        f'<rect x="{left:.1f}" width="{right:.1f}" height="20" fill="{color}"/>'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f'<text x="{MARGIN}" y="14">rmcheck</text>'
        f'<text x="{left + MARGIN:.1f}" y="14">{escape(text)}</text></g></svg>\n'
    )
