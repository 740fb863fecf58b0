"""The words of the field: what must not come back into code, comments, messages and pages, and what to write instead.

`make lint` runs it over all files that git knows. A line that is right all the same is listed in EXCEPTIONS.
"""

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

# What a name in code must not be, and what to write instead.
NAMES = {
    r"found": "what it is: errors, edges, results",
    r"along|_?along_\w+|\w+_along": "tangent, direction, derivative",
    r"slopes?|\w+_slopes?": "gradient, derivative",
    r"(?:\w*_)?room(?:_\w+)?": "buffer, capacity, workspace, memory",
    r"Three|Four|four|fours": "what it holds: Register, Vector3",
    r"maybe|of_result|moved_values": "what it is",
}
# The same of a function or class: a verb, or what it returns.
DEFINITIONS = {
    r"numbers": "values, atomic_numbers, counts",
    r"like|given|data|space|maybe": "what it returns",
}
# What a sentence must not say.
PROSE = {
    r"slopes?": "gradient, derivative with respect to",
    r"(?:form|result) without numbers": "meta or fake implementation",
    r"(?:same|its|their|our|wrong|right|very|[A-Z]\w+'s) numbers": "values",
    r"numbers that are not finite": "values that are not finite",
    r"derivatives? by (?:the )?(?:weights|positions|strain|x|y|w|z)": "derivative with respect to",
    r"numbers without": "values",
    r"stems? of (?:their|its) op": "the name of their operator",
}
# (path, text of the line): why it stays.
EXCEPTIONS: dict[tuple[str, str], str] = {}

CODE = (".cpp", ".h", ".inl", ".cu", ".js", ".c")
TEXT = (".md", ".cfg", ".toml", ".yaml", ".yml")
LEFT_OUT = ("equitensor/report/vendored/", ".ci/words.py", "tests/test_words.py", "LICENSE")


def problems(path: str, text: str) -> Iterator[str]:
    """A sentence for each line of a file that says a word that must not come back."""
    lines = text.splitlines()
    names = _python_names(text) if path.endswith(".py") else _names(lines) if path.endswith(CODE) else ()
    for number, name, before in names:
        rules = NAMES | (DEFINITIONS if before in ("def", "class", "struct") else {})
        yield from _told(path, number, lines, name, rules, re.fullmatch)
    for number, line in enumerate(lines, 1):
        yield from _told(path, number, lines, line, {rf"\b(?:{rule})\b": to for rule, to in PROSE.items()}, re.search)


def _told(path, number, lines, words, rules, match) -> Iterator[str]:
    for rule, instead in rules.items():
        hit = match(rule, words)
        if hit and (path, lines[number - 1].strip()) not in EXCEPTIONS:
            yield f"{path}:{number}: {hit.group()!r}: write {instead}"


def _python_names(text: str) -> Iterator[tuple[int, str, str]]:
    """(line, name, the word before) of each name, those of attributes of others left out."""
    before = ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and before != ".":
            yield token.start[0], token.string, before
        before = token.string


def _names(lines: list[str]) -> Iterator[tuple[int, str, str]]:
    """The same of C++ and JavaScript: without comments and strings."""
    text = re.sub(
        r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|`[^`]*`',
        lambda match: re.sub(r"[^\n]", " ", match.group()),
        "\n".join(lines),
        flags=re.DOTALL,
    )
    before = ""
    for number, line in enumerate(text.split("\n"), 1):
        for match in re.finditer(r"\w+|\S", line):
            if before != "." and re.match(r"[A-Za-z_]", match.group()):
                yield number, match.group(), before
            before = match.group()


def main() -> int:
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()
    paths = [path for path in listed if path.endswith((".py", *CODE, *TEXT)) and not path.startswith(LEFT_OUT)]
    told = [problem for path in paths if Path(path).is_file() for problem in problems(path, Path(path).read_text())]
    print("\n".join(told or ["words: those of the field"]))
    return bool(told)


if __name__ == "__main__":
    sys.exit(main())
