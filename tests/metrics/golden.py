"""The metrics beside the golden numbers of references: `python -m tests.metrics.golden`.

Every number is computed in float32, as the library runs, and again in float64.  Differences are
relative; those of an array are the largest difference over the largest golden value, and beside a
golden number below 1e-6 they are absolute.
"""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.metrics import mig, pixels, ppl, separability, swd
from jaxgen.metrics import precision_recall as pr
from jaxgen.metrics.fid import fid, from_covariance, moments
from jaxgen.metrics.inception_score import inception_score
from jaxgen.metrics.kid import kid
from jaxgen.metrics.segmentation import confusion, scores

GOLDEN = Path(__file__).parents[1] / "golden"
FLOAT32, FLOAT64 = 1e-5, 1e-9

# Golden numbers with less to them than 1e-9, and why.
LOOSE = {
    "a/swd_laplacian": FLOAT32,  # the reference computes in float32
    "b/psnr_ssim_y/out_psnr_crop0_Y": FLOAT32,  # Y is float32 in the reference
    "b/psnr_ssim_y/out_psnr_crop4_Y": FLOAT32,
    "b/psnr_ssim_y/out_ssim_crop0_Y": FLOAT32,
    "b/psnr_ssim_y/out_ssim_crop4_Y": FLOAT32,
    "b/psnr_ssim_y/out_Y": FLOAT32,
    "c/swd": FLOAT32,
    "c/prdc/out_(prdc|torchfidelity)": 1e-7,  # shares are float32
    "c/fid/out_rd_fid_(sqrtm|eigh|torchfidelity|torchmetrics)": 1e-7,  # their own rounding
    "c/ssim_psnr/out_.*_(pytorch_msssim|cs_scale0)": 2e-5,  # a float32 window, 5e-6 absolute
    "c/ppl_slerp/out_theta2": 1e-7,  # eps -> 0
}
# And what float32 cannot hold to 1e-5.
COARSE = {
    "c/ppl_slerp/out_(unit_sphere_speed2|theta2)": 5e-3,  # points rounded to 6e-8, steps of 1e-4
    "c/ssim_psnr/out_.*_(pytorch_msssim|cs_scale0)": 2e-5,
}


class Row(NamedTuple):
    metric: str
    """Golden file and name."""
    golden: np.ndarray
    single: np.ndarray
    """Ours in float32."""
    double: np.ndarray
    """Ours in float64."""

    @property
    def errors(self) -> tuple[float, float]:
        """Relative differences in float32 and float64."""
        largest = np.abs(self.golden).max()
        scale = largest if largest > 1e-6 else 1.0
        return tuple(float(np.abs(x - self.golden).max() / scale) for x in self[2:])

    @property
    def tolerances(self) -> tuple[float, float]:
        find = lambda table, default: next(
            (value for name, value in table.items() if re.match(name, self.metric)), default
        )
        return find(COARSE, FLOAT32), find(LOOSE, FLOAT64)


def _fid(g):
    two = lambda a, b: fid(moments(a), moments(b))
    full, short = two(g["in_real"], g["in_fake"]), two(g["in_rd_real"], g["in_rd_fake"])
    published = lambda x: from_covariance(x.mean(axis=0), np.cov(x.T), len(x))
    forms = ("svd", "eigh", "sqrtm", "torchfidelity", "torchmetrics")
    return {
        **{f"out_fid_{form}": full for form in forms},
        **{f"out_rd_fid_{form}": short for form in forms},
        "out_fid_svd (from mu, sigma)": fid(published(g["in_real"]), published(g["in_fake"])),
        "out_same_fid_eigh": two(g["in_real"], g["in_real"]),
    }


def _kid(g):
    x, y = g["in_real"], g["in_fake"]
    subsets = jax.vmap(kid)(jnp.asarray(x)[g["in_idx1"]], jnp.asarray(y)[g["in_idx2"]])
    full = kid(x, y)
    return {
        "out_kid_full_unbiased": full,
        "out_cleanfid_all": full,
        "out_torchmetrics_all": full,
        "out_subset_values": subsets,
        "out_tf_subsets10_size100_seed2020_mean": subsets.mean(),
        "out_tf_subsets10_size100_seed2020_std": subsets.std(),
    }


def _inception_score(g):
    logits = g["in_logits"]
    shuffled = logits[np.random.RandomState(2020).permutation(len(logits))]
    plain, mixed = inception_score(logits), inception_score(shuffled)
    return {
        "out_mean_noshuffle": plain.mean,
        "out_std_noshuffle": plain.std,
        "out_mean_shuffle2020": mixed.mean,
        "out_std_shuffle2020": mixed.std,
        "out_is_1split": inception_score(logits, splits=1).mean,
    }


def _prdc(g):
    real, fake = g["in_real"], g["in_fake"]
    ours = {}
    for k in (3, 5):
        both = pr.precision_recall(real, fake, k)._asdict()
        both |= pr.density_coverage(real, fake, k)._asdict()
        ours |= {f"out_prdc_k{k}_{name}": value for name, value in both.items()}
    precision, recall = pr.precision_recall(real, fake, 3)
    return ours | {
        "out_torchfidelity_k3_precision": precision,
        "out_torchfidelity_k3_recall": recall,
        "out_torchfidelity_k3_f_score": 2 * precision * recall / (precision + recall),
        "out_radii_k3": pr.radii(real, 3),
        "out_realism_k3": pr.realism(real, fake, 3, prune=False),
        "out_realism_k3_medianpruned": pr.realism(real, fake, 3),
    }


def _pixels(g):
    a = g["in_a"][None]
    ours = {"param_gauss1d": pixels.window(), "param_ms_weights": np.array(pixels.WEIGHTS)}
    for name in ("noise15", "box5"):
        b = g[f"in_{name}"][None]
        luma_a, luma_b = pixels.luma(a), pixels.luma(b)
        similar, multi = pixels.ssim(a, b), pixels.ms_ssim(a, b)
        ours |= {
            f"out_{name}_psnr": pixels.psnr(a, b),
            f"out_{name}_ssim_exact64": similar,
            f"out_{name}_ssim_skimage_gauss11_rgb": similar,
            f"out_{name}_ssim_pytorch_msssim": similar,
            f"out_{name}_msssim_exact64": multi,
            f"out_{name}_msssim_pytorch_msssim": multi,
            f"out_{name}_psnr_y": pixels.psnr(luma_a, luma_b),
            f"out_{name}_ssim_y_gauss11": pixels.ssim(luma_a, luma_b),
            f"out_{name}_cs_scale0_per_channel": pixels.ssim_by_channel(a, b)[1],
        }
    return ours


def _super_resolution(g):
    a, b = g["in_img1_rgb"][None], g["in_img2_rgb"][None]
    primaries = np.array([[0] * 3, [255] * 3, [255, 0, 0], [0, 255, 0], [0, 0, 255]])
    ours = {
        "out_Y_of_img1": pixels.luma(a)[0, ..., 0],
        "out_Y_primaries": pixels.luma(primaries)[:, 0],
    }
    for border in (0, 4):
        for kind, images in (("RGB", (a, b)), ("Y", (pixels.luma(a), pixels.luma(b)))):
            pair = [pixels.crop(x, border) for x in images]
            ours[f"out_psnr_crop{border}_{kind}"] = pixels.psnr(*pair)
            ours[f"out_ssim_crop{border}_{kind}"] = pixels.ssim(*pair)
    return ours


def _last(x):
    return np.moveaxis(x, 1, -1)


def _first(x):
    """Ours to the files' order, channels first."""
    return np.moveaxis(np.asarray(x), -1, 1)


def _vectors(patches):
    """Normalised patches as the reference lays them out."""
    normalised = swd.descriptors(_last(patches)).reshape(-1, 7, 7, 3)
    return _first(normalised).reshape(len(patches), -1)


def _laplacian(g):
    pyramid = swd.laplacian_pyramid(_last(g["in_x"]), 2)
    directions = np.concatenate(list(g["in_dirs"]), axis=1)
    return {
        "out_level0": _first(pyramid[0]),
        "out_level1": _first(pyramid[1]),
        "out_reconstruction": _first(swd.from_pyramid(pyramid)),
        "param_gauss5x5": np.outer(swd.BINOMIAL, swd.BINOMIAL),
        "out_sliced_w": swd.sliced_wasserstein(g["in_A"], g["in_B"], directions),
        "out_desc_final": _vectors(g["in_desc"]),
    }


def _swd(g):
    """Level 1 needs patches that are not in the file; its random streams are those of seeds 0
    (patches), 5 (`in_dirs`) and 1 (`out_swd_seeded`: 4 x 128 directions)."""
    sets = [_last(g[f"in_{name}_nchw"]).astype(float) for name in "ab"]
    pyramids = [swd.laplacian_pyramid(x, 2) for x in sets]
    random, patches = np.random.RandomState(0), {}
    for name, pyramid in zip("ab", pyramids):
        for n, level in enumerate(pyramid):
            row_last = level.shape[1] - 6
            columns = random.randint(0, row_last, 64)
            corners = np.stack([random.randint(0, row_last, 64), columns], axis=-1)
            found = swd.patches(level, corners.reshape(4, 16, 2))
            # the reference's patches are transposed
            patches[f"{name}{n}"] = _first(found).swapaxes(2, 3)
    final = {name: _vectors(x) for name, x in patches.items()}

    random, seeded = np.random.RandomState(1), []
    for n in (0, 1):
        directions = np.concatenate([random.randn(147, 128) for _ in range(4)], axis=1)
        directions /= np.linalg.norm(directions, axis=0)
        seeded.append(swd.sliced_wasserstein(final[f"a{n}"], final[f"b{n}"], directions))
    fixed = lambda n: swd.sliced_wasserstein(final[f"a{n}"], final[f"b{n}"], g["in_dirs"])
    return {
        "out_pyr_a_0": _first(pyramids[0][0]),
        "out_pyr_a_1": _first(pyramids[0][1]),
        "in_desc_a0": patches["a0"],
        "in_desc_b0": patches["b0"],
        "out_final_a0": _vectors(g["in_desc_a0"]),
        "out_final_b0": _vectors(g["in_desc_b0"]),
        "out_swd_fixed_dirs_l0": fixed(0),
        "out_swd_fixed_dirs_l1": fixed(1),
        "out_swd_seeded": np.stack(seeded),
    }


def _ppl(g):
    a, b, t = (jnp.asarray(g[f"in_{name}"]) for name in ("z0", "z1", "t"))
    t = t[:, 0]
    distance = lambda x, y: ((x - y) ** 2).sum(axis=1)
    speeds = ppl.path_lengths(lambda z: z, distance, a, b, t)
    return {
        "out_slerp_t": ppl.sphere(a, b, t),
        "out_slerp_t_eps": ppl.sphere(a, b, t + ppl.EPS),
        "out_unit_sphere_speed2": speeds,
        "out_theta2": speeds,
        "out_filtered_mean": ppl.filtered_mean(g["in_dists"]),
    }


def _mig(g):
    gap = mig.mutual_information_gap(g["in_z"], g["in_mu"], g["in_logsigma"], g["in_factors"])
    return {
        "out_marginal_entropies": gap.marginal,
        "out_cond_entropies": gap.conditional,
        "out_mi": gap.information,
        "out_mig_per_factor": gap.by_factor,
        "out_mig": gap.mig,
    }


def _fcn_c(g):
    n = confusion(g["in_label"], g["in_pred"], int(g["param_n_cl"]))
    ours = scores(n)
    return {
        "out_hist": n,
        "out_pixel_acc": ours.pixel,
        "out_class_acc": ours.classwise,
        "out_miou": ours.iou,
    }


def _fcn_b(g):
    n = confusion(g["in_label"], g["in_pred"], int(g["in_n_classes"]))
    ours = scores(n)
    return {
        "out_hist": n,
        "out_pixel_acc": ours.pixel,
        "out_mean_class_acc": ours.classwise,
        "out_mean_iou": ours.iou,
        "out_per_class_acc": ours.classwise_each,
        "out_per_class_iou": ours.iou_each,
    }


# Each takes a file's arrays and returns {golden name: our value}.
def _separability(g):
    predicted, has = g["in_prediction_class"] > 0
    tables = np.array([separability.table(*pair) for pair in zip(predicted, has, strict=True)])
    bits = np.array(list(map(separability.conditional_entropy, tables)))
    return {
        "out_table_rows_prediction_cols_class": tables,
        "out_conditional_entropy_bits": bits,
        "out_score": separability.score(bits),
    }


FILES: dict[str, Callable] = {
    "c/fid": _fid,
    "c/kid": _kid,
    "c/inception_score": _inception_score,
    "c/prdc": _prdc,
    "c/ssim_psnr": _pixels,
    "b/psnr_ssim_y": _super_resolution,
    "c/swd": _swd,
    "a/swd_laplacian": _laplacian,
    "c/ppl_slerp": _ppl,
    "c/mig": _mig,
    "c/fcn_score": _fcn_c,
    "b/fcn_score": _fcn_b,
    "d/separability": _separability,
}


@cache
def rows(file: str) -> list[Row]:
    """All of a golden file."""
    golden = dict(np.load(GOLDEN / f"{file}.npz"))
    to_float = lambda dtype: {
        k: v.astype(dtype) if v.dtype.kind == "f" else v for k, v in golden.items()
    }
    single = jax.device_get(FILES[file](to_float(np.float32)))
    with jax.enable_x64(True):
        double = jax.device_get(FILES[file](to_float(np.float64)))
    value = lambda name: golden[name.split(" ")[0]]
    fit = lambda x, name: np.asarray(x, np.float64).reshape(value(name).shape)
    return [
        Row(f"{file}/{name}", fit(value(name), name), fit(single[name], name), fit(x, name))
        for name, x in double.items()
    ]


def table() -> str:
    """All files, in Markdown."""
    show = lambda x: f"{float(x):.9g}" if x.size == 1 else f"{list(x.shape)}"
    lines = [
        "| golden number | golden | ours, float32 | difference | ours, float64 | difference |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for file in FILES:
        for row in rows(file):
            single, double = row.errors
            cells = show(row.golden), show(row.single), f"{single:.0e}", show(row.double)
            lines.append(f"| {row.metric} | {' | '.join(cells)} | {double:.0e} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
