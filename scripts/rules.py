"""Count which rules of the contract a test names, and list those that none names.

Rules of the core are C-…, those of durable execution D-…. A rule counts as covered when one of these names it (of a
range such as "C-3.9 to C-3.28" only both ends):

- the name of a test: ``test_c_8_13_an_event_starts_the_task``, also with several rules in it;
- a rule number in that test's docstring, or in a comment from its first decorator to its last line: ``# C-8.13: …``.

Tests are the functions ``test_…`` of files ``test_*.py``, and the rules and invariants of hypothesis state machines in
them. Docstrings of modules and helpers do not count: they say what a file is about, not what it proves.

The numbers are in ``tests/contract/rules.json``, with those that no test of ours can name yet and why not: single ones,
or a section such as "C-9". A reason does not make a rule covered, and a test that names the rule overrides it.
``--extract PATH...`` writes the numbers again from the contract's texts and keeps the reasons.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
RULES = TESTS / "contract" / "rules.json"
SECTIONS = (*(f"C-{section}" for section in range(3, 17)), *(f"D-{section}" for section in range(1, 30)))
"""Listed when no section is asked for: what workflow runs and durable tasks are about."""

IN_A_NAME = re.compile(r"(?<![a-z0-9])([cd])_?(\d+)_(\d+)(?!\d)")
IN_A_TEXT = re.compile(r"(?<![\w-])([CD])-(\d+)\.(\d+)")
HEAD = re.compile(r"(?:- |\| )([CD]-\d+\.\d+) ")
TAG = re.compile(r"\[(doc|client|observed|advice|verified)\]")


@dataclass(frozen=True)
class Rules:
    """What ``rules.json`` holds."""

    tags: dict[str, list[str]]
    """Number of a rule to its tags; ``T`` when it is written as a test."""
    reasons: dict[str, str]
    """Number of a rule that is not for our tests, or not yet, to why."""

    def section(self, name: str) -> list[str]:
        return [rule for rule in self.tags if rule.split(".")[0] == name]


def load() -> Rules:
    """The committed rules; ends the program when a reason names an unknown rule."""
    data: dict[str, Any] = json.loads(RULES.read_text())
    reasons: dict[str, str] = {}
    for entry in data["not_for_tests"]:
        for label in entry["rules"]:
            rules = [rule for rule in data["rules"] if label in (rule, rule.split(".")[0])]
            if not rules:
                sys.exit(f"{RULES.relative_to(ROOT)} gives a reason for {label}, which does not exist")
            reasons |= dict.fromkeys(rules, entry["why"])
    return Rules(data["rules"], reasons)


def extract(contract: Iterable[Path]) -> None:
    """Write the numbers and tags of the rules in the contract's texts, none of its sentences."""
    texts: dict[str, str] = {}
    current = None
    for line in "\n# next\n".join(path.read_text() for path in contract).splitlines():
        head = HEAD.match(line)
        if head is not None:
            current = head[1]
        elif line.startswith("#"):
            current = None
        if current is not None:
            texts[current] = texts.get(current, "") + line + "\n"
    rules = {
        rule: sorted(set(TAG.findall(text))) + (["T"] if re.search(r"\bT(?: \(\w+\))?:", text) else [])
        for rule, text in sorted(texts.items(), key=lambda item: number(item[0]))
    }
    kept = json.loads(RULES.read_text())["not_for_tests"] if RULES.exists() else []
    lines = ",\n".join(f"  {json.dumps(rule)}: {json.dumps(tags)}" for rule, tags in rules.items())
    reasons = ",\n".join(f"  {json.dumps(entry)}" for entry in kept)
    RULES.write_text(f'{{\n "rules": {{\n{lines}\n }},\n "not_for_tests": [\n{reasons}\n ]\n}}\n')


def number(rule: str) -> tuple[str, int, int]:
    """``C-8.13``, or the section ``C-8``, as something to sort by."""
    part, _, numbers = rule.partition("-")
    section, _, position = numbers.partition(".")
    return part, int(section), int(position or 0)


def named() -> dict[str, list[str]]:
    """Number of a rule to the tests that name it, each as ``path::name``."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        for test, rules in named_in(path.read_text()):
            for rule in rules:
                found[rule].append(f"{path.relative_to(ROOT)}::{test}")
    return found


def named_in(source: str) -> Iterator[tuple[str, set[str]]]:
    """Each test of a file with the rules that it names."""
    comments = dict(_comments(source))
    for test in _tests(ast.parse(source)):
        yield test.name, _rules_of(test, comments)


Function = ast.FunctionDef | ast.AsyncFunctionDef


def _tests(tree: ast.Module) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function) and (node.name.startswith("test_") or _is_step_of_a_machine(node)):
            yield node


def _is_step_of_a_machine(function: Function) -> bool:
    for decorator in function.decorator_list:
        call = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(call, ast.Name) and call.id in ("rule", "invariant"):
            return True
    return False


def _rules_of(test: Function, comments: dict[int, str]) -> set[str]:
    first = min(node.lineno for node in (test, *test.decorator_list))
    lines = range(first, (test.end_lineno or test.lineno) + 1)
    texts = [ast.get_docstring(test) or "", *(comments[line] for line in lines if line in comments)]
    numbers = [match.groups() for match in IN_A_NAME.finditer(test.name)]
    numbers += [match.groups() for text in texts for match in IN_A_TEXT.finditer(text)]
    return {f"{part.upper()}-{section}.{position}" for part, section, position in numbers}


def _comments(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def table(rules: Rules, covered: Iterable[str]) -> str:
    """One line a section: how many rules there are, are covered, are set aside with a reason, and are left."""
    covered = set(covered)
    lines = [f"{'section':8} {'rules':>6} {'covered':>8} {'set aside':>10} {'uncovered':>10}"]
    sums = [0, 0, 0, 0]
    for section in sorted({rule.split(".")[0] for rule in rules.tags}, key=number):
        every = set(rules.section(section))
        aside = {rule for rule in every if rule in rules.reasons} - covered
        counts = [len(every), len(every & covered), len(aside), len(every - covered - aside)]
        sums = [total + count for total, count in zip(sums, counts, strict=True)]
        lines.append(_row(section, counts))
    return "\n".join((*lines, _row("all", sums)))


def _row(label: str, counts: list[int]) -> str:
    every, covered, aside, left = counts
    return f"{label:8} {every:>6} {covered:>8} {aside:>10} {left:>10}"


def uncovered(rules: Rules, covered: Iterable[str], sections: Iterable[str]) -> str:
    """The rules of these sections that no test names: those left to do by tags, those set aside by their reason."""
    covered = set(covered)
    lines: list[str] = []
    for section in sections:
        left = [rule for rule in rules.section(section) if rule not in covered]
        open_ = [f"{rule} [{' '.join(rules.tags[rule])}]" for rule in left if rule not in rules.reasons]
        by_reason: dict[str, list[str]] = defaultdict(list)
        for rule in left:
            if rule in rules.reasons:
                by_reason[rules.reasons[rule]].append(rule)
        lines.append(f"\n{section} uncovered: {', '.join(open_) or 'none'}")
        lines += [f"{section} set aside: {', '.join(aside)}: {reason}" for reason, aside in by_reason.items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", help=f"sections to list, such as C-8 (default: {' '.join(SECTIONS)})")
    parser.add_argument("--extract", type=Path, metavar="PATH", nargs="+", help="write the numbers from these texts")
    arguments = parser.parse_args()
    if arguments.extract is not None:
        extract(arguments.extract)
        return
    rules, tests = load(), named()
    sections = arguments.sections or list(SECTIONS)
    if strangers := [section for section in sections if not rules.section(section)]:
        sys.exit(f"the contract has no section {', '.join(strangers)}; write it like C-8")
    print(table(rules, tests))
    print(uncovered(rules, tests, sections))
    if wrong := sorted(tests.keys() - rules.tags.keys(), key=number):
        sys.exit("\n".join(f"\n{rule} does not exist but is named by {', '.join(tests[rule])}" for rule in wrong))


if __name__ == "__main__":
    main()
