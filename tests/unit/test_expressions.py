"""CEL expressions: environments, functions, failures and the cache (behaviour-core C-8.22 ff., C-8.30 to C-8.36)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hatchet.core.expression_data import MAX_DEPTH, _fields, data_for
from hatchet.core.expressions import (
    MAX_TEXT_BYTES,
    ExpressionFailed,
    Use,
    _compile,
    _Program,
    _Programs,
    check,
    evaluate,
    holds,
)

VARIABLES = {
    Use.PARENT_CONDITION: {"output", "input", "parents"},
    Use.USER_EVENT_CONDITION: {"input"},
    Use.IDEMPOTENCY: {"input", "additional_metadata"},
    Use.EVENT_FILTER: {"input", "additional_metadata", "payload", "event_id", "event_key"},
    Use.CONCURRENCY: {"input", "additional_metadata", "workflow_run_id", "parents"},
    Use.MAX_RUNS: {"input", "additional_metadata"},
    Use.RATE_LIMIT_KEY: {"input", "additional_metadata", "workflow_run_id", "parents"},
    Use.RATE_LIMIT_UNITS: {"input", "additional_metadata", "workflow_run_id", "parents"},
    Use.BATCH_KEY: {"input", "additional_metadata", "workflow_run_id", "parents"},
    Use.WEBHOOK: {"input", "headers"},
}
TEXTS = {"workflow_run_id", "event_id", "event_key"}
RESULTS: dict[Use, type] = {
    Use.PARENT_CONDITION: bool,
    Use.USER_EVENT_CONDITION: bool,
    Use.EVENT_FILTER: bool,
    Use.MAX_RUNS: int,
    Use.RATE_LIMIT_UNITS: int,
}
CONDITIONS = (Use.PARENT_CONDITION, Use.USER_EVENT_CONDITION)


def true(text: str, **values: Any) -> bool:
    """Whether ``text`` is true for an ``input`` of these values."""
    return evaluate(text, Use.EVENT_FILTER, {"input": values})


def key(text: str, **values: Any) -> str:
    """The string that ``text`` yields for an ``input`` of these values."""
    return evaluate(text, Use.CONCURRENCY, {"input": values})


def failure(text: str, use: Use = Use.CONCURRENCY, **variables: Any) -> str:
    with pytest.raises(ExpressionFailed) as failed:
        evaluate(text, use, variables)
    assert failed.value.reason == str(failed.value)
    return failed.value.reason


def refusal(text: str, use: Use = Use.IDEMPOTENCY) -> str:
    reason = check(text, use)
    assert reason is not None
    assert failure(text, use) == reason
    assert "\n" not in reason
    return reason


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("use", Use)
def test_c8_30_each_use_sees_its_variables_and_no_others(use: Use) -> None:
    everything = set().union(*VARIABLES.values())
    assert {name for name in everything if check(name, use) is None} == VARIABLES[use]


@pytest.mark.parametrize("use", Use)
def test_c8_30_variables_left_out_are_empty(use: Use) -> None:
    wrapped = {bool: "{}", int: "{} ? 1 : 0", str: "{} ? 'yes' : 'no'"}[RESULTS.get(use, str)]
    for name in VARIABLES[use]:
        text = wrapped.format(f"{name} == ''" if name in TEXTS else f"{name} == {{}}")
        for variables in ({}, {name: None}):
            assert evaluate(text, use, variables) in (True, 1, "yes")


def value_or_none(text: str, use: Use, variables: dict[str, Any]) -> bool | str | int | None:
    try:
        return evaluate(text, use, variables)
    except ExpressionFailed:
        return None


def test_c8_30_variables_are_bound_and_others_are_ignored() -> None:
    of_a_filter = {
        "input": {"a": "1"},
        "additional_metadata": {"a": "2"},
        "payload": {"a": "3"},
        "event_id": "4",
        "event_key": "5",
        "workflow_run_id": 6,
    }
    text = "input.a + additional_metadata.a + payload.a + event_id + event_key == '12345'"
    assert evaluate(text, Use.EVENT_FILTER, of_a_filter) is True
    of_a_task = {"workflow_run_id": "r", "parents": {"one": {"a": "p"}}, "output": {}}
    assert evaluate("workflow_run_id + parents.one.a", Use.BATCH_KEY, of_a_task) == "rp"
    hook = {"input": {"action": "opened"}, "headers": {"x-github-event": "issues"}}
    assert evaluate("headers['x-github-event'] + ':' + input.action", Use.WEBHOOK, hook) == "issues:opened"


@pytest.mark.parametrize("n", [1, 1.0])
def test_c8_31_ints_and_doubles_compare(n: float) -> None:
    assert true("input.n == 1 && input.n == 1.0 && input.n != 2 && input.n < 1.5 && input.n >= 1", n=n)
    assert true("input.n in [1] && input.n in [1.0]", n=n)
    assert true("double(input.n) == 1 && double(input.n) < 2 && 2 > double(input.n)", n=n)
    assert not true("input.n == true || input.n == '1'", n=n)


@pytest.mark.parametrize(("number", "expected"), [(50, False), (50.5, True), (51, True), (51.0, True), (1e300, True)])
def test_c8_31_an_output_compares_with_an_int_literal(number: float, expected: bool) -> None:
    condition = ("output.random_number > 50", Use.PARENT_CONDITION, {"output": {"random_number": number}})
    assert holds(*condition) is expected


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (2**63 - 1, "9223372036854775807"),
        (-(2**63), "-9223372036854775808"),
        (2**64 - 1, "18446744073709551615"),
        (2**70, "1.1805916207174113e+21"),
        (-(2**63) - 1, "-9.223372036854776e+18"),
        (10**400, "inf"),
        (-(10**400), "-inf"),
    ],
)
def test_c8_31_large_ints_are_exact_up_to_64_bits(number: int, text: str) -> None:
    assert key("string(input.n)", n=number) == text
    assert true("input.n > 5", n=number) is (number > 5)
    assert true("input.l[0].n == input.n", n=number, l=[{"n": number}])


def test_c8_31_json_values_of_every_kind() -> None:
    values = {"null": None, "yes": True, "list": [1, [2.5]], "map": {"a": {"b": None}}, "empty": {}}
    assert true("input['null'] == null && input.yes && input.list == [1, [2.5]] && input.map.a.b == null", **values)
    assert true("input.empty == {} && size(input.list) == 2 && 'a' in input.map", **values)
    assert key("input.a + input['ü']", a="é😀", ü="\ud83d") == "é😀�"
    assert key("input.a", a="x", **{"\udc00": 1}) == "x"
    assert true("size(input) == 2 && input.a.size() == 2", a="é😀", **{"\udc00": 1})


@pytest.mark.parametrize("text", ["", "a", "é😀"])
def test_c8_32_checksum_is_sha_256_in_lower_case_hex(text: str) -> None:
    assert key("checksum(input.a)", a=text) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'AbC'.lowerAscii() + 'AbC'.upperAscii()", "abcABC"),
        ("'a,b,c'.split(',').join('-') + 'a,b,c'.split(',', 2).join('|')", "a-b-ca|b,c"),
        ("['a', 'b'].join()", "ab"),
        ("'abab'.replace('a', 'x') + 'abab'.replace('a', 'x', 1)", "xbxbxbab"),
        ("'hello'.substring(3) + 'héllo'.substring(1, 3)", "loél"),
        ("'\\u00a0 a '.trim() + 'abc'.reverse()", "acba"),
        ("'%s-%d-%.2f-%x-%s'.format(['a', 1, 2.5, 255, [1]])", "a-1-2.50-ff-[1]"),
        ("'héllo'.charAt(1)", "é"),
        ("string('hello'.indexOf('l')) + string('hello'.indexOf('l', 3)) + string('hello'.lastIndexOf('l'))", "233"),
        ("strings.quote('a\"')", '"a\\""'),
        ("'a1'.matches('[a-z][0-9]') ? 'yes' : 'no'", "yes"),
        ("string(1) + string(1.0) + string(1.5) + string(true)", "111.5true"),
    ],
)
def test_c8_32_string_functions(text: str, expected: str) -> None:
    assert key(text) == expected


def test_c8_32_macros() -> None:
    values = {"l": [1, 2.5, 3], "m": {"a": 1}}
    assert true("input.l.all(x, x > 0) && input.l.exists(x, x > 2) && input.l.exists_one(x, x == 1)", **values)
    assert true("input.l.filter(x, x > 1) == [2.5, 3] && input.l.map(x, string(x)) == ['1', '2.5', '3']", **values)
    assert true("input.m.map(k, k) == ['a'] && input.m.all(k, k == 'a')", **values)
    assert true("has(input.m) && has(input.m.a) && !has(input.x) && !has(input.m.x)", **values)


def test_c8_34_a_missing_key_is_a_failure() -> None:
    assert failure("input.a") == 'no such key: "a"'
    assert failure("input.a.b", input={"a": {}}) == 'no such key: "b"'
    assert key("has(input.a) ? input.a : 'none'") == "none"
    assert true("true || input.a == 1")


@pytest.mark.parametrize(
    ("value", "kind"), [(1, "int"), (1.5, "double"), (True, "bool"), (None, "null"), ([1], "list"), ({"a": 1}, "map")]
)
def test_c8_36_a_key_of_another_type_is_a_failure(value: Any, kind: str) -> None:
    assert failure("input.a", Use.CONCURRENCY, input={"a": value}) == f"expected string output, got {kind}"


def test_c8_36_other_uses_want_their_types_too() -> None:
    assert check("1", Use.CONCURRENCY) is None
    assert failure("1", Use.CONCURRENCY) == "expected string output, got int"
    assert failure("'a'", Use.RATE_LIMIT_UNITS) == "expected int output, got string"
    assert failure("1.5", Use.MAX_RUNS) == "expected int output, got double"
    assert failure("1", Use.EVENT_FILTER) == "expected bool output, got int"
    assert failure("timestamp('2020-01-01T00:00:00Z')") == "expected string output, got timestamp"
    assert failure("b'a'") == "expected string output, got bytes"
    assert failure("'a\\u0000'") == "the result contains the null character"


def test_c8_30_units_are_an_int_and_a_double_is_truncated() -> None:
    assert evaluate("2", Use.RATE_LIMIT_UNITS, {}) == 2
    for text, expected in (("input.n", 2), ("-input.n", -2), ("1u", 1), ("-1", -1)):
        units = evaluate(text, Use.RATE_LIMIT_UNITS, {"input": {"n": 2.9}})
        assert (units, type(units)) == (expected, int)
    for value in (math.inf, math.nan):
        assert failure("input.n", Use.RATE_LIMIT_UNITS, input={"n": value}) == "expected int output, got double"
    assert "does not fit into 64 bits" in failure("1e300", Use.RATE_LIMIT_UNITS)
    assert "does not fit into 64 bits" in failure("input.n", Use.MAX_RUNS, input={"n": 2**64 - 1})


def test_c3_40_a_constant_works_with_any_input() -> None:
    for value in ([1], 5, "text", {"a": 2**70}, {"\ud800": "\ud800"}, nested(5_000)):
        assert evaluate("'constant'", Use.CONCURRENCY, {"input": value}) == "constant"


@pytest.mark.parametrize(
    ("text", "variables", "reason"),
    [
        ("input.a", {"input": [1]}, "input is not an object but of type list"),
        ("input.a.b", {"input": {"a": None}}, "a field is read from a value that is not an object"),
        ("input.a > 1 ? '' : ''", {"input": {"a": "x"}}, "'>' does not take (string, int)"),
        ("input.a + 'x'", {"input": {"a": 2**63}}, "'+' does not take (uint, string)"),
        ("input.a.lowerAscii()", {"input": {"a": 1}}, "'lowerAscii' does not take (int)"),
        ("input.a.startsWith('x') ? '' : ''", {"input": {"a": 1}}, "'startsWith' does not take (int, string)"),
        ("checksum(input.a)", {"input": {"a": 1}}, "'checksum' does not take (int)"),
        ("input.a ? '' : ''", {"input": {"a": 1}}, "what stands before '?' is not a bool"),
        ("!input.a ? '' : ''", {"input": {"a": 1}}, "'!' does not take these types"),
        ("string(1 / 0)", {}, "divide by zero"),
        ("string(9223372036854775807 + 1)", {}, "integer overflow"),
        ("input.a.all(x, true) ? '' : ''", {"input": {"a": [1] * 20_000}}, "it goes round loops more than 10000 times"),
        ("input.a", {"input": {"a": nested(MAX_DEPTH + 10)}}, "a value is nested too deeply"),
        ("string(size(input))", {"input": nested(5_000)}, "a value is nested too deeply"),
        ("input.a.matches('(') ? '' : ''", {"input": {"a": ""}}, "invalid regular expression: missing ): ("),
    ],
)
def test_a_failing_evaluation_has_a_clear_reason(text: str, variables: dict[str, Any], reason: str) -> None:
    assert failure(text, Use.CONCURRENCY, **variables) == reason


def test_values_nested_to_the_limit_are_usable() -> None:
    deep = nested(MAX_DEPTH - 10)
    assert true("input.a == input.b && size(input) == 3", a=deep, b=deep, n=2**70)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("inptu.a.b", "at 1:1: undeclared reference to 'inptu' (variables here: input, additional_metadata)"),
        ("'é😀' + inptu", "at 1:8: undeclared reference to 'inptu' (variables here: input, additional_metadata)"),
        ("input.a +\n  x.x.x", "at 2:3: undeclared reference to 'x' (variables here: input, additional_metadata)"),
        ("input.a + foo(1)", "at 1:11: undeclared reference to 'foo' (variables here: input, additional_metadata)"),
        (
            "inptu.a == otput.b && double(input.a) < 5",
            "at 1:1: undeclared reference to 'inptu'; at 1:12: undeclared reference to 'otput'"
            " (variables here: input, additional_metadata)",
        ),
        ("input.a + (", "at 1:12: unexpected end of the text"),
        ("  ", "at 1:3: unexpected end of the text"),
        ("input['a'", "at 1:10: missing ']' at end of the text"),
        ("input.a = 'x'", "at 1:9: unreadable from '= '"),
        ("input.a and true", "at 1:9: unexpected 'and'"),
        ("1 + 'a'", "at 1:3: '+' does not take (int, string)"),
        ("input[0]", "at 1:6: '[]' does not take (map(string, dyn), int)"),
        ("true ? 1 : 'a'", "at 1:6: '?:' does not take (bool, int, string)"),
        ("input.a in 5", "at 1:9: 'in' does not take (dyn, int)"),
        ("has(input)", "at 1:5: has() argument must be a field selection"),
    ],
)
def test_c3_17_check_says_where_and_why_a_text_does_not_compile(text: str, reason: str) -> None:
    assert refusal(text) == f"does not compile {reason}"


def test_c3_17_check_refuses_unusable_texts() -> None:
    assert refusal("") == "does not compile: it is empty"
    assert "null character" in refusal("'\x00'")
    assert "surrogate" in refusal("'\ud800'")
    text = "'" + "x" * (MAX_TEXT_BYTES - 2) + "'"
    assert check(text, Use.CONCURRENCY) is None
    assert refusal(text + " ") == f"does not compile: it has {MAX_TEXT_BYTES + 1} bytes, {MAX_TEXT_BYTES} are allowed"
    assert "nested too deeply" in refusal("1" + "+1" * 100)
    assert "nested too deeply" in refusal("(" * 8_000 + "1" + ")" * 8_000)
    assert len(refusal("x" * MAX_TEXT_BYTES)) < 500


def test_check_knows_nothing_of_the_servers_own_messages() -> None:
    import hatchet_contracts.v1.workflows_pb2  # noqa: F401 - registers its messages in the default pool

    assert "undeclared" in refusal("v1.CreateTaskOpts{}")


@pytest.mark.parametrize("use", CONDITIONS)
def test_c8_24_an_empty_condition_holds(use: Use) -> None:
    assert holds("", use, {})
    assert not holds(" ", use, {})


def test_c8_22_a_condition_that_fails_or_is_no_bool_does_not_hold() -> None:
    skipped = {"output": {"skipped": True}}
    assert holds("output.skipped", Use.PARENT_CONDITION, skipped)
    assert holds("has(output.skipped) && output.skipped", Use.PARENT_CONDITION, skipped)
    for text in ("output.random_number > 50", "output", "1", "'true'", "1 +", "nope"):
        assert not holds(text, Use.PARENT_CONDITION, skipped)
    assert not holds("input.missing == 1", Use.USER_EVENT_CONDITION, {"input": {}})


@pytest.mark.parametrize(("foobar", "expected"), [("baz", True), ("qux", False)])
def test_c12_21_a_filter_sees_the_event_and_its_own_payload(foobar: str, expected: bool) -> None:
    variables = {"input": {"should_skip": False}, "payload": {"foobar": foobar}}
    text = "input.should_skip == false && payload.foobar == 'baz'"
    assert evaluate(text, Use.EVENT_FILTER, variables) is expected


def test_c12_20_an_empty_filter_does_not_hold() -> None:
    assert not holds("", Use.EVENT_FILTER, {})


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("input.a + input . b.c", {"a", "b"}),
        ("input['a-b'] + input[ \"c\" ]", {"a-b", "c"}),
        ("'a'", set()),
        ("has(input.a) && my_input.b", {"a"}),
        ("input", None),
        ("input.size()", None),
        ("input.size ()", None),
        ("input.a + string(input.size())", None),
        ("input['a' + 'b']", None),
        ("input['''a''']", None),
        ("input['\\x61']", None),
        ("input.`a-b`", None),
        ("'a' in input", None),
        ("[input].map(input, input.a)", None),
        ("input.size // how many\n ()", None),
    ],
)
def test_only_the_fields_that_a_text_can_read_are_handed_over(text: str, fields: set[str] | None) -> None:
    assert _fields(text, "input") == fields


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**63) - 1, 2**64, 10**400])
    | st.floats()
    | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(), max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)
INPUTS = st.dictionaries(st.sampled_from(["a", "b", "c", "ü"]), JSON, max_size=4) | JSON
TEXTS_TO_TRY = [
    "input.a",
    "input['ü'] + input.b.c",
    "input.a == input.b ? 'x' : string(input.c)",
    "checksum(input.a)",
    "input.a.lowerAscii().split(',').join('-') + '%s'.format([input.b])",
    "input.a.map(x, string(x)).join(',')",
    "has(input.a) && input.a > 1 ? 'x' : 'y'",
    "string(size(input)) + string(input.a in input.b)",
    "input.exists(k, k == 'a') ? 'x' : input.b[0]",
    "input.b.substring(input.a)",
    "'constant'",
    "string(input.a + input.b)",
    "double(input.a) < 5 ? input.b : string(double(input.b) == 1)",
]


@given(INPUTS, st.sampled_from(TEXTS_TO_TRY), st.sampled_from(Use))
@example(input={"a": "\ud800"}, text="checksum(input.a)", use=Use.CONCURRENCY)
@example(input={"a": ",", "b": [10**400]}, text=TEXTS_TO_TRY[4], use=Use.CONCURRENCY)
def test_evaluate_raises_nothing_but_expression_failed(input: Any, text: str, use: Use) -> None:
    result = value_or_none(text, use, {"input": input})
    assert result is None or type(result) is RESULTS.get(use, str)
    assert holds(text, use, {"input": input}) is (result is True)


@given(INPUTS, st.sampled_from(TEXTS_TO_TRY))
def test_handing_over_fewer_fields_changes_no_result(input: Any, text: str) -> None:
    whole = _Program(_compile(text, Use.CONCURRENCY), (("input", None),))
    value = whole.expression.eval(data=data_for(whole.reads, {"input": input}, ()))
    expected = value.value() if value.type().name() == "STRING" and "\x00" not in value.value() else None
    assert value_or_none(text, Use.CONCURRENCY, {"input": input}) == expected


PIECES = st.sampled_from(
    [
        *"[](){}'\"\\ \n1u+<?:,`-é😀\x00\ud800",
        "input",
        ".a",
        "==",
        "&&",
        "has",
        "in",
        "map",
        "//",
        "true",
        "1.5",
        "'''",
        "ERROR: <input>:1:1: ",
    ]
)


@given(st.text(st.characters()) | st.lists(PIECES, max_size=12).map("".join), st.sampled_from(Use))
@example(text="`", use=Use.CONCURRENCY)
def test_check_never_raises_and_answers_in_one_line(text: str, use: Use) -> None:
    reason = check(text, use)
    assert reason is None or (reason.startswith("does not compile") and "\n" not in reason)
    assert (value_or_none(text, use, {}) is None) or reason is None


def counting(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    compiled: list[str] = []

    def count(text: str, use: Use) -> Any:
        compiled.append(text)
        return _compile(text, use)

    monkeypatch.setattr("hatchet.core.expressions._compile", count)
    return lambda: compiled


def test_a_text_is_compiled_once_for_each_use_until_others_push_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = counting(monkeypatch)
    programs = _Programs(budget=3 * (64 + 3))
    for text in ("'a'", "'b'", "'a'", "'c'", "'d'", "'a'"):
        programs.get(text, Use.CONCURRENCY)
    assert compiled() == ["'a'", "'b'", "'c'", "'d'"]
    programs.get("'b'", Use.CONCURRENCY)
    programs.get("'a'", Use.WEBHOOK)
    assert compiled() == ["'a'", "'b'", "'c'", "'d'", "'b'", "'a'"]


def test_a_text_that_fills_the_cache_alone_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = counting(monkeypatch)
    programs = _Programs(budget=10)
    for _ in range(2):
        assert programs.get("'a'", Use.CONCURRENCY).expression.eval(data={}).value() == "a"
    assert compiled() == ["'a'", "'a'"]


def test_threads_share_a_program() -> None:
    def values(thread: int) -> list[str]:
        text = "input.thread + ':' + string(input.n)"
        return [key(text, thread=str(thread), n=n) for n in range(500)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(values, range(4))) == [[f"{thread}:{n}" for n in range(500)] for thread in range(4)]
