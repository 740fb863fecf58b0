"""YAML: what people mean by it, there and back."""

import math

import pytest

from equitensor.data.yaml_values import format_yaml, parse_yaml


@pytest.mark.parametrize(
    "text, value",
    [
        ("1.0e1", 10.0),
        ("-1e-3", -0.001),
        (".5", 0.5),
        ("010", 10),
        ("0x10", 16),
        ("1_000", 1000),
        ("-.inf", -math.inf),
        ("00:10:00", "00:10:00"),
        ("No", "No"),
        ("true", True),
        ("~", None),
        ("'5'", "5"),
        ("2024-01-01", "2024-01-01"),
        ("{a: &x {b: 1}, c: {<<: *x, d: 2}}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
    ],
)
def test_values(text, value):
    parsed = parse_yaml(text)
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("a: 1\na: 2", "line 2, column 1: a is there twice"),
        ("a: [", "line 1, column 5"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        ("!!python/object:os.system {}", "could not determine a constructor"),
        ("\x00", "special characters"),
        ("!!float x", "could not convert"),
    ],
)
def test_what_is_none_is_said_in_one_line(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)


def test_there_and_back():
    values = {"a": ["1e5", "No", "010", "5", 5, 5.0, 1e-5, True, None, "", "1:30", "~", "<<", math.inf], 8: -1e300}
    assert parse_yaml(format_yaml(values)) == values
