"""A small CLIP: a vision transformer, a text transformer and a temperature, AdamW."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from experiments.benchmarks.torch_nets.workload import Workload, step

LR = 5e-4
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.hidden, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, n, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.mix(y.transpose(1, 2).reshape(b, n, width))
        y = self.hidden(self.norm2(x))
        return x + self.out(y * torch.sigmoid(1.702 * y))


class Tower(nn.Module):
    """Blocks between two norms, of which the text has the second only, and the projection."""

    def __init__(self, width, layers, embedding, *, causal):
        super().__init__()
        heads = max(1, width // 64)
        self.norm_in = nn.Identity() if causal else nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(Block(width, heads, causal) for _ in range(layers)))
        self.norm_out = nn.LayerNorm(width)
        self.projection = nn.Linear(width, embedding, bias=False)


class ImageTower(Tower):
    def __init__(self, size, patch, width, layers, embedding):
        super().__init__(width, layers, embedding, causal=False)
        self.patches = nn.Conv2d(3, width, patch, patch, bias=False)
        self.token = nn.Parameter(torch.zeros(width))
        self.positions = nn.Parameter(torch.zeros((size // patch) ** 2 + 1, width))

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), 1, -1), x], 1) + self.positions
        x = self.blocks(self.norm_in(x))
        return self.projection(self.norm_out(x[:, 0]))


class TextTower(Tower):
    def __init__(self, vocabulary, context, width, layers, embedding):
        super().__init__(width, layers, embedding, causal=True)
        self.tokens = nn.Parameter(torch.zeros(vocabulary, width))
        self.positions = nn.Parameter(torch.zeros(context, width))

    def forward(self, tokens):
        x = F.embedding(tokens, self.tokens) + self.positions
        x = self.norm_out(self.blocks(x))
        last = tokens.argmax(1)
        return self.projection(x[torch.arange(len(x), device=x.device), last])


class Temperature(nn.Module):
    def __init__(self):
        super().__init__()
        self.log = nn.Parameter(torch.zeros(()))

    def forward(self):
        return self.log.exp()


def play(nets, machine):
    image, text, temperature = nets["image"], nets["text"], nets["temperature"]
    weights = [w for net in nets.values() for w in net.parameters()]
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": 0.2},
        {"params": [w for w in weights if w.ndim <= 1], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, LR, (0.9, 0.98), 1e-6, fused=True)
    mean = torch.tensor(MEAN, device=machine.device)[:, None, None]
    std = torch.tensor(STD, device=machine.device)[:, None, None]

    def one_round(minibatches, number):
        pictures = (machine.images(minibatches[0]["image"]) - (2 * mean - 1)) / (2 * std)
        with machine.cast():
            x, y = image(pictures), text(minibatches[0]["text"])
        x, y = F.normalize(x.float(), dim=1), F.normalize(y.float(), dim=1)
        logits = temperature() * x @ y.T
        own = torch.arange(len(x), device=x.device)
        loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        step(adam, loss)
        with torch.no_grad():
            temperature.log.clamp_(-math.log(100), math.log(100))
        return {"towers/loss": loss}

    return one_round


def workload(
    size: int = 64,
    patch: int = 8,
    width: int = 256,
    layers: int = 6,
    embedding: int = 256,
    vocabulary: int = 8192,
    context: int = 32,
    batch_size: int = 128,
):
    def system():
        from jaxgen.models.clip import ImageTower, TextTower
        from jaxgen.systems.multimodal.clip import adamw, clip

        towers = (
            ImageTower(patch, width, layers, embedding),
            TextTower(vocabulary, context, width, layers, embedding),
        )
        return clip(*towers, (size, size, 3), context, adamw(LR, 0.2, b2=0.98))

    def nets():
        return {
            "image": ImageTower(size, patch, width, layers, embedding),
            "text": TextTower(vocabulary, context, width, layers, embedding),
            "temperature": Temperature(),
        }

    def minibatch(rng):
        text = rng.integers(1, vocabulary - 1, (batch_size, context), dtype=np.int32)
        text[np.arange(batch_size), rng.integers(2, context, batch_size)] = vocabulary - 1
        image = rng.integers(0, 256, (batch_size, size, size, 3), dtype=np.uint8)
        return {"image": image, "text": text}

    return Workload(batch_size, system, nets, play, minibatch)
