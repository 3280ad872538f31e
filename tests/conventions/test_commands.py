"""Commands get names and paths as they were typed."""

import logging
import runpy
import sys

import pytest

from conventions import InputError, run_command

TYPED = ["2024_01", "0000_0000", "1e5", "Doe,John", "0x1", "scan#1", "'a'", "None", "True", "007", "[a]"]
"""Words that fire alone reads as something else, and some that it would not."""


@pytest.fixture(autouse=True)
def unchanged_process(monkeypatch):
    """Keep what a command changes in its process from the other tests."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers[:])
    monkeypatch.setattr(logging.root, "level", logging.root.level)


@pytest.mark.parametrize("word", TYPED)
@pytest.mark.parametrize("flag", ["", "--name ", "--name="])
def test_text_stays_text(word, flag):
    got = []

    def command(name: str, count: int = 1, *more: str) -> None:
        got.append((name, count, *more))

    run_command({"do": command}, "test", ["do", *f"{flag}{word}".split(" ")])
    assert got == [(word, 1)]
    got.clear()
    run_command(command, "test", [word, "1_0", word])
    assert got == [(word, 10, word)]


def test_numbers_and_lists_are_still_read():
    got = []

    def command(name: str, count: int = 1, views: "str | list[str]" = "", other: "str | None" = None, **more) -> None:
        got.append((name, count, views, other, *more.values()))

    run_command(command, "test", ["1", "--count", "1_0", "--views", "pa,ap"])
    run_command(command, "test", ["1", "--other", "1e5", "--seed", "3"])
    assert got == [("1", 10, ("pa", "ap"), None), ("1", 1, "", "1e5", 3)]


@pytest.mark.parametrize("words", [["a", "--cuont", "2"], ["a", "2", "b", "--name", "c"], ["a", "-x"]])
def test_a_command_does_not_begin_with_words_that_it_does_not_understand(words, capsys):
    got = []

    def command(name: str, count: int = 1) -> None:
        got.append((name, count))

    for commands, line in (({"do": command}, ["do", *words]), (command, words)):
        with pytest.raises(SystemExit) as ended:
            run_command(commands, "test", line)
        assert ended.value.code == 2
        assert "ERROR: " in capsys.readouterr().err
    assert got == []


def test_the_help_lists_the_arguments_and_nothing_else(capsys):
    def command(name: str) -> None:
        """Do something."""

    with pytest.raises(SystemExit):
        run_command(command, "test", ["--help"])
    printed = capsys.readouterr()
    assert "test NAME\n" in printed.out + printed.err


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("drr 2_3 --output 2024_01", "2_3: there is no such file or folder"),
        ("cohort split 2024_01", "/2024_01: there is no such folder"),
        ("cohort split . --patients 1e5", "holds no CT file"),
        ("cohort reference 2024_01 --output 1e5", "2024_01: "),
        ("networks convert 1e5 2e5", "1e5: there is no such file"),
        ("networks export-onnx 1e5 --target 2_2.onnx", "1e5: there is no model yet"),
        ("reports summary 2024_01 1e5", "2024_01: holds no readable summary.json"),
        ("reports style 2024_01 1e5", "1e5: there is no such cohort"),
    ],
)
def test_our_commands_name_what_was_typed(line, sentence, tmp_path, monkeypatch):
    package, *words = line.split()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [package, *words])
    with pytest.raises(InputError) as caught:
        runpy.run_module(package, run_name="__main__")
    assert sentence in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_phantoms_are_written_where_it_was_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["cohort", "phantom", "2024_01", "--cases", "1", "--size", "16"])
    runpy.run_module("cohort", run_name="__main__")
    assert [path.name for path in tmp_path.iterdir()] == ["2024_01"]
