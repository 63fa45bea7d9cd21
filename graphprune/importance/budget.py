"""How many heads and neurons a layer gives up for a share of its parameters (AMP, IJCNN 2025). Pure arithmetic."""

from __future__ import annotations

from typing import Literal, NamedTuple

from graphprune.errors import OptionError

Rounding = Literal["exact", "released"]


class Counts(NamedTuple):
    """Heads and MLP neurons to remove from every layer."""

    heads: int
    neurons: int


def amp_counts(
    heads: int,
    neurons: int,
    head_params: float,
    neuron_params: float,
    fraction: float,
    variant: Rounding = "exact",
) -> Counts:
    """Heads ``n_h = round(rho H)`` and neurons ``n_m`` to remove from every layer, leaving at least one of each.

    ``"exact"``: ``n_m`` makes up in parameters for the rounding of ``n_h``:
    ``round((rho (H P_head + I P_neuron) - n_h P_head) / P_neuron)``. It meets the target to within half a neuron unless
    a bound on ``n_h`` or ``n_m`` stands against it. ``"released"`` is the authors' code,
    ``round(I ((H/I) (rho - n_h/H) + rho))``: it makes up for a fraction of a head with that fraction of *one neuron*,
    so it may miss by up to half a head. Both round halves to even, as Python and the authors' code do.

    Parameters
    ----------
    heads, neurons
        H and I of a layer, at least 1.
    head_params, neuron_params
        Parameters of one head and one neuron in one layer, e.g. ``4 d_h D`` and ``3 D``.
    fraction
        ``rho``: the share of the layer's head and neuron parameters to remove.

    Raises
    ------
    OptionError
        ``fraction`` is not in [0, 1).
    """
    if not 0 <= fraction < 1:
        raise OptionError(f"a layer cannot give up {fraction:g} of its parameters", "write a share from 0 to below 1")
    n_h = min(round(fraction * heads), heads - 1)
    if variant == "exact":
        target = fraction * (heads * head_params + neurons * neuron_params)
        n_m = round((target - n_h * head_params) / neuron_params)
    else:
        n_m = round(neurons * ((heads / neurons) * (fraction - n_h / heads) + fraction))
    return Counts(n_h, max(0, min(n_m, neurons - 1)))
