"""A conversion under way: what the file says, the graph, the weights,
and the module that is made of them in the end.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs
from torch import fx

from graphprune.ir.model import Model
from graphprune.torch_bridge.parameters import Parameters
from graphprune.torch_bridge.record import remember
from graphprune.torch_bridge.source import Source
from graphprune.torch_bridge.tensors import Tensors
from graphprune.torch_bridge.tree import Tree


class Conversion:
    """Grows a module; the rules work on it through :class:`graphprune.torch_bridge.node_conversion.NodeConversion`."""

    def __init__(self, model: Model) -> None:
        self.source = Source(model)
        self.tree = Tree()
        self.tensors = Tensors(self.source, self.tree)
        self.parameters = Parameters(self.source, self.tree)

    def buffer(self, constant: gs.Constant) -> fx.Node:
        """A constant that is not trained, as a tensor."""
        return self.tensors.graph.get_attr(self.parameters.buffer(constant))

    def finish(self) -> fx.GraphModule:
        """The module, with its outputs in the order of the file."""
        graph = self.tensors.graph
        found = [self._output(tensor) for tensor in self.source.model.graph.outputs]
        graph.output(found[0] if len(found) == 1 else tuple(found))
        fx.GraphModule(self.tree.root, graph).graph.eliminate_dead_code()
        module = fx.GraphModule(self.tree.root, graph)  # anew, without the modules that died
        self._add_aliases(module)
        present = set(module.state_dict())
        remember(module, [entry for entry in self.parameters.stored if present.issuperset(entry.keys)])
        return module.eval()

    def _output(self, tensor: gs.Tensor) -> fx.Node:
        return self.buffer(tensor) if isinstance(tensor, gs.Constant) else self.tensors.tensor(tensor.name)

    def _add_aliases(self, module: fx.GraphModule) -> None:
        """Shared and oddly named weights also go by the name they have in the file."""
        tree = Tree()
        tree.root = module
        for path, parameter in self.parameters.aliases:
            if path not in module.state_dict() and tree.is_free(path):
                tree.add_parameter(path, parameter)
