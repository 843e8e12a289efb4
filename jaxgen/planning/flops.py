"""Floating-point operations of a traced program: those of matrix products and convolutions, two for
each multiplication, as papers and datasheets count them."""

import math
from collections import defaultdict
from typing import Any

from jax.interpreters.partial_eval import dce_jaxpr

from jaxgen.nn import onednn
from jaxgen.planning.hlo import scope_of


def flops(jaxpr: Any, platform: str, scopes: tuple[str, ...] = ()) -> dict[str, float]:
    """{scope: FLOPs} of one device's share; what is in none of the `scopes` (names of
    `jax.named_scope`) is in "".  Loops count as often as they run where that is known (`lax.scan`),
    else once; of branches the one for `platform`, or the one with the most.

    jaxpr: of a traced program, such as `jax.jit(f).trace(*shapes).jaxpr`.
    """
    total: dict[str, float] = defaultdict(float)
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    jaxpr, _ = dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))  # no gradients that nobody uses
    _count(jaxpr, platform, scopes, "", 1.0, total)
    return dict(total)


def _count(jaxpr, platform, scopes, scope, times, total):
    chosen = {}  # variable of a branch's index -> the index, where the platform decides
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        here = scope or scope_of(str(eqn.source_info.name_stack), scopes)
        inner: Any = lambda jaxpr, times=times, here=here, into=total: _count(
            getattr(jaxpr, "jaxpr", jaxpr), platform, scopes, here, times, into
        )
        if name == "dot_general":
            total[here] += times * _dot(eqn)
        elif name == "conv_general_dilated":
            total[here] += times * _conv(eqn)
        elif name == "ffi_call":
            total[here] += times * (onednn.flops(eqn) or 0.0)
        elif name == "platform_index":
            names = eqn.params["platforms"]
            fits = (i for i, own in enumerate(names) if own is None or platform in own)
            chosen[eqn.outvars[0]] = next(fits)
        elif name == "cond":
            branches = eqn.params["branches"]
            known = None if hasattr(eqn.invars[0], "val") else chosen.get(eqn.invars[0])
            if known is not None:
                inner(branches[known])
                continue
            found = []
            for branch in branches:
                inner(branch, into=(own := defaultdict(float)))
                found.append(own)
            for key, value in max(found, key=lambda own: sum(own.values())).items():
                total[key] += value
        elif name == "scan":
            inner(eqn.params["jaxpr"], times=times * eqn.params["length"])
        else:
            for value in eqn.params.values():
                for x in value if isinstance(value, tuple | list) else (value,):
                    if hasattr(getattr(x, "jaxpr", x), "eqns"):
                        inner(x)


def _dot(eqn) -> float:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    lhs = eqn.invars[0].aval.shape
    return 2.0 * math.prod(eqn.outvars[0].aval.shape) * math.prod(lhs[i] for i in contracted)


def _conv(eqn) -> float:
    """Without the products with the zeros that a dilated input has between its pixels."""
    kernel = eqn.invars[1].aval.shape
    out_features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
    zeros = math.prod(eqn.params["lhs_dilation"])
    return 2.0 * math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel) / out_features / zeros
