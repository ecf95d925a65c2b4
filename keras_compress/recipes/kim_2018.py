"""Speech denoising by bits: networks that hear magnitudes and say what is speech.

A frame's 513 log magnitudes, each standardised, become the 4 bits of one of 16
Lloyd-Max levels: 2052 inputs. 513 outputs say, by their sign, in which bins speech is
louder than noise. Layers between them are normalised by batch.

Reference:
    - [Kim & Smaragdis, 2018](https://doi.org/10.1109/ICASSP.2018.8461824)
"""

import math

import keras
import numpy as np
from keras import ops

import keras_compress as kc
from keras_compress._validation import check_real
from keras_compress.recipes import spectra
from keras_compress.recipes.noisy_speech import mixtures

BITS = 4
BATCH = 512


def network(heard, *, width=1024, depth=2, coded=True, dropout=(0.05, 0.2)):
    """The real-valued network, not compiled: ReLU units, and logits of the mask.

    Args:
        heard: Float array `(frames, 513)`, log magnitudes of training, to which the
            standardisation and the levels are fitted.
        width: Positive integer, units of each hidden layer.
        depth: Positive integer, hidden layers.
        coded: Whether inputs become bits; otherwise they stay numbers.
        dropout: Rates in `[0, 1)`, of inputs and of hidden units.

    Returns:
        A `keras.Sequential` from `(batch, 513)` to `(batch, 513)`.
    """
    mean, variance = heard.mean(axis=0), heard.var(axis=0)
    layers = [
        keras.Input((heard.shape[1],), name="log_magnitudes"),
        keras.layers.Normalization(mean=mean, variance=variance, name="standard"),
    ]
    if coded:
        levels = kc.layers.LloydMaxCoding(BITS, name="levels")
        levels.adapt((heard - mean) / np.sqrt(variance))
        layers.append(levels)
    layers.append(keras.layers.Dropout(dropout[0], name="drop0"))
    for number in range(1, depth + 1):
        layers += [
            keras.layers.Dense(
                width, kernel_initializer="he_normal", name=f"hidden{number}"
            ),
            keras.layers.BatchNormalization(momentum=0.95, name=f"norm{number}"),
            keras.layers.Activation("relu", name=f"unit{number}"),
            keras.layers.Dropout(dropout[1], name=f"drop{number}"),
        ]
    layers += [
        keras.layers.Dense(heard.shape[1], name="mask"),
        keras.layers.BatchNormalization(momentum=0.95, name="logits"),
    ]
    return keras.Sequential(layers)


def bitwise(model, *, straight_through="clip"):
    """A copy of a coded network whose weights, biases and units can become bits.

    Args:
        model: A trained `network`, coded. It is left as it is.
        straight_through: The gradient of the sign, as of `kc.Bitwise`.

    Returns:
        The copy, to be fitted with `kc.callbacks.Binarization`. Without dropout: of a
        dropped unit, the sign would be +1.
    """
    small = kc.swap(model, kc.Bitwise(straight_through=straight_through))
    for layer in small.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    return small


def weighted_cross_entropy(targets, logits):
    """Binary cross-entropy, each bin weighted by its magnitude in the mixture.

    `mean(v * (softplus(z) - y * z))` for logits z, targets y and weights v.

    Args:
        targets: Float tensor `(batch, 2, bins)`: `v * y`, and `v`.
        logits: Float tensor `(batch, bins)`.

    Returns:
        Tensor `(batch,)`.

    Example:

    >>> targets = np.array([[[2.0, 0.0], [2.0, 1.0]]])
    >>> loss = weighted_cross_entropy(targets, np.zeros((1, 2)))
    >>> print(loss.numpy().round(3))  # 1.5 * log(2)
    [1.04]
    """
    logits = ops.convert_to_tensor(logits)
    targets = ops.cast(targets, logits.dtype)
    losses = targets[:, 1] * ops.softplus(logits) - targets[:, 0] * logits
    return ops.mean(losses, axis=-1)


class Frames(keras.utils.PyDataset):
    """Batches of frames of every sentence in every noise, mixed anew for each epoch.

    A batch is `(heard, targets)`: float32 arrays `(batch, 513)`, and `(batch, 2, 513)`
    as `weighted_cross_entropy` takes them. The targets are ideal masks, or with
    `teach` also what another network says.

    Args:
        recordings: `noisy_speech.Recordings`.
        seed: Integer, of all that chance decides.
        batch: Positive integer. What is left over at the end is left out.
        anew: Whether every epoch has its own mixtures.
    """

    def __init__(self, recordings, seed, *, batch=BATCH, anew=True):
        super().__init__()
        self.recordings, self.batch, self.anew = recordings, batch, anew
        self.teacher, self.alpha = None, 0.0
        self.random = np.random.default_rng(seed)
        self._mix()

    def teach(self, teacher, alpha=0.5):
        """Mixes what a network says into the targets, from now on.

        Args:
            teacher: A trained network.
            alpha: Its share in the targets, in `[0, 1]`.
        """
        self.teacher = teacher
        self.alpha = check_real("alpha", alpha, minimum=0.0, maximum=1.0)
        self._ask_teacher()

    def __len__(self):
        return max(1, len(self.heard) // self.batch)

    def __getitem__(self, index):
        chosen = self.order[index * self.batch : (index + 1) * self.batch]
        heard = self.heard[chosen]
        weights = (np.exp(heard) - spectra.SILENCE) / self.mean
        return heard, np.stack([weights * self.mask[chosen], weights], axis=1)

    def on_epoch_end(self):
        if self.anew:
            self._mix()

    def _mix(self):
        heard, mask = [], []
        for one in mixtures(self.recordings, self.random):
            speech, noise = spectra.spectra(np.stack([one.speech, one.noise]))
            heard.append(spectra.log_magnitudes(speech + noise))
            mask.append(spectra.ideal_mask(speech, noise))
        self.heard, self.ideal = np.concatenate(heard), np.concatenate(mask)
        self.mask = self.ideal
        self.mean = np.mean(np.exp(self.heard)) - spectra.SILENCE
        self.order = self.random.permutation(len(self.heard))
        if self.teacher is not None:
            self._ask_teacher()

    def _ask_teacher(self):
        logits = self.teacher.predict(self.heard, batch_size=4096, verbose=0)
        said = 0.5 + 0.5 * np.tanh(0.5 * logits)  # sigmoid, without overflow
        self.mask = (1.0 - self.alpha) * self.ideal + self.alpha * said


def train(
    model,
    frames,
    *,
    epochs,
    rate=1e-3,
    callbacks=(),
    validation=None,
    jit_compile=False,
    verbose="auto",
):
    """Trains a network with Adam, at a rate that falls to zero along a cosine.

    Args:
        model: A network. It is compiled here.
        frames: `Frames`.
        epochs: Positive integer.
        rate: Learning rate at the start, > 0.
        callbacks: Sequence of Keras callbacks.
        validation: `Frames`, or `None`.
        jit_compile: As of `compile`. On CPUs, XLA takes longer for products.
        verbose: As of `fit`.

    Returns:
        The `History`.
    """
    decay = keras.optimizers.schedules.CosineDecay(rate, epochs * len(frames))
    model.compile(
        keras.optimizers.Adam(decay), weighted_cross_entropy, jit_compile=jit_compile
    )
    return model.fit(
        frames,
        epochs=epochs,
        callbacks=list(callbacks),
        validation_data=validation,
        shuffle=False,
        verbose=verbose,
    )


def denoise(model, wave, *, soft=False):
    """What a network takes for speech in a sound.

    Its spectra are multiplied by the mask and keep their phases.

    Args:
        model: A trained network, packed or not.
        wave: Float array `(samples,)`, 16,000 a second.
        soft: Whether the mask is the probability of speech, between 0 and 1; otherwise
            it is 1 where that is 0.5 or more, and 0 elsewhere.

    Returns:
        Float32 array `(samples,)`.

    Raises:
        ValueError: If the sound is silent, or has numbers that are not finite.
    """
    unit = spectra.unit_power(wave)
    mixture = spectra.spectra(unit)
    heard = spectra.log_magnitudes(mixture)
    logits = model.predict(heard, batch_size=1024, verbose=0)
    mask = 0.5 + 0.5 * np.tanh(0.5 * logits) if soft else logits >= 0.0
    gain = math.sqrt(np.mean(np.square(wave, dtype="float64")))
    return gain * spectra.waves(mask * mixture, len(wave))
