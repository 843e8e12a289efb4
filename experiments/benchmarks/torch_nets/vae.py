"""The variational autoencoder of the paper: 500 tanh units, Adagrad, digits binarised anew."""

import torch
from torch import nn
from torch.nn.functional import softplus

from experiments.benchmarks.torch_nets.workload import Workload, pictures, step

LR, DECAY = 0.02, 1.67e-5


class Encoder(nn.Module):
    def __init__(self, pixels, units, latent):
        super().__init__()
        self.hidden = nn.Linear(pixels, units)
        self.mean, self.log_variance = nn.Linear(units, latent), nn.Linear(units, latent)

    def forward(self, x):
        h = torch.tanh(self.hidden(x.flatten(1)))
        return self.mean(h), self.log_variance(h)


class Decoder(nn.Sequential):
    def __init__(self, size, units, latent):
        super().__init__(nn.Linear(latent, units), nn.Tanh(), nn.Linear(units, size * size))
        self.size = size

    def forward(self, z):
        return super().forward(z).view(-1, 1, self.size, self.size)


def play(nets, machine):
    encoder, decoder = nets["encoder"], nets["decoder"]
    weights = [*encoder.parameters(), *decoder.parameters()]
    adagrad = torch.optim.Adagrad(weights, LR, foreach=True)

    def one_round(minibatches, number):
        levels = (machine.images(minibatches[0]["image"]) + 1) / 2
        x = (machine.uniform(*levels.shape) < levels).float()
        with machine.cast():
            mean, log_variance = (y.float() for y in encoder(x))
            z = mean + torch.exp(log_variance / 2) * machine.normal(*mean.shape)
            logits = decoder(z).float()
            likelihood = (x * logits - softplus(logits)).sum((1, 2, 3)).mean()
            kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
            size = sum(w.square().sum() for w in decoder.parameters())
            loss = kl - likelihood + DECAY / 2 * size
        step(adagrad, loss)
        return {"encoder+decoder/loss": loss}

    return one_round


def workload(size: int = 28, units: int = 500, latent: int = 20, batch_size: int = 100):
    def system():
        import optax

        from jaxgen.models import vae as models
        from jaxgen.systems.likelihood.vae import vae

        shape, start = (size, size, 1), {"hidden": (units,), **models.paper_start}
        encoder = models.Encoder(latent, **start)
        decoder = models.BernoulliDecoder(shape, **start)
        adagrad = optax.adagrad(LR, initial_accumulator_value=0.0)
        return vae(encoder, decoder, shape, latent, adagrad, weight_decay=DECAY)

    def nets():
        pixels = size * size
        return {"encoder": Encoder(pixels, units, latent), "decoder": Decoder(size, units, latent)}

    images = pictures(("image",), batch_size, size, size, 1)
    return Workload(batch_size, system, nets, play, images)
