"""The process map, made fit to stand inside a page: nothing that runs, nothing from elsewhere."""

from __future__ import annotations

from lxml import etree
from markupsafe import Markup

RUNS = {"script", "foreignObject", "iframe", "animate", "set", "handler", "image"}
NAME = "process-map"


def embedded_map(text: str) -> Markup:
    """The SVG with its ids made the page's own; empty where there is none or it is broken.

    Elements that run or embed are dropped, as are event handlers and links that leave the page.

    Example:
        >>> embedded_map('<svg><g id="a" onclick="x()"/><script/></svg>')
        Markup('<svg class="process-map"><g id="process-map-a"/></svg>')
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True)
    try:
        root = etree.fromstring(text.encode(), parser)
    except etree.XMLSyntaxError:
        return Markup()
    if etree.QName(root).localname != "svg":
        return Markup()
    for element in list(root.iter(tag=etree.Element)):
        _clean(element)
    root.set("class", f"{root.get('class', '')} {NAME}".strip())
    width = root.get("width", "").removesuffix("px")
    if width.isdigit():
        root.set("style", f"--natural:{width}px;{root.get('style', '')}")
    return Markup(etree.tostring(root, encoding="unicode"))


def _clean(element: etree._Element) -> None:
    parent = element.getparent()
    if etree.QName(element).localname in RUNS and parent is not None:
        parent.remove(element)
        return
    for name, value in list(element.attrib.items()):
        local = etree.QName(name).localname
        if local.startswith("on") or (local == "href" and not value.startswith("#")):
            del element.attrib[name]
        elif local in ("id", "aria-labelledby", "aria-describedby"):
            element.set(name, " ".join(f"{NAME}-{word}" for word in value.split()))
        elif local == "href":
            element.set(name, f"#{NAME}-{value[1:]}")
        elif "url(#" in value:
            element.set(name, value.replace("url(#", f"url(#{NAME}-"))
