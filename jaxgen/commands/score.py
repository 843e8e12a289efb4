"""`python -m jaxgen score RUN IMAGE ...`: how likely a trained run holds a user's images."""

import math

from jaxgen.commands.choices import Batch, Copy, OfConditions, Round, Run, System, open_run
from jaxgen.commands.flags import Seed
from jaxgen.commands.translate import Images, image_files


def score(
    run: Run,
    images: Images,
    *,
    seed: Seed = 0,
    batch: Batch = 64,
    system: System = None,
    round: Round = None,
    copy: Copy = None,
    **choices: OfConditions,
) -> str:
    """How likely a trained run holds images: log-likelihoods, or energies; a line an image.

    An image of another size is cut and resized as in training. Energies are low for what is like
    the training data, and are compared with those of other images by the same run only. Likelihoods
    are compared between runs where they are of the same, such as grey levels, and all exact or all
    bounds; what is said to be no likelihood, with the same objective of other runs only.

    Args:
        seed: Seed of the noise, where the system draws any; each image has its own, whatever the
            others are.
    """
    files = list(image_files(images))
    trained = open_run(run, system, round, copy)
    from jaxgen.runs.scoring import score
    from jaxgen.train.abilities import Density

    found = score(trained, files, seed=seed, batch=batch, **choices)
    densities = {density.name: density for density in trained.system.all_of(Density)}
    bit = math.log(2) * math.prod(trained.info.shape)  # in nats, of each dimension

    def said(name, value):
        if name not in densities:
            return f"{name} {value:.5g}"
        density, nats = densities[name], f"{name} {value:.6g} nats"
        if not density.likelihood:
            return f"{nats} (no likelihood: {density.of})"
        kind = "exact" if density.exact else "a bound"
        return f"{nats} ({-value / bit:.4g} bits a dimension, {kind}, of {density.of})"

    values = [{name: x[i] for name, x in found.items()} for i in range(len(files))]
    wide = max(len(str(file)) for file in files)
    lines = ("; ".join(said(*item) for item in value.items()) for value in values)
    return "\n".join(f"{file!s:{wide}}  {line}" for file, line in zip(files, lines, strict=True))
