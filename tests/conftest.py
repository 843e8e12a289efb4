"""Four CPU devices for every test, and shapes checked by jaxtyping and beartype."""

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_num_cpu_devices", 4)
install_import_hook(["jaxgen.models", "jaxgen.losses", "jaxgen.sample"], "beartype.beartype")
