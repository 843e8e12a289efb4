"""Gaussians of digits by maximum likelihood: `python -m jaxgen.experiments.gaussian`."""

import dataclasses
from typing import Literal

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, CountOrZero, Rate, Size
from jaxgen.commands.launch import launch


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """Gaussians and mixtures of them by maximum likelihood (EM: Dempster, Laird & Rubin, 1977).

    A minibatch is the whole training set. The defaults suit two CPU cores.
    """

    size: Size = (28, 28)
    channels: Literal[1, 3, 4] = 1
    batch_size: Count = 4500
    """Images that a step counts: the whole training set."""
    rounds: Count = 60
    """Length of the whole training, shared out among the Gaussian and the mixture."""
    log_every: Count = 1
    sample_every: Count = 30
    save_every: Count = 30
    fit: Literal["closed", "sgd"] = "closed"
    """Fit of the Gaussian. closed: by its moments. sgd: by Adam, on a Cholesky factor."""
    lr: Rate = 1e-3
    """Learning rate of Adam."""
    mixture: CountOrZero = 10
    """Gaussians of the mixture, on the principal components; 0 leaves it out."""
    components: Count = 40
    """Principal components, of codes and of the mixture."""
    ridge: Rate = 1e-5
    """Number added to the variances, of pixels in [0, 1]."""
    gaussian_rounds: Count = 2
    """Share of the Gaussian, in proportion to the mixture's."""
    mixture_rounds: Count = 58
    """Share of the mixture."""

    @property
    def rounds_matter(self) -> bool:
        return True  # they are shared out


def system(args: Args, info):
    import optax

    from jaxgen.models.gaussian import Factor, Mixture
    from jaxgen.systems.likelihood.gaussian import gaussian, m_step
    from jaxgen.train.stages import Stage, share_out

    if args.fit == "closed":
        module, optimizer = Mixture(1), m_step(args.ridge)
    else:
        module, optimizer = Factor(), optax.adam(args.lr)
    one = gaussian(module, info.shape, optimizer, args.components)
    if not args.mixture:
        return one
    mixture = Mixture(args.mixture), m_step(args.ridge)
    rounds = share_out(args.rounds, [args.gaussian_rounds, args.mixture_rounds])
    return [
        Stage("gaussian", one, rounds[0]),
        Stage(
            "mixture",
            gaussian(module, info.shape, optimizer, args.components, mixture),
            rounds[1],
        ),
    ]


if __name__ == "__main__":
    launch(system)
