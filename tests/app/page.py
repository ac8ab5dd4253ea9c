"""A page as a reader and a browser take it: its words, its tags, and whatever is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Collection
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "hr", "input"}
FETCHING = {"script", "link", "iframe", "img", "object", "embed", "base"}
LINKS = ("src", "href", "xlink:href", "action")
HOSTILE = '<script>alert("x")</script>'


class Page(HTMLParser):
    """What a page holds: tags with their attributes, visible words; and whether tags close.

    Words that are kept whole (`span.whole`) stand in their sentence, all other tags part words.
    """

    kept = "span.whole"

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words, self.joined = "", False
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.joined = ("class", "whole") in attrs
        if tag not in VOID:
            self.open.append(self.kept if self.joined else tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        last = self.open.pop()
        self.joined = last == self.kept
        assert tag == ("span" if self.joined else last)

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += data if self.joined else f" {data}"
        self.joined = False

    def said(self, words: str) -> bool:
        """Whether the page says so, whatever the line breaks."""
        return words in re.sub(r"\s+", " ", self.words)

    @property
    def ids(self) -> list[str | None]:
        return [attrs["id"] for _, attrs in self.tags if "id" in attrs]


def broken(text: str, *, sections: Collection[str], files: Collection[str] = ()) -> list[str]:
    """Why the page is not whole, or what it asks for besides `files` that lie beside it."""
    page = Page(text)
    found = [f"<{tag}> is not closed" for tag in page.open]
    found += [f"id {name} stands twice" for name in set(page.ids) if page.ids.count(name) > 1]
    found += [f"no section {name}" for name in sorted(set(sections) - set(page.ids))]
    for tag, attrs in page.tags:
        found += [f"<{tag}>"] if tag in FETCHING else []
        found += [f"<{tag} {name}>" for name in attrs if name.startswith("on")]
        links = [attrs[name] or "" for name in LINKS if name in attrs]
        found += [
            f"link {link}"
            for link in links
            if link not in files and link.removeprefix("#") not in page.ids
        ]
    style = "".join(re.findall(r"<style>(.*?)</style>", text, flags=re.DOTALL))
    found += re.findall(r"@import|url\(\s*[^#)\s]", style) if style else ["no style"]
    return found


def raw(text: str, *, allowed: Collection[str]) -> set[str]:
    """Words that no reader should see: missing values, endless decimals, names of columns."""
    words = Page(text).words
    found = re.findall(r"\b(?:nan|NaN|NaT|None|inf)\b|\d\.\d{4,}", words)
    return {*found, *re.findall(r"\b[a-z]+_[a-z_0-9]+\b", words)} - set(allowed)
