import json
import logging

from readers import DecisionRecord


def filled():
    record = DecisionRecord("film.dcm")
    record.found("polarity", "MONOCHROME2: bright is dense")
    record.assumed("spacing", "unknown")
    record.changed("crop", "cut")
    record.doubt("view", "the tags say AP", 0.75)
    return record


def test_decisions_keep_their_order_and_go_into_json_without_the_file():
    listed = json.loads(json.dumps(filled().to_list()))
    assert [decision["kind"] for decision in listed] == ["found", "assumed", "changed", "doubt"]
    assert listed[0] == {"kind": "found", "subject": "polarity", "text": "MONOCHROME2: bright is dense"}
    assert listed[3]["confidence"] == 0.75
    assert "film.dcm" not in json.dumps(listed) + "".join(filled().lines())


def test_lines_for_people():
    lines = filled().lines()
    assert lines[0] == "found    polarity: MONOCHROME2: bright is dense"
    assert lines[3] == "doubt    view: the tags say AP (confidence 0.75)"


def test_doubts_are_warnings_that_name_the_file_once(caplog):
    caplog.set_level(logging.INFO)
    record = filled()
    record.doubt("view", "the tags say AP", 0.75)
    assert [(entry.name, entry.levelname, entry.getMessage()) for entry in caplog.records] == [
        ("x2ct.films", "WARNING", "film.dcm: view: the tags say AP")
    ]
    assert [doubt.text for doubt in record.doubts] == ["the tags say AP"]
