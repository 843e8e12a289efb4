"""The adversarial losses of a discriminator and a generator.

Each is a `GANLoss`: two functions of raw logits (no sigmoid in the network), of any shape: patch
maps count every element. They are means over this device's share of the batch.

One convention holds for all: a discriminator's loss is the SUM of its term on data and its term on
samples. Halved, it is the loss of the first GAN's code, pix2pix, CycleGAN, ToDayGAN, LSGAN's paper
(which halves the generator's too) and RaGAN's code; not of DCGAN, SNGAN, BigGAN, SPADE, UNIT.
"""

from collections.abc import Callable
from typing import NamedTuple

from jax.nn import relu, softplus
from jaxtyping import Array, Float

from jaxgen import parallel

Logits = Float[Array, "..."]
Scalar = Float[Array, ""]


class GANLoss(NamedTuple):
    """The losses of the two players, discriminator(real_logits, fake_logits) and
    generator(fake_logits, real_logits). Only the relativistic ones need `real_logits` in the
    generator's."""

    discriminator: Callable[[Logits, Logits], Scalar]
    generator: Callable[..., Scalar]


def _cross_entropy(real: Logits, fake: Logits) -> Scalar:
    """-log D(x) - log(1 - D(G(z))), D = sigmoid(logits); 2 ln 2 at logits 0."""
    return softplus(-real).mean() + softplus(fake).mean()


#: Goodfellow et al. (2014), Eq. 1: the generator descends log(1 - D(G(z))), which saturates.
minimax = GANLoss(
    discriminator=_cross_entropy,
    generator=lambda fake, real=None: -softplus(fake).mean(),
)

#: The same, Sec. 3: the generator ascends log D(G(z)).
non_saturating = GANLoss(
    discriminator=_cross_entropy,
    generator=lambda fake, real=None: softplus(-fake).mean(),
)

#: Mao et al. (2017), https://arxiv.org/abs/1611.04076, Eq. 9 without its halves: targets 1 and 0.
least_squares = GANLoss(
    discriminator=lambda real, fake: ((real - 1) ** 2).mean() + (fake**2).mean(),
    generator=lambda fake, real=None: ((fake - 1) ** 2).mean(),
)

#: Lim & Ye (2017), https://arxiv.org/abs/1705.02894; SNGAN, SAGAN, BigGAN.
hinge = GANLoss(
    discriminator=lambda real, fake: relu(1 - real).mean() + relu(1 + fake).mean(),
    generator=lambda fake, real=None: -fake.mean(),
)

#: Arjovsky et al. (2017), https://arxiv.org/abs/1701.07875, Eq. 3; minus the
#: discriminator's loss estimates the distance.
wasserstein = GANLoss(
    discriminator=lambda real, fake: fake.mean() - real.mean(),
    generator=lambda fake, real=None: -fake.mean(),
)

#: Jolicoeur-Martineau (2018), https://arxiv.org/abs/1807.00734, RSGAN: data should
#: look more real than the samples beside them. One term, so nothing to halve.
relativistic = GANLoss(
    discriminator=lambda real, fake: softplus(fake - real).mean(),
    generator=lambda fake, real: softplus(real - fake).mean(),
)

#: ToDayGAN (Anoosheh et al., 2019), https://arxiv.org/abs/1809.09767: the difference should be 1.
relativistic_least_squares = GANLoss(
    discriminator=lambda real, fake: ((real - fake - 1) ** 2).mean(),
    generator=lambda fake, real: ((real - fake + 1) ** 2).mean(),
)


def _more_real_than_average(a: Logits, b: Logits) -> Scalar:
    """a should look more real than b on average over the global batch, and b less than a."""
    average = lambda logits: parallel.mean(logits.mean())
    return softplus(average(b) - a).mean() + softplus(b - average(a)).mean()


#: The same, RaSGAN, the losses of ESRGAN; the generator has both terms, as the paper's.
relativistic_average = GANLoss(
    discriminator=lambda real, fake: _more_real_than_average(real, fake),
    generator=lambda fake, real: _more_real_than_average(fake, real),
)


def smoothed(loss: GANLoss, share: float) -> GANLoss:
    """One-sided label smoothing (Salimans et al., 2016, https://arxiv.org/abs/1606.03498, Sec.
    3.4), for losses whose discriminator descends the cross-entropy: its target on data is
    1 - share. That term, (1 - s) softplus(-x) + s softplus(x), is softplus(-x) + s x.
    """
    smooth = lambda real, fake: loss.discriminator(real, fake) + share * real.mean()
    return loss._replace(discriminator=smooth)
