"""A reader who follows every link of the site and stumbles over what no planner would say."""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urljoin, urlsplit

from django.test import Client

SILENT = {"script", "style", "template", "code", "svg", "title"}
EMPTY = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
TYPED = {"text", "number", "email", "search", "url", "date"}
E_MAIL = re.compile(r"\S+@\S+")
COMMAND = re.compile(r"manage\.py \w+")
STUMBLES = {
    "a missing value": re.compile(r"\b(None|nan|NaN|null|undefined)\b"),
    "an empty cell told otherwise": re.compile(r"(?<=\| )- (?=\|)"),
    "raw data": re.compile(r"""\{['"]|\[['"{]|\{\}|\[\]|\(['"]\w+['"], """),
    "a name of the code": re.compile(r"\b[a-z]+(?:_[a-z0-9]+)+\b"),
    "a wrong plural": re.compile(r"\b1 (?:days|rows|stores|forecasts|products|minutes|hours|versions|alerts|nights)\b"),
    "an unrounded number": re.compile(r"\b\d+\.\d{6,}\b"),
}


class Words(HTMLParser):
    """What a page shows: its text, what its fields hold, and where it leads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.links: list[str] = []
        self._open: list[tuple[str, bool]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag not in EMPTY:
            is_icon = "material-symbols" in named.get("class", "")
            self._open.append((tag, tag in SILENT or is_icon))
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        if tag == "input" and named.get("type", "text") in TYPED:
            self.texts.append(named.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        while any(tag == name for name, _ in self._open):
            if self._open.pop()[0] == tag:
                return

    def handle_data(self, data: str) -> None:
        if not any(silent for _, silent in self._open) and data.strip():
            self.texts.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " | ".join(text for text in self.texts if text)


@dataclass
class Walk:
    """Everything within reach of a person, each address once; lists are looked at by a few of their links only."""

    client: Client
    most_of_a_kind: int = 2

    def pages(self, start: str = "/") -> Iterator[tuple[str, int, Words]]:
        """Address, status and words of each page."""
        kinds: dict[str, int] = {}
        waiting, known = deque([start]), {start}
        while waiting:
            address = waiting.popleft()
            kind = kind_of(address)
            kinds[kind] = kinds.get(kind, 0) + 1
            if kinds[kind] > self.most_of_a_kind:
                continue
            answer = self.client.get(address, follow=True)
            if "text/html" not in answer.get("Content-Type", ""):
                continue
            words = Words(answer.content.decode())
            yield address, answer.status_code, words
            for link in words.links:
                there = urljoin(address, link).partition("#")[0]
                if there.startswith("/") and there not in known and not is_beside(there):
                    known.add(there)
                    waiting.append(there)


def kind_of(address: str) -> str:
    """Alike for pages that differ by their row or by what a filter is set to."""
    parts = urlsplit(address)
    path = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|(?<=/)\d+(?=/|$)|(?<=/)v\d+\w*", "*", parts.path)
    return path + "?" + "&".join(sorted(name for name, _ in parse_qsl(parts.query, keep_blank_values=True)))


def is_beside(address: str) -> bool:
    """Files, the API, the way out; and lists by several filters at once, which look like those by one."""
    is_no_page = re.match(r"/(static|api|admin/(logout|jsi18n))", address) or "/export/" in address
    return bool(is_no_page) or (address.startswith("/admin/") and "&" in address) or "_changelist_filters" in address


def stumbles(text: str) -> list[str]:
    """What is wrong with the words of a page, with a little of what stands around."""
    text = COMMAND.sub("…", E_MAIL.sub("…", text))
    return [
        f"{what}: …{text[max(0, found.start() - 40) : found.end() + 40]}…"
        for what, pattern in STUMBLES.items()
        for found in pattern.finditer(text)
    ]
