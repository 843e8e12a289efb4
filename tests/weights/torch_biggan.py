"""BigGAN in torch, with the names of its two codes for PyTorch, small and with random weights."""

import torch
import torch.nn.functional as F
from torch import nn


def normalised(weight, u):
    """After one power step from u [1, out], which is not kept."""
    w = weight.flatten(1)
    v = F.normalize(u @ w, dim=1)
    u = F.normalize(v @ w.T, dim=1)
    return weight / (u @ w @ v.T).squeeze()


class Spectral(nn.Module):
    """A convolution or, without a window, a dense layer, of BigGAN-PyTorch."""

    def __init__(self, inside, outside, window=None, bias=True):
        super().__init__()
        shape = (outside, inside, *([window] * 2 if window else []))
        self.weight = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.randn(outside)) if bias else None
        self.register_buffer("u0", torch.randn(1, outside))
        self.register_buffer("sv0", torch.ones(1))

    def forward(self, x):
        w = normalised(self.weight, self.u0)
        return F.linear(x, w, self.bias) if w.ndim == 2 else conv(x, w, self.bias)


class HubSpectral(nn.Module):
    """The same of pytorch-pretrained-BigGAN, with both singular vectors."""

    def __init__(self, inside, outside, window=None, bias=True):
        super().__init__()
        shape = (outside, inside, *([window] * 2 if window else []))
        self.weight_orig = nn.Parameter(torch.randn(shape))
        self.bias = nn.Parameter(torch.randn(outside)) if bias else None
        u, _, v = torch.linalg.svd(self.weight_orig.detach().flatten(1))
        self.register_buffer("weight_u", u[:, 0])
        self.register_buffer("weight_v", v[0])

    def forward(self, x):
        w = self.weight_orig
        w = w / (self.weight_u @ w.flatten(1) @ self.weight_v)
        return F.linear(x, w, self.bias) if w.ndim == 2 else conv(x, w, self.bias)


def conv(x, w, bias):
    return F.conv2d(x, w, bias, padding=w.shape[-1] // 2)


def attended(x, theta, phi, g, o, gamma):
    b, _, h, w = x.shape
    query = theta(x).flatten(2)
    key, value = (F.max_pool2d(f(x), 2).flatten(2) for f in (phi, g))
    beta = (query.transpose(1, 2) @ key).softmax(-1)
    return x + gamma * o((value @ beta.transpose(1, 2)).reshape(b, -1, h, w))


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        for name, n in (("theta", c // 8), ("phi", c // 8), ("g", c // 2)):
            setattr(self, name, Spectral(c, n, 1, False))
        self.o = Spectral(c // 2, c, 1, False)
        self.gamma = nn.Parameter(torch.tensor(0.7))

    def forward(self, x, c=None):
        return attended(x, self.theta, self.phi, self.g, self.o, self.gamma)


class Norm(nn.Module):
    def __init__(self, c, condition=None):
        super().__init__()
        if condition:
            self.gain, self.bias = (Spectral(condition, c, None, False) for _ in range(2))
        else:
            self.gain, self.bias = (nn.Parameter(torch.randn(c)) for _ in range(2))
        self.register_buffer("stored_mean", torch.randn(c))
        self.register_buffer("stored_var", torch.rand(c) + 0.5)

    def forward(self, x, c=None):
        wide = lambda x: x[..., None, None]
        gain, bias = (self.gain, self.bias) if c is None else (1 + self.gain(c), self.bias(c))
        x = F.batch_norm(x, self.stored_mean, self.stored_var, eps=1e-5)
        return x * wide(gain) + wide(bias)


class UpBlock(nn.Module):
    def __init__(self, inside, outside, condition):
        super().__init__()
        self.conv1, self.conv2 = Spectral(inside, outside, 3), Spectral(outside, outside, 3)
        self.conv_sc = Spectral(inside, outside, 1)
        self.bn1, self.bn2 = Norm(inside, condition), Norm(outside, condition)

    def forward(self, x, c):
        up = lambda x: F.interpolate(x, scale_factor=2)
        y = self.conv1(up(self.bn1(x, c).relu()))
        return self.conv2(self.bn2(y, c).relu()) + self.conv_sc(up(x))


class DeepUpBlock(nn.Module):
    def __init__(self, inside, outside, condition, up):
        super().__init__()
        h = inside // 4
        self.conv1, self.conv4 = Spectral(inside, h, 1), Spectral(h, outside, 1)
        self.conv2, self.conv3 = Spectral(h, h, 3), Spectral(h, h, 3)
        self.bn1 = Norm(inside, condition)
        self.bn2, self.bn3, self.bn4 = (Norm(h, condition) for _ in range(3))
        self.up = (lambda x: F.interpolate(x, scale_factor=2)) if up else lambda x: x
        self.outside = outside

    def forward(self, x, c):
        y = self.conv1(self.bn1(x, c).relu())
        y = self.conv2(self.up(self.bn2(y, c).relu()))
        y = self.conv4(self.bn4(self.conv3(self.bn3(y, c).relu()), c).relu())
        return y + self.up(x[:, : self.outside])


class Generator(nn.Module):
    """Of BigGAN-PyTorch."""

    def __init__(self, widths, classes, embedding, chunk, attention, deep):
        super().__init__()
        first, *levels = widths
        self.deep, self.chunk = deep, chunk
        condition = embedding + chunk
        self.shared = nn.Embedding(classes, embedding)
        self.linear = Spectral(condition if deep else chunk, 16 * first)
        blocks, inside = [], first
        for i, outside in enumerate(levels):
            if deep:
                block = [DeepUpBlock(inside, inside, condition, False)]
                block.append(DeepUpBlock(inside, outside, condition, True))
            else:
                block = [UpBlock(inside, outside, condition)]
            block += [Attention(outside)] * (i == attention)
            blocks.append(nn.ModuleList(block))
            inside = outside
        self.blocks = nn.ModuleList(blocks)
        self.output_layer = nn.Sequential(Norm(inside), nn.ReLU(), Spectral(inside, 3, 3))

    def forward(self, z, label):
        y = self.shared(label)
        if self.deep:
            z = torch.cat([y, z], 1)
            conditions = [z] * len(self.blocks)
        else:
            z, *chunks = z.split(self.chunk, 1)
            conditions = [torch.cat([y, chunk], 1) for chunk in chunks]
        x = self.linear(z).reshape(len(z), -1, 4, 4)
        for block, c in zip(self.blocks, conditions, strict=True):
            for layer in block:
                x = layer(x, c)
        return self.output_layer(x).tanh()


class DownBlock(nn.Module):
    def __init__(self, inside, outside, leads, down):
        super().__init__()
        self.conv1, self.conv2 = Spectral(inside, outside, 3), Spectral(outside, outside, 3)
        self.conv_sc = Spectral(inside, outside, 1) if down or inside != outside else None
        self.leads, self.down = leads, (lambda x: F.avg_pool2d(x, 2)) if down else lambda x: x

    def forward(self, x):
        y = self.down(self.conv2(self.conv1(x.relu() if self.leads else x).relu()))
        return y + (self.down(self.conv_sc(x)) if self.conv_sc else x)


class DeepDownBlock(nn.Module):
    def __init__(self, inside, outside, down):
        super().__init__()
        h = outside // 4
        self.conv1, self.conv4 = Spectral(inside, h, 1), Spectral(h, outside, 1)
        self.conv2, self.conv3 = Spectral(h, h, 3), Spectral(h, h, 3)
        lack = outside - inside
        self.conv_sc = Spectral(inside, lack, 1) if lack else None
        self.down = (lambda x: F.avg_pool2d(x, 2)) if down else lambda x: x

    def forward(self, x):
        y = self.conv3(self.conv2(self.conv1(x.relu()).relu()).relu())
        y = self.conv4(self.down(y.relu()))
        x = self.down(x)
        return y + (torch.cat([x, self.conv_sc(x)], 1) if self.conv_sc else x)


class Discriminator(nn.Module):
    def __init__(self, widths, downs, classes, attention, deep):
        super().__init__()
        blocks, inside = [], 3
        if deep:
            inside, *widths = widths
            self.input_conv = Spectral(3, inside, 3)
        for i, outside in enumerate(widths):
            if deep:
                block = [DeepDownBlock(inside, outside, i < downs)]
                block.append(DeepDownBlock(outside, outside, False))
            else:
                block = [DownBlock(inside, outside, i > 0, i < downs)]
            block += [Attention(outside)] * (i in attention)
            blocks.append(nn.ModuleList(block))
            inside = outside
        self.blocks = nn.ModuleList(blocks)
        self.linear, self.embed = Spectral(inside, 1), Spectral(inside, classes, None, False)

    def forward(self, x, label):
        x = self.input_conv(x) if hasattr(self, "input_conv") else x
        for block in self.blocks:
            for layer in block:
                x = layer(x)
        h = x.relu().sum((2, 3))
        return self.linear(h)[:, 0] + (normalised(self.embed.weight, self.embed.u0)[label] * h).sum(
            1
        )


class HubNorm(nn.Module):
    def __init__(self, c, condition=None, kept=5):
        super().__init__()
        if condition:
            self.scale, self.offset = (HubSpectral(condition, c, None, False) for _ in range(2))
        else:
            self.weight, self.bias = (nn.Parameter(torch.randn(c)) for _ in range(2))
        self.register_buffer("running_means", torch.randn(kept, c))
        self.register_buffer("running_vars", torch.rand(kept, c) + 0.5)

    def forward(self, x, at, c=None):
        wide = lambda x: x[..., None, None]
        gain, bias = (self.weight, self.bias) if c is None else (1 + self.scale(c), self.offset(c))
        mean, var = wide(self.running_means[at]), wide(self.running_vars[at])
        return (x - mean) / torch.sqrt(var + 1e-4) * wide(gain) + wide(bias)


class HubBlock(nn.Module):
    def __init__(self, inside, outside, condition, up):
        super().__init__()
        h = inside // 4
        self.conv_0, self.conv_3 = HubSpectral(inside, h, 1), HubSpectral(h, outside, 1)
        self.conv_1, self.conv_2 = HubSpectral(h, h, 3), HubSpectral(h, h, 3)
        self.bn_0 = HubNorm(inside, condition)
        self.bn_1, self.bn_2, self.bn_3 = (HubNorm(h, condition) for _ in range(3))
        self.up = (lambda x: F.interpolate(x, scale_factor=2)) if up else lambda x: x
        self.outside = outside

    def forward(self, x, at, c):
        y = self.conv_0(self.bn_0(x, at, c).relu())
        y = self.conv_1(self.up(self.bn_1(y, at, c).relu()))
        y = self.conv_3(self.bn_3(self.conv_2(self.bn_2(y, at, c).relu()), at, c).relu())
        return y + self.up(x[:, : self.outside])


class HubAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.snconv1x1_theta = HubSpectral(c, c // 8, 1, False)
        self.snconv1x1_phi = HubSpectral(c, c // 8, 1, False)
        self.snconv1x1_g = HubSpectral(c, c // 2, 1, False)
        self.snconv1x1_o_conv = HubSpectral(c // 2, c, 1, False)
        self.gamma = nn.Parameter(torch.tensor([0.7]))

    def forward(self, x, at, c):
        layers = self.snconv1x1_theta, self.snconv1x1_phi, self.snconv1x1_g, self.snconv1x1_o_conv
        return attended(x, *layers, self.gamma)


class Hub(nn.Module):
    """The generator of pytorch-pretrained-BigGAN."""

    def __init__(self, widths, classes, latent, attention):
        super().__init__()
        self.embeddings = nn.Linear(classes, latent, bias=False)
        first, *levels = widths
        self.generator = nn.Module()
        self.generator.gen_z = HubSpectral(2 * latent, 16 * first)
        layers, inside = [], first
        for i, outside in enumerate(levels):
            layers += [HubBlock(inside, inside, 2 * latent, False)]
            layers += [HubBlock(inside, outside, 2 * latent, True)]
            layers += [HubAttention(outside)] * (i == attention)
            inside = outside
        self.generator.layers = nn.ModuleList(layers)
        self.generator.bn = HubNorm(inside)
        self.generator.conv_to_rgb = HubSpectral(inside, inside, 3)

    def forward(self, z, label, at):
        g = self.generator
        c = torch.cat([z, self.embeddings.weight.T[label]], 1)
        x = g.gen_z(c).reshape(len(z), 4, 4, -1).permute(0, 3, 1, 2)
        for layer in g.layers:
            x = layer(x, at, c)
        return g.conv_to_rgb(g.bn(x, at).relu())[:, :3].tanh()
