"""What the second opinion knows of bodies: of If, Loop and Scan, the nodes that are left and their constants.

Nothing of graphprune is imported here, either.
"""

from __future__ import annotations

import onnx


class Disagreement(Exception):
    """The two files do not compute the same, or cannot be compared."""


Pairs = list[tuple[onnx.NodeProto, onnx.NodeProto]]


def pairs_of(graph: onnx.GraphProto, before: onnx.GraphProto, *, is_body: bool = False) -> Pairs:
    """The nodes that are left, each with the original's that writes the same.

    Names in a body may have got a number, and a branch that is always taken may have taken the place of its If:
    what holds bodies is known by its own name.
    """
    old_nodes = _makers(before)
    owners = {old.name: old for old in old_nodes.values() if bodies_of(old)}
    pairs = []
    for node in graph.node:
        if bodies_of(node) and node.name in owners:
            pairs.append((node, owners[node.name]))
            continue
        names = [*node.output, *(output.rpartition(".")[0] for output in node.output if is_body)]
        name = next((name for name in names if name in old_nodes), None)
        if name is None:
            raise Disagreement(f"node '{node.name}' ({node.op_type}) writes nothing that the original has")
        pairs.append((node, _in_branch(old_nodes[name], name, node.op_type)))
    return pairs


def _makers(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """What makes each tensor of a graph, and of the bodies in it."""
    inner = {name: node for each in graph.node for body in bodies_of(each) for name, node in _makers(body).items()}
    return inner | {output: node for node in graph.node for output in node.output if output}


def _in_branch(node: onnx.NodeProto, output: str, op: str) -> onnx.NodeProto:
    """Of an If the node in one of its branches that makes the ``output``, if it is of that ``op``; else ``node``."""
    if node.op_type != "If" or op == "If":
        return node
    place = list(node.output).index(output)
    found = []
    for body in bodies_of(node):
        name = body.output[place].name
        maker = _makers(body).get(name)
        found += [] if maker is None else [_in_branch(maker, name, op)]
    return next((each for each in found if each.op_type == op), node)


def pairs_in_bodies(pairs: Pairs) -> Pairs:
    """As :func:`pairs_of`, of all bodies inside the nodes of some pairs."""
    found = []
    for node, old in pairs:
        for body, before in zip(bodies_of(node), bodies_of(old), strict=False):
            inner = pairs_of(body, before, is_body=True)
            found += [*inner, *pairs_in_bodies(inner)]
    return found


def constants_outwards(model: onnx.ModelProto) -> None:
    """Put in front of all else what is computed from constants alone, that of bodies as well, with names of its own."""
    constant = {tensor.name for tensor in model.graph.initializer}
    front: list[onnx.NodeProto] = []
    scopes = [model.graph]
    for number, scope in enumerate(scopes):  # which grows on the way
        prefix = f"body{number}/" if number else ""
        names: dict[str, str] = {}
        for tensor in list(scope.initializer) if number else ():
            names[tensor.name] = prefix + tensor.name
            model.graph.initializer.add().CopyFrom(tensor)
            model.graph.initializer[-1].name = names[tensor.name]
            constant.add(names[tensor.name])
        if number:
            del scope.initializer[:]
        given, left = {value.name for value in scope.output}, []
        for node in scope.node:
            _rename(node, names)
            made = {output for output in node.output if output}
            if set(node.input) - {""} <= constant and not bodies_of(node) and not made & given:
                names |= {output: prefix + output for output in made}
                constant |= {prefix + output for output in made}
                node.output[:] = [prefix + output if output else "" for output in node.output]
                front.append(onnx.NodeProto.FromString(node.SerializeToString()))
            else:
                left.append(onnx.NodeProto.FromString(node.SerializeToString()))
        del scope.node[:]
        scope.node.extend(left)
        scopes += [body for node in scope.node for body in bodies_of(node)]
    rest = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend([*front, *rest])


def _rename(node: onnx.NodeProto, names: dict[str, str]) -> None:
    """Let a node, and its bodies, read what was moved outwards."""
    for index, name in enumerate(node.input):
        node.input[index] = names.get(name, name)
    for body in bodies_of(node):
        for inner in body.node:
            _rename(inner, names)


def bodies_of(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """The graphs inside a node."""
    return [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
