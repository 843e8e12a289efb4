"""Gaussians of digits by maximum likelihood: `python -m jaxgen.experiments.gaussian`."""

import dataclasses
from functools import partial
from typing import Annotated, Literal

from tyro.conf import arg

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, CountOrZero, Rate, Size
from jaxgen.commands.launch import launch


def _default(said: str):
    return arg(help_behavior_hint=f"(default: {said})")


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """Gaussians and mixtures of them by maximum likelihood (EM: Dempster, Laird & Rubin, 1977).

    A minibatch is the whole training set. The defaults suit two CPU cores.
    """

    size: Size = (28, 28)
    channels: Literal[1, 3, 4] = 1
    batch_size: CountOrZero = 0
    """Images that a step counts; 0 is the whole training set, or as many as several devices can
    share evenly."""
    rounds: Annotated[CountOrZero, _default("60; 158 with --fit sgd")] = 0
    """Length of the whole training, shared out among the Gaussian and the mixture."""
    log_every: Count = 1
    sample_every: Count = 30
    save_every: Count = 30
    fit: Literal["closed", "sgd"] = "closed"
    """Fit of the Gaussian. closed: by its moments. sgd: by Adam, on a Cholesky factor."""
    lr: Rate = 0.03
    """Learning rate of Adam."""
    mixture: CountOrZero = 10
    """Gaussians of the mixture, on the principal components; 0 leaves it out."""
    components: Count = 40
    """Principal components, of codes and of the mixture."""
    ridge: Rate = 1e-5
    """Variance added to that of pixels in [0, 1]."""
    gaussian_rounds: Annotated[CountOrZero, _default("2; 100 with --fit sgd")] = 0
    """Share of the Gaussian, in proportion to the mixture's."""
    mixture_rounds: Count = 58
    """Share of the mixture."""

    def __post_init__(self):
        super().__post_init__()
        first = self.gaussian_rounds or {"closed": 2, "sgd": 100}[self.fit]
        whole = first + (self.mixture_rounds if self.mixture else 0)
        object.__setattr__(self, "gaussian_rounds", first)
        object.__setattr__(self, "rounds", self.rounds or whole)

    @property
    def rounds_matter(self) -> bool:
        return self.mixture > 0  # they are shared out


def system(args: Args, info):
    import optax

    from jaxgen.models.gaussian import Factor, Mixture
    from jaxgen.systems.likelihood.gaussian import gaussian, m_step
    from jaxgen.train.stages import Stage, share_out

    module = Mixture(1) if args.fit == "closed" else Factor()
    optimizer = m_step() if args.fit == "closed" else optax.adam(args.lr)
    fitted = partial(gaussian, module, info.shape, optimizer, args.components, ridge=args.ridge)
    if not args.mixture:
        return fitted()
    rounds = share_out(args.rounds, [args.gaussian_rounds, args.mixture_rounds])
    return [
        Stage("gaussian", fitted(), rounds[0]),
        Stage("mixture", fitted(mixture=Mixture(args.mixture)), rounds[1]),
    ]


if __name__ == "__main__":
    launch(system)
