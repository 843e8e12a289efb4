"""The classification accuracy score (Ravuri & Vinyals, 2019), https://arxiv.org/abs/1905.10887.

A classifier is trained on generated images and the labels they were made from, and tested on real
ones: what it gets right, beside a classifier that was trained on as many real images, says how much
of the data the generator has learnt.  The paper trains a ResNet-50 for 90 epochs on as many
ImageNet samples as there are real images and reports top-1 and top-5 accuracy; here any network
that gives logits, by default a small one for small images.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxgen.data.arrays import arrays
from jaxgen.data.source import to_float
from jaxgen.train.fit import fit
from jaxgen.train.game import Player, System, Turn
from jaxgen.train.nets import bind
from jaxgen.train.run import Run

# image uint8 [n, h, w, c], and label int32 [n] or attributes [n, a], each 0 or 1
Examples = Mapping[str, np.ndarray]


class SmallClassifier(nn.Module):
    """Two convolutions and a hidden layer: over 95 % on 28-pixel digits."""

    classes: int

    @nn.compact
    def __call__(self, x, *, train: bool = True):
        for width in (16, 32):
            x = nn.relu(nn.Conv(width, (5, 5))(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        x = nn.relu(nn.Dense(128)(x.reshape(len(x), -1)))
        return nn.Dense(self.classes)(x)


def classification_accuracy(
    train: Examples,
    test: Examples,
    network: nn.Module | None = None,
    *,
    rounds: int = 1500,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    top: int = 1,
    seed: int = 0,
) -> float:
    """The share of `test` whose label is among the network's `top` answers after `rounds`
    minibatches of `train` (see `classifier`): with generated `train` and real `test`, the CAS; with
    real `train`, its yardstick."""
    classes = int(max(train["label"].max(), test["label"].max())) + 1
    options = {"rounds": rounds, "batch_size": batch_size, "learning_rate": learning_rate}
    predict = classifier(train, network or SmallClassifier(classes), **options, seed=seed)
    best = np.argsort(-predict(test["image"]), axis=1)[:, :top]
    return float((best == test["label"][:, None]).any(axis=1).mean())


def classifier(
    train: Examples,
    network: nn.Module,
    *,
    rounds: int = 1500,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    seed: int = 0,
    run: Run | None = None,
) -> Callable[[np.ndarray], np.ndarray]:
    """A classifier, images uint8 [n, h, w, c] -> logits [n, classes], after `rounds` minibatches of
    `train`, by Adam, its rate falling along a cosine; in the folder of `run`, if there is one.
    Where `train` has attributes instead of a label, a logit is that of each by itself."""
    answer = "label" if "label" in train else "attributes"
    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, rounds))
    system = _supervised(network, train["image"].shape[1:], optimizer, answer)
    data = arrays({name: train[name] for name in ("image", answer)})
    states = fit(system, data, rounds, batch_size=batch_size, seed=seed, run=run)

    @jax.jit
    def logits(states, images):
        net = bind(states, jax.random.key(0)).classifier
        return net(to_float(images), train=False)

    def predict(images):
        parts = [images[i : i + 1000] for i in range(0, len(images), 1000)]
        return np.concatenate([logits(states, part) for part in parts])

    return predict


def _supervised(network, shape, optimizer, answer):
    errors = {
        "label": optax.softmax_cross_entropy_with_integer_labels,
        "attributes": optax.sigmoid_binary_cross_entropy,
    }[answer]

    def loss(nets, batch, key):
        return errors(nets.classifier(batch["image"]), batch[answer]).mean(), {}

    player = Player(network, [jnp.zeros((2, *shape))], optimizer)
    return System({"classifier": player}, (Turn(("classifier",), loss),), lambda *_: {})
