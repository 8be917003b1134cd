"""What a company looks at before it installs a package: licence, links, types."""

import hashlib
import tomllib
from pathlib import Path

import rmcheck

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Of the text that the Apache Software Foundation publishes; Debian ships it as
# /usr/share/common-licenses/Apache-2.0 in its package base-files.
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def test_the_licence_is_apache_2_word_for_word():
    """The metadata name it, and the file that they name is the whole text."""
    (file,) = PROJECT["license-files"]

    assert PROJECT["license"] == "Apache-2.0"
    assert hashlib.sha256((ROOT / file).read_bytes()).hexdigest() == APACHE_2


def test_the_metadata_link_to_the_project():
    """An index page shows where the source, the bugs and the changes are."""
    links = PROJECT["urls"]

    assert {"Homepage", "Documentation", "Issues", "Changelog"} <= set(links)
    assert all(link.startswith(links["Homepage"]) for link in links.values())


def test_type_checkers_read_the_annotations():
    """PEP 561: without this file mypy takes everything imported from here as unknown."""
    assert Path(rmcheck.__file__).with_name("py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["classifiers"]
