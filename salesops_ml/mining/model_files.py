"""Process models from BPMN and PNML files, and nets as pm4py holds them.

A BPMN file is checked before pm4py reads it: a document type declaration, the one place where XML can
declare entities, is refused, and so is what pm4py would pass over in silence - kinds of elements that
it does not translate, and gateways that are only hinted at.
"""

from __future__ import annotations

import tempfile
import xml.parsers.expat as expat
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lxml import etree

from salesops_ml.errors import ConfigError, SourceError
from salesops_ml.mining.discovery import load_pm4py
from salesops_ml.mining.petri_net import Net, Transition, from_pm4py

_LARGEST_FILE = 20_000_000
_DEEPEST = 100
_TRANSLATED = ("startevent", "endevent", "task", "exclusivegateway", "parallelgateway",
               "inclusivegateway")  # fmt: skip


def read_bpmn(path: Path | str, *, unrecorded: Sequence[str] = ()) -> Net:
    """The process that a BPMN 2.0 file draws.

    Args:
        path: the file.
        unrecorded: names of tasks that leave no event.

    Raises:
        SourceError: the file is absent, hostile, not BPMN, or draws what cannot be followed.
        ConfigError: `unrecorded` names a task that the file does not have.
    """
    path = Path(path)
    root = _checked(path)
    _refuse_ambiguous(path, root)
    pm4py = load_pm4py()
    try:
        drawn = pm4py.read_bpmn(file_path=str(path))
        net = from_pm4py(*pm4py.convert_to_petri_net(drawn))
    except Exception as error:  # pm4py raises bare ones of any kind
        raise SourceError(f"{path}: cannot be read as BPMN: {error}; export it again") from error
    return _without_events(net, unrecorded, path)


def read_pnml(path: Path | str) -> Net:
    """The Petri net in a PNML file; its end is where the file says, else the only place nothing leaves.

    Raises:
        SourceError: the file is absent, hostile or not PNML.
    """
    path = Path(path)
    _checked(path)
    try:
        return from_pm4py(*load_pm4py().read_pnml(file_path=str(path)))
    except Exception as error:  # pm4py raises bare ones of any kind
        raise SourceError(f"{path}: cannot be read as PNML: {error}; export it again") from error


def to_pm4py(net: Net) -> tuple[Any, Any, Any]:
    """pm4py's net with its initial and final marking."""
    nets = load_pm4py().objects.petri_net
    kinds, add_arc = nets.obj, nets.utils.petri_utils.add_arc_from_to
    done = kinds.PetriNet("process")
    places = [kinds.PetriNet.Place(f"{turn}: {name}") for turn, name in enumerate(net.places)]
    done.places.update(places)
    for turn, step in enumerate(net.transitions):
        transition = kinds.PetriNet.Transition(f"t{turn}", step.label)
        done.transitions.add(transition)
        for place in sorted(set(step.inputs)):
            add_arc(places[place], transition, done, weight=step.inputs.count(place))
        for place in sorted(set(step.outputs)):
            add_arc(transition, places[place], done, weight=step.outputs.count(place))
    initial, final = kinds.Marking(), kinds.Marking()
    for place in net.initial:
        initial[places[place]] += 1
    for place in net.final:
        final[places[place]] += 1
    return done, initial, final


def net_as_pnml(net: Net) -> str:
    """The net as PNML text, which `read_pnml` and pm4py read back."""
    drawn, initial, final = to_pm4py(net)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.pnml"
        load_pm4py().write_pnml(
            petri_net=drawn, initial_marking=initial, final_marking=final, file_path=str(path)
        )
        return path.read_text(encoding="utf-8")


def _checked(path: Path) -> Any:
    """The root element of a file that holds nothing hostile."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise SourceError(f"{path}: is larger than 20 MB, which no process model is")
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read ({error.strerror}); check `process.model`"
        ) from error
    _refuse_hostile(path, content)
    reader = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        return etree.fromstring(content, reader)
    except etree.XMLSyntaxError as error:
        raise SourceError(f"{path}: is not well-formed XML: {error}; export it again") from error


def _refuse_hostile(path: Path, content: bytes) -> None:
    """Document types, which can declare entities, and nesting that no drawing has."""
    depth = 0

    def refuse(*_: object) -> None:
        raise SourceError(
            f"{path}: line {parser.CurrentLineNumber}: declares a document type (<!DOCTYPE ...>), "
            "which can hold hostile entities; a process model needs none: remove the declaration"
        )

    def begin(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise SourceError(f"{path}: line {parser.CurrentLineNumber}: elements are nested more "
                              f"than {_DEEPEST} deep, as in no process model")  # fmt: skip

    def end(*_: object) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise SourceError(f"{path}: is not well-formed XML: {error}; export it again") from error


def _refuse_ambiguous(path: Path, root: Any) -> None:
    """Name what pm4py does not translate, or translates otherwise than BPMN means it."""
    nodes = {node.get("id"): node for node in root.iter("{*}*") if node.get("id")}
    flows = list(root.iter("{*}sequenceFlow"))
    if not flows:
        raise SourceError(f"{path}: holds no sequence flow; give a BPMN 2.0 file with one process")
    leaving: dict[str, int] = {}
    for flow in flows:
        ends = [flow.get(side) for side in ("sourceRef", "targetRef")]
        for end in ends:
            if end not in nodes:
                raise SourceError(
                    f"{path}: line {flow.sourceline}: the flow `{flow.get('id')}` is tied to "
                    f"`{end}`, which is not in the file; draw it again"
                )
            _refuse_untranslated(path, nodes[end])
        leaving[ends[0]] = leaving.get(ends[0], 0) + 1
    for name, count in leaving.items():
        kind = _kind(nodes[name])
        if count > 1 and not kind.endswith("gateway"):
            raise SourceError(
                f"{path}: line {nodes[name].sourceline}: {count} flows leave {_shown(nodes[name])} "
                "without a gateway; put one there that says whether all of them are taken or one"
            )
    for kind in ("startEvent", "endEvent"):
        if next(root.iter(f"{{*}}{kind}"), None) is None:
            raise SourceError(f"{path}: has no {kind}; draw where the process begins and ends")


def _refuse_untranslated(path: Path, node: Any) -> None:
    kind = _kind(node)
    if not kind.endswith(_TRANSLATED):
        raise SourceError(
            f"{path}: line {node.sourceline}: {_shown(node)} cannot be followed; draw the process "
            "with tasks, start and end events, and exclusive, parallel or inclusive gateways"
        )
    if kind.endswith("task") and not (node.get("name") or "").strip():
        raise SourceError(f"{path}: line {node.sourceline}: {_shown(node)} has no name; name it "
                          "as the stage is named")  # fmt: skip


def _kind(node: Any) -> str:
    return str(node.tag).rpartition("}")[2].lower()


def _shown(node: Any) -> str:
    kind = str(node.tag).rpartition("}")[2]
    return f"the {kind} `{node.get('name') or node.get('id')}`"


def _without_events(net: Net, unrecorded: Sequence[str], path: Path) -> Net:
    """`net` with the tasks that leave no event made silent."""
    for name in unrecorded:
        if name not in net.labels:
            near = get_close_matches(name, net.labels, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"it has: {', '.join(net.labels)}"
            raise ConfigError(f"`process.unrecorded_tasks`: {path} has no task `{name}`; {hint}")
    steps = [
        Transition(None if step.label in unrecorded else step.label, step.inputs, step.outputs)
        for step in net.transitions
    ]
    return Net(net.places, tuple(steps), net.initial, net.final)
