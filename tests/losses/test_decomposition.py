"""The three parts of a VAE's KL term: the reference's numbers, and sums done by hand."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from jaxgen.losses.decomposition import decomposition, log_normal, stratified, weighted

GOLDEN = np.load(Path(__file__).parents[1] / "golden/c/betatcvae_terms.npz")
MEAN, LOG_SIGMA, Z = (jnp.asarray(GOLDEN[f"in_{k}"], jnp.float32) for k in ("mu", "logsigma", "z"))
EXAMPLES = int(GOLDEN["param_dataset_size"])


def parts(log_weights):
    own = log_normal(Z, MEAN, LOG_SIGMA).sum(-1)
    np.testing.assert_allclose(own, GOLDEN["out_logqz_condx"], rtol=1e-5)
    return decomposition(Z, MEAN, LOG_SIGMA, log_weights, own)


def objective(log_weights, beta, alpha=1.0):
    """To be raised, of each example (Eq. 4)."""
    information, correlation, alone = parts(log_weights)
    return GOLDEN["in_logpx"] - alpha * information - beta * correlation - alone


def test_weighted_sampling_is_the_references():
    log_weights = weighted(8, 8, EXAMPLES)
    information, correlation, alone = parts(log_weights)
    near = {"rtol": 2e-6, "atol": 2e-5}
    np.testing.assert_allclose(information.mean(), GOLDEN["out_mi"], **near)
    np.testing.assert_allclose(correlation.mean(), GOLDEN["out_tc"], **near)
    np.testing.assert_allclose(alone.mean(), GOLDEN["out_dwkl"], **near)
    for beta, alpha, name in ((6, 1, "mws_beta6"), (1, 1, "mws_beta1"), (6, 0, "nomi_beta6")):
        expected = GOLDEN[f"out_obj_tc_{name}"]
        np.testing.assert_allclose(objective(log_weights, beta, alpha), expected, rtol=2e-6)


def test_stratified_sampling_is_the_references():
    """With the reference's matrix, whose special weights stand in the first two columns."""
    given = jnp.asarray(GOLDEN["out_mss_logiw_reference"], jnp.float32)
    expected = GOLDEN["out_obj_tc_mss_beta6"]
    np.testing.assert_allclose(objective(given, 6), expected, rtol=2e-6, atol=2e-5)
    ours = stratified(0, 8, 8, EXAMPLES)
    rows = [0, 1, 2, 3, 4, 5, 7]  # its row 6 has the rare one's weight twice
    np.testing.assert_allclose(np.sort(ours, 1)[rows], np.sort(given, 1)[rows], rtol=2e-6)
    np.testing.assert_allclose(np.diag(ours), -np.log(EXAMPLES), rtol=1e-6)


@pytest.mark.parametrize("log_weights", [weighted(8, 8, EXAMPLES), stratified(0, 8, 8, EXAMPLES)])
def test_the_parts_add_up_and_beta_1_is_the_elbo(log_weights):
    whole = sum(parts(log_weights))
    ratio = GOLDEN["out_logqz_condx"] - GOLDEN["out_logpz"]
    np.testing.assert_allclose(whole, ratio, atol=5e-5)
    np.testing.assert_allclose(objective(log_weights, 1), GOLDEN["out_elbo"], rtol=2e-6)


def test_stratified_weights_of_a_share_are_rows_of_the_whole():
    whole = stratified(0, 8, 8, 100)
    np.testing.assert_array_equal(stratified(4, 4, 8, 100), whole[4:])
    np.testing.assert_allclose(jnp.exp(whole).sum(1), 1, rtol=1e-5)


def test_q_is_the_mean_over_the_data():
    """Where a minibatch is the whole data, and but for weighted sampling's constant."""
    densities = stats.norm.logpdf(Z[:, None], MEAN, np.exp(LOG_SIGMA)).sum(-1)
    log_q = logsumexp(densities, axis=1) - np.log(8)
    information, *_ = parts(weighted(8, 8, 8))
    expected = GOLDEN["out_logqz_condx"] - log_q + np.log(8)
    np.testing.assert_allclose(information, expected, atol=2e-5)
