"""The adversarial losses: what teaches a discriminator to tell, and a generator to fool.

Each is a `Pair` of functions of raw logits (no sigmoid in the network), of any shape: patch maps
count every element. They are means over this device's share of the batch.

One convention holds for all: a discriminator's loss is the SUM of its term on data and its term on
samples. Halved, it is the loss of the first GAN's code, pix2pix, CycleGAN, ToDayGAN, LSGAN's paper
(which halves the generator's too) and RaGAN's code; not of DCGAN, SNGAN, BigGAN, SPADE, UNIT.
"""

from collections.abc import Callable
from typing import NamedTuple

from jax.nn import relu, softplus
from jaxtyping import Array, Float

from jaxgen.train import devices

Logits = Float[Array, "..."]
Scalar = Float[Array, ""]


class Pair(NamedTuple):
    """tell(real_logits, fake_logits): the discriminator's loss. fool(fake_logits, real_logits): the
    generator's; only the relativistic ones need the logits of data."""

    tell: Callable[[Logits, Logits], Scalar]
    fool: Callable[..., Scalar]


def _cross_entropy(real: Logits, fake: Logits) -> Scalar:
    """-log D(x) - log(1 - D(G(z))), D = sigmoid(logits); 2 ln 2 at logits 0."""
    return softplus(-real).mean() + softplus(fake).mean()


# Goodfellow et al. (2014), Eq. 1: the generator descends log(1 - D(G(z))), which saturates.
minimax = Pair(
    tell=_cross_entropy,
    fool=lambda fake, real=None: -softplus(fake).mean(),
)

# The same, Sec. 3: the generator ascends log D(G(z)).
non_saturating = Pair(
    tell=_cross_entropy,
    fool=lambda fake, real=None: softplus(-fake).mean(),
)

# Mao et al. (2017), https://arxiv.org/abs/1611.04076, Eq. 9 without its halves: targets 1 and 0.
least_squares = Pair(
    tell=lambda real, fake: ((real - 1) ** 2).mean() + (fake**2).mean(),
    fool=lambda fake, real=None: ((fake - 1) ** 2).mean(),
)

# Lim & Ye (2017), https://arxiv.org/abs/1705.02894; SNGAN, SAGAN, BigGAN.
hinge = Pair(
    tell=lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(),
    fool=lambda fake, real=None: -fake.mean(),
)

# Arjovsky et al. (2017), https://arxiv.org/abs/1701.07875, Eq. 3; -tell estimates the distance.
wasserstein = Pair(
    tell=lambda real, fake: fake.mean() - real.mean(),
    fool=lambda fake, real=None: -fake.mean(),
)

# Jolicoeur-Martineau (2018), https://arxiv.org/abs/1807.00734, RSGAN: data should
# look more real than the samples beside them. One term, so nothing to halve.
relativistic = Pair(
    tell=lambda real, fake: softplus(fake - real).mean(),
    fool=lambda fake, real: softplus(real - fake).mean(),
)

# ToDayGAN (Anoosheh et al., 2019), https://arxiv.org/abs/1809.09767: the difference should be 1.
relativistic_least_squares = Pair(
    tell=lambda real, fake: ((real - fake - 1) ** 2).mean(),
    fool=lambda fake, real: ((real - fake + 1) ** 2).mean(),
)


def _more_real_than_average(a: Logits, b: Logits) -> Scalar:
    """a should look more real than b on average over the global batch, and b less than a."""
    average = lambda logits: devices.mean(logits.mean())
    return softplus(average(b) - a).mean() + softplus(b - average(a)).mean()


# The same, RaSGAN, the losses of ESRGAN; the generator has both terms, as the paper's.
relativistic_average = Pair(
    tell=lambda real, fake: _more_real_than_average(real, fake),
    fool=lambda fake, real: _more_real_than_average(fake, real),
)
