"""Code blocks without a language are coloured as what they are: commands, Python, or nothing."""

from code_blocks import language_of
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class Languages(SphinxTransform):
    """Sets the language of literal blocks that name none."""

    default_priority = 200  # before that of the site's default

    def apply(self, **_options) -> None:
        for block in self.document.findall(nodes.literal_block):
            if not block.get("language"):
                block["language"] = language_of(block.astext())


def setup(app: Sphinx) -> dict:
    app.add_transform(Languages)
    return {"parallel_read_safe": True}
