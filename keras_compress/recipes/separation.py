"""How well speech was separated from noise: SDR, SIR and SAR by mir_eval, and STOI."""

import warnings

import numpy as np

from keras_compress.recipes import spectra

MEASURES = ("SDR", "SIR", "SAR", "STOI")


def measure(speech, noise, estimate):
    """The measures of one estimate of the speech in a mixture.

    What the estimate leaves of the mixture is taken for the estimate of the noise, or
    the mixture where nothing is left; the two are compared with speech and noise in
    this order.

    Args:
        speech: Float array `(samples,)`, 16,000 a second.
        noise: Float array of that shape. The mixture is the sum of the two.
        estimate: Float array of that shape.

    Returns:
        Dictionary of `"SDR"`, `"SIR"`, `"SAR"` (in dB) and `"STOI"` (up to 1).

    Raises:
        ImportError: If mir_eval or pystoi is not installed.
        ValueError: If one of the sounds is silent.

    Reference:
        - [Vincent et al., 2006](https://doi.org/10.1109/TSA.2005.858005)
        - [Taal et al., 2011](https://doi.org/10.1109/TASL.2011.2114881)
    """
    separation, stoi = _judges()
    mixture = speech + noise
    rest = mixture - estimate if np.any(mixture != estimate) else mixture
    with warnings.catch_warnings():
        # It will leave mir_eval one day; constraints.txt says which has it.
        warnings.simplefilter("ignore", FutureWarning)
        ratios = separation.bss_eval_sources(
            np.stack([speech, noise]),
            np.stack([estimate, rest]),
            compute_permutation=False,
        )
    understood = stoi(speech, estimate, spectra.RATE)
    values = [*(float(ratio[0]) for ratio in ratios[:3]), float(understood)]
    return dict(zip(MEASURES, values, strict=True))


def _judges():
    try:
        from mir_eval import separation
        from pystoi import stoi
    except ImportError as error:
        raise ImportError(
            f"The measures need mir_eval and pystoi: {error}. Install them with: "
            'pip install "keras-compress[speech]"'
        ) from error
    return separation, stoi
