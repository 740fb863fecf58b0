"""The page: a template, its style and scripts, the libraries that draw, and the content as JSON, in one text."""

import html
import json
from functools import lru_cache
from pathlib import Path
from string import Template

_HERE = Path(__file__).resolve().parent
ASSETS, VENDORED = _HERE / "assets", _HERE / "vendored"
_SCRIPTS = ("elements.js", "tables.js", "plots.js", "curves.js", "viewer.js", "parity.js", "page.js")


def page(content: dict) -> str:
    """HTML that loads nothing from anywhere; a live page asks the server that it came from for newer content."""
    return _template().substitute(
        title=html.escape(content["title"]),
        # The browser itself refuses to load anything, whatever a library might try.
        connect="'self'" if content["live"] else "'none'",
        content=as_json(content).replace("<", "\\u003c"),
        licences=html.escape(_licences()),
        libraries=html.escape(", ".join(f"{p['name']} {p['version']} ({p['licence']})" for p in libraries())),
        **_assets(),
    )


def as_json(content: dict) -> str:
    """Compact; a number that JSON lacks (NaN, infinity) is an error."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def libraries() -> list[dict]:
    """The vendored packages: name, version, licence, files with digests; those within another name it."""
    return json.loads((VENDORED / "vendored.json").read_text())


def _template() -> Template:
    return Template((ASSETS / "page.html").read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def _assets() -> dict[str, str]:
    """Style and scripts. Raises ValueError for a script that would end its element."""
    style = "\n".join(
        path.read_text(encoding="utf-8") for path in (*sorted(VENDORED.glob("*/*.css")), ASSETS / "style.css")
    )
    drawing = [path.read_text(encoding="utf-8") for path in sorted(VENDORED.glob("*/*.js"))]
    own = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    for script in (*drawing, own):
        if "</script" in script.lower() or "<!--" in script:
            raise ValueError("a script of the page holds </script or <!--")
    return {"style": style, "drawing": ";\n".join(drawing), "script": f'(() => {{\n"use strict";\n{own}\n}})();'}


def _licences() -> str:
    """The texts of all licences, as these ask for."""
    texts = []
    for package in libraries():
        within = f", part of {package['within']}" if "within" in package else ""
        text = (VENDORED / package["name"] / "LICENSE").read_text(encoding="utf-8")
        texts.append(f"{package['name']} {package['version']}{within}\n\n{text.strip()}")
    return "\n\n\n".join(texts)
