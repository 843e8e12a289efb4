"""The flags of what a discriminator is shown in place of images, which several GANs share."""

import dataclasses
from typing import Annotated, Any, Literal

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, CountOrZero, Range, Weight, check_idle
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Augmented(Arguments):
    """The flags of GANs whose discriminator sees augmented images only."""

    augment: Literal["ada", "diffaugment", "none"] = "none"
    """Augmentation of all that the discriminator sees: adaptive
    (https://arxiv.org/abs/2006.06676), or of every image (https://arxiv.org/abs/2006.10738)."""
    ada_target: Annotated[float, Range(-1, 1)] = 0.6
    """Mean sign of the discriminator's logits of real images that ADA holds."""
    ada_images: Count = 500_000
    """Images in which ADA's probability can go from 0 to 1."""

    def check(self) -> None:
        super().check()
        if self.augment == "ada" and self.channels == 4:
            raise UserError("--augment ada changes colours of 1 or 3 channels; use --channels 3")
        if self.augment != "ada":
            check_idle(self, ("ada_target", "ada_images"), "--augment ada")

    def operations(self) -> Any:
        """(images, p, key) -> T(images), or None for none."""
        from jaxgen.nn import ada, diffaugment

        return {
            "ada": ada.augment,
            "diffaugment": lambda images, p, key: diffaugment.augment(images, key),
            "none": None,
        }[self.augment]

    def controller(self) -> Any:
        """What keeps p, for ADA only."""
        from jaxgen.nn.ada import Controller

        if self.augment == "ada":
            return Controller(target=self.ada_target, speed=1 / self.ada_images)
        return None


@dataclasses.dataclass(frozen=True)
class PlainGAN(Augmented):
    """The flags that the plain GANs share."""

    instance_noise: Weight = 0.0
    """Standard deviation of the noise on all that the discriminator sees, of images in [-1, 1], in
    the first round (https://arxiv.org/abs/1610.04490)."""
    instance_noise_rounds: CountOrZero = 0
    """Rounds in which the noise falls linearly to 0; 0 keeps it."""

    def check(self) -> None:
        super().check()
        if not self.instance_noise:
            check_idle(self, ("instance_noise_rounds",), "--instance-noise, such as 0.2")

    def augmentation(self) -> Any:
        """What the discriminator is shown, a `systems.gan.plain.Augmentation`."""
        from jaxgen.systems.gan.plain import Augmentation

        noise = self.instance_noise, self.instance_noise_rounds
        return Augmentation(self.operations(), self.controller(), *noise)
