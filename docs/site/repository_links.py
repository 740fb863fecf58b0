"""Links out of docs/ into the repository: checked, and led to the forge where its address is known."""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

_log = logging.getLogger(__name__)
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#:\s]+)\)")


def setup(app: Sphinx) -> dict:
    app.add_config_value("repository_url", "", "env")
    app.connect("source-read", _lead)
    return {"parallel_read_safe": True}


def _lead(app: Sphinx, page: str, source: list[str]) -> None:
    folder = Path(app.srcdir, page).parent
    source[0] = _LINK.sub(lambda link: _led(app, page, folder, link), source[0])


def _led(app: Sphinx, page: str, folder: Path, link: re.Match) -> str:
    text, target = link.groups()
    path = (folder / target).resolve()
    root = Path(app.srcdir).resolve()
    if not path.exists():
        _log.warning("%s links to %s, which is not there", page, target, location=page)
        return text
    if path.suffix == ".md" and path.is_relative_to(root):
        return link[0]  # a page
    inside = path.relative_to(root.parent).as_posix()
    if app.config.repository_url:
        return f"[{text}]({app.config.repository_url}/blob/main/{inside})"
    if path.is_dir() or path.suffix == ".md":  # nothing to download
        return text if text.strip("`") == inside else f"{text} (`{inside}`)"
    return link[0]
