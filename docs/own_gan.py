"""A GAN of your own: `python own_gan.py` trains it; started again, it goes on where it stopped."""

import flax.linen as nn
import numpy as np
import optax

import jaxgen as jg

generator = nn.Sequential([nn.Dense(256), nn.relu, nn.DenseGeneral((16, 16, 1)), nn.tanh])
discriminator = nn.Sequential([nn.DenseGeneral(256, axis=(1, 2, 3)), nn.leaky_relu, nn.Dense(1)])
prior = lambda key, n: jg.draw.normal(key, n, (32,))


def discriminator_loss(nets, batch, key):
    fake = nets.generator(prior(key, len(batch["image"])))
    on_real, on_fake = nets.discriminator(batch["image"]), nets.discriminator(fake)
    return (nn.softplus(-on_real) + nn.softplus(on_fake)).mean(), {}


def generator_loss(nets, batch, key):
    fake = nets.generator(prior(key, len(batch["image"])))
    return nn.softplus(-nets.discriminator(fake)).mean(), {}


adam = optax.adam(1e-3, b1=0.5)
players = {
    "generator": jg.Player(generator, [(2, 32)], adam, ema=0.99),
    "discriminator": jg.Player(discriminator, [(2, 16, 16, 1)], adam),
}
turns = jg.Turn(("discriminator",), discriminator_loss), jg.Turn(("generator",), generator_loss)
sampler = jg.Sampler(prior, lambda nets, z, condition, key: nets.generator(z))
system = jg.System(players, turns, abilities=(sampler,))

if __name__ == "__main__":
    offsets = np.mgrid[:16, :16] - np.random.default_rng(0).uniform(4, 12, (1000, 2, 1, 1))
    data = jg.arrays({"image": np.uint8(255 * ((offsets**2).sum(1) < 9))[..., None]})
    gan = jg.fit(system, data, rounds=1000, batch_size=64, run="runs/own_gan", save_every=200)
    print(gan.sample(16, seed=0).shape, gan.evaluate("swd", data=data, samples=100))
    gan.export("generator.safetensors", player="generator")
