"""Give a node other attributes."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
import onnx_graphsurgeon as gs

from graphprune.ir.model import Model


def set_attributes(model: Model, node: gs.Node, values: Mapping[str, int | float | list[int] | None]) -> None:
    """Change attributes (None: drop them) of a node and of the protobuf it is written as;
    the original's stays as it was.
    """
    proto = onnx.NodeProto()
    proto.CopyFrom(model.node_protos[node.name])
    untouched = [attribute for attribute in proto.attribute if attribute.name not in values]
    del proto.attribute[:]
    proto.attribute.extend(untouched)
    for name, value in values.items():
        node.attrs.pop(name, None)
        if value is not None:
            node.attrs[name] = value
            proto.attribute.append(onnx.helper.make_attribute(name, value))
    model.node_protos[node.name] = proto
