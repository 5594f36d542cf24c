"""What names, e-mail addresses and passwords of people must be (behaviour-rest R-5.2, R-5.3)."""

from __future__ import annotations

import re

SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 64
LONGEST_NAME = 255
LONGEST_EMAIL = 254

PASSWORD_RULE = (
    f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters, among them an upper case letter, "
    "a lower case letter and a digit"
)

_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_EMAIL = re.compile(rf"[^\s@\"(),:;<>\[\]\\\x00-\x20]{{1,64}}@{_LABEL}(?:\.{_LABEL})*")
_NO_TEXT = re.compile(r"[\x00\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Whether the database can hold it: not with NUL or half of a surrogate pair, which JSON can carry."""
    return _NO_TEXT.search(text) is None


def normal_email(text: str) -> str:
    """How an address is stored and looked up: without space around it, in lower case."""
    return text.strip().lower()


def email_domain(email: str) -> str:
    """What follows the @ of an address."""
    return email.rpartition("@")[2]


def email_fault(email: str) -> str | None:
    """What is wrong with a normal address, None when it can be one."""
    if len(email) <= LONGEST_EMAIL and is_storable(email) and _EMAIL.fullmatch(email):
        return None
    return "email: write an e-mail address, such as ada@example.com."


def name_fault(name: str) -> str | None:
    """What is wrong with a person's name."""
    if not name.strip() or len(name) > LONGEST_NAME:
        return f"name: write a name of 1 to {LONGEST_NAME} characters."
    if not name.isprintable():
        return "name: a name has no control characters."
    return None


def password_fault(password: str, field: str) -> str | None:
    """What is wrong with a new password; ``field`` is its name in the request."""
    fits = SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD
    kinds = (str.isupper, str.islower, str.isdigit)
    if fits and is_storable(password) and all(any(kind(letter) for letter in password) for kind in kinds):
        return None
    return f"{field}: {PASSWORD_RULE}."
