"""The pages, and the folders that ``prose.py`` lists, follow the rules of docs/style.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.prose import ENFORCED, MOST_WORDS, ROOT, check


@pytest.mark.parametrize("path", ENFORCED)
def test_the_prose_follows_the_rules(path: str) -> None:
    assert [str(fault) for fault in check(ROOT / path)] == []


def _messages(folder: Path, name: str, text: str) -> list[str]:
    (folder / name).write_text(text)
    return [f"{fault.line}: {fault.message.partition(':')[0]}" for fault in check(folder / name)]


@pytest.mark.parametrize(
    ("phrase", "sentence"),
    [
        ("can not", "A guest can not wait."),
        ("whoever", "It is closed by whoever opened it."),
        ("is to be", "The name is to be short."),
        ("So as to", "So as to end it, close it."),
        ("what is", "It reads what is left."),
        ("where it is", "The message says where it is."),
        ("others wrote", "Do not run a component that others wrote."),
        ("any more", "It is not read any more."),
        ("of yours", "A program of yours calls it."),
        ("of its own", "It has a task of its own."),
        ("of OpenTelemetry's", "A collector of OpenTelemetry's."),
        ("There is", "There is a limit."),
        ("tells how", "The page tells how to build it."),
        ("but for", "It accepts all, but for links."),
        ("the one that", "This is the one that waits."),
    ],
)
def test_a_forbidden_phrase_is_found(phrase: str, sentence: str, tmp_path: Path) -> None:
    assert f'1: "{phrase}"' in _messages(tmp_path, "page.md", sentence)
    assert f'2: "{phrase}"' in _messages(tmp_path, "Dockerfile", f"FROM scratch\n# {sentence}\n")
    assert f'1: "{phrase}"' in _messages(tmp_path, "module.py", f'"""{sentence}"""\n')
    assert f'1: "{phrase}"' in _messages(tmp_path, "module.py", f"message = {sentence!r}\n")


@pytest.mark.parametrize(
    ("beginning", "source"),
    [
        ("What", '"""What the tests share."""\n'),
        ("How", 'class A:\n    """How to copy."""\n'),
        ("The", 'def a():\n    """The response to a request."""\n'),
        ("A", 'async def a():\n    """A server on a free port."""\n'),
        ("Those", 'def a():\n    """Those of a folder."""\n'),
        ("Whether", 'def a():\n    """Whether it waits."""\n'),
        ("what", "#: what marks a file\nMARK = 1\n"),
        ("those that", "x = 1  # those that wait\n"),
        ("All that", 'def test_a():\n    """All that remains is small."""\n'),
    ],
)
def test_a_beginning_without_a_verb_is_found(beginning: str, source: str, tmp_path: Path) -> None:
    assert any(f'"{beginning}"' in message for message in _messages(tmp_path, "module.py", source))


@pytest.mark.parametrize(
    "source",
    [
        'class A:\n    """A server."""\n    @property\n    def url(self):\n        """The base URL."""\n',
        'def test_a():\n    """The response comes late."""\n',
        '@pytest.fixture\ndef a():\n    """A folder."""\n',
        'def a():\n    """Return the output."""\n',
        "x = 1  # Otherwise the guest waits.\n",
    ],
)
def test_nouns_and_verbs_are_right(source: str, tmp_path: Path) -> None:
    assert _messages(tmp_path, "module.py", source) == []


def test_a_long_sentence_is_found(tmp_path: Path) -> None:
    long = " ".join(["Word", *["word"] * MOST_WORDS])
    page = f"# Title\n\nA sentence. {long}.\n\n| a | b |\n|---|---|\n| {long} | short |\n\n* {long}\n"
    found = _messages(tmp_path, "page.md", page)
    assert [message.partition(" ")[0] for message in found] == ["3:", "7:", "9:"]
    assert len(_messages(tmp_path, "page.md", " ".join(["Word"] * MOST_WORDS) + ". Word.")) == 0


def test_code_is_no_prose(tmp_path: Path) -> None:
    page = 'Run `there is` or "what is".\n\n    there is\n\n```sh\nthere is\n```\n\n<https://example.org/there-is>\n'
    assert _messages(tmp_path, "page.md", page) == []
    assert _messages(tmp_path, "module.py", 'x = """\nx = 1\nthere is\n"""\n# A reason.\nthere_is = 1\n') == []
    docstring = '"""A module::\n\n        there is\n\nMore.\n"""\n'
    assert _messages(tmp_path, "module.py", docstring) == []


def test_lines_of_a_comment_are_read_together(tmp_path: Path) -> None:
    assert _messages(tmp_path, "module.py", "x = 1\n# A guest can\n# not wait.\n") == ['2: "can not"']
    assert _messages(tmp_path, "settings.toml", "x = 1  # A guest can not wait.\n# None.\n") == ['1: "can not"']
